from __future__ import annotations

import copy
import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState, create_trial

from sb3_hpo.report.figures.axes import Axis
from sb3_hpo.report.figures.plotting import (
    COMPLETE,
    DEFAULT,
    GOOD,
    INFEASIBLE,
    PRUNED,
    WINNER,
    Drawn,
    Figure,
    bounds,
    floor_of,
)
from sb3_hpo.report.figures.reevaluation import curves, scores
from sb3_hpo.report.figures.search import trial_curves, value_history
from sb3_hpo.report.figures.space import importances, parallel, read_points, slices
from sb3_hpo.report.pages.trial_curves import SearchHistory, read_history
from sb3_hpo.results.reevaluation_runs import BASELINE, make_request
from sb3_hpo.results.study_result import StudyResult, read_result
from sb3_hpo.results.trials import KWARGS_OVERRIDE, best_trials
from sb3_hpo.utils.formatting import number, readable
from tests.support.studies import (
    DEFAULT_PARAMS,
    candidates,
    finished_trial,
    make_result,
    make_run,
    make_runs,
    make_study,
    no_result,
    study_config,
)

if TYPE_CHECKING:
    from sb3_hpo.config.study_config import StudyConfig

CONFIG = study_config()


@pytest.fixture(scope="module")
def study() -> optuna.Study:
    return make_study(CONFIG, 120)


@pytest.fixture(scope="module")
def result(study: optuna.Study) -> StudyResult:
    return make_result(study, CONFIG)


@pytest.fixture(scope="module")
def history(study: optuna.Study, result: StudyResult) -> SearchHistory:
    return read_history(study, result)


def history_of(study: optuna.Study, config: StudyConfig = CONFIG) -> SearchHistory:
    return read_history(study, no_result(study, config))


def foreign_study(n: int = 12) -> optuna.Study:
    """Return a study of another tool: no records, no outcomes, no configuration."""

    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", -1, 1)
        trial.report(x, step=5)
        if trial.number == 3:
            raise optuna.TrialPruned
        return x

    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0)
    )
    study.optimize(objective, n_trials=n)
    return study


def study_of_values(values: list[float]) -> optuna.Study:
    study = optuna.create_study(direction="maximize")
    trials = [
        create_trial(value=value, params={"x": 0.5}, distributions={"x": FloatDistribution(0, 1)})
        for value in values
    ]
    study.add_trials(trials)
    return study


def figure(drawn: Drawn) -> Figure:
    assert isinstance(drawn, Figure), drawn
    return drawn


def trace(drawn: Drawn, name: str) -> dict[str, Any]:
    (found,) = [t for t in figure(drawn).data if t.get("name") == name]
    return found


def test_figures_are_valid_for_plotly(
    study: optuna.Study, result: StudyResult, history: SearchHistory
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of plotly's own imports
        go = pytest.importorskip("plotly.graph_objects")
    points = read_points(study)
    all_drawn = [value_history(history), trial_curves(history), scores(result, history)]
    all_drawn += [curves(result, "return"), importances(points)]
    all_drawn += [slices(points, history), parallel(points, history)]
    for drawn in all_drawn:
        checked = go.Figure(data=figure(drawn).data, layout=figure(drawn).layout)
        assert len(checked.data) == len(figure(drawn).data) > 0


# What all figures share.


def test_floor_of_bad_half_is_the_lowest() -> None:
    assert floor_of([*[-1000.0] * 10, *[-150.0] * 10]) == -1000.0


def test_floor_of_saturated_values_keeps_the_failures() -> None:
    assert floor_of([*[500.0] * 18, 9.0, 200.0]) == 9.0


@pytest.mark.parametrize("n_terrible", [1, 4])
def test_bounds_with_terrible_values_leave_them_out_and_say_so(n_terrible: int) -> None:
    limits, note = bounds([*np.linspace(-300, -100, 16), *[-1e6] * n_terrible])
    assert limits == [-310.0, -90.0]
    assert note == (
        f"The axis ends at -300.0: {n_terrible} of {16 + n_terrible} values lie below it, "
        "down to -1,000,000."
    )


def test_bounds_of_ordinary_values_hold_them_all() -> None:
    assert bounds([0.0, 50.0, 100.0]) == ([-5.0, 105.0], "")


@pytest.mark.parametrize("value", [0.0, 3.0, -7.0])
def test_bounds_of_one_value_are_not_empty(value: float) -> None:
    (low, high), _ = bounds([value])
    assert low < value < high


@pytest.mark.parametrize(
    ("value", "text"),
    [(-1138.26, "-1,138"), (12.34, "12.3"), (0.98765, "0.988"), (0.0, "0"), (1e12, "1e+12")],
)
def test_number_has_few_digits(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.000123456, "0.0001235"),
        (128, "128"),
        (0.99996, "0.99996"),
        (1.0, "1"),
        (-2.0, "-2"),
        ({"$import": "a.b:C"}, "C"),
        ({"$tuple": [1, "episode"]}, "(1, episode)"),
        ({"pi": [64], "vf": [64]}, "(pi=[64], vf=[64])"),
        ({"$call": "a:Noise", "sigma": 0.1}, "Noise(sigma=0.1)"),
    ],
)
def test_readable_leaves_notation_out(value: Any, text: str) -> None:
    assert readable(value) == text


