from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from optuna.trial import TrialState, create_trial

from sb3_hpo.report.terminal import answer_lines, lines_of_test
from sb3_hpo.results.reevaluation_runs import BASELINE, Candidate, ReevaluationRun, make_request
from sb3_hpo.results.study_result import (
    Cost,
    StudyResult,
    race_score,
    read_result,
    read_test,
    with_policy_kwargs,
)
from sb3_hpo.results.trials import Counts, best_trials, record_of
from sb3_hpo.scoring.statistics import difference, estimate, iqm
from tests.support.reevaluations import (
    STEPS,
    candidate,
    default_trial,
    ended_trial,
    evaluation,
    made_run,
    made_runs,
    record,
    small_config,
    study_of,
    study_with_values,
    trial_of,
)

if TYPE_CHECKING:
    import optuna

    from sb3_hpo.results.run_record import Evaluation
    from sb3_hpo.results.study_result import TestResult

CONFIG = small_config()
WINNER = candidate(1, -150.0)
OURS, THEIRS = (-180.0, -170.0, -160.0, -190.0), (-900.0, -950.0, -1000.0)
RACE = [
    *made_runs(CONFIG, "race", WINNER, [-170.0, -180.0]),
    *made_runs(CONFIG, "race", candidate(2, -160.0), [-160.0]),
    *made_runs(CONFIG, "race", candidate(3, -170.0), [None]),
]
TEST = [
    *made_runs(CONFIG, "test", WINNER, OURS),
    *made_runs(CONFIG, "test", BASELINE, THEIRS),
]


def study() -> optuna.Study:
    """Three COMPLETE trials, one of them SB3's default, and three that left less."""
    lost = create_trial(state=TrialState.PRUNED, user_attrs={"outcome": "lost"})
    return study_of(
        [
            default_trial(-900.0),
            trial_of(1, -150.0),
            trial_of(2, -160.0),
            ended_trial("dropped"),
            ended_trial("diverged"),
            lost,
        ]
    )


def winner_of(all_runs: list[ReevaluationRun]) -> TestResult:
    found = read_result(study(), CONFIG, all_runs, WINNER).winner
    assert found is not None
    return found


@pytest.fixture(scope="module")
def result() -> StudyResult:
    return read_result(study(), CONFIG, [*RACE, *TEST], WINNER)


def test_answer_counts_trials_by_outcome(result: StudyResult) -> None:
    assert result.counts == Counts(
        finished=6, complete=3, pruned=1, infeasible=2, failed=0, running=0, waiting=0
    )


def test_answer_race_is_in_order_of_seeds_then_means(result: StudyResult) -> None:
    assert [(who.trial, scores) for who, scores in result.raced] == [
        (1, (-170.0, -180.0)),
        (2, (-160.0,)),
        (3, (-math.inf,)),
    ]
    assert result.raced[1][0] == Candidate(trial=2, kwargs={"n_epochs": 2})


def test_answer_winner_has_its_test(result: StudyResult) -> None:
    scores = np.asarray([(value - 1, value + 1) for value in OURS])
    rng = np.random.default_rng(CONFIG.seed)
    assert result.winner is not None
    assert result.winner.candidate == WINNER
    assert list(result.winner.runs) == TEST[:4]
    assert np.array_equal(result.winner.scores, scores)
    assert result.winner.iqm == estimate(scores, iqm, rng)
    assert (result.winner.iqm.value, result.winner.iqm.interval) == (-175.0, None)
    assert (result.winner.mean, result.winner.median) == (-175.0, -175.0)
    assert (result.winner.worst, result.winner.n_broken) == (-190.0, 0)


def test_answer_default_has_its_test(result: StudyResult) -> None:
    assert result.default is not None
    assert result.default.candidate == BASELINE
    assert list(result.default.runs) == TEST[4:]
    assert result.default.iqm.value == -950.0


def test_answer_compares_winner_with_default(result: StudyResult) -> None:
    ours, theirs = (np.asarray([(v - 1, v + 1) for v in each]) for each in (OURS, THEIRS))
    assert result.improvement is not None
    assert result.improvement.value == 1.0
    assert result.gain is not None
    assert result.gain.value == -175.0 + 950.0
    assert result.gain == difference(ours, theirs, iqm, np.random.default_rng(0))
    # Four seeds against three.
    assert [result.gain.interval, result.improvement.interval] == [None, None]
    assert result.beats_default


def test_answer_optimism_is_positive_where_the_trial_value_promised_more(
    result: StudyResult,
) -> None:
    assert result.optimism == -150.0 + 175.0


def test_answer_costs_count_pruned_and_broken_runs_too(result: StudyResult) -> None:
    """The search: three whole, one pruned, one diverged; the lost trial left no record."""
    assert result.search == Cost(n_runs=5, n_steps=5 * STEPS, seconds=10.0)
    assert result.race == Cost(n_runs=4, n_steps=4 * STEPS, seconds=8.0)
    assert result.test == Cost(n_runs=7, n_steps=7 * STEPS, seconds=14.0)


