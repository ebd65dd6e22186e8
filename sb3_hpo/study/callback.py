"""Between training and Optuna: report evaluations to a trial and obey its pruner."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import optuna
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from sb3_hpo.envs.factory import find_vec_normalize
from sb3_hpo.envs.seeded_episodes import SeededEpisodes
from sb3_hpo.results.trials import mark_infeasible
from sb3_hpo.scoring.score_rules import DEFAULT_SCORE, score_rule
from sb3_hpo.storages.existing import check_maximises
from sb3_hpo.training.evaluation_episodes import EpisodePlan, episode_cap
from sb3_hpo.training.evaluator import Diverged, GridEvaluator, evaluation_grid
from sb3_hpo.utils.errors import UserError
from sb3_hpo.utils.seeding import Stream, derive_seeds

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

    from sb3_hpo.results.run_record import Evaluation


def report_evaluation(trial: optuna.Trial, evaluation: Evaluation, n_timesteps: int) -> bool:
    """Report an evaluation at its nominal step and ask the pruner.

    Args:
        n_timesteps: Step at which the run ends.

    Returns:
        Whether the trial should be pruned: never when it was trained to its end, at whatever
        grid step, since then there is nothing to save.
    """
    trial.report(evaluation.value, step=evaluation.nominal_step)
    return evaluation.actual_step < n_timesteps and trial.should_prune()


class TrialEvalCallback(EvalCallback):
    """SB3's `EvalCallback` for an Optuna trial: evaluates, reports, and stops pruned training.

    Evaluations happen between rollouts, at the first boundary at or past each grid step, and
    after the last update; they are reported at the nominal environment steps of the grid, which
    starts at the model's `num_timesteps` of the first `learn` and goes on in later ones.
    Episodes start from the same seeds in every trial, so that trials differ by their policies
    and not by their start states.

    sb3-contrib's ARS does not stop when a callback says so: there, `learn` raises
    `optuna.TrialPruned` itself.

    Attributes:
        is_pruned: Whether training was stopped for the trial's sake; raise `optuna.TrialPruned`.
        last_mean_reward: Mean of the latest evaluation.
        best_mean_reward: Largest mean of an evaluation.
        learning_curve: All evaluations so far.
    """

    def __init__(
        self,
        eval_env: gym.Env[Any, Any] | VecEnv,
        trial: optuna.Trial,
        *,
        n_eval_episodes: int = 20,
        eval_freq: int | None = None,
        n_evaluations: int | None = None,
        n_timesteps: int | None = None,
        score: str = DEFAULT_SCORE,
        seed: int = 0,
        **eval_callback_kwargs: Any,
    ) -> None:
        """Prepare.

        Args:
            eval_env: Where to evaluate; a plain environment is wrapped in Monitor.
            trial: The running trial.
            n_eval_episodes: Episodes of one evaluation.
            eval_freq: Evaluate every so many callback calls (SB3's meaning: times the number of
                environments, in steps). Either this or `n_evaluations`; default 10 evaluations.
            n_evaluations: Evaluate this often, evenly over the run.
            n_timesteps: Length of the run, all calls of `learn` together; default: what the first
                one is called with.
            score: The score rule behind `trial_value`.
            seed: Root of the evaluation episodes' seeds; the same for all trials of a study.
            **eval_callback_kwargs: SB3's own: `callback_on_new_best`, `callback_after_eval`,
                `best_model_save_path`, `log_path`, `deterministic`, `verbose`.

        Raises:
            UserError: Both `eval_freq` and `n_evaluations` were given, one is below 1, or the
                trial's study does not maximise one value.
        """
        if isinstance(trial, optuna.Trial):  # a FixedTrial has no study
            check_maximises(trial.study)
        if eval_freq is not None and n_evaluations is not None:
            raise UserError("give either eval_freq or n_evaluations, not both")
        for name, value in (("eval_freq", eval_freq), ("n_evaluations", n_evaluations)):
            if value is not None and value < 1:
                raise UserError(f"`{name} >= 1` must hold, but got {value}")
        if not isinstance(eval_env, VecEnv):
            eval_env = _vectorize(eval_env)
        super().__init__(
            eval_env,
            n_eval_episodes=n_eval_episodes,
            eval_freq=eval_freq or 1,
            **{"warn": False, **eval_callback_kwargs},
        )
        self._steps_per_call = eval_freq
        self._n_evaluations = n_evaluations or 10
        self._n_timesteps = n_timesteps
        self._trial = trial
        self._score = score_rule(score)
        self._seeds = derive_seeds(seed, Stream.SEARCH_EPISODES, n_eval_episodes)
        self._evaluator: GridEvaluator | None = None
        self._learner: BaseAlgorithm | None = None
        # Where a call of `learn` begins, on the grid and as the model counts, which may be anew.
        self._grid_start = self._model_start = self._end = 0
        self._go_on = True
        self._has_warned = False
        self.is_pruned = False
        self.learning_curve: list[Evaluation] = []

    @property
    def trial_value(self) -> float:
        """The score of the learning curve so far: what an objective returns."""
        if not self.learning_curve:
            raise UserError("there is no evaluation yet: call learn() with this callback first")
        return self._score([evaluation.value for evaluation in self.learning_curve])

    def _init_callback(self) -> None:
        if self._learner is not None and self._learner is not self.model:
            raise UserError(
                "this callback has evaluated another model already, and belongs to its trial: "
                "make a new TrialEvalCallback for each model"
            )
        self._learner = self.model
        normalized = find_vec_normalize(self.training_env) is not None
        if normalized and find_vec_normalize(self.eval_env) is None:
            raise UserError(
                "training uses VecNormalize but eval_env does not: pass "
                "VecNormalize(eval_env, training=False, norm_reward=False)"
            )
        super()._init_callback()

    def _on_training_start(self) -> None:
        super()._on_training_start()
        if self._evaluator is not None:
            self._go_on_with_grid(self._evaluator)
            return
        start = self.model.num_timesteps
        # `learn` has added what was trained before to what it was called with.
        n_timesteps = self._n_timesteps or int(self.locals["total_timesteps"]) - start
        self._grid_start = self._model_start = start
        self._end = start + n_timesteps
        if self._steps_per_call is None:
            grid = evaluation_grid(n_timesteps, self._n_evaluations)
        else:
            interval = self._steps_per_call * self.training_env.num_envs
            grid = (*range(interval, n_timesteps, interval), n_timesteps)
        grid = tuple(start + step for step in grid)
        plan = EpisodePlan(
            episode_seeds=self._seeds,
            deterministic=self.deterministic,
            max_episode_steps=episode_cap(n_timesteps),
        )
        self._evaluator = GridEvaluator(self.eval_env, grid, plan)

    def _go_on_with_grid(self, evaluator: GridEvaluator) -> None:
        """Let another call of `learn` continue where the last one ended."""
        if not evaluator.due(self._end, final=True):
            raise UserError(
                f"this callback's grid ends at step {self._end:,}, and `learn` is called once "
                "more: pass n_timesteps=, the length of all calls together"
            )
        self._model_start = self.model.num_timesteps

    @property
    def _position(self) -> int:
        """Where the model is on the grid, in environment steps."""
        return self._grid_start + self.model.num_timesteps - self._model_start

    def _on_rollout_start(self) -> None:
        self._evaluate()
        if self.is_pruned and not isinstance(self.model, OnPolicyAlgorithm | OffPolicyAlgorithm):
            raise optuna.TrialPruned(f"pruned at step {self.num_timesteps}")

    def _on_step(self) -> bool:
        return self._go_on

    def _on_training_end(self) -> None:
        # `learn` may have been one of several, or ended before its time by another callback.
        stopped = self.num_timesteps < self.model._total_timesteps
        self._evaluate(final=self._position >= self._end or stopped, stopped=stopped)
        self._grid_start, self._model_start = self._position, self.model.num_timesteps

    def _evaluate(self, *, final: bool = False, stopped: bool = False) -> None:
        if self._evaluator is None or not self._go_on:
            return
        try:
            evaluations = self._evaluator.evaluate(self.model, final=final, n_steps=self._position)
        except Diverged as error:
            mark_infeasible(self._trial, "diverged", str(error))
            self.is_pruned, self._go_on = True, False
            return
        if len(evaluations) > 1 and not stopped:
            self._warn_of_long_rollout(len(evaluations))
        for evaluation in evaluations:
            self._warn_of_endless_episode(evaluation)
            self.learning_curve.append(evaluation)
            end = evaluation.actual_step if final else self._end
            if report_evaluation(self._trial, evaluation, end):
                self.is_pruned, self._go_on = True, False
        if evaluations:
            self._tell_sb3(evaluations[-1])

    def _warn_of_long_rollout(self, n: int) -> None:
        if self._has_warned:
            return
        self._has_warned = True
        warnings.warn(
            f"one rollout passed {n} steps of the evaluation grid, which share one evaluation: "
            "evaluate less often, or let the search space know the budget, "
            "sample_ppo_params(trial, context=SpaceContext(n_timesteps=..., n_evaluations=...))",
            stacklevel=2,
        )

    def _warn_of_endless_episode(self, evaluation: Evaluation) -> None:
        if any(item.truncated for item in self.learning_curve) or not evaluation.truncated:
            return
        warnings.warn(
            f"the evaluation at step {evaluation.nominal_step:,} was cut, as an episode did not "
            "end: wrap the evaluation environment in gymnasium.wrappers.TimeLimit",
            stacklevel=2,
        )

    def _tell_sb3(self, evaluation: Evaluation) -> None:
        """Do what users of `EvalCallback` expect after an evaluation."""
        self.last_mean_reward = evaluation.value
        self.logger.record("eval/mean_reward", evaluation.value)
        self.logger.record("eval/mean_ep_length", float(np.mean(evaluation.lengths)))
        self.logger.dump(self.num_timesteps)
        curve = self.learning_curve
        self.evaluations_timesteps = [item.nominal_step for item in curve]
        self.evaluations_results = [list(item.returns) for item in curve]
        self.evaluations_length = [list(item.lengths) for item in curve]
        if self.log_path is not None:
            np.savez(
                self.log_path,
                timesteps=self.evaluations_timesteps,
                results=self.evaluations_results,
                ep_lengths=self.evaluations_length,
            )
        children: list[BaseCallback | None] = [self.callback]
        if evaluation.value > self.best_mean_reward:
            self.best_mean_reward = evaluation.value
            if self.best_model_save_path is not None:
                self.model.save(Path(self.best_model_save_path) / "best_model")
            children.insert(0, self.callback_on_new_best)
        for child in children:
            if child is not None and not child.on_step():
                self._go_on = False


def _vectorize(env: gym.Env[Any, Any]) -> VecEnv:
    monitored = env if _has_monitor(env) else Monitor(env)
    return DummyVecEnv([lambda: SeededEpisodes(monitored)])


def _has_monitor(env: gym.Env[Any, Any]) -> bool:
    while isinstance(env, gym.Wrapper):
        if isinstance(env, Monitor):
            return True
        env = env.env
    return False