@pytest.mark.parametrize(
    ("distribution", "labels"),
    [
        (FloatDistribution(1e-5, 3e-3, log=True), ("1e-5", "1e-4", "0.001")),
        (FloatDistribution(0.5, 0.6, log=True), ("0.5", "0.52", "0.54", "0.56", "0.58", "0.6")),
        (IntDistribution(1, 20, log=True), ("1", "2", "5", "10", "20")),
        (IntDistribution(3, 8), ("3", "4", "5", "6", "7", "8")),
        (FloatDistribution(0.1, 0.4), ("0.1", "0.15", "0.2", "0.25", "0.3", "0.35", "0.4")),
        (IntDistribution(0, 1000, step=50), ("0", "200", "400", "600", "800", "1000")),
        (CategoricalDistribution((True, 1, None)), ("True", "1", "None")),
    ],
)
def test_scale_has_few_round_ticks(distribution: BaseDistribution, labels: tuple[str]) -> None:
    assert Axis.of(distribution).labels == labels


def test_scale_of_choices_tells_true_from_one() -> None:
    scale = Axis.of(CategoricalDistribution((True, 1, 0.5)))
    assert [scale.place(value) for value in (True, 1, 0.5)] == [0.0, 1.0, 2.0]


def test_scale_share_of_a_log_range_is_of_its_logarithm() -> None:
    scale = Axis.of(FloatDistribution(1e-4, 1.0, log=True))
    assert scale.share(scale.place(1e-2)) == pytest.approx(0.5)


# The history.


def test_history_incumbent_rises_with_the_steps_spent() -> None:
    study = optuna.create_study(direction="maximize")
    for value in (-900.0, -950.0, -300.0):
        study.add_trial(finished_trial(CONFIG, DEFAULT_PARAMS, [value] * 10, {"gamma": 0.9}, {}))
    best = trace(value_history(history_of(study)), "best so far")
    one_run = CONFIG.n_timesteps + 48
    assert best["x"] == [one_run, 3 * one_run, 3 * one_run]
    assert best["y"] == [-900.0, -300.0, -300.0]


def test_history_tells_outcomes_apart(history: SearchHistory) -> None:
    drawn = value_history(history)
    looks = {
        name: (trace(drawn, name)["marker"]["color"], len(trace(drawn, name)["x"]))
        for name in ("complete", "pruned (last evaluation)", "infeasible")
    }
    kinds = [curve.kind for curve in history.curves]
    assert looks == {
        "complete": (COMPLETE, kinds.count("complete") - 1),  # the leader has its own mark
        "pruned (last evaluation)": (PRUNED, kinds.count("pruned")),
        "infeasible": (INFEASIBLE, kinds.count("infeasible")),
    }
    assert any("diverged" in text for text in trace(drawn, "infeasible")["text"])


def test_history_marks_sb3s_default_at_its_value(
    study: optuna.Study, history: SearchHistory
) -> None:
    assert trace(value_history(history), "default point")["y"] == [study.trials[0].value] * 2


def test_history_without_complete_trial_says_so() -> None:
    empty = optuna.create_study(direction="maximize")
    assert value_history(history_of(empty)) == "No history: no trial is COMPLETE yet."


def test_history_of_a_foreign_study_counts_trials() -> None:
    drawn = figure(value_history(history_of(foreign_study())))
    assert drawn.layout["xaxis"]["title"]["text"] == "finished trials"
    assert len(trace(drawn, "pruned (last evaluation)")["x"]) == 1


def test_history_of_a_terrible_value_draws_it_at_the_edge() -> None:
    drawn = figure(
        value_history(history_of(study_of_values([-1e6, *np.linspace(-200, -100, 19)])))
    )
    low, high = drawn.layout["yaxis"]["range"]
    assert (low, high) == (-205.0, -95.0)
    assert trace(drawn, "complete")["y"][0] == low
    assert trace(drawn, "complete")["text"][0] == "trial 0, complete: -1,000,000"
    assert "1 of 20 values lie below it" in drawn.note


def test_history_of_an_infinite_value_is_finite() -> None:
    drawn = value_history(history_of(study_of_values([-math.inf, 1.0, 2.0])))
    assert all(math.isfinite(y) for y in trace(drawn, "complete")["y"])


