"""Training runs: keyword arguments, a seed and a budget in; learning curve and policy out.

Nothing else trains: the search, the re-evaluation and retraining all go through `train`.
"""

from __future__ import annotations

import gc
import re
import time
import warnings
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.her.her_replay_buffer import HerReplayBuffer

from sb3_hpo.codec import build, describe, merge
from sb3_hpo.envs import find_vec_normalize, make_evaluation_envs, make_training_envs
from sb3_hpo.episodes import MIN_EPISODE_CAP, EpisodePlan
from sb3_hpo.evaluation import (
    Diverged,
    GridEvaluator,
    check_finite_parameters,
    evaluation_grid,
)
from sb3_hpo.memory import memory_shortage
from sb3_hpo.models import (
    choose_device,
    choose_policy,
    default_gamma,
    load_algorithm,
    torch_threads,
    versions,
)
from sb3_hpo.records import Evaluation, Outcome, RunRecord

if TYPE_CHECKING:
    from pathlib import Path

    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.vec_env import VecEnv, VecNormalize

    from sb3_hpo.config import TrainingConfig

_NAN_IN_DISTRIBUTION = re.compile(r"Expected parameter .* but found invalid values", re.DOTALL)
_NO_CPU_MEMORY = "DefaultCPUAllocator: can't allocate memory"  # torch raises a bare RuntimeError

# Called at every grid step with each member's index and evaluation; returns those to drop.
OnEvaluation = Callable[[Mapping[int, Evaluation]], Collection[int]]
# Called at every environment step with the steps so far; may raise StopRun.
OnStep = Callable[[int], None]


class StopRun(Exception):  # noqa: N818 - an outcome, not an error
    """Ends a run from within a callback; SB3's algorithms do not all obey a returned False."""

    def __init__(self, outcome: Outcome, reason: str) -> None:
        super().__init__(reason)
        self.outcome = outcome
        self.reason = reason


@dataclass(frozen=True)
class Member:
    """One run of several that share a configuration.

    Attributes:
        kwargs: Keyword arguments of the algorithm.
        seed: Training seed: network weights, exploration and training environments.
    """

    kwargs: Mapping[str, Any]
    seed: int


@dataclass(frozen=True)
class Hooks:
    """What the caller wants to see and do while a run goes on.

    Attributes:
        on_evaluation: Called at every grid step; returns the members to drop.
        on_step: Called at every step of training and evaluation; may raise `StopRun`.
        callbacks: SB3 callbacks of the user's own.
        tensorboard_dir: Folder for SB3's TensorBoard logs.
        verbose: Whether SB3 prints.
    """

    on_evaluation: OnEvaluation = lambda _: ()
    on_step: OnStep = lambda _: None
    callbacks: Sequence[BaseCallback] = ()
    tensorboard_dir: Path | None = None
    verbose: bool = False


@dataclass(frozen=True)
class TrainedRun:
    """The end of a run.

    Attributes:
        record: What happened.
        model: The model with its final policy; its environments are closed once the next run
            is asked for. None if the run ended before there was a model.
        vec_normalize: The statistics that belong to the model, if it was trained with any.
    """

    record: RunRecord
    model: BaseAlgorithm | None = field(repr=False)
    vec_normalize: VecNormalize | None = field(repr=False)


def train(
    config: TrainingConfig,
    members: Sequence[Member],
    episode_seeds: Sequence[int],
    hooks: Hooks | None = None,
) -> Generator[TrainedRun]:
    """Train and evaluate the members, one after the other.

    Args:
        config: What they share: environment, budget, evaluation, policy.
        members: Their hyperparameters and seeds.
        episode_seeds: Start states of the evaluation episodes, the same for all.
        hooks: What to call meanwhile.

    Yields:
        One run a member, in order. Outcomes that belong to the hyperparameters or the caller
        (diverged, out of memory, dropped, stopped) are in its record.

    Raises:
        Exception: Whatever a bug in the environment or elsewhere raises.
    """
    hooks = hooks or Hooks()
    plan = EpisodePlan(
        episode_seeds=tuple(episode_seeds),
        deterministic=not config.stochastic_eval,
        metric=config.metric,
        max_episode_steps=max(config.n_timesteps, MIN_EPISODE_CAP),
    )
    for index, member in enumerate(members):
        run = _Run(config, member, plan, hooks, index)
        with torch_threads(config.n_threads):
            try:
                yield run.execute()
            finally:
                run.close()


