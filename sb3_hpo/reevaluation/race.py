"""The race: which of the best trials is the best, decided with as few runs as will do.

Knows nothing of training: it says which runs it wants next and is told their scores.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# All constants: scripts/benchmark_decisions.py, on real learning curves. More rounds, more seeds
# or more candidates than these find nothing better there.
_MIN_TRIALS = 24  # below, runs are better spent on trials than on choosing among them
_TRIALS_PER_CANDIDATE = 15
_FEWEST, _MOST = 3, 8  # candidates by default
_VALUE_WEIGHT = 0.5  # a trial value counts half a race run: it was picked for being high

# Two-sided 90 % quantiles of Student's t for 2, 3, ... degrees of freedom: a candidate goes when
# the leader is better with a confidence of 95 %. One degree of freedom decides nothing.
_T_QUANTILES = (2.920, 2.353, 2.132, 2.015, 1.943, 1.895, 1.860, 1.833, 1.812)


@dataclass(frozen=True)
class Round:
    """One round of a race.

    Attributes:
        n_candidates: How many are still in it.
        n_seeds: Race seeds that each of them has at its end.
    """

    n_candidates: int
    n_seeds: int


def plan_race(
    n_trials: int, top: int | None = None, *, is_cheap: bool = False
) -> tuple[Round, ...]:
    """Plan a race: a seed for every candidate, then a second one for the better half.

    Where more seeds in the same batch are cheap, two for every candidate, then five.

    Args:
        n_trials: Finished trials of the study.
        top: How many candidates; default: one for fifteen trials, 3 to 8.
        is_cheap: Whether seeds that are trained together are.

    Returns:
        The rounds; none if there are so few trials that the best one should be tested at once,
        or only one candidate is wanted.

    >>> [(r.n_candidates, r.n_seeds) for r in plan_race(60)]
    [(4, 1), (2, 2)]
    """
    if top is None:
        if n_trials < _MIN_TRIALS:
            return ()
        top = min(max(round(n_trials / _TRIALS_PER_CANDIDATE), _FEWEST), _MOST)
    if top == 1:
        return ()
    few, many = (2, 5) if is_cheap else (1, 2)
    if top == 2:
        return (Round(2, many),)
    return (Round(top, few), Round((top + 1) // 2, many))


def batch_cost(n_runs: int, cost_ratio: float = 1.0) -> float:
    """Return what runs cost that are trained together, in runs alone.

    Args:
        n_runs: How many.
        cost_ratio: Of another one in the same batch.
    """
    return 1 + cost_ratio * (n_runs - 1) if n_runs > 0 else 0.0


def race_cost(rounds: Sequence[Round], cost_ratio: float = 1.0) -> float:
    """Return what a race costs at most, in runs alone.

    Args:
        rounds: Its plan.
        cost_ratio: Of another seed in the same batch.

    >>> race_cost(plan_race(60))
    6.0
    """
    seeds = [0, *(round_.n_seeds for round_ in rounds)]
    return sum(
        (
            round_.n_candidates * batch_cost(round_.n_seeds - before, cost_ratio)
            for round_, before in zip(rounds, seeds, strict=False)
        ),
        0.0,
    )


class Race:
    """Candidates, numbered from 0 in the order of their trial values, best first."""

    def __init__(self, trial_values: Sequence[float], rounds: Sequence[Round]) -> None:
        """Prepare.

        Args:
            trial_values: One a candidate, best first, at least one.
            rounds: The plan; a field larger than there are candidates is all of them.
        """
        self._values = list(trial_values)
        self._rounds = list(rounds)
        self._field = list(range(len(self._values)))
        self._scores: dict[tuple[int, int], float] = {}
        if rounds:
            self._field = self._field[: rounds[0].n_candidates]

    def add(self, candidate: int, seed_index: int, score: float) -> None:
        """Take the score of a run.

        Args:
            candidate: Whose.
            seed_index: Which of its race seeds.
            score: Larger is better; -inf for a run that did not finish.
        """
        self._scores[candidate, seed_index] = score

    def due(self) -> list[tuple[int, int]]:
        """Return the runs wanted now, as (candidate, seed index); none when the race is over."""
        while self._rounds:
            due = [
                (candidate, seed_index)
                for seed_index in range(self._rounds[0].n_seeds)
                for candidate in self._field
                if (candidate, seed_index) not in self._scores
            ]
            if due:
                return due
            self._rounds.pop(0)
            n_next = self._rounds[0].n_candidates if self._rounds else len(self._field)
            self._field = [c for c in self._ranked()[:n_next] if not self._is_beaten(c)]
            if len(self._field) == 1:
                self._rounds.clear()  # decided: what is left would be spent for nothing
        return []

    def leader(self) -> int:
        """Return the best candidate so far."""
        return self._ranked()[0]

    def _ranked(self) -> list[int]:
        return sorted(self._field, key=lambda candidate: (-self._mean(candidate), candidate))

    def _mean(self, candidate: int) -> float:
        scores = self._scores_of(candidate)
        # fsum: the same to the last bit in whatever order the scores came, so ties stay ties.
        total = math.fsum([*scores, _VALUE_WEIGHT * self._values[candidate]])
        return total / (len(scores) + _VALUE_WEIGHT)

    def _scores_of(self, candidate: int) -> list[float]:
        return [score for (owner, _), score in self._scores.items() if owner == candidate]

    def _is_beaten(self, candidate: int) -> bool:
        """Say whether the leader is better beyond the noise between seeds."""
        leader = self.leader()
        if candidate == leader:
            return False
        if not math.isfinite(self._mean(candidate)):
            return True
        variance, n_free = self._noise()
        if n_free < 2:
            return False
        n_own, n_best = len(self._scores_of(candidate)), len(self._scores_of(leader))
        deviation = math.sqrt(variance * (1 / n_own + 1 / n_best))
        quantile = _T_QUANTILES[min(n_free - 2, len(_T_QUANTILES) - 1)]
        return self._mean(leader) - self._mean(candidate) > quantile * deviation

    def _noise(self) -> tuple[float, int]:
        """Estimate the variance between seeds, pooled over candidates, and its degrees of freedom.

        A trial value is one more seed. It was picked for being high, which makes all of them too
        high by about the same amount: that amount is estimated too.
        """
        raced = [c for c in range(len(self._values)) if self._scores_of(c)]
        groups = {c: [self._values[c], *self._scores_of(c)] for c in raced}
        groups = {c: own for c, own in groups.items() if all(map(math.isfinite, own))}
        n_free = sum(len(own) - 1 for own in groups.values()) - 1
        if n_free < 1:
            return math.inf, n_free
        bias = fmean(own[0] - fmean(own[1:]) for own in groups.values())
        fair = [[own[0] - bias, *own[1:]] for own in groups.values()]
        squares = math.fsum((score - fmean(own)) ** 2 for own in fair for score in own)
        return squares / n_free, n_free