# Learning curves of the search.


def test_trial_curves_name_the_best_and_join_the_others(
    study: optuna.Study, history: SearchHistory
) -> None:
    drawn = figure(trial_curves(history))
    best = [t.number for t in best_trials(study, 5)]
    names = [f"trial {n}" for n in reversed(best[1:])] + [f"trial {best[0]} (winner)"]
    assert [t["name"] for t in drawn.data] == [
        "pruned or failed", "complete or running", "default point", *names,
    ]  # fmt: skip
    assert trace(drawn, names[-1])["line"]["color"] == WINNER
    assert trace(drawn, "default point")["line"]["color"] == DEFAULT


def test_trial_curves_are_the_evaluations(study: optuna.Study, history: SearchHistory) -> None:
    curve = trace(trial_curves(history), "default point")
    assert list(curve["x"]) == [4000 * k for k in range(1, 11)]
    reported = list(study.trials[0].intermediate_values.values())
    assert curve["y"] == pytest.approx(reported)


def test_trial_curves_of_a_running_trial_are_drawn() -> None:
    study = optuna.create_study(direction="maximize")
    trial = study.ask()
    trial.report(-500.0, step=4000)
    running = trace(trial_curves(history_of(study)), "complete or running")
    assert (running["x"], running["y"]) == ([4000, None], [-500.0, None])


def test_trial_curves_without_any_say_so() -> None:
    text = "No learning curves: no trial has reported an evaluation yet."
    assert trial_curves(history_of(study_of_values([1.0]))) == text


# Race and test.


def test_scores_show_every_seed_and_the_interval(
    result: StudyResult, history: SearchHistory
) -> None:
    drawn = figure(scores(result, history))
    assert result.winner is not None
    assert result.default is not None
    test_dots, race_dots = [t for t in drawn.data if t["name"] == "one seed"]
    means = [*result.winner.scores.mean(axis=1), *result.default.scores.mean(axis=1)]
    assert test_dots["customdata"] == pytest.approx(means)
    assert race_dots["customdata"] == [score for _, runs in result.raced for score in runs]
    diamond = next(t for t in drawn.data if t["name"] == "estimate; the bar is a 95 % interval")
    iqm = result.winner.iqm
    assert diamond["x"] == [iqm.value]
    assert diamond["error_x"]["array"] == [iqm.high - iqm.value]
    assert diamond["error_x"]["arrayminus"] == [iqm.value - iqm.low]
    assert diamond["marker"]["color"] == WINNER


def test_scores_mark_trial_values(
    study: optuna.Study, result: StudyResult, history: SearchHistory
) -> None:
    drawn = figure(scores(result, history))
    marks = [t for t in drawn.data if t["name"] == "trial value, from the search"]
    raced = [study.trials[c.trial].value for c, _ in result.raced if c.trial is not None]
    assert marks[1]["customdata"] == raced
    assert marks[0]["customdata"] == [best_trials(study, 1)[0].value]


def test_scores_of_a_broken_race_run_leave_it_out(study: optuna.Study) -> None:
    all_runs = make_runs(study, CONFIG)
    broken = next(run for run in all_runs if run.stage == "race")
    object.__setattr__(broken.record, "outcome", "diverged")
    known = read_result(study, CONFIG, all_runs, None)
    drawn = figure(scores(known, read_history(study, known)))
    n_race = sum(r.stage == "race" for r in all_runs)
    dots = [t for t in drawn.data if t["name"] == "one seed"][-1]
    assert len(dots["x"]) == n_race - 1
    assert drawn.note == "1 race run broke without a score."


def test_scores_and_curves_without_reevaluation_say_so(study: optuna.Study) -> None:
    known = no_result(study, CONFIG)
    text = "No scores of race and test: nothing has been re-evaluated yet."
    assert scores(known, read_history(study, known)) == text
    text = "No learning curves of the winner: no trial has been re-evaluated yet."
    assert curves(known, "return") == text


def test_curves_of_test_runs_show_iqm_band_and_seeds(study: optuna.Study) -> None:
    winner = candidates(study, 1)[0]
    last = [-100.0, -200.0, -300.0, -400.0, -900.0]
    all_runs = [
        make_run(CONFIG, make_request(CONFIG, "test", winner, i), [-1000.0] * 9 + [last[i]])
        for i in range(5)
    ]
    all_runs.append(make_run(CONFIG, make_request(CONFIG, "test", BASELINE, 0), [-1000.0] * 10))
    drawn = figure(curves(read_result(study, CONFIG, all_runs, winner), "return"))
    iqm = trace(drawn, f"trial {winner.trial} (5 seeds)")
    assert iqm["y"][-1] == pytest.approx(-300.0)
    assert iqm["line"]["color"] == WINNER
    seeds, band = drawn.data[-3:-1]
    assert seeds["y"].count(None) == 5
    assert band["y"][9:11] == pytest.approx([-200.0, -400.0])  # quartiles at the last step
    assert trace(drawn, "SB3's default (1 seed)")["line"]["color"] == DEFAULT


