"""How good, and how sure: robust means of scores, and intervals that resample seeds and episodes.

Scores of one environment are an array of shape [n_seeds, n_episodes]: the returns of the final
policy of each training seed; a row with fewer episodes than others ends in NaN. Several
environments are a sequence of such arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

Array: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.float64]]"
Scores: TypeAlias = "Array | Sequence[Array]"
Statistic: TypeAlias = Callable[[Array], Array]  # [..., n_runs] -> [...]

# From fewer seeds, a bootstrap's "95 %" interval holds much less often: in 82 % of simulated tests
# of three seeds, in 66 % of two. Nothing below is called an interval.
MIN_SEEDS = 5
_CHUNK = 4_000_000  # random numbers drawn at a time; bounds the memory of a bootstrap


@dataclass(frozen=True)
class Estimate:
    """A number with its confidence interval, where there are seeds enough for one.

    Attributes:
        value: The point estimate.
        interval: Lower and upper end; None from fewer than `MIN_SEEDS` seeds on either side.
    """

    value: float
    interval: tuple[float, float] | None = None

    @property
    def low(self) -> float:
        """Lower end of the interval, which must be there."""
        return self._ends()[0]

    @property
    def high(self) -> float:
        """Upper end of the interval, which must be there."""
        return self._ends()[1]

    def __contains__(self, number: float) -> bool:
        return self.low <= number <= self.high

    def _ends(self) -> tuple[float, float]:
        if self.interval is None:
            raise ValueError(f"there is no interval from fewer than {MIN_SEEDS} seeds")
        return self.interval


def iqm(values: Array) -> Array:
    """Return the interquartile mean along the last axis.

    Args:
        values: Shape [..., n_runs].

    Returns:
        Shape [...]: the mean without the lowest and the highest quarter (each rounded down).
        Less swayed by one lucky or unlucky seed than the mean, and less noisy than the median
        (Agarwal et al., 2021, https://arxiv.org/abs/2108.13264).

    >>> float(iqm(np.asarray([1.0, 2.0, 3.0, 100.0])))
    2.5
    """
    n_cut = values.shape[-1] // 4
    ordered = np.sort(values, axis=-1)
    kept: Array = ordered[..., n_cut : values.shape[-1] - n_cut].mean(axis=-1)
    return kept


def mean(values: Array) -> Array:
    """Return the mean along the last axis."""
    average: Array = values.mean(axis=-1)
    return average


def median(values: Array) -> Array:
    """Return the median along the last axis."""
    middle: Array = np.median(values, axis=-1)
    return middle


def seed_means(table: Array) -> Array:
    """Return each seed's mean over the episodes that it has.

    Args:
        table: Shape [n_seeds, n_episodes]; a shorter row ends in NaN.

    Returns:
        Shape [n_seeds].
    """
    means: Array = np.nanmean(table, axis=1)
    return means


def estimate(
    scores: Scores,
    statistic: Statistic,
    rng: np.random.Generator,
    *,
    n_resamples: int = 2000,
    confidence: float = 0.95,
) -> Estimate:
    """Estimate a statistic of the runs' mean returns, with a percentile interval.

    Args:
        scores: [n_seeds, n_episodes] of one environment, or one such array an environment.
        statistic: `iqm`, `mean`, `median`, or a function like them.
        rng: Random numbers for the bootstrap.
        n_resamples: Bootstrap resamples.
        confidence: Of the interval, in (0, 1).

    Returns:
        The statistic over all runs of all environments. The interval resamples, within each
        environment, first seeds and then each drawn seed's episodes: both are chance.
    """
    tables = _tables(scores)
    point = statistic(np.concatenate([seed_means(table) for table in tables]))
    drawn = statistic(_resample(tables, rng, n_resamples))
    return _estimate(float(point), drawn, confidence, tables)


def difference(
    ours: Scores,
    theirs: Scores,
    statistic: Statistic,
    rng: np.random.Generator,
    *,
    n_resamples: int = 2000,
    confidence: float = 0.95,
) -> Estimate:
    """Estimate by how much a statistic of our runs exceeds that of theirs.

    Args:
        ours: As for `estimate`.
        theirs: The other side, independent runs on the same environments.
        statistic: As for `estimate`.
        rng: Random numbers for the bootstrap.
        n_resamples: Bootstrap resamples.
        confidence: Of the interval, in (0, 1).

    Returns:
        The difference with its interval.
    """
    point, drawn = 0.0, np.zeros(n_resamples)
    for sign, tables in ((1, _tables(ours)), (-1, _tables(theirs))):
        point += sign * float(statistic(np.concatenate([seed_means(t) for t in tables])))
        drawn = drawn + sign * statistic(_resample(tables, rng, n_resamples))
    return _estimate(point, drawn, confidence, [*_tables(ours), *_tables(theirs)])


def probability_of_improvement(
    ours: Scores,
    theirs: Scores,
    rng: np.random.Generator,
    *,
    n_resamples: int = 2000,
    confidence: float = 0.95,
) -> Estimate:
    """Estimate how probable it is that a run of ours beats a run of theirs.

    Args:
        ours: As for `estimate`.
        theirs: The other side, independent runs on the same environments in the same order.
        rng: Random numbers for the bootstrap.
        n_resamples: Bootstrap resamples.
        confidence: Of the interval, in (0, 1).

    Returns:
        The mean over environments of P(our run > their run), ties counting one half
        (Mann-Whitney's U / (n m)).

    Raises:
        ValueError: The two sides have different numbers of environments.
    """
    points, drawn = [], np.zeros(n_resamples)
    pairs = list(zip(_tables(ours), _tables(theirs), strict=True))
    for left, right in pairs:
        points.append(float(_share_of_wins(seed_means(left), seed_means(right))))
        resampled = [_resample([table], rng, n_resamples) for table in (left, right)]
        drawn += _share_of_wins(*resampled) / len(pairs)
    tables = [table for pair in pairs for table in pair]
    return _estimate(float(np.mean(points)), drawn, confidence, tables)


def _share_of_wins(ours: Array, theirs: Array) -> Array:
    """Return, over the last axes [n] and [m], the share of pairs that ours wins."""
    gaps = ours[..., :, None] - theirs[..., None, :]
    share: Array = (0.5 * (np.sign(gaps) + 1)).mean(axis=(-2, -1))
    return share


def _tables(scores: Scores) -> list[Array]:
    """Return the scores as one two-dimensional array an environment."""
    tables = [scores] if isinstance(scores, np.ndarray) else list(scores)
    tables = [np.asarray(table, dtype=np.float64) for table in tables]
    if not tables or any(table.ndim != 2 or table.size == 0 for table in tables):
        shapes = [table.shape for table in tables]
        raise ValueError(f"scores must have shape [n_seeds, n_episodes], but got {shapes}")
    if any(np.isnan(table[:, 0]).any() for table in tables):
        raise ValueError("every seed must have an episode, but a row of scores begins with NaN")
    return tables


def _resample(tables: Sequence[Array], rng: np.random.Generator, n_resamples: int) -> Array:
    """Return resampled mean returns, shape [n_resamples, runs of all environments]."""
    return np.concatenate([_resample_one(table, rng, n_resamples) for table in tables], axis=1)


def _resample_one(table: Array, rng: np.random.Generator, n_resamples: int) -> Array:
    n_seeds, n_episodes = table.shape
    n_own = np.isfinite(table).sum(axis=1)
    drawn = np.empty((n_resamples, n_seeds))
    chunk = max(1, _CHUNK // table.size)
    for start in range(0, n_resamples, chunk):
        n = min(chunk, n_resamples - start)
        seeds = rng.integers(n_seeds, size=(n, n_seeds, 1))
        own = n_own[seeds]  # of its own episodes a seed draws as many as it has
        episodes = rng.integers(own, size=(n, n_seeds, n_episodes))
        counted = np.arange(n_episodes) < own
        drawn[start : start + n] = (table[seeds, episodes] * counted).sum(axis=2) / own[..., 0]
    return drawn


def _estimate(point: float, drawn: Array, confidence: float, tables: Sequence[Array]) -> Estimate:
    if min(map(len, tables)) < MIN_SEEDS:
        return Estimate(point)
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    # With few seeds the resamples need not straddle the point; an interval must.
    return Estimate(point, (min(float(low), point), max(float(high), point)))