def test_answer_again_has_equal_intervals(result: StudyResult) -> None:
    again = read_result(study(), CONFIG, [*RACE, *TEST], WINNER)
    assert again.winner is not None
    assert result.winner is not None
    assert again.winner.iqm == result.winner.iqm
    assert (again.improvement, again.gain) == (result.improvement, result.gain)


def test_answer_before_any_rerun_knows_the_search_only() -> None:
    result = read_result(study(), CONFIG, [], None)
    empty = Cost(0, 0, 0.0)
    assert (result.raced, result.race, result.test) == ((), empty, empty)
    assert [result.winner, result.default, result.improvement, result.gain] == [None] * 4
    assert result.optimism is None
    assert result.search.n_runs == 5


def test_answer_during_the_race_shows_the_default_s_test() -> None:
    result = read_result(study(), CONFIG, [*RACE, *TEST[4:]], None)
    assert result.winner is None
    assert result.default is not None
    assert result.default.iqm.value == -950.0
    assert result.gain is None


def test_answer_chosen_but_untested_winner_gives_no_number() -> None:
    result = read_result(study(), CONFIG, [*RACE, *TEST[4:]], WINNER)
    assert (result.winner, result.improvement, result.gain, result.optimism) == (None,) * 4


@pytest.mark.parametrize("other", [{"trial": 99}, {"trial_value": -1.0}])
def test_answer_of_another_study_in_the_same_folder_is_not_this_one_s(
    other: dict[str, Any],
) -> None:
    assert read_result(study(), CONFIG, TEST, replace(WINNER, **other)).winner is None


def test_answer_winner_of_unknown_value_has_no_optimism() -> None:
    winner = replace(WINNER, trial_value=None)
    assert read_result(study(), CONFIG, TEST, winner).optimism is None


def test_answer_runs_of_another_test_are_not_mixed_in() -> None:
    """Whoever asks for other test episodes gets a test of their own, from the same file."""
    other = small_config(test_episodes=3)
    stale = made_runs(other, "test", WINNER, [-9999.0] * 6)
    found = winner_of([*stale, *TEST])
    assert list(found.runs) == TEST[:4]
    assert found.scores.shape == (4, 2)


def test_answer_race_of_another_configuration_is_not_mixed_in() -> None:
    """Not even where it ran the same trials with other arguments, or none that still run."""
    other = small_config(n_timesteps=20_000)
    renamed = Candidate(trial=1, kwargs={"n_epochs": 77})
    stale = [
        *made_runs(other, "race", renamed, [-1.0]),
        *made_runs(other, "race", candidate(9), [-2.0]),
    ]
    result = read_result(study(), CONFIG, [*stale, *RACE[:3]], None)
    assert [(who, scores) for who, scores in result.raced] == [
        (Candidate(trial=1, kwargs={"n_epochs": 1}), (-170.0, -180.0)),
        (Candidate(trial=2, kwargs={"n_epochs": 2}), (-160.0,)),
    ]


def broken(index: int, curve: tuple[float, ...] = (), **options: Any) -> ReevaluationRun:
    run = made_run(CONFIG, make_request(CONFIG, "test", WINNER, index), None)
    evaluations = [evaluation(curve, **options)] if curve else []
    return replace(run, record=record(WINNER.kwargs, evaluations, "diverged"))


def test_broken_run_has_the_worst_return_of_any_throughout() -> None:
    found = winner_of([*TEST[:3], broken(3)])
    assert found.scores.tolist() == [[-181, -179], [-171, -169], [-161, -159], [-181, -181]]
    assert (found.n_broken, found.worst) == (1, -181.0)


def test_broken_run_worst_return_may_be_from_a_learning_curve() -> None:
    found = winner_of([*TEST[:3], broken(3, (-1500.0, 400.0))])
    assert found.scores[3].tolist() == [-1500.0, -1500.0]


def test_broken_run_counts_by_the_metric_where_one_is_asked_for() -> None:
    final = evaluation((-1.0, -2.0), metric=(1.0, 0.5))
    whole = [replace(run, final=final, record=broken(0).record) for run in TEST[:3]]
    found = winner_of([*whole, broken(3, (-1500.0, -1400.0), metric=(0.25, 0.5))])
    assert found.scores.tolist() == [[1.0, 0.5]] * 3 + [[0.25, 0.25]]


def test_all_broken_runs_are_scored_by_their_curves() -> None:
    found = winner_of([broken(0, (-3.0, -4.0)), broken(1)])
    assert found.scores.tolist() == [[-4.0], [-4.0]]
    assert (found.iqm.value, found.n_broken, found.median_run) == (-4.0, 2, None)


def test_all_broken_before_their_first_evaluation_give_no_number() -> None:
    assert read_result(study(), CONFIG, [broken(0), broken(1)], WINNER).winner is None