# The search space.


def test_points_leave_out_what_was_trained_otherwise(study: optuna.Study) -> None:
    given = copy.deepcopy(best_trials(study, 1)[0])
    given.user_attrs[KWARGS_OVERRIDE] = {"gamma": 0.5}
    made = optuna.create_study(direction="maximize")
    made.add_trials([*study.trials, given])
    points = read_points(made)
    assert points.n_left_out == 1
    assert len(points.trials) == len(read_points(study).trials)
    assert all(KWARGS_OVERRIDE not in trial.user_attrs for trial in points.trials)
    assert "Without 1 trial trained with given" in figure(slices(points, history_of(made))).note


def test_importances_put_what_matters_first() -> None:
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0)
    )
    study.optimize(
        lambda t: -abs(t.suggest_float("x", -1, 1)) + 1e-3 * t.suggest_float("y", -1, 1), 60
    )
    points = read_points(study)
    assert list(points.importances) == list(points.dimensions) == ["x", "y"]
    assert points.importances["x"] > 0.8
    bars = figure(importances(points)).data[0]
    assert bars["y"] == ["y", "x"]
    assert sum(bars["x"]) == pytest.approx(100.0)


def test_importances_of_few_trials_say_so() -> None:
    text = "No importances: they need 10 COMPLETE trials of the search space, but there are 4."
    assert importances(read_points(study_of_values([1.0, 2.0, 3.0, 4.0]))) == text


def test_slices_put_each_value_over_its_parameter(
    study: optuna.Study, history: SearchHistory
) -> None:
    points = read_points(study)
    drawn = figure(slices(points, history))
    axis = next(
        key for key, value in drawn.layout.items()
        if key.startswith("xaxis") and value["title"]["text"] == "learning_rate"
    )  # fmt: skip
    own = [t for t in drawn.data if t["xaxis"] == axis.replace("axis", "")]
    placed = sorted((x, y) for t in own for x, y in zip(t["x"], t["y"], strict=True))
    true = sorted((math.log10(t.params["learning_rate"]), t.value or 0.0) for t in points.trials)
    assert np.asarray(placed) == pytest.approx(np.asarray(true))
    assert [t["marker"]["color"] for t in own] == [COMPLETE, GOOD, WINNER]


def test_parallel_of_a_conditional_dimension_passes_it_by() -> None:
    study = optuna.create_study(direction="maximize")
    both: dict[str, BaseDistribution] = {
        "x": FloatDistribution(0, 1),
        "y": FloatDistribution(0, 1),
    }
    for params, value in (({"x": 0.5, "y": 0.25}, 1.0), ({"x": 0.75}, 2.0)):
        own = {name: both[name] for name in params}
        study.add_trial(create_trial(value=value, params=params, distributions=own))
    drawn = figure(parallel(read_points(study), history_of(study)))
    assert trace(drawn, "other complete trials")["y"] == [0.5, 0.25, 0.0, None]
    leader = trace(drawn, "trial 1 (best so far)")
    dimensions = drawn.layout["xaxis"]["ticktext"]
    assert dimensions == ["x", "y", "trial value"]
    assert (leader["x"], leader["y"]) == ([0, 2, None], [0.75, 1.0, None])


@pytest.mark.parametrize("values", [[], [1.0]])
def test_space_figures_of_too_few_trials_say_so(values: list[float]) -> None:
    study = study_of_values(values)
    reason = f"they need two COMPLETE trials of the search space, but there are {len(values)}."
    assert slices(read_points(study), history_of(study)) == f"No slices: {reason}"
    coordinates = parallel(read_points(study), history_of(study))
    assert coordinates == f"No parallel coordinates: {reason}"


def test_running_and_failed_trials_are_no_points() -> None:
    study = foreign_study(5)
    study.ask()
    study.add_trial(create_trial(state=TrialState.FAIL))
    assert len(read_points(study).trials) == 4


def test_default_point_in_the_race_is_a_trial_like_others() -> None:
    study = make_study(CONFIG, 1)
    candidate = candidates(study, 1)[0]
    all_runs = [make_run(CONFIG, make_request(CONFIG, "race", candidate, 0), [-1000.0] * 10)]
    known = read_result(study, CONFIG, all_runs, None)
    drawn = figure(scores(known, read_history(study, known)))
    assert drawn.layout["yaxis"]["ticktext"] == ["trial 0"]
    assert drawn.data[0]["marker"]["color"] == [COMPLETE]
