"""Evaluation episodes: the same start states for every policy, however many environments share.

Their seeds come from the streams of `utils.seeding`: one for trials, one for the race, one for the
test.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sb3_hpo.algorithms.registry import takes_masks
from sb3_hpo.envs.seeded_episodes import SeededEpisodes
from sb3_hpo.utils.errors import UserError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.vec_env import VecEnv

    from sb3_hpo.config.training_config import TrainingConfig

# A batch of another size rounds differently; padding vector observations to one size makes an
# evaluation the same number for every count of environments.
_BATCH_SIZE = 32
MIN_EPISODE_CAP = 10_000  # steps; longer than the episodes of the usual benchmarks


@dataclass(frozen=True, kw_only=True)
class EpisodePlan:
    """Which episodes to run.

    Attributes:
        episode_seeds: Episode i starts from seed i, for every policy and count of environments.
        deterministic: Whether to take the most likely action.
        metric: Key of an episode's last info to record beside the return.
        max_episode_steps: Length at which an endless episode is cut and flagged.
        max_seconds: Wall time after which an evaluation is cut and flagged.
    """

    episode_seeds: tuple[int, ...]
    deterministic: bool = True
    metric: str | None = None
    max_episode_steps: int = 100_000
    max_seconds: float = 600.0

    @classmethod
    def of(cls, config: TrainingConfig, episode_seeds: Sequence[int]) -> EpisodePlan:
        """Plan an evaluation as a configuration has it.

        Args:
            config: Of the run.
            episode_seeds: Start states of the episodes.
        """
        return cls(
            episode_seeds=tuple(episode_seeds),
            deterministic=not config.stochastic_eval,
            metric=config.metric,
            max_episode_steps=episode_cap(config.n_timesteps),
        )


def episode_cap(n_timesteps: int) -> int:
    """Return after how many steps an endless episode is cut.

    Args:
        n_timesteps: Length of the training run.
    """
    return max(n_timesteps, MIN_EPISODE_CAP)


@dataclass(frozen=True)
class Episodes:
    """What a set of episodes gave, in the order of their seeds.

    Attributes:
        returns: Undiscounted returns, one an episode.
        lengths: Steps, one an episode.
        metric: The metric at each episode's end, or None if none was asked for.
        truncated: Whether a cap cut one of them.
    """

    returns: tuple[float, ...]
    lengths: tuple[int, ...]
    metric: tuple[float, ...] | None
    truncated: bool


def run_episodes(
    model: BaseAlgorithm,
    venv: VecEnv,
    plan: EpisodePlan,
    *,
    check: Callable[[], None] = lambda: None,
) -> Episodes:
    """Run one episode from each seed of the plan.

    Not SB3's `evaluate_policy`: that one cannot seed, never ends on an endless episode, and lets
    the number of environments decide which start states are seen.

    Args:
        model: Anything with SB3's `predict`, recurrent and maskable policies included.
        venv: The environments. If they are `SeededEpisodes`, episode i starts from seed i;
            others are seeded once with the first seed.
        plan: How to evaluate.
        check: Called at every step; may raise to end the evaluation.
    """
    loop = _EpisodeLoop(venv, plan)
    predict = _predictor(model, venv, plan)
    observations = venv.reset()
    state: Any = None
    starts = np.ones(venv.num_envs, dtype=bool)
    deadline = time.monotonic() + plan.max_seconds
    with _own_randomness(model, plan):
        while not loop.finished:
            check()
            actions, state = predict(observations, state, starts)
            observations, rewards, starts, infos = venv.step(actions)
            loop.record(rewards, starts, infos)
            if time.monotonic() > deadline:
                loop.cut()
    loop.forget_plan()
    return loop.episodes()


class _EpisodeLoop:
    """Bookkeeping of the episodes: environment j runs episodes j, j + n_envs, j + 2 n_envs ..."""

    def __init__(self, venv: VecEnv, plan: EpisodePlan) -> None:
        from stable_baselines3.common.monitor import Monitor

        n, n_episodes = venv.num_envs, len(plan.episode_seeds)
        self._plan = plan
        self._queues = [list(range(j, n_episodes, n)) for j in range(n)]
        self._sums = np.zeros(n)
        self._counts = np.zeros(n, dtype=int)
        self._infos: Sequence[Any] = [{}] * n
        self._results: dict[int, tuple[float, int, float]] = {}  # return, length, metric
        self._truncated = False
        self._monitored = venv.env_is_wrapped(Monitor)
        self._venv = venv
        self._seeded = all(venv.env_is_wrapped(SeededEpisodes))
        if self._seeded:
            for j, queue in enumerate(self._queues):
                seeds = [plan.episode_seeds[i] for i in queue]
                venv.env_method("plan_episodes", seeds, indices=[j])
        else:
            venv.seed(plan.episode_seeds[0])

    def forget_plan(self) -> None:
        """Take back the seeds of episodes that were not begun: training may go on in here."""
        if self._seeded:
            self._venv.env_method("plan_episodes", ())

    @property
    def finished(self) -> bool:
        return not any(self._queues)

    def record(self, rewards: np.ndarray, dones: np.ndarray, infos: Sequence[Any]) -> None:
        self._sums += rewards
        self._counts += 1
        self._infos = infos
        wanted = np.array([bool(queue) for queue in self._queues])
        too_long = self._counts >= self._plan.max_episode_steps
        for j in map(int, np.flatnonzero(wanted & too_long & ~dones)):
            # No cap of ours inside this environment: it cannot begin its other episodes.
            self._truncated = True
            del self._queues[j][1:]
            self._close(j)
        for j in map(int, np.flatnonzero(wanted & dones)):
            info = infos[j]
            if "episode" in info:  # Monitor's return is neither normalised nor clipped
                self._sums[j], self._counts[j] = info["episode"]["r"], info["episode"]["l"]
            elif self._monitored[j]:
                continue  # a wrapper outside Monitor ended a life, not the episode
            self._truncated |= bool(self._counts[j] >= self._plan.max_episode_steps)
            self._close(j)

    def _close(self, j: int) -> None:
        metric = float("nan")
        if self._plan.metric is not None:
            metric = read_metric(self._infos[j], self._plan.metric)
        episode = self._queues[j].pop(0)
        self._results[episode] = (float(self._sums[j]), int(self._counts[j]), metric)
        self._sums[j], self._counts[j] = 0.0, 0
        if self._seeded and not self._queues[j]:
            self._venv.env_method("rest", indices=[j])

    def cut(self) -> None:
        """Score the running episodes as far as they went and give up those not yet begun."""
        self._truncated = True
        metric = self._plan.metric
        for j, queue in enumerate(self._queues):
            if queue and self._counts[j] > 0 and (metric is None or metric in self._infos[j]):
                self._close(j)
            queue.clear()
        if not self._results:
            raise UserError(
                f"metric: no episode came to a {metric!r} within {self._plan.max_seconds:g} s"
            )

    def episodes(self) -> Episodes:
        returns, lengths, metrics = zip(
            *(self._results[i] for i in sorted(self._results)), strict=True
        )
        return Episodes(
            returns, lengths, None if self._plan.metric is None else metrics, self._truncated
        )


def read_metric(info: Any, name: str) -> float:
    """Return what an episode's last info says.

    Args:
        info: The info.
        name: The key.

    Raises:
        UserError: It has none of that name; those that it has are listed.
    """
    if not info:
        raise UserError(f"metric: the last info of an episode is empty, so it has no {name!r}")
    if name not in info:
        raise UserError(unknown_name("metric", name, [str(key) for key in info]))
    return float(info[name])


def _predictor(model: BaseAlgorithm, venv: VecEnv, plan: EpisodePlan) -> Callable[..., Any]:
    """Return `predict` for batches of one size, with action masks where the policy takes them."""
    maskable = takes_masks(model)
    n = venv.num_envs
    padded = n < _BATCH_SIZE and not maskable and not _is_large(venv.observation_space)

    def predict(observations: Any, state: Any, starts: np.ndarray) -> Any:
        options: dict[str, Any] = {"deterministic": plan.deterministic}
        if maskable:
            options["action_masks"] = np.stack(venv.env_method("action_masks"))
        if padded:
            observations = _pad(observations)
            starts = _pad(starts)
        actions, state = model.predict(observations, state, starts, **options)
        return actions[:n], state

    return predict


def _is_large(space: Any) -> bool:
    """Return whether observations are images or other grids, which cost time to pad."""
    spaces = space.spaces.values() if hasattr(space, "spaces") else [space]
    return any(len(item.shape or ()) >= 3 for item in spaces)


def _pad(batch: Any) -> Any:
    if isinstance(batch, dict):
        return {key: _pad(item) for key, item in batch.items()}
    rows = np.zeros((_BATCH_SIZE, *batch.shape[1:]), dtype=batch.dtype)
    rows[: len(batch)] = batch
    return rows


@contextmanager
def _own_randomness(model: BaseAlgorithm, plan: EpisodePlan) -> Iterator[None]:
    """Give a stochastic policy streams of its own, and training its own back.

    Policies draw from torch; DQN's exploration also from numpy's global stream and from the
    action space.
    """
    if plan.deterministic:
        yield
        return
    import torch

    of_actions = model.action_space.np_random.bit_generator
    before = np.random.get_state(), of_actions.state  # noqa: NPY002 - SB3's own stream
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(plan.episode_seeds[0])
        np.random.seed(plan.episode_seeds[0])  # noqa: NPY002 - the same
        model.action_space.seed(plan.episode_seeds[0])
        try:
            yield
        finally:
            np.random.set_state(before[0])  # noqa: NPY002 - the same
            restored = np.random.Generator(type(of_actions)())
            restored.bit_generator.state = before[1]
            model.action_space._np_random = restored
