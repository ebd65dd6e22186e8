"""When and how a policy is evaluated while it trains: the one place that decides."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from sb3_hpo.envs.factory import find_vec_normalize
from sb3_hpo.results.run_record import Evaluation
from sb3_hpo.training.evaluation_episodes import EpisodePlan, Episodes, run_episodes
from sb3_hpo.utils.errors import UserError
from sb3_hpo.utils.seeding import Stream, derive_seed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.vec_env import VecEnv, VecNormalize


class Diverged(Exception):  # noqa: N818 - an outcome, not an error
    """Weights or returns are no longer finite. TD3 and DQN go on silently when this happens."""


def evaluation_grid(n_timesteps: int, n_evaluations: int) -> tuple[int, ...]:
    """Return the nominal steps k * n_timesteps / n_evaluations, k = 1 ... n_evaluations.

    Args:
        n_timesteps: Environment steps of the run.
        n_evaluations: Evaluations wanted.

    Returns:
        Increasing steps; the last one is n_timesteps.

    >>> evaluation_grid(1000, 3)
    (333, 666, 1000)
    """
    return tuple(k * n_timesteps // n_evaluations for k in range(1, n_evaluations + 1))


class GridEvaluator:
    """Evaluates a model once for every step of the grid, between rollouts only.

    Evaluating in the middle of a rollout would score a policy that the rollout's data has not
    yet improved, and the policy after the last update never (RL Zoo, SB3's EvalCallback).
    """

    def __init__(
        self,
        venv: VecEnv | None,
        grid: tuple[int, ...],
        plan: EpisodePlan,
        *,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare.

        Args:
            venv: The evaluation environments, or None to evaluate in the training environments.
            grid: The nominal steps, increasing; each gets one evaluation.
            plan: The episodes of one evaluation.
            check: Called at every environment step; may raise to end the run.
        """
        self._venv = venv
        self._grid = grid
        self._plan = plan
        self._check = check
        self._n_done = 0

    def due(self, n_steps: int, *, final: bool = False) -> tuple[int, ...]:
        """Return the grid steps that are reached and not yet evaluated.

        Args:
            n_steps: Environment steps trained so far.
            final: Whether training has ended: then all that remain are due.
        """
        rest = self._grid[self._n_done :]
        return rest if final else tuple(step for step in rest if step <= n_steps)

    def evaluate(
        self, model: BaseAlgorithm, *, final: bool = False, n_steps: int | None = None
    ) -> tuple[Evaluation, ...]:
        """Evaluate if a grid step is due. To be called after an update, between rollouts.

        Args:
            model: The model in training.
            final: Whether training has ended.
            n_steps: Where on the grid it is, in environment steps; default: as the model counts.

        Returns:
            One evaluation for each grid step that was due; several share their numbers where
            one rollout passed several grid steps.

        Raises:
            Diverged: Weights or returns are not finite.
        """
        n_steps = model.num_timesteps if n_steps is None else n_steps
        due = self.due(n_steps, final=final)
        if not due:
            return ()
        check_finite_parameters(model)
        start = time.perf_counter()
        episodes = self._run_episodes(model)
        seconds = time.perf_counter() - start
        self._n_done += len(due)
        if not np.isfinite(episodes.returns).all():
            raise Diverged(f"an evaluation at step {due[-1]} returned non-finite rewards")
        if episodes.metric is not None and not np.isfinite(episodes.metric).all():
            raise Diverged(
                f"an evaluation at step {due[-1]} gave a non-finite {self._plan.metric}"
            )
        return tuple(
            Evaluation(
                nominal_step=step,
                actual_step=n_steps,
                returns=episodes.returns,
                lengths=episodes.lengths,
                metric=episodes.metric,
                seconds=seconds,
                truncated=episodes.truncated,
            )
            for step in due
        )

    def _run_episodes(self, model: BaseAlgorithm) -> Episodes:
        training_envs = model.get_env()
        if self._venv is None:
            if training_envs is None:
                raise UserError("the model has no environment to be evaluated in")
            return self._run_in_training_envs(model, training_envs)
        if find_vec_normalize(self._venv) is not None and training_envs is not None:
            from stable_baselines3.common.vec_env import sync_envs_normalization

            sync_envs_normalization(training_envs, self._venv)
        with _frozen(self._venv):
            return run_episodes(model, self._venv, self._plan, check=self._check)

    def _run_in_training_envs(self, model: BaseAlgorithm, venv: VecEnv) -> Episodes:
        """Evaluate where training runs, with frozen statistics, then let training start afresh."""
        with _frozen(venv) as normalize:
            episodes = run_episodes(model, venv, self._plan, check=self._check)
        # The environments' streams stand at the evaluation's seeds: give training its own again.
        venv.seed(derive_seed(model.seed or 0, Stream.RESUMED_TRAINING, model.num_timesteps))
        model._last_obs = venv.reset()  # type: ignore[assignment]
        model._last_episode_starts = np.ones((venv.num_envs,), dtype=bool)
        if hasattr(model, "_last_original_obs") and normalize is not None:
            model._last_original_obs = normalize.get_original_obs()
        return episodes


@contextmanager
def _frozen(venv: VecEnv) -> Iterator[VecNormalize | None]:
    """Leave the statistics of a VecNormalize as they are, and rewards as the environment pays.

    Rewards divided by each trial's own statistics could not be compared between trials.
    """
    normalize = find_vec_normalize(venv)
    if normalize is None:
        yield None
        return
    before = normalize.training, normalize.norm_reward
    normalize.training, normalize.norm_reward = False, False
    try:
        yield normalize
    finally:
        normalize.training, normalize.norm_reward = before


def check_finite_parameters(model: BaseAlgorithm) -> None:
    """Raise if the policy has weights that are not finite.

    Raises:
        Diverged: It has; the message names the first such parameter.
    """
    import torch

    for name, parameter in model.policy.named_parameters():
        if not torch.isfinite(parameter).all():
            raise Diverged(f"parameter {name} is not finite at step {model.num_timesteps}")