@pytest.mark.parametrize(
    ("values", "index"),
    [
        ([5.0], 0),
        ([5.0, 3.0], 1),  # of an even number the lower one
        ([5.0, 3.0, 4.0], 2),
        ([5.0, 3.0, 4.0, 9.0], 2),
        ([None, 3.0, 4.0, 9.0, 8.0], 2),
        ([None, None, 4.0, 9.0, 8.0], 2),
        ([None, None, None, 9.0, 8.0], 4),
        ([None, None, None, 9.0], 3),
    ],
)
def test_median_run_is_the_median_seed_s(values: list[float | None], index: int) -> None:
    runs = made_runs(CONFIG, "test", WINNER, values)
    assert winner_of(runs).median_run == runs[index]


def test_race_score_is_the_score_rule_of_the_curve() -> None:
    run = RACE[0]
    curve = [evaluation((value, value)) for value in (1.0, 2.0, 4.0, 8.0)]
    run = replace(run, record=record({}, curve))
    assert race_score(run, CONFIG) == 8.0
    assert race_score(run, small_config(score="last_half")) == 6.0


@pytest.mark.parametrize("outcome", ["diverged", "oom", "timeout"])
def test_race_score_of_a_run_that_did_not_finish_is_the_worst(outcome: Any) -> None:
    run = replace(RACE[0], record=record({}, [evaluation((1.0, 1.0))], outcome))
    assert race_score(run, CONFIG) == -math.inf


def test_best_trials_are_complete_ones_by_value_the_earlier_first() -> None:
    made = study_with_values([3.0, -5.0, 7.0, 3.0, 0.0], n_pruned=2)
    assert [trial.number for trial in best_trials(made)] == [2, 0, 3, 4, 1]
    assert [trial.number for trial in best_trials(made, 2)] == [2, 0]


def test_record_of_trial_without_record_is_none() -> None:
    assert record_of(create_trial(state=TrialState.PRUNED)) is None
    assert record_of(trial_of(4, 1.0)) == record({"n_epochs": 4}, [evaluation((1.0, 1.0))])


def test_with_policy_kwargs_merges_and_the_user_wins() -> None:
    config = small_config(policy_kwargs={"net_arch": [32]})
    sampled: dict[str, object] = {"gamma": 0.9, "policy_kwargs": {"net_arch": [64], "a": 1}}
    assert with_policy_kwargs(sampled, config) == {
        "gamma": 0.9,
        "policy_kwargs": {"net_arch": [32], "a": 1},
    }
    assert sampled["policy_kwargs"] == {"net_arch": [64], "a": 1}


def test_with_policy_kwargs_leaves_out_empty_ones_as_training_does() -> None:
    assert with_policy_kwargs({"gamma": 0.9, "policy_kwargs": {}}, CONFIG) == {"gamma": 0.9}


def judgement(returns: tuple[float, ...], truncated: bool = False) -> Evaluation:
    return replace(evaluation(returns), truncated=truncated)


def test_read_test_takes_rows_of_different_length() -> None:
    """A judgement that was cut has fewer episodes than the others, and says so."""
    runs = [
        replace(run, final=judgement((value, value + 2.0)))
        for run, value in zip(made_runs(CONFIG, "test", WINNER, [1.0] * 4), range(4), strict=True)
    ]
    runs[1] = replace(runs[1], final=judgement((9.0,), truncated=True))
    tested = read_test(CONFIG, runs, WINNER)
    assert tested is not None
    assert (tested.n_episodes, tested.n_cut) == ((1, 2), 1)
    assert np.array_equal(tested.scores[1], [9.0, np.nan], equal_nan=True)
    assert tested.mean == (1.0 + 9.0 + 3.0 + 4.0) / 4
    assert tested.worst == 1.0
    lines = lines_of_test(tested)
    assert lines[0].endswith("judged by 1 to 2 other episodes each")
    assert lines[-1].startswith("  1 of the 4 judgements had an episode that did not end")


@pytest.mark.parametrize(
    ("score", "optimism"), [("last_3", 25.0), ("auc", None), ("statistics:median", None)]
)
def test_answer_optimism_compares_returns_of_final_policies_only(
    score: str, optimism: float | None
) -> None:
    config = small_config(score=score)
    runs = made_runs(config, "test", WINNER, OURS)
    assert read_result(study(), config, runs, WINNER).optimism == optimism


def test_answer_whose_default_always_broke_says_so() -> None:
    runs = made_runs(CONFIG, "test", BASELINE, [None] * 3)
    bare = [replace(run, record=replace(run.record, evaluations=())) for run in runs]
    result = read_result(study(), CONFIG, [*TEST[:4], *bare], WINNER)
    assert (result.default, result.broken) == (None, {"SB3's default": 3})
    lines = [line for line in answer_lines(result) if "SB3's default" in line]
    assert lines == ["  All 3 test runs of SB3's default diverged or ran out of memory."]
