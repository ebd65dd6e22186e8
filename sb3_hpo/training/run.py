"""One training run from start to end: what `train` repeats for every request."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.her.her_replay_buffer import HerReplayBuffer

from sb3_hpo.algorithms.kwargs import deserialize_kwargs, merge, serialize_kwargs
from sb3_hpo.algorithms.registry import default_gamma, load_algorithm
from sb3_hpo.envs.factory import (
    close_envs,
    find_vec_normalize,
    make_evaluation_envs,
    make_training_envs,
)
from sb3_hpo.results.run_record import Evaluation, Outcome, RunRecord
from sb3_hpo.training.batch.structure import CannotBatch
from sb3_hpo.training.callbacks import make_callbacks
from sb3_hpo.training.evaluator import (
    Diverged,
    GridEvaluator,
    check_finite_parameters,
    evaluation_grid,
)
from sb3_hpo.training.hooks import StopRun
from sb3_hpo.training.memory import memory_shortage
from sb3_hpo.training.models import choose_device, choose_policy, versions
from sb3_hpo.utils.formatting import storable, tail

if TYPE_CHECKING:
    from collections.abc import Callable

    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.vec_env import VecEnv, VecNormalize

    from sb3_hpo.config.training_config import TrainingConfig
    from sb3_hpo.training.evaluation_episodes import EpisodePlan
    from sb3_hpo.training.hooks import Hooks, OnStep, RunRequest

_NAN_IN_DISTRIBUTION = re.compile(r"Expected parameter .* but found invalid values", re.DOTALL)
_NO_CPU_MEMORY = "DefaultCPUAllocator: can't allocate memory"  # torch raises a bare RuntimeError


@dataclass(frozen=True)
class TrainedRun:
    """The end of a run.

    Attributes:
        index: Which request's.
        record: What happened.
        model: The model with its final policy; its environments are closed once the next run
            is asked for. None if the run ended before there was a model.
        vec_normalize: The statistics that belong to the model, if it was trained with any.
    """

    index: int
    record: RunRecord
    model: BaseAlgorithm | None = field(repr=False)
    vec_normalize: VecNormalize | None = field(repr=False)


class SharedClock:
    """The runs that are trained together, which share the time."""

    def __init__(
        self, n_runs: int = 0, join: Callable[[BaseAlgorithm], None] = lambda _: None
    ) -> None:
        """Start the time.

        Args:
            n_runs: How many; 0 for one that SB3 trains by itself.
            join: Called with each model, before it has learned anything; waits for the others.
        """
        self.n_runs, self.join = n_runs, join
        self._n_left, self._seconds, self._last = max(n_runs, 1), 0.0, time.perf_counter()

    def leave(self) -> float:
        """End a run; return its share of the time, in seconds."""
        now = time.perf_counter()
        self._seconds += (now - self._last) / self._n_left
        self._n_left -= 1
        self._last = now
        return self._seconds


class Run:
    """One run; owns its environments and model."""

    def __init__(
        self,
        config: TrainingConfig,
        request: RunRequest,
        plan: EpisodePlan,
        hooks: Hooks,
        index: int,
        dropped: set[int],
    ) -> None:
        self._config, self._request, self._plan = config, request, plan
        self._hooks, self.index, self.dropped = hooks, index, dropped
        self._envs: list[VecEnv] = []
        self._model: BaseAlgorithm | None = None
        self._curve: list[Evaluation] = []
        self._kwargs: dict[str, Any] = {}

    def execute(self, clock: SharedClock | None = None) -> TrainedRun:
        """Build, train and evaluate.

        Args:
            clock: The runs it is trained together with.

        Raises:
            CannotBatch: The runs cannot be trained together; nothing has been learned.
            Exception: Whatever a bug in the environment or elsewhere raises.
        """
        clock = clock or SharedClock()
        outcome: Outcome = "finished"
        reason: str | None = None
        try:
            clock.join(self.build(clock.n_runs))
            reason = self._learn(clock.n_runs)
        except CannotBatch:
            raise
        except StopRun as stop:
            outcome, reason = stop.outcome, stop.reason
        except Diverged as error:
            outcome, reason = "diverged", tail(str(error))
        except SystemExit as end:  # of a process that is not the environment's to end
            text = f"the environment, or something else in the run, called sys.exit({end.code!r})"
            raise RuntimeError(text).with_traceback(end.__traceback__) from None
        except Exception as error:  # noqa: BLE001 - raised again if it is a bug
            outcome, reason = self._classify(error)
        finally:
            seconds = clock.leave()
        model = self._model
        record = RunRecord(
            seed=self._request.seed,
            outcome=outcome,
            reason=reason,
            evaluations=tuple(self._curve),
            n_steps=0 if model is None else model.num_timesteps,
            n_updates=0 if model is None else int(getattr(model, "_n_updates", 0)),
            seconds=seconds,
            kwargs=self._kwargs,
            n_threads=self._config.n_threads,
            n_together=clock.n_runs,
            versions=versions(),
        )
        statistics = find_vec_normalize(None if model is None else model.get_env())
        return TrainedRun(self.index, record, model, statistics)

    def build(self, n_together: int = 1) -> BaseAlgorithm:
        """Build environments and model.

        Args:
            n_together: How many of the kind there will be in this process.

        Raises:
            StopRun: They do not fit into memory.
            CannotBatch: One of them does, but not so many.
        """
        config = self._config
        kwargs = merge(
            self._request.kwargs, {"policy_kwargs": deserialize_kwargs(config.policy_kwargs)}
        )
        if config.her:
            kwargs.setdefault("replay_buffer_class", HerReplayBuffer)
        if not kwargs["policy_kwargs"]:
            del kwargs["policy_kwargs"]
        self._kwargs = serialize_kwargs(kwargs)
        algorithm_class = load_algorithm(config.algo)
        gamma = kwargs.get("gamma", default_gamma(algorithm_class))
        venv = make_training_envs(config, gamma)
        self._envs.append(venv)
        if config.n_eval_envs > 0:
            self._envs.append(make_evaluation_envs(config, self._plan.max_episode_steps))
        tensorboard = self._hooks.tensorboard_dir
        model = algorithm_class(
            config.policy or choose_policy(algorithm_class, venv.observation_space),
            venv,
            seed=self._request.seed,
            device=config.device or choose_device(venv.observation_space),
            verbose=int(self._hooks.verbose),
            tensorboard_log=None if tensorboard is None else str(tensorboard),
            **deserialize_kwargs(
                self._kwargs
            ),  # new objects: SB3 writes into the dicts it is given
        )
        if (shortage := memory_shortage(model, config.n_timesteps)) is not None:
            raise StopRun("oom", shortage)
        if n_together > 1 and (
            shortage := memory_shortage(model, config.n_timesteps, n_runs=n_together)
        ):
            raise CannotBatch(shortage)
        self._model = model
        return model

    def _learn(self, n_together: int) -> str | None:
        """Train and evaluate; return why the training ended before its time, if a callback did it.

        The policy as it ended then stands for the evaluations that remain: it is what these
        callbacks leave of this budget.
        """
        if self._model is None:
            raise RuntimeError("build must come before _learn")
        model, hooks = self._model, self._hooks
        # Evaluations of runs that take turns last as long as all of them.
        max_seconds = self._plan.max_seconds * max(n_together, 1)
        evaluator = GridEvaluator(
            self._envs[1] if len(self._envs) > 1 else None,
            evaluation_grid(self._config.n_timesteps, self._config.n_evaluations),
            replace(self._plan, max_seconds=max_seconds),
            check=lambda: hooks.on_step(model.num_timesteps),
        )
        ours = _GridCallback(evaluator, self._take, self._on_step)
        users = [*make_callbacks(self._config), *hooks.callbacks]
        try:  # ours last: it evaluates the policy as the others leave it
            model.learn(self._config.n_timesteps, callback=CallbackList([*users, ours]))
        except (StopRun, Diverged):
            if not ours.has_ended:
                for callback in users:
                    callback.on_training_end()  # SB3 leaves it out when learn() raises
            raise
        if model.num_timesteps >= self._config.n_timesteps:
            return None
        return f"a callback ended the training at step {model.num_timesteps:,}"

    def _on_step(self, n_steps: int) -> None:
        if self.index in self.dropped:
            raise StopRun("dropped", f"dropped at step {n_steps}")
        self._hooks.on_step(n_steps)

    def _take(self, evaluation: Evaluation, *, final: bool = False) -> None:
        self._curve.append(evaluation)
        self.dropped.update(self._hooks.on_evaluation(self.index, evaluation))
        if self.index in self.dropped and not final:  # at its end there is nothing to save
            raise StopRun("dropped", f"dropped at step {evaluation.nominal_step}")

    def _classify(self, error: Exception) -> tuple[Outcome, str]:
        """Tell divergence and lack of memory from bugs, and raise the bugs again."""
        text = f"{type(error).__name__}: {storable(' '.join(str(error).split()))[:300]}"
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
        """Close the environments and let go of the model.

        What an environment raises then is logged: the run is over, and those that were trained
        together with it have yet to be taken.
        """
        for venv in self._envs:
            close_envs(venv)
        self._envs.clear()
        self._model = None


class _GridCallback(BaseCallback):
    """Evaluates between rollouts and at the end, and asks the caller at every step."""

    def __init__(
        self, evaluator: GridEvaluator, take: Callable[..., None], on_step: OnStep
    ) -> None:
        super().__init__()
        self.has_ended = False
        self._evaluator, self._take, self._caller_on_step = evaluator, take, on_step

    def _on_rollout_start(self) -> None:
        for evaluation in self._evaluator.evaluate(self.model):
            self._take(evaluation)

    def _on_step(self) -> bool:
        self._caller_on_step(self.num_timesteps)
        return True

    def _on_training_end(self) -> None:
        self.has_ended = True
        for evaluation in self._evaluator.evaluate(self.model, final=True):
            self._take(evaluation, final=True)