def build_once(config: TrainingConfig, kwargs: Mapping[str, Any]) -> None:
    """Build the model of a run in one environment, if memory permits, and throw it away.

    Args:
        config: What all runs share.
        kwargs: Keyword arguments of the algorithm.

    Raises:
        Exception: Whatever building raises.
    """
    alone = config.model_copy(update={"n_envs": 1, "n_eval_envs": 0, "vec_env": "dummy"})
    run = _Run(alone, Member(kwargs, seed=0), EpisodePlan(episode_seeds=(0,)), Hooks(), 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a rollout of one environment only
        try:
            run.build()
        except (StopRun, MemoryError):
            pass  # this sample is too large for the memory, which its trial would say; others fit
        finally:
            run.close()


class _Run:
    """One member's run; owns its environments and model."""

    def __init__(
        self,
        config: TrainingConfig,
        member: Member,
        plan: EpisodePlan,
        hooks: Hooks,
        index: int,
    ) -> None:
        self._config, self._member, self._plan = config, member, plan
        self._hooks, self._index = hooks, index
        self._envs: list[VecEnv] = []
        self._model: BaseAlgorithm | None = None
        self._curve: list[Evaluation] = []
        self._kwargs: dict[str, Any] = {}

    def execute(self) -> TrainedRun:
        start = time.perf_counter()
        outcome: Outcome = "finished"
        reason: str | None = None
        try:
            self.build()
            self._learn()
        except StopRun as stop:
            outcome, reason = stop.outcome, stop.reason
        except Diverged as error:
            outcome, reason = "diverged", str(error)
        except (ValueError, RuntimeError, MemoryError, AssertionError) as error:
            outcome, reason = self._classify(error)
        model = self._model
        record = RunRecord(
            seed=self._member.seed,
            outcome=outcome,
            reason=reason,
            evaluations=tuple(self._curve),
            n_steps=0 if model is None else model.num_timesteps,
            n_updates=0 if model is None else int(getattr(model, "_n_updates", 0)),
            seconds=time.perf_counter() - start,
            kwargs=self._kwargs,
            n_threads=self._config.n_threads,
            versions=versions(),
        )
        statistics = find_vec_normalize(None if model is None else model.get_env())
        return TrainedRun(record, model, statistics)

    def build(self) -> None:
        config = self._config
        kwargs = merge(self._member.kwargs, {"policy_kwargs": build(config.policy_kwargs)})
        if config.her:
            kwargs.setdefault("replay_buffer_class", HerReplayBuffer)
        if not kwargs["policy_kwargs"]:
            del kwargs["policy_kwargs"]
        self._kwargs = describe(kwargs)
        algorithm_class = load_algorithm(config.algo)
        gamma = kwargs.get("gamma", default_gamma(algorithm_class))
        venv = make_training_envs(config, gamma)
        self._envs.append(venv)
        shortage = memory_shortage(algorithm_class, kwargs, venv, config.n_timesteps)
        if shortage is not None:
            raise StopRun("oom", shortage)
        if config.n_eval_envs > 0:
            self._envs.append(make_evaluation_envs(config, self._plan.max_episode_steps))
        tensorboard = self._hooks.tensorboard_dir
        self._model = algorithm_class(
            config.policy or choose_policy(algorithm_class, venv.observation_space),
            venv,
            seed=self._member.seed,
            device=config.device or choose_device(venv.observation_space),
            verbose=int(self._hooks.verbose),
            tensorboard_log=None if tensorboard is None else str(tensorboard),
            **build(self._kwargs),  # new objects: SB3 writes into the dicts it is given
        )

    def _learn(self) -> None:
        if self._model is None:
            raise RuntimeError("build must come before _learn")
        model, hooks = self._model, self._hooks
        evaluator = GridEvaluator(
            self._envs[1] if len(self._envs) > 1 else None,
            evaluation_grid(self._config.n_timesteps, self._config.n_evaluations),
            self._plan,
            check=lambda: hooks.on_step(model.num_timesteps),
        )
        ours = _GridCallback(evaluator, self._take, hooks.on_step)
        callbacks = CallbackList([ours, *hooks.callbacks])
        try:
            model.learn(self._config.n_timesteps, callback=callbacks)
        except (StopRun, Diverged):
            for callback in hooks.callbacks:
                callback.on_training_end()  # SB3 leaves it out when learn() raises
            raise

    def _take(self, evaluation: Evaluation) -> None:
        self._curve.append(evaluation)
        if self._index in self._hooks.on_evaluation({self._index: evaluation}):
            raise StopRun("dropped", f"dropped at step {evaluation.nominal_step}")

    def _classify(self, error: Exception) -> tuple[Outcome, str]:
        """Tell divergence and lack of memory from bugs, and raise the bugs again."""
        text = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        out_of_memory = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if out_of_memory or _NO_CPU_MEMORY in str(error):
            return "oom", text
        if _NAN_IN_DISTRIBUTION.search(str(error)):
            return "diverged", text
        if self._model is not None:
            try:
                check_finite_parameters(self._model)
            except Diverged as diverged:
                return "diverged", f"{diverged}; it caused {text}"
        raise error

    def close(self) -> None:
        for venv in self._envs:
            venv.close()
        self._envs.clear()
        self._model = None
        gc.collect()  # SB3's models are in reference cycles with their environments


class _GridCallback(BaseCallback):
    """Evaluates between rollouts and at the end, and asks the caller at every step."""

    def __init__(
        self, evaluator: GridEvaluator, take: Callable[[Evaluation], None], on_step: OnStep
    ) -> None:
        super().__init__()
        self._evaluator, self._take, self._caller_on_step = evaluator, take, on_step

    def _on_rollout_start(self) -> None:
        for evaluation in self._evaluator.evaluate(self.model):
            self._take(evaluation)

    def _on_step(self) -> bool:
        self._caller_on_step(self.num_timesteps)
        return True

    def _on_training_end(self) -> None:
        for evaluation in self._evaluator.evaluate(self.model, final=True):
            self._take(evaluation)
