"""From a trial to its value: sample, train, score. Which outcome of its runs is which state."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import TrialState

from sb3_hpo.algorithms.kwargs import deserialize_kwargs
from sb3_hpo.results.trials import KWARGS_OVERRIDE, OUTCOME, RUN, SEED_CURVES, mark_infeasible
from sb3_hpo.scoring.score_rules import score_rule
from sb3_hpo.study.trial_runs import TrialRunRouter, TrialRuns
from sb3_hpo.training.batch.structure import CannotBatch
from sb3_hpo.training.hooks import Hooks, OnStep, RunRequest
from sb3_hpo.training.train import train
from sb3_hpo.utils.seeding import Stream, derive_seed, derive_seeds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sb3_hpo.config.study_config import StudyConfig
    from sb3_hpo.results.run_record import RunRecord


@dataclass(frozen=True)
class TrialOutcome:
    """What to tell the study about a trial.

    Attributes:
        state: COMPLETE, PRUNED, or FAIL for an interrupted trial.
        value: The trial value of a COMPLETE trial.
        record: The run behind it.
    """

    state: TrialState
    value: float | None
    record: RunRecord


class Objective:
    """Runs one trial in this process.

    `run_trial` says what to tell the study. Calling the objective itself follows Optuna's
    protocol, so that it can be handed to `study.optimize`.
    """

    def __init__(
        self,
        config: StudyConfig,
        sample: Callable[[Any], dict[str, Any]],
        *,
        on_step: OnStep = lambda _: None,
        run_dir: Path | None = None,
    ) -> None:
        """Prepare.

        Args:
            sample: From a trial to keyword arguments of the algorithm.
            on_step: Called at every environment step; may raise `StopRun`.
            run_dir: Where `--tensorboard` logs go.
        """
        self._config = config
        self._sample = sample
        self._on_step = on_step
        self._run_dir = run_dir
        self._score = score_rule(config.score)
        self._episode_seeds = derive_seeds(
            config.seed, Stream.SEARCH_EPISODES, config.n_eval_episodes
        )

    def __call__(self, trial: optuna.Trial) -> float:
        """Return the trial value.

        Args:
            trial: A running trial.

        Returns:
            The score of the learning curve.

        Raises:
            optuna.TrialPruned: The trial was pruned, diverged, or went over its limits.
            KeyboardInterrupt: It was stopped from outside.
        """
        outcome = self.run_trial(trial)
        if outcome.state is TrialState.PRUNED:
            raise optuna.TrialPruned(outcome.record.reason or "pruned")
        if outcome.value is None:
            raise KeyboardInterrupt(outcome.record.reason)
        return outcome.value

    def run_trial(self, trial: optuna.Trial) -> TrialOutcome:
        """Train the trial's sample and say what came of it.

        Args:
            trial: A running trial; its record is written to its user attributes.

        Returns:
            The outcome; an exception of the environment or the code passes through.
        """
        outcomes: list[TrialOutcome | Exception] = []
        self.run_trials([trial], lambda _, outcome: outcomes.append(outcome))
        (outcome,) = outcomes
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def run_trials(
        self,
        trials: Sequence[optuna.Trial],
        on_result: Callable[[optuna.Trial, TrialOutcome | Exception], None],
    ) -> None:
        """Train the samples of one trial, or of several together.

        Args:
            trials: Running trials.
            on_result: Called once with each trial and its outcome, or the exception that its
                environment or the code has raised, as soon as its last run has ended.

        Raises:
            CannotBatch: Several trials cannot be trained together. None of those that
                `on_result` has not been called with has learned anything.
        """
        all_runs: list[TrialRuns] = []
        requests: list[RunRequest] = []
        for trial in trials:
            try:
                kwargs = self.sample(trial)
            except Exception as error:  # noqa: BLE001 - of the user's search space
                on_result(trial, error)
                continue
            all_runs.append(TrialRuns(trial, self._config.n_seeds, self._config.n_timesteps))
            requests += [RunRequest(kwargs, seed) for seed in self._training_seeds(trial)]
        if not all_runs:
            return

        def on_trial_end(runs: TrialRuns, error: Exception | None) -> None:
            on_result(runs.trial, self._outcome_or_error(runs) if error is None else error)

        def on_alone(reason: str) -> None:
            if len(all_runs) > 1:
                raise CannotBatch(reason)

        router = TrialRunRouter(all_runs, on_trial_end)
        hooks = Hooks(
            on_evaluation=router.on_evaluation,
            on_step=self._on_step,
            on_end=router.on_end,
            on_error=router.on_error,
            on_alone=on_alone,
            tensorboard_dir=self._logs_of(trials[0]),
            verbose=self._config.verbose,
        )
        for _ in train(self._config, requests, self._episode_seeds, hooks):
            pass  # `router` has heard of it

    def _training_seeds(self, trial: optuna.Trial) -> list[int]:
        n_seeds = self._config.n_seeds
        indices = range(trial.number * n_seeds, (trial.number + 1) * n_seeds)
        return [derive_seed(self._config.seed, Stream.SEARCH_TRAINING, index) for index in indices]

    def sample(self, trial: optuna.Trial) -> dict[str, Any]:
        """Return the keyword arguments that a trial is about.

        Args:
            trial: A running trial.
        """
        # Sampling also where the result is overridden: a trial without parameters would take
        # every dimension out of TPE's joint search space.
        kwargs = self._sample(trial)
        if KWARGS_OVERRIDE in trial.user_attrs:
            kwargs = deserialize_kwargs(trial.user_attrs[KWARGS_OVERRIDE])
        return kwargs

    def _outcome_or_error(self, runs: TrialRuns) -> TrialOutcome | Exception:
        try:
            return self._outcome(runs)
        except Exception as error:  # noqa: BLE001 - of the user's score rule
            return error

    def _outcome(self, runs: TrialRuns) -> TrialOutcome:
        trial, record = runs.trial, runs.record()
        trial.set_user_attr(RUN, record.to_dict())
        if len(runs.records) > 1:
            trial.set_user_attr(SEED_CURVES, runs.curves())
        if record.outcome in ("diverged", "oom", "timeout"):
            mark_infeasible(trial, record.outcome, record.reason)
            return TrialOutcome(TrialState.PRUNED, None, record)
        trial.set_user_attr(OUTCOME, record.outcome)
        if record.outcome == "interrupted":
            return TrialOutcome(TrialState.FAIL, None, record)
        if record.outcome == "dropped":
            return TrialOutcome(TrialState.PRUNED, None, record)
        value = float(self._score([evaluation.value for evaluation in record.evaluations]))
        if not math.isfinite(value):
            raise ValueError(f"the score rule {self._config.score!r} returned {value}")
        return TrialOutcome(TrialState.COMPLETE, value, record)

    def _logs_of(self, trial: optuna.Trial) -> Path | None:
        if not self._config.tensorboard or self._run_dir is None:
            return None
        return self._run_dir / "tensorboard" / f"trial-{trial.number}"
