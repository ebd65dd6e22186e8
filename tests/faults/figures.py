"""What became of the studies that were attacked: seen before each fault, judged at the end."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from optuna.trial import FrozenTrial, TrialState

from sb3_hpo.results.trials import FINISHED, OUTCOME, RETRY_OF, outcome_of
from sb3_hpo.workers.lost_trials import MAX_LOSSES

if TYPE_CHECKING:
    from collections.abc import Iterable


class Ledger:
    """The finished trials of one study as they were first seen."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[Any, ...]] = {}

    def note(self, trials: Iterable[FrozenTrial]) -> None:
        """Remember the trials that are finished now."""
        for trial in trials:
            if trial.state in FINISHED:
                self._seen.setdefault(trial.number, _result(trial))

    def missing(self, trials: list[FrozenTrial]) -> list[int]:
        """Return the numbers of the trials that are not what they were."""
        now = {trial.number: _result(trial) for trial in trials}
        return [number for number, seen in self._seen.items() if now.get(number) != seen]


def _result(trial: FrozenTrial) -> tuple[Any, ...]:
    curve = tuple(trial.intermediate_values.items())
    return trial.state, trial.value, tuple(trial.params.items()), curve


@dataclass
class Figures:
    """The figures of one row of the suite.

    Attributes:
        row: The fault.
        injected: How often it was injected.
        trials: Finished trials in all studies.
        hit: Trials that failed because of it, and were tried again.
        lost: Finished trials that are gone or changed, and points that were given up silently.
        duplicates: Trial numbers and points that are there twice.
        overshoot: Finished trials beyond those asked for; negative where some are missing.
        zombies: Trials still RUNNING after all workers have ended.
        problems: Everything that must not be, in words.
    """

    row: str
    injected: int = 0
    trials: int = 0
    hit: int = 0
    lost: int = 0
    duplicates: int = 0
    overshoot: int = 0
    zombies: int = 0
    problems: list[str] = field(default_factory=list)

    def judge(self, trials: list[FrozenTrial], n_trials: int, ledger: Ledger) -> None:
        """Add a study whose workers have all ended.

        Args:
            trials: All its trials.
            n_trials: How many finished ones were asked for.
            ledger: What was seen before the faults.
        """
        n_finished = sum(trial.state in FINISHED for trial in trials)
        running = [trial.number for trial in trials if trial.state is TrialState.RUNNING]
        self.trials += n_finished
        self.hit += sum(outcome_of(trial) in ("lost", "interrupted") for trial in trials)
        self.overshoot += n_finished - n_trials
        self.zombies += len(running)
        if n_finished != n_trials:
            self.problems.append(f"{n_finished} finished trials instead of {n_trials}")
        if running:
            self.problems.append(f"trials {running} are RUNNING without a worker")
        if missing := ledger.missing(trials):
            self.lost += len(missing)
            self.problems.append(f"finished trials {missing} are not what they were")
        self._judge_numbers(trials)
        self._judge_points(trials)
        self._judge_repetitions(trials)
        self._judge_failures(trials)

    def _judge_numbers(self, trials: list[FrozenTrial]) -> None:
        numbers = [trial.number for trial in trials]
        if sorted(numbers) != list(range(len(numbers))):
            self.duplicates += len(numbers) - len(set(numbers))
            self.problems.append(f"the trials' numbers are {numbers}")

    def _judge_points(self, trials: list[FrozenTrial]) -> None:
        """Check that every point was finished once, or is waiting, or was written off."""
        tries = defaultdict(list)
        for trial in trials:
            tries[trial.user_attrs.get(RETRY_OF, trial.number)].append(trial)
        for root, point in tries.items():
            n_finished = sum(trial.state in FINISHED for trial in point)
            n_lost = sum(outcome_of(trial) == "lost" for trial in point)
            stories = [f"{t.number}: {t.state.name} {t.user_attrs.get(OUTCOME)}" for t in point]
            if n_finished > 1:
                self.duplicates += n_finished - 1
                self.problems.append(f"the point of trial {root} has two results: {stories}")
            if n_lost > MAX_LOSSES + 1:
                self.problems.append(f"the point of trial {root} was tried too often: {stories}")
            if n_finished == 0 and point[-1].params and outcome_of(point[-1]) != "error":
                self.lost += 1
                self.problems.append(f"the point of trial {root} was given up: {stories}")

    def _judge_repetitions(self, trials: list[FrozenTrial]) -> None:
        """Check that no two results are of the same point."""
        points = Counter(
            tuple(sorted(trial.params.items())) for trial in trials if trial.state in FINISHED
        )
        repeated = [point for point, n_results in points.items() if point and n_results > 1]
        if repeated:
            self.duplicates += len(repeated)
            self.problems.append(f"there are several results of {repeated}")

    def _judge_failures(self, trials: list[FrozenTrial]) -> None:
        known = ("lost", "interrupted", "surplus", "error")
        unknown = [
            trial.number
            for trial in trials
            if trial.state is TrialState.FAIL and outcome_of(trial) not in known
        ]
        if unknown:
            self.problems.append(f"nothing says why trials {unknown} failed")

    def line(self) -> str:
        """Return the figures in one line."""
        return (
            f"{self.row}: {self.injected} injected; {self.trials} trials, {self.hit} hit and "
            f"tried again, {self.lost} lost, {self.duplicates} duplicates, "
            f"overshoot {self.overshoot}, {self.zombies} zombies"
        )
