from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import stats

from sb3_hpo.scoring import statistics
from sb3_hpo.scoring.statistics import (
    Estimate,
    difference,
    estimate,
    iqm,
    mean,
    median,
    probability_of_improvement,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from sb3_hpo.scoring.statistics import Array, Statistic

STATISTICS = (iqm, mean, median)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def ends(interval: Estimate) -> tuple[float, float]:
    return interval.low, interval.high


def tables_of(scores: Array) -> list[Array]:
    """Turn rliable's [n_runs, n_environments] into one table of one episode an environment."""
    return [scores[:, [column]] for column in range(scores.shape[1])]


@pytest.mark.parametrize("n", [*range(1, 14), 50, 101])
def test_iqm_is_scipy_s_trimmed_mean(n: int) -> None:
    values = rng(n).standard_cauchy(n)
    assert float(iqm(values)) == pytest.approx(stats.trim_mean(values, 0.25), rel=1e-12)


def test_iqm_of_eight_leaves_out_two_on_each_side() -> None:
    assert float(iqm(np.asarray([9.0, -100.0, 3.0, 4.0, 0.0, 5.0, 99.0, 6.0]))) == 4.5


@pytest.mark.parametrize("statistic", STATISTICS)
def test_statistics_work_along_the_last_axis_and_leave_their_input(statistic: Statistic) -> None:
    values = rng().normal(size=(2, 3, 7))
    before = values.copy()
    expected = [[float(statistic(values[i, j])) for j in range(3)] for i in range(2)]
    assert statistic(values) == pytest.approx(np.asarray(expected), rel=1e-12)
    assert np.array_equal(values, before)


@pytest.mark.parametrize("n_environments", [1, 2, 5])
def test_estimate_points_are_rliable_s(n_environments: int) -> None:
    from rliable import metrics

    for n_runs in (1, 2, 3, 10):
        scores = rng(n_runs).normal(size=(n_runs, n_environments))
        points = [estimate(tables_of(scores), each, rng()).value for each in STATISTICS]
        # rliable's median is the median over environments of their means; ours is over all runs,
        # and those two are the same thing where every run is an environment of its own.
        runs_as_environments = scores.reshape(1, -1)
        assert points == pytest.approx(
            [
                metrics.aggregate_iqm(scores),
                metrics.aggregate_mean(scores),
                metrics.aggregate_median(runs_as_environments),
            ],
            rel=1e-12,
        )


@pytest.mark.parametrize("n_environments", [1, 4])
def test_probability_of_improvement_point_is_rliable_s(n_environments: int) -> None:
    from rliable import metrics

    for seed in range(20):
        # Whole numbers up to 4: many ties.
        ours = rng(seed).integers(5, size=(6, n_environments)).astype(float)
        theirs = rng(99 + seed).integers(4, size=(9, n_environments)).astype(float)
        point = probability_of_improvement(tables_of(ours), tables_of(theirs), rng()).value
        assert point == pytest.approx(metrics.probability_of_improvement(ours, theirs))


@pytest.mark.slow  # arch, which rliable draws with, takes seconds to import
@pytest.mark.parametrize("n_environments", [1, 3])
def test_intervals_without_noise_of_episodes_are_rliable_s(n_environments: int) -> None:
    from rliable import metrics
    from rliable.library import get_interval_estimates

    scores = rng(1).normal(size=(10, n_environments))
    np.random.seed(0)  # noqa: NPY002  # rliable draws from the global numbers whatever it is given
    _, intervals = get_interval_estimates(
        {"ours": scores},
        lambda drawn: np.asarray([metrics.aggregate_iqm(drawn), metrics.aggregate_mean(drawn)]),
        reps=8000,
    )
    ours = [estimate(tables_of(scores), each, rng(), n_resamples=8000) for each in (iqm, mean)]
    assert [each.low for each in ours] == pytest.approx(list(intervals["ours"][0]), abs=0.03)
    assert [each.high for each in ours] == pytest.approx(list(intervals["ours"][1]), abs=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("n_environments", [1, 3])
def test_interval_of_probability_of_improvement_is_rliable_s(n_environments: int) -> None:
    from rliable import metrics
    from rliable.library import get_interval_estimates

    ours = rng(1).normal(0.5, size=(10, n_environments))
    theirs = rng(2).normal(0.0, size=(7, n_environments))
    np.random.seed(0)  # noqa: NPY002
    _, intervals = get_interval_estimates(
        {"pair": [ours, theirs]},
        lambda left, right: np.asarray([metrics.probability_of_improvement(left, right)]),
        reps=1500,
    )
    interval = probability_of_improvement(tables_of(ours), tables_of(theirs), rng())
    # Three of the 70 pairs: the quantiles of so coarse a number jump.
    assert ends(interval) == pytest.approx(tuple(intervals["pair"][:, 0]), abs=0.043)


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_interval_of_one_environment_is_scipy_s(statistic: Statistic, confidence: float) -> None:
    scores = rng(3).normal(-200, 50, size=(12, 1))
    expected = stats.bootstrap(
        (scores[:, 0],),
        lambda values, axis: statistic(np.moveaxis(values, axis, -1)),
        n_resamples=20_000,
        confidence_level=confidence,
        method="percentile",
        rng=rng(),
    ).confidence_interval
    ours = estimate(scores, statistic, rng(), n_resamples=20_000, confidence=confidence)
    assert ends(ours) == pytest.approx((expected.low, expected.high), abs=2.0)


def test_interval_of_equal_seeds_has_the_width_of_episode_noise() -> None:
    """The mean of 5 seeds x 40 episodes of variance v has variance v / 200."""
    episodes = rng().normal(size=40)
    interval = estimate(np.tile(episodes, (5, 1)), mean, rng(), n_resamples=20_000)
    half = 1.96 * float(episodes.std()) / math.sqrt(200)
    assert ends(interval) == pytest.approx(
        (episodes.mean() - half, episodes.mean() + half), abs=0.05 * half
    )


def test_interval_of_noisy_seeds_and_episodes_adds_both_variances() -> None:
    table = rng().normal(size=(10, 1)) + rng(1).normal(0, 3, size=(10, 30))
    variance = table.mean(axis=1).var() / 10 + table.var(axis=1).mean() / 300
    interval = estimate(table, mean, rng(), n_resamples=20_000)
    expected = 2 * 1.96 * math.sqrt(variance)
    assert interval.high - interval.low == pytest.approx(expected, rel=0.05)


def test_interval_of_constant_scores_has_no_width() -> None:
    assert estimate(np.full((5, 7), 3.25), iqm, rng()) == Estimate(3.25, (3.25, 3.25))


@pytest.mark.parametrize("n_seeds", [5, 6, 7])
@pytest.mark.parametrize("statistic", STATISTICS)
def test_interval_of_few_seeds_contains_its_point(statistic: Statistic, n_seeds: int) -> None:
    for seed in range(50):
        interval = estimate(
            rng(seed).exponential(size=(n_seeds, 2)), statistic, rng(), n_resamples=3
        )
        assert interval.value in interval


def test_estimate_contains_its_ends_and_nothing_outside() -> None:
    interval = Estimate(0.0, (-1.0, 2.0))
    assert [x in interval for x in (-1.0, 2.0, -1.01, 2.01)] == [True, True, False, False]


LEFT, RIGHT = rng(5).normal(1, 1, size=(8, 4)), rng(6).normal(0, 1, size=(6, 4))
MEASURES: list[Any] = [
    lambda generator: estimate(LEFT, iqm, generator),
    lambda generator: difference(LEFT, RIGHT, iqm, generator),
    lambda generator: probability_of_improvement([LEFT, LEFT], [RIGHT, RIGHT + 1], generator),
]


@pytest.mark.parametrize("measure", MEASURES)
def test_same_random_numbers_give_the_same_interval(
    measure: Callable[[np.random.Generator], Estimate],
) -> None:
    assert measure(rng(4)) == measure(rng(4))


@pytest.mark.parametrize("measure", MEASURES)
def test_other_random_numbers_give_another_interval_of_the_same_value(
    measure: Callable[[np.random.Generator], Estimate],
) -> None:
    one, other = measure(rng(4)), measure(rng(5))
    assert ends(one) != ends(other)
    assert one.value == other.value


def test_interval_drawn_in_many_pieces_is_as_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = estimate(LEFT, mean, rng(), n_resamples=5001)
    monkeypatch.setattr(statistics, "_CHUNK", 10 * LEFT.size)
    pieces = estimate(LEFT, mean, rng(), n_resamples=5001)
    assert ends(pieces) == pytest.approx(ends(whole), abs=0.05)


def test_interval_of_environments_far_apart_does_not_see_the_distance() -> None:
    """Resampling is within each environment: the mean moves with an offset, its width does not."""
    near = estimate([LEFT, RIGHT], mean, rng())
    far = estimate([LEFT, RIGHT + 14_000], mean, rng())  # 6 of 14 runs: the mean moves by 6000
    moved = [near.value + 6000, near.low + 6000, near.high + 6000]
    assert [far.value, *ends(far)] == pytest.approx(moved, abs=1e-6)


def test_probability_of_improvement_environments_far_apart_are_compared_one_by_one() -> None:
    low, high = np.zeros((5, 1)), np.full((5, 1), 1000.0)
    better = probability_of_improvement([low + 1, high + 1], [low, high], rng())
    assert better == Estimate(1.0, (1.0, 1.0))


def test_probability_of_improvement_all_worse_is_zero_and_all_equal_one_half() -> None:
    assert probability_of_improvement(LEFT - 99, RIGHT, rng()) == Estimate(0.0, (0.0, 0.0))
    same = np.ones((5, 2))
    assert probability_of_improvement(same, same, rng()) == Estimate(0.5, (0.5, 0.5))


def test_probability_of_improvement_mirrored_is_its_complement() -> None:
    ours = probability_of_improvement(LEFT, RIGHT, rng(), n_resamples=20_000)
    theirs = probability_of_improvement(RIGHT, LEFT, rng(), n_resamples=20_000)
    assert theirs.value == pytest.approx(1 - ours.value)
    assert ends(theirs) == pytest.approx((1 - ours.high, 1 - ours.low), abs=0.02)


def test_difference_from_a_constant_is_the_interval_moved() -> None:
    alone = estimate(LEFT, iqm, rng())
    apart = difference(LEFT, np.full((5, 2), 10.0), iqm, rng())
    moved = (alone.value - 10, alone.low - 10, alone.high - 10)
    assert (apart.value, *ends(apart)) == pytest.approx(moved)


def test_difference_of_two_noisy_sides_adds_their_variances() -> None:
    interval = difference(LEFT, RIGHT, mean, rng(), n_resamples=20_000)
    widths = [
        high - low
        for low, high in (
            ends(estimate(table, mean, rng(1), n_resamples=20_000)) for table in (LEFT, RIGHT)
        )
    ]
    assert interval.value == pytest.approx(LEFT.mean() - RIGHT.mean())
    assert interval.high - interval.low == pytest.approx(math.hypot(*widths), rel=0.05)


@pytest.mark.parametrize(
    ("scores", "shapes"),
    [
        (np.zeros(3), r"\[\(3,\)\]"),
        (np.zeros((2, 3, 4)), r"\[\(2, 3, 4\)\]"),
        (np.zeros((0, 4)), r"\[\(0, 4\)\]"),
        (np.zeros((4, 0)), r"\[\(4, 0\)\]"),
        ([np.zeros((2, 2)), np.zeros(2)], r"\[\(2, 2\), \(2,\)\]"),
        ([], r"\[\]"),
    ],
)
def test_estimate_other_shapes_are_refused(scores: Any, shapes: str) -> None:
    text = rf"^scores must have shape \[n_seeds, n_episodes\], but got {shapes}$"
    with pytest.raises(ValueError, match=text):
        estimate(scores, iqm, rng())


def test_probability_of_improvement_other_number_of_environments_is_refused() -> None:
    with pytest.raises(ValueError, match="argument 2 is shorter than argument 1"):
        probability_of_improvement([LEFT, LEFT], [RIGHT], rng())


N_SEEDS, N_EPISODES, N_REPETITIONS = 10, 20, 2000
# 200 episodes with a standard deviation of 5 have a mean of the same noise as 20 of these.
EPISODE_DEVIATION = 5 / math.sqrt(10)


def _normal(generator: np.random.Generator) -> Array:
    return generator.normal(size=N_SEEDS)


def _negative_exponential(generator: np.random.Generator) -> Array:
    return -generator.exponential(size=N_SEEDS)


def _some_fail(generator: np.random.Generator) -> Array:
    fails = generator.random(N_SEEDS) < 0.15
    return np.where(fails, -10.0, 0.0) + generator.normal(size=N_SEEDS)


def _iqm_of_some_fail() -> float:
    """The failing 15 % are in the lowest quarter, so the rest is the middle of a normal."""
    low, high = (stats.norm.ppf((share - 0.15) / 0.85) for share in (0.25, 0.75))
    return float(0.85 * (stats.norm.pdf(low) - stats.norm.pdf(high)) / 0.5)


# The integral of -x exp(-x) between the quartiles ln(4/3) and ln 4, over their half.
IQM_OF_NEGATIVE_EXPONENTIAL = -(0.75 * (math.log(4 / 3) + 1) - 0.25 * (math.log(4) + 1)) / 0.5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("draw", "truth"),
    [
        (_normal, 0.0),
        (_negative_exponential, IQM_OF_NEGATIVE_EXPONENTIAL),
        (_some_fail, _iqm_of_some_fail()),
    ],
)
def test_95_percent_intervals_of_ten_seeds_hold_in_at_least_90(
    draw: Callable[[np.random.Generator], Array], truth: float
) -> None:
    generator = rng(2026)
    held = 0
    for _ in range(N_REPETITIONS):
        noise = generator.normal(0, EPISODE_DEVIATION, size=(N_SEEDS, N_EPISODES))
        scores = draw(generator)[:, None] + noise
        held += truth in estimate(scores, iqm, generator, n_resamples=500)
    assert held / N_REPETITIONS >= 0.90


@pytest.mark.parametrize("n_seeds", [2, 4, 5])
def test_intervals_need_five_seeds_on_either_side(n_seeds: int) -> None:
    few = rng().normal(size=(n_seeds, 20))
    estimates = [
        estimate(few, iqm, rng()),
        difference(LEFT, few, iqm, rng()),
        probability_of_improvement(few, LEFT, rng()),
    ]
    assert [item.interval is not None for item in estimates] == [n_seeds >= 5] * 3
    for item in estimates:
        assert item.interval is not None or np.isfinite(item.value)


def test_estimate_of_a_short_row_draws_its_own_episodes_only() -> None:
    full = np.asarray([[0.0, 10.0, 20.0, 30.0]] * 6)
    short = full.copy()
    short[:, 1:] = np.nan
    assert estimate(short, mean, rng()) == Estimate(0.0, (0.0, 0.0))
    mixed = np.vstack([full, short])
    assert estimate(mixed, mean, rng()).value == 7.5
    low, high = estimate(mixed, mean, rng()).interval or (0.0, 0.0)
    assert 0.0 < low < 7.5 < high < 15.0


def test_estimate_refuses_a_seed_without_episodes() -> None:
    with pytest.raises(ValueError, match="every seed must have an episode"):
        estimate(np.full((5, 3), np.nan), iqm, rng())
