"""From a trial to its value: sample, train, score. Which outcome is which state, only here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import TrialState

from sb3_hpo.algorithms.kwargs import build
from sb3_hpo.results.trials import KWARGS_OVERRIDE, OUTCOME, RUN, SEED_CURVES, mark_infeasible
from sb3_hpo.scoring.score_rules import score_rule
from sb3_hpo.study.trial_runs import SeedGroup, SeedGroups
from sb3_hpo.training.batch.structure import CannotBatch
from sb3_hpo.training.hooks import Hooks, Member, OnStep
from sb3_hpo.training.train import train
from sb3_hpo.utils.seeding import Stream, derive_seed, derive_seeds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sb3_hpo.config.study_config import StudyConfig
    from sb3_hpo.results.run_record import RunRecord


@dataclass(frozen=True)
class Verdict:
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

    `judge` says what to tell the study. Calling the objective itself follows Optuna's protocol,
    so that it can be handed to `study.optimize`.
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
            config: The study's configuration.
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
        verdict = self.judge(trial)
        if verdict.state is TrialState.PRUNED:
            raise optuna.TrialPruned(verdict.record.reason or "pruned")
        if verdict.value is None:
            raise KeyboardInterrupt(verdict.record.reason)
        return verdict.value

    def judge(self, trial: optuna.Trial) -> Verdict:
        """Train the trial's sample and say what came of it.

        Args:
            trial: A running trial; its record is written to its user attributes.

        Returns:
            The verdict; an exception of the environment or the code passes through.
        """
        outcomes: list[Verdict | Exception] = []
        self.judge_all([trial], lambda _, outcome: outcomes.append(outcome))
        (outcome,) = outcomes
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def judge_all(
        self,
        trials: Sequence[optuna.Trial],
        take: Callable[[optuna.Trial, Verdict | Exception], None],
    ) -> None:
        """Train the samples of one trial, or of several together.

        Args:
            trials: Running trials.
            take: Called once with each trial and its verdict, or the exception that its
                environment or the code has raised, as soon as its last run has ended.

        Raises:
            CannotBatch: Several trials cannot be trained together. None of those that `take` has
                not been called with has learned anything.
        """
        groups: list[SeedGroup] = []
        members: list[Member] = []
        for trial in trials:
            try:
                kwargs = self.sample(trial)
            except Exception as error:  # noqa: BLE001 - of the user's search space
                take(trial, error)
                continue
            groups.append(SeedGroup(trial, self._config.n_seeds, self._config.n_timesteps))
            members += [Member(kwargs, seed) for seed in self._training_seeds(trial)]
        if not groups:
            return

        def conclude(group: SeedGroup, error: Exception | None) -> None:
            take(group.trial, self._outcome(group) if error is None else error)

        def on_alone(reason: str) -> None:
            if len(groups) > 1:
                raise CannotBatch(reason)

        said = SeedGroups(groups, conclude)
        hooks = Hooks(
            on_evaluation=said.on_evaluation,
            on_step=self._on_step,
            on_end=said.on_end,
            on_error=said.on_error,
            on_alone=on_alone,
            tensorboard_dir=self._logs_of(trials[0]),
            verbose=self._config.verbose,
        )
        for _ in train(self._config, members, self._episode_seeds, hooks):
            pass  # `said` has heard of it

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
            kwargs = build(trial.user_attrs[KWARGS_OVERRIDE])
        return kwargs

    def _outcome(self, group: SeedGroup) -> Verdict | Exception:
        try:
            return self._verdict(group)
        except Exception as error:  # noqa: BLE001 - of the user's score rule
            return error

    def _verdict(self, group: SeedGroup) -> Verdict:
        trial, record = group.trial, group.record()
        trial.set_user_attr(RUN, record.to_dict())
        if len(group.records) > 1:
            trial.set_user_attr(SEED_CURVES, group.curves())
        if record.outcome in ("diverged", "oom", "timeout"):
            mark_infeasible(trial, record.outcome, record.reason)
            return Verdict(TrialState.PRUNED, None, record)
        trial.set_user_attr(OUTCOME, record.outcome)
        if record.outcome == "interrupted":
            return Verdict(TrialState.FAIL, None, record)
        if record.outcome == "dropped":
            return Verdict(TrialState.PRUNED, None, record)
        value = float(self._score([evaluation.value for evaluation in record.evaluations]))
        if not math.isfinite(value):
            raise ValueError(f"the score rule {self._config.score!r} returned {value}")
        return Verdict(TrialState.COMPLETE, value, record)

    def _logs_of(self, trial: optuna.Trial) -> Path | None:
        if not self._config.tensorboard or self._run_dir is None:
            return None
        return self._run_dir / "tensorboard" / f"trial-{trial.number}"
