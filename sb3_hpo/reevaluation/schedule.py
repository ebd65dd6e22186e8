"""The re-evaluation of a study: which runs it still needs, decided from those it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sb3_hpo.reevaluation.race import Race
from sb3_hpo.results.reevaluation_runs import (
    BASELINE,
    MODEL_FILE,
    POLICY_FILE,
    STATISTICS_FILE,
    Candidate,
    make_request,
    model_folder,
    runs_of,
)
from sb3_hpo.results.study_result import race_score
from sb3_hpo.utils.files import copy_atomically

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from sb3_hpo.config.study_config import StudyConfig
    from sb3_hpo.reevaluation.race import Round
    from sb3_hpo.results.reevaluation_runs import (
        ReevaluationLog,
        ReevaluationRequest,
        ReevaluationRun,
        Stage,
    )
    from sb3_hpo.results.study_result import TestResult


# SB3's default is mostly far behind, and three seeds that all lose to ten (or all win) say so with
# a probability of error of 1/286. Only where they do not, it gets as many seeds as the winner.
_FEW_SEEDS = 3


class Reevaluation:
    """Knows what is still to be trained; every result it is given is on disk at once."""

    def __init__(
        self,
        config: StudyConfig,
        log: ReevaluationLog,
        candidates: Sequence[Candidate],
        rounds: Sequence[Round],
    ) -> None:
        """Prepare.

        Args:
            log: The file of finished runs; those in it are not trained again.
            candidates: Best first.
            rounds: Of their race.
        """
        self._config, self._log = config, log
        self._candidates, self._rounds = list(candidates), tuple(rounds)
        self._done = {run.key: run for run in log.read()}

    def on_result(self, run: ReevaluationRun) -> None:
        """Take the result of a run."""
        self._log.append(run)
        self._done[run.key] = run

    def due(self, broken: Collection[str] = ()) -> list[ReevaluationRequest]:
        """Return the runs that are wanted now, the most urgent first.

        Args:
            broken: Keys of runs that cannot be trained.

        Returns:
            The runs; none when the re-evaluation is complete. What comes after the race waits
            for its end, except SB3's default, which will be tested in any case.
        """
        winner, racing = self._race(broken)
        few = [self._spec("test", BASELINE, index) for index in range(_FEW_SEEDS)]
        few = few[: self._config.test_seeds]
        if winner is None:
            wanted = [*racing, *few]
        else:
            self._log.choose(winner)
            wanted = self._tests(winner)
            # Where time runs out, a few seeds of both say more than many of one.
            wanted = [*wanted[:_FEW_SEEDS], *few, *wanted[_FEW_SEEDS:]]
            if not self._missing(wanted, broken) and not self._is_settled(winner):
                wanted = self._tests(BASELINE)
        return self._missing(wanted, broken)

    def _spec(self, stage: Stage, candidate: Candidate, seed_index: int) -> ReevaluationRequest:
        return make_request(self._config, stage, candidate, seed_index)

    def _tests(self, candidate: Candidate) -> list[ReevaluationRequest]:
        return [self._spec("test", candidate, index) for index in range(self._config.test_seeds)]

    def _missing(
        self, requests: list[ReevaluationRequest], broken: Collection[str]
    ) -> list[ReevaluationRequest]:
        keys = [request.key(self._config) for request in requests]
        return [
            request
            for request, key in zip(requests, keys, strict=True)
            if key not in self._done and key not in broken
        ]

    def _race(self, broken: Collection[str]) -> tuple[Candidate | None, list[ReevaluationRequest]]:
        """Run the race as far as the results reach: its winner, or the runs that it waits for."""
        race = Race([c.trial_value or 0.0 for c in self._candidates], self._rounds)
        while due := race.due():
            waiting = []
            for index, seed_index in due:
                request = self._spec("race", self._candidates[index], seed_index)
                key = request.key(self._config)
                if key in self._done:
                    race.add(index, seed_index, race_score(self._done[key], self._config))
                elif key in broken:
                    race.add(index, seed_index, -float("inf"))
                else:
                    waiting.append(request)
            if waiting:
                return None, waiting
        return self._candidates[race.leader()], []

    def _is_settled(self, winner: Candidate) -> bool:
        """Say whether every seed of SB3's default lies on one side of all of the winner's."""
        ours, theirs = (
            [run.final.value if run.final else -float("inf") for run in self._tested(candidate)]
            for candidate in (winner, BASELINE)
        )
        if len(theirs) < _FEW_SEEDS or not ours:
            return False
        return max(theirs) < min(ours) or max(ours) < min(theirs)

    def _tested(self, candidate: Candidate) -> list[ReevaluationRun]:
        return runs_of(self._config, list(self._done.values()), "test", candidate)


def keep_median_model(run_dir: Path, tested: TestResult | None) -> Path | None:
    """Copy the final policy of the median seed to `best_model.zip`, never the luckiest.

    Args:
        run_dir: The folder that has the models.
        tested: Whose policies.

    Returns:
        The file, or None if there is no policy, or its model has been deleted since.
    """
    run = None if tested is None else tested.median_run
    if run is None:
        return None
    folder = model_folder(run_dir, run.trial, run.seed_index, run.key)
    if not (folder / MODEL_FILE).exists():
        return None
    if (folder / STATISTICS_FILE).exists():
        copy_atomically(folder / STATISTICS_FILE, run_dir / STATISTICS_FILE)
    best = run_dir / POLICY_FILE
    copy_atomically(folder / MODEL_FILE, best)
    return best
