"""The runs of one trial that differ in their training seeds only, and what they say together."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sb3_hpo.study.callback import report_evaluation

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    import optuna

    from sb3_hpo.results.run_record import Evaluation, RunRecord

# What a trial has come to if its runs have come to different ends: the gravest of them.
_GRAVEST_FIRST = ("interrupted", "oom", "timeout", "diverged", "dropped", "finished")


class TrialRuns:
    """A trial's runs, one a training seed; its value is their mean.

    Attributes:
        trial: The trial.
        n_seeds: How many runs it has.
        records: The runs that have ended, by the number of their seed.
        has_failed: Whether a bug has ended one of them, and with it the trial.
    """

    def __init__(self, trial: optuna.Trial, n_seeds: int, n_timesteps: int) -> None:
        """Prepare.

        Args:
            n_seeds: How many runs.
            n_timesteps: Length of a run in environment steps.
        """
        self.trial = trial
        self.records: dict[int, RunRecord] = {}
        self.has_failed = False
        self.n_seeds, self._n_timesteps = n_seeds, n_timesteps
        self._curves: list[list[Evaluation]] = [[] for _ in range(n_seeds)]

    @property
    def has_ended(self) -> bool:
        """Whether all runs have ended, none of them by a bug."""
        return not self.has_failed and len(self.records) == self.n_seeds

    def report(self, seed: int, evaluation: Evaluation) -> bool:
        """Take an evaluation, and report the mean once all runs have come to its step.

        Args:
            seed: Number of the run's seed.
            evaluation: Of that run.

        Returns:
            Whether the trial should be pruned.
        """
        self._curves[seed].append(evaluation)
        step = len(self._curves[seed]) - 1
        if any(len(curve) <= step for curve in self._curves):
            return False
        mean = _join([curve[step] for curve in self._curves])
        return report_evaluation(self.trial, mean, self._n_timesteps)

    def end(self, seed: int, record: RunRecord) -> None:
        """Take the record of a run.

        Args:
            seed: Number of the run's seed.
            record: What came of it.
        """
        self.records[seed] = record

    def curves(self) -> list[list[float]]:
        """Return the values of each run's evaluations."""
        return [[evaluation.value for evaluation in curve] for curve in self._curves]

    def record(self) -> RunRecord:
        """Return what all runs are together: one run, if there is one.

        Returns:
            The first seed's record with the evaluations that all runs have reached, each with the
            episodes of all, the steps, updates and seconds of all, and the gravest outcome.
        """
        records = [self.records[seed] for seed in sorted(self.records)]
        if len(records) == 1:
            return records[0]
        worst = min(
            records, key=lambda one: (_GRAVEST_FIRST.index(one.outcome), one.reason is None)
        )
        return replace(
            records[0],
            outcome=worst.outcome,
            reason=worst.reason,
            evaluations=tuple(_join(list(same)) for same in zip(*self._curves, strict=False)),
            n_steps=sum(record.n_steps for record in records),
            n_updates=sum(record.n_updates for record in records),
            seconds=sum(record.seconds for record in records),
        )


class TrialRunRouter:
    """Passes on what is told of single runs to the trials that they belong to.

    Its `on_...` methods are those that `Hooks` wants.
    """

    def __init__(
        self,
        trials: Sequence[TrialRuns],
        on_trial_end: Callable[[TrialRuns, Exception | None], None],
    ) -> None:
        """Prepare.

        Args:
            trials: Their runs are numbered through, seed by seed.
            on_trial_end: Called once a trial, when all its runs have ended or with the first
                error.
        """
        self._on_trial_end = on_trial_end
        self._runs = [(trial, seed) for trial in trials for seed in range(trial.n_seeds)]

    def on_evaluation(self, index: int, evaluation: Evaluation) -> Collection[int]:
        """Take a run's evaluation; return all runs of its trial if that is to be pruned."""
        trial, seed = self._runs[index]
        return self._all_of(trial) if trial.report(seed, evaluation) else ()

    def on_end(self, index: int, record: RunRecord) -> Collection[int]:
        """Take a run's record; return all runs of its trial if that has come to its end by it."""
        trial, seed = self._runs[index]
        trial.end(seed, record)
        if trial.has_ended:
            self._on_trial_end(trial, None)
        return () if record.outcome == "finished" else self._all_of(trial)

    def on_error(self, index: int, error: Exception) -> Collection[int]:
        """Take what a bug has raised in a run; return all runs of its trial."""
        trial, _ = self._runs[index]
        if not trial.has_failed:
            trial.has_failed = True
            self._on_trial_end(trial, error)
        return self._all_of(trial)

    def _all_of(self, trial: TrialRuns) -> Collection[int]:
        return [index for index, (other, _) in enumerate(self._runs) if other is trial]


def _join(evaluations: list[Evaluation]) -> Evaluation:
    """Put the episodes of equal numbers of episodes together, so that means are means of means."""
    first = evaluations[0]
    if len(evaluations) == 1:
        return first
    metrics = [item.metric for item in evaluations if item.metric is not None]
    return replace(
        first,
        actual_step=max(item.actual_step for item in evaluations),
        returns=tuple(value for item in evaluations for value in item.returns),
        lengths=tuple(value for item in evaluations for value in item.lengths),
        metric=tuple(value for metric in metrics for value in metric) if metrics else None,
        seconds=sum(item.seconds for item in evaluations),
        truncated=any(item.truncated for item in evaluations),
    )
