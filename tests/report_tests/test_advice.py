from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest
from optuna.distributions import (
    BaseDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState, create_trial

from sb3_hpo.config.study_config import StudyConfig, make_config
from sb3_hpo.report.advice.evidence import Advice, Dimension, gather, rank
from sb3_hpo.report.advice.range_rules import widen
from sb3_hpo.report.advice.rules import advise
from sb3_hpo.results.reevaluation_runs import Candidate, ReevaluationRun
from sb3_hpo.results.run_record import Evaluation, Outcome, RunRecord
from sb3_hpo.results.study_result import Cost, StudyResult
from sb3_hpo.results.study_result import (
    TestResult as Judged,  # pytest would take the name for a test class
)
from sb3_hpo.results.trials import KWARGS_OVERRIDE, OUTCOME, RUN, count_trials
from sb3_hpo.scoring import statistics
from sb3_hpo.scoring.statistics import Estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

COMPLETE, PRUNED = TrialState.COMPLETE, TrialState.PRUNED
UNIT = FloatDistribution(0, 1)
RATE = FloatDistribution(1e-5, 3e-3, log=True)
GAMMA = FloatDistribution(1e-4, 0.2, log=True)
NOTHING = Cost(0, 0, 0.0)
# 40 places over the range in an order that has nothing to do with it, no three at one bound.
SCATTERED = [((k * 17) % 40 + 0.5) / 40 for k in range(40)]


def config(**values: Any) -> StudyConfig:
    return make_config({"algo": "ppo", "env": "Pendulum-v1", "n_trials": 40, **values})


def trial(value: float | None, state: TrialState = COMPLETE, **options: Any) -> FrozenTrial:
    ranges = options.pop("ranges", {})
    if state is COMPLETE:
        options["value"] = value
    elif value is not None:
        options["intermediate_values"] = {12_000: value}
    return create_trial(state=state, distributions=ranges, **options)


def study_of(trials: Sequence[FrozenTrial]) -> optuna.Study:
    study = optuna.create_study(direction="maximize")
    study.add_trials(trials)
    return study


def study_over(
    name: str, distribution: BaseDistribution, params: Sequence[Any], **options: Any
) -> optuna.Study:
    """Return a study of one parameter, its trials in order from the best to the worst."""
    return study_of(
        [
            trial(-float(i), params={name: value}, ranges={name: distribution}, **options)
            for i, value in enumerate(params)
        ]
    )


def values_at(distribution: Any, positions: Sequence[float]) -> list[Any]:
    low, high = distribution.low, distribution.high
    if distribution.log:
        return [float(low * (high / low) ** p) for p in positions]
    return [float(low + (high - low) * p) for p in positions]


def crowded(distribution: Any, position: float, n: int = 4) -> list[Any]:
    """Return 40 values, the best n of them at one place and the others everywhere."""
    return values_at(distribution, [position] * n + SCATTERED[n:])


def answer_of(study: optuna.Study, **values: Any) -> StudyResult:
    known: dict[str, Any] = {
        "counts": count_trials(study.get_trials()),
        "raced": (),
        "broken": {},
        **dict.fromkeys(("winner", "default", "improvement", "gain", "optimism")),
        **dict.fromkeys(("search", "race", "test"), NOTHING),
    }
    return StudyResult(**{**known, **values})


def said(rule: str, study: optuna.Study, *, known: Any = None, **values: Any) -> list[str]:
    """Return the texts of one rule."""
    result = answer_of(study, **(known or {}))
    return [item.text for item in advise(study, config(**values), result) if item.rule == rule]


# widen


@pytest.mark.parametrize(
    ("name", "distribution", "position", "expected"),
    [
        (
            "learning_rate", RATE, 0.97,
            ("4 of the best 4 trials have learning_rate within 5% of its upper bound 0.003. "
            "Search it from 1e-05 to 0.009 in a --space of your own."),
        ),
        (
            "one_minus_gamma", GAMMA, 0.99,
            ("4 of the best 4 trials have one_minus_gamma within 5% of its upper bound 0.2. "
            "Search it from 0.0001 to 0.6 (gamma 0.4) in a --space of your own."),
        ),
        (
            "one_minus_gamma", FloatDistribution(1e-4, 0.5, log=True), 1.0,
            ("4 of the best 4 trials have one_minus_gamma within 5% of its upper bound 0.5. "
            "Search it from 0.0001 to 1 (gamma 0) in a --space of your own."),
        ),
        (
            "log_std_init", FloatDistribution(-3.0, 1.0), 0.0,
            ("4 of the best 4 trials have log_std_init within 5% of its lower bound -3. "
            "Search it from -5 to 1 in a --space of your own."),
        ),
        (
            "clip_range", FloatDistribution(0.1, 0.4), 0.02,
            ("4 of the best 4 trials have clip_range within 5% of its lower bound 0.1. "
            "Search it from 0 to 0.4 in a --space of your own."),
        ),
    ],
)  # fmt: skip
def test_widen_speaks_of_a_crowd_at_a_bound(
    name: str, distribution: Any, position: float, expected: str
) -> None:
    study = study_over(name, distribution, crowded(distribution, position))
    assert said("widen", study) == [expected]


@pytest.mark.parametrize(
    ("name", "distribution", "best", "todo"),
    [
        ("n_epochs", IntDistribution(1, 20, log=True), 20, "from 1 to 60 in"),
        ("n_epochs", IntDistribution(5, 40, log=True), 5, "from 2 to 40 in"),
        ("n_steps_pow", IntDistribution(3, 10), 3, "from 0 to 10 (n_steps 1) in"),
        ("layers", IntDistribution(2, 12), 2, "from 1 to 12 in"),
        ("offset", IntDistribution(-8, 8), -8, "from -16 to 8 in"),
        ("n", IntDistribution(2, 82, step=10), 82, "from 2 to 122 in"),
    ],
)
def test_widen_of_whole_numbers_ends_at_whole_numbers(
    name: str, distribution: IntDistribution, best: int, todo: str
) -> None:
    low, high, step = distribution.low, distribution.high, distribution.step
    others = [low + (i * 7) % ((high - low) // step + 1) * step for i in range(36)]
    texts = said("widen", study_over(name, distribution, [best] * 4 + others))
    assert [todo in text for text in texts] == [True]


@pytest.mark.parametrize(
    ("name", "distribution", "position"),
    [
        ("gamma", FloatDistribution(0.8, 1.0), 1.0),
        ("exploration_fraction", FloatDistribution(0.01, 1.0), 0.99),
        ("vf_coef", FloatDistribution(0.0, 1.0), 0.0),
    ],
)
def test_widen_is_silent_at_a_natural_limit(name: str, distribution: Any, position: float) -> None:
    study = study_over(name, distribution, crowded(distribution, position))
    assert said("widen", study) == []


def test_widen_is_silent_where_a_longer_rollout_does_not_fit_the_budget() -> None:
    params = [9] * 4 + [3 + (i * 4) % 7 for i in range(36)]
    study = study_over("n_steps_pow", IntDistribution(3, 9), params)
    # 512 steps of 8 environments between two of ten evaluations: no room for 1024.
    assert said("widen", study, n_envs=8, n_timesteps=80_000) == []
    assert "to 10 (n_steps 1024)" in said("widen", study, n_envs=8, n_timesteps=82_000)[0]


def test_widen_is_silent_where_the_space_makes_one_value_of_all() -> None:
    distribution = FloatDistribution(1e-8, 0.1, log=True)
    params = crowded(distribution, 0.0)
    params[:4] = [1.1e-8, 1.2e-8, 1.3e-8, 1.4e-8]
    trials = [
        trial(
            -i,
            params={"ent_coef": value},
            ranges={"ent_coef": distribution},
            user_attrs={"ent_coef": 0.0 if value < 1e-7 else value},
        )
        for i, value in enumerate(params)
    ]
    assert said("widen", study_of(trials)) == []
    same_without_attrs = study_over("ent_coef", distribution, params)
    assert "from 3.333e-09 to 0.1" in said("widen", same_without_attrs)[0]


@pytest.mark.parametrize(
    "params",
    [
        values_at(RATE, SCATTERED),
        crowded(RATE, 0.97, n=2),  # no majority of the best four
        crowded(RATE, 0.9),  # near, but not at the bound
        crowded(RATE, 0.97)[:15],  # too few trials
        values_at(RATE, [0.97] * 4 + SCATTERED[4:20] + [0.97] * 20),  # the bad ones are there too
    ],
)
def test_widen_is_silent_without_a_crowd(params: list[float]) -> None:
    assert said("widen", study_over("learning_rate", RATE, params)) == []


def test_widen_is_silent_where_a_crowd_is_likely_by_chance() -> None:
    # A uniform draw takes the upper of two values in half of all trials, the uppermost of eight
    # in an eighth.
    params = [1] * 4 + [0, 1] * 8 + [0] * 20
    assert said("widen", study_over("n", IntDistribution(0, 1), params)) == []
    eight = [7 * value for value in params]
    assert len(said("widen", study_over("n", IntDistribution(0, 7), eight))) == 1


@pytest.mark.parametrize("attr", [{KWARGS_OVERRIDE: {}}])
def test_widen_ignores_trials_that_are_no_evidence(attr: dict[str, Any]) -> None:
    trials = study_over("learning_rate", RATE, crowded(RATE, 0.97)).trials
    assert len(said("widen", study_of(trials))) == 1
    for best in trials[:4]:
        best.user_attrs = attr
    assert said("widen", study_of(trials)) == []


def test_widen_ignores_pruned_trials_among_the_best() -> None:
    # Three trials finished; the best pruned one makes up the fourth of the best tenth.
    study = study_of(
        [
            trial(
                -i,
                COMPLETE if i < 3 else PRUNED,
                params={"learning_rate": value},
                ranges={"learning_rate": RATE},
            )
            for i, value in enumerate(crowded(RATE, 0.97))
        ]
    )
    assert said("widen", study) == []


def test_widen_looks_at_the_newest_range_only() -> None:
    narrow = study_over("x", UNIT, crowded(UNIT, 0.99)).trials
    wide = FloatDistribution(0, 2)
    newer = [
        trial(-100.0 - i, params={"x": 2 * position}, ranges={"x": wide})
        for i, position in enumerate(SCATTERED)
    ]
    assert said("widen", study_of([*narrow, *newer])) == []
    assert len(said("widen", study_of([*newer, *narrow]))) == 1


# more_trials, more_seeds


def rising_late(step: float, n: int = 40) -> optuna.Study:
    """Return a study whose best of the first three quarters is 10 ahead of the median."""
    values = [10.0 if i == 5 else 0.0 for i in range(n)]
    values[-2] = 10.0 + step
    params, ranges = {"x": 0.5}, {"x": UNIT}
    return study_of([trial(value, params=params, ranges=ranges) for value in values])


def test_more_trials_speaks_of_few_trials_for_the_dimensions() -> None:
    ranges = {f"x{i}": UNIT for i in range(6)}
    trials = [trial(1.0, params=dict.fromkeys(ranges, 0.5), ranges=ranges) for _ in range(12)]
    text = "12 trials are few for 6 dimensions. Go on with this study: --n-trials 60."
    assert said("more_trials", study_of(trials)) == [text]
    assert said("more_trials", study_of(trials), n_trials=200) == [text.replace("60", "200")]


def test_more_trials_asks_for_at_most_eighty() -> None:
    ranges = {f"x{i}": UNIT for i in range(12)}
    trials = [trial(1.0, params=dict.fromkeys(ranges, 0.5), ranges=ranges) for _ in range(80)]
    assert "--n-trials 80." in said("more_trials", study_of(trials[:79]))[0]
    assert said("more_trials", study_of(trials)) == []


def test_more_trials_speaks_of_late_improvement() -> None:
    assert said("more_trials", rising_late(4.0)) == [
        (
            "The best trial value rose by 4.0 in the last quarter of 40 trials. "
            "Go on with this study: --n-trials 60."
        )
    ]


@pytest.mark.parametrize("step", [-1.0, 2.0])
def test_more_trials_is_silent_of_a_small_late_improvement(step: float) -> None:
    assert said("more_trials", rising_late(step)) == []


@pytest.mark.parametrize(("n_pruned", "n"), [(0, 1), (20, 0)])
def test_more_trials_counts_pruned_trials_as_low(n_pruned: int, n: int) -> None:
    # The lead over the median trial is 2 without and 4 with the pruned ones.
    options: dict[str, Any] = {"params": {"x": 0.5}, "ranges": {"x": UNIT}}
    values = [6.0, 7, 8, 9, 10] * (6 - n_pruned // 5)
    trials = [trial(value, **options) for value in values]
    trials += [trial(5.0, PRUNED, **options)] * n_pruned + [trial(11.0, **options)] * 10
    assert len(said("more_trials", study_of(trials))) == n


def test_more_trials_is_silent_while_the_study_runs() -> None:
    running = create_trial(state=TrialState.RUNNING)
    assert said("more_trials", study_of([*rising_late(4.0).trials, running])) == []


def test_more_trials_is_silent_of_an_improvement_below_the_noise() -> None:
    known = {"raced": raced((0.0, 10.0, 5.0), (0.0, 10.0, 5.0))}
    assert said("more_trials", rising_late(4.0), known=known) == []


def raced(*scores: tuple[float, ...]) -> tuple[tuple[Candidate, tuple[float, ...]], ...]:
    return tuple(
        (Candidate(trial=i, kwargs={"gamma": 0.9 + i / 100}), item)
        for i, item in enumerate(scores)
    )


def close_at_the_top() -> optuna.Study:
    values = [-200.0, -201.0, -202.0, -203.0, -204.0, *range(-800, -400, 20)]
    return study_of([trial(v, params={"x": 0.5}, ranges={"x": UNIT}) for v in values])


def test_more_seeds_speaks_where_seeds_differ_more_than_trials() -> None:
    known = {"raced": raced((-200.0, -240.0, -280.0), (-210.0, -250.0, -290.0))}
    assert said("more_seeds", close_at_the_top(), known=known) == [
        (
            "The best 5 trial values lie within 4.0, but scores of one configuration differ "
            "by 40.0 (standard deviation) from seed to seed. More seeds will tell them apart, "
            "more trials will not: --top 10 --test-seeds 20."
        )
    ]


def test_more_trials_is_silent_where_more_seeds_speaks() -> None:
    ranges = {f"x{i}": UNIT for i in range(6)}
    params = dict.fromkeys(ranges, 0.5)
    study = study_of(
        [trial(t.value, params=params, ranges=ranges) for t in close_at_the_top().trials]
    )
    known = {"raced": raced((-200.0, -240.0, -280.0), (-210.0, -250.0, -290.0))}
    assert len(said("more_trials", study)) == 1
    assert said("more_trials", study, known=known) == []


def test_more_seeds_takes_the_test_where_there_was_no_race() -> None:
    known = {"winner": judged([-200.0, -240.0, -280.0, -240.0, -240.0])}
    (text,) = said("more_seeds", close_at_the_top(), known=known, top=3, test_seeds=5)
    assert "differ by 28.3 (standard deviation)" in text
    assert text.endswith("--top 6 --test-seeds 10.")


@pytest.mark.parametrize(
    "known",
    [
        {"raced": raced((-200.0, -203.0, -206.0), (-210.0, -213.0, -216.0))},  # less noise
        # More noise than 4.0, but hardly any against the 420 that the search has gained.
        {"raced": raced((-200.0, -210.0, -220.0), (-210.0, -220.0, -230.0))},
        {"raced": raced((-200.0, -280.0), (-200.0, -280.0))},  # two differences are no spread
        {"raced": raced((-200.0, float("-inf"), -201.0), (-210.0, -211.0, -212.0))},
        {},
    ],
)
def test_more_seeds_is_silent_otherwise(known: dict[str, Any]) -> None:
    assert said("more_seeds", close_at_the_top(), known=known) == []


def test_more_seeds_is_silent_where_the_best_trials_differ_more() -> None:
    known = {"raced": raced((-200.0, -240.0, -280.0), (-210.0, -250.0, -290.0))}
    trials = close_at_the_top().trials
    for i, item in enumerate(trials[:5]):
        item.value = -200.0 - 15 * i
    assert said("more_seeds", study_of(trials), known=known) == []


# longer, default_not_beaten, unstable


def record(curve: Sequence[float], outcome: Outcome = "finished") -> RunRecord:
    """Return a run's record over a budget of 100 steps."""
    return RunRecord(
        seed=1,
        outcome=outcome,
        reason=None,
        evaluations=tuple(
            Evaluation(
                nominal_step=100 * (i + 1) // len(curve),
                actual_step=0,
                returns=(value,),
                lengths=(1,),
            )
            for i, value in enumerate(curve)
        ),
        n_steps=100,
        n_updates=1,
        seconds=1.0,
        kwargs={},
        n_threads=1,
        versions={},
    )


def judged(
    means: Sequence[float],
    *,
    curves: Sequence[Sequence[float]] = (),
    broken: Sequence[Outcome] = (),
    **candidate: Any,
) -> Judged:
    """Return the test of a candidate: runs that finished, then runs that broke."""
    outcomes: list[Outcome] = [*["finished"] * len(means), *broken]  # type: ignore[list-item]
    lowest = min(means)
    scores = np.asarray([[v - 1, v + 1] for v in [*means, *[lowest] * len(broken)]])
    runs = tuple(
        ReevaluationRun(
            key=str(i),
            stage="test",
            trial=7,
            seed_index=i,
            record=record(curves[i] if curves else [0.0], outcome),
            final=Evaluation(nominal_step=100, actual_step=100, returns=(0.0,), lengths=(1,))
            if outcome == "finished"
            else None,
        )
        for i, outcome in enumerate(outcomes)
    )
    named = {"trial": 7, "kwargs": {"gamma": 0.9}, **candidate}
    own = statistics.seed_means(scores)
    iqm = statistics.estimate(scores, statistics.iqm, np.random.default_rng(0))
    mean, median, worst = float(own.mean()), float(np.median(own)), float(own.min())
    n_broken = len(broken)
    return Judged(Candidate(**named), runs, scores, iqm, mean, median, worst, n_broken)


RISING = [[10.0 * k + seed for k in range(10)] for seed in range(5)]
FLAT = [[0.0, 50, 80, 90, 90, 90, 90, 90, 90 + (-1) ** seed, 90] for seed in range(5)]
CREEPING = [[0.0, 500, 800, 900, 900, 900, 900, 900, 910, 910] for _ in range(5)]  # 1 % a rise
NOISY = [[0.0, 50, 80, 90, 90, 90, 90, 90, 90 + 40 * (-1) ** seed, 100] for seed in range(5)]


def test_longer_speaks_of_rising_test_curves() -> None:
    known = {"winner": judged([90.0] * 5, curves=RISING)}
    assert said("longer", study_of([]), known=known, n_timesteps=100) == [
        (
            "Learning curves of the 5 test runs of the winner still rise at the end: by "
            "20.0 (standard error 0.0) from 65% to 80% of the budget to its last part. Give each "
            "run more: --n-timesteps 200."
        )
    ]


@pytest.mark.parametrize("curves", [FLAT, CREEPING, NOISY, [[1.0], [2.0], [3.0], [4.0], [5.0]]])
def test_longer_is_silent_of_curves_that_do_not_surely_rise(
    curves: list[list[float]],
) -> None:
    known = {"winner": judged([90.0] * 5, curves=curves)}
    assert said("longer", study_of([]), known=known, n_timesteps=100) == []


@pytest.mark.parametrize(("score", "n"), [("last_half", 1), ("final", 0)])
def test_longer_without_a_test_looks_at_the_best_trials(score: str, n: int) -> None:
    trials = [
        trial(-i, user_attrs={RUN: json.loads(json.dumps(record(curve).to_dict()))})
        for i, curve in enumerate(RISING)
    ]
    texts = said("longer", study_of(trials), n_timesteps=100, score=score)
    assert ["the best 5 trials still rise" in text for text in texts] == [True] * n
    assert said("longer", study_of(trials[:4]), n_timesteps=100) == []


@pytest.mark.parametrize(
    ("gain", "expected"),
    [
        (
            Estimate(12.0, (-3.0, 30.0)),
            (
                "trial 7 is not surely better than SB3's default: gain 12.0, 95 % interval -3.0 "
                "to 30.0. Test both on more seeds: --test-seeds 20."
            ),
        ),
        (
            Estimate(-5.0, (-30.0, 9.0)),
            (
                "trial 7 is not surely better than SB3's default: gain -5.0, 95 % interval -30.0 "
                "to 9.0. Search on with --n-trials 80, or give each run a larger budget: "
                "--n-timesteps 80000."
            ),
        ),
    ],
)
def test_default_not_beaten_without_a_sure_gain(gain: Estimate, expected: str) -> None:
    known = {"winner": judged([-200.0] * 5), "default": judged([-210.0] * 5), "gain": gain}
    assert said("default_not_beaten", rising_late(0.0), known=known) == [expected]


def test_default_not_beaten_is_silent_after_a_sure_gain_and_before_a_test() -> None:
    sure = {"winner": judged([-200.0] * 5), "gain": Estimate(700.0, (600.0, 800.0))}
    early = {"winner": judged([-200.0] * 2), "gain": Estimate(7.0, (-600.0, 800.0))}
    for known in (sure, early, {"winner": judged([-200.0] * 5)}, {}):
        assert said("default_not_beaten", rising_late(0.0), known=known) == []


def beaten(winner: Judged) -> dict[str, Any]:
    gain = Estimate(winner.iqm.value + 1100.0, (100.0, 1000.0))
    return {"winner": winner, "default": judged([-1100.0] * 5, trial=None), "gain": gain}


GOOD = [-205.0, -200.0, -195.0, -202.0, -198.0, -201.0, -199.0]


def test_unstable_speaks_of_seeds_that_fall_back_to_the_default() -> None:
    known = beaten(judged([*GOOD, -900.0, -1050.0, -204.0]))
    assert said("unstable", study_of([]), known=known) == [
        (
            "2 of 10 test seeds of trial 7 ended nearer to SB3's default (-1100.0) than to the "
            "winner's IQM (-201.8), the worst at -1050.0. Do not rely on one run: "
            "python -m sb3_hpo.train best.yaml --seeds 3."
        )
    ]


def test_unstable_speaks_where_half_of_the_seeds_fail() -> None:
    (text,) = said("unstable", study_of([]), known=beaten(judged([*GOOD[:5], *[-1000.0] * 5])))
    assert text.startswith("5 of 10 test seeds")


def test_unstable_is_silent_where_the_winner_is_not_surely_better_than_the_median_trial() -> None:
    study = study_of([trial(-600.0) for _ in range(5)])
    winner = judged([*[-100.0 - i for i in range(7)], -900.0, -900.0, -900.0])
    assert winner.iqm.low < -600.0 < winner.iqm.value
    assert said("unstable", study, known={"winner": winner}) == []


def test_unstable_speaks_of_broken_runs() -> None:
    known = beaten(judged(GOOD, broken=("diverged", "oom", "diverged")))
    assert said("unstable", study_of([]), known=known) == [
        (
            "3 of 10 test seeds of trial 7 broke (diverged, oom). Do not rely on one run: "
            "python -m sb3_hpo.train best.yaml --seeds 3."
        )
    ]


def test_unstable_without_a_default_compares_with_the_median_trial() -> None:
    study = study_of([trial(-800.0) for _ in range(5)])
    (text,) = said("unstable", study, known={"winner": judged([*GOOD, -700.0])})
    assert text.startswith(
        "1 of 8 test seeds of trial 7 ended nearer to the median trial (-800.0)"
    )


@pytest.mark.parametrize(
    "known",
    [
        beaten(judged(GOOD)),
        beaten(judged([*GOOD, -400.0])),  # worse, but far from the default
        beaten(judged([-100.0, -300.0, -500.0, -600.0, -800.0])),  # one broad lump, no two
        beaten(judged([-200.0, -201.0, -1000.0, -1000.0, -1000.0])),  # which are the odd ones?
        {"winner": judged([*GOOD, -700.0])},  # nothing to compare with
        {},
    ],
)
def test_unstable_is_silent_otherwise(known: dict[str, Any]) -> None:
    assert said("unstable", study_of([]), known=known) == []


# endless


def test_endless_counts_evaluations_that_were_cut() -> None:
    winner = judged(GOOD)
    last = winner.runs[-1]
    assert last.final is not None
    cut = replace(last, final=replace(last.final, truncated=True))
    known = {"winner": replace(winner, runs=(*winner.runs[:-1], cut))}
    ours = record([-9.0, -8.0])
    half = replace(ours, evaluations=(replace(ours.evaluations[0], truncated=True),))
    trials = [trial(-8.0, user_attrs={RUN: item.to_dict()}) for item in (ours, half)]
    (text,) = said("endless", study_of([*trials, trial(-7.0)]), known=known)
    n = len(GOOD)
    assert text == (
        f"2 of {3 + n} evaluations had an episode that did not end, in steps or in time, and "
        "counts as far as it went. End episodes in the environment: register it with "
        "max_episode_steps, or wrap it in gymnasium.wrappers.TimeLimit."
    )


def test_endless_is_silent_where_all_episodes_end() -> None:
    trials = [trial(-8.0, user_attrs={RUN: record([-9.0]).to_dict()})]
    assert said("endless", study_of(trials), known={"winner": judged(GOOD)}) == []


# all together


def test_advise_puts_the_most_useful_first() -> None:
    known = beaten(judged([*GOOD, -900.0], curves=RISING * 2, trial_value=-100.0))
    known["gain"] = Estimate(3.0, (-1.0, 9.0))
    study = study_over("learning_rate", RATE, crowded(RATE, 0.97))
    advice = advise(study, config(n_timesteps=100, n_envs=1), answer_of(study, **known))
    rules = ["default_not_beaten", "longer", "widen", "more_seeds"]
    assert [item.rule for item in advice] == rules
    assert all(type(item) is Advice for item in advice)


def test_advise_of_an_empty_study_is_nothing() -> None:
    study = study_of([])
    assert advise(study, config(), answer_of(study)) == []


def test_rank_puts_pruned_below_complete_and_infeasible_last() -> None:
    ordered = [
        trial(-5.0),
        trial(-9.0),
        trial(None, PRUNED, intermediate_values={8000: -3.0, 12_000: -8.0}),
        trial(-9.0, PRUNED),
        trial(float("nan"), PRUNED),
        trial(None, PRUNED, intermediate_values={8000: -1.0}),
        trial(None, PRUNED),
        trial(-1.0, PRUNED, user_attrs={OUTCOME: "diverged"}),
    ]
    shuffled = ordered[::-1]
    assert sorted(shuffled, key=rank) == ordered


@pytest.mark.parametrize(
    ("distribution", "end", "share", "mass", "innermost"),
    [
        (FloatDistribution(0, 4), "upper", 0.25, 0.25, 3.0),
        (FloatDistribution(1, 16, log=True), "lower", 0.25, 0.25, 2.0),
        (IntDistribution(0, 9), "lower", 0.05, 0.1, 0),
        (IntDistribution(1, 8), "upper", 0.25, 0.25, 7),
        (IntDistribution(0, 90, step=10), "upper", 0.25, 0.3, 70),
        # log(2 / 1.5) / log(4.5 / 0.5) of the width belongs to the value 4 of 1 to 4
        (IntDistribution(1, 4, log=True), "upper", 0.05, 0.11438, 4),
    ],
)
def test_dimension_mass_is_what_uniform_draws_put_there(
    distribution: BaseDistribution, end: Any, share: float, mass: float, innermost: float
) -> None:
    dimension = Dimension("x", distribution, ())
    assert dimension.mass(end, share) == pytest.approx(mass, abs=1e-4)
    assert dimension.innermost(end, share) == pytest.approx(innermost)


def test_widen_is_silent_in_studies_of_noise() -> None:
    n_studies, spoke = 50, 0
    ranges = {f"x{i}": UNIT for i in range(8)}
    for seed in range(n_studies):
        rng = np.random.default_rng(seed)
        study = study_of(
            [
                trial(
                    float(rng.normal()),
                    params={name: float(rng.random()) for name in ranges},
                    ranges=ranges,
                )
                for _ in range(60)
            ]
        )
        evidence = gather(study, config(), answer_of(study))
        spoke += bool(widen(evidence))
    # In 1,000 such studies it spoke in 0.1 %.
    assert spoke <= 2


def test_advice_does_not_import_the_training_stack() -> None:
    stack = "{'torch', 'stable_baselines3'}"
    code = f"import sys, sb3_hpo.report.advice; print(sorted({stack} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
