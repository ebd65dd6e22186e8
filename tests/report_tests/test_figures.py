from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
)
from optuna.trial import TrialState, create_trial

from sb3_hpo.report.figures.plotting import (
    DEFAULT,
    FAINT,
    GOOD,
    OTHERS,
    WINNER,
    bounds,
    floor_of,
)
from sb3_hpo.report.figures.reevaluation import curves, scores
from sb3_hpo.report.figures.search import history, learning_curves
from sb3_hpo.report.figures.space import importances, parallel, read_points, slices
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
    study_config,
)

if TYPE_CHECKING:
    from sb3_hpo.report.figures.plotting import Drawn

CONFIG = study_config()


@pytest.fixture(scope="module")
def study() -> optuna.Study:
    return make_study(CONFIG, 120)


@pytest.fixture(scope="module")
def result(study: optuna.Study) -> StudyResult:
    return make_result(study, CONFIG)


def history_of(study: optuna.Study) -> Drawn:
    return history(study, best_trials(study), names_of(study), "return")


def learning_curves_of(study: optuna.Study) -> Drawn:
    return learning_curves(study, best_trials(study), names_of(study), "return")


def names_of(study: optuna.Study) -> dict[int, str]:
    return {trial.number: f"trial {trial.number}" for trial in study.trials}


def scores_of(study: optuna.Study, result: StudyResult) -> Drawn:
    return scores(result, {t.number: t.value or 0.0 for t in best_trials(study)}, "return")


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


def trace(drawn: Drawn, name: str) -> Any:
    (found,) = [t for t in drawn[0].data if t.name == name]
    return found


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


# The history.


def test_history_incumbent_rises_with_the_steps_spent() -> None:
    study = optuna.create_study(direction="maximize")
    for value in (-900.0, -950.0, -300.0):
        study.add_trial(finished_trial(CONFIG, DEFAULT_PARAMS, [value] * 10, {"gamma": 0.9}, {}))
    best = trace(history_of(study), "best so far")
    one_run = CONFIG.n_timesteps + 48
    assert list(best.x) == [one_run, 2 * one_run, 3 * one_run]
    assert list(best.y) == [-900.0, -900.0, -300.0]


def test_history_marks_default_point_and_leader(study: optuna.Study) -> None:
    leader = best_trials(study, 1)[0]
    drawn = history_of(study)
    assert list(trace(drawn, "default point").y) == [study.trials[0].value] * 2
    star = trace(drawn, f"trial {leader.number}")
    assert (list(star.y), star.marker.symbol) == ([leader.value], "star")


def test_history_of_a_foreign_study_counts_trials() -> None:
    drawn = history_of(foreign_study())
    assert drawn[0].layout.xaxis.title.text == "Trial"
    dots = trace(drawn, "trial value (return)")
    assert list(dots.x) == [n for n in range(12) if n != 3]  # that one was pruned


def test_history_of_a_terrible_value_leaves_it_out_and_says_so() -> None:
    figure, note = history_of(study_of_values([-1e6, *np.linspace(-200, -100, 19)]))
    assert list(figure.layout.yaxis.range) == [-205.0, -95.0]
    assert "1 of 20 values lie below it" in note


def test_history_of_an_infinite_value_is_drawn() -> None:
    figure, _ = history_of(study_of_values([-math.inf, 1.0, 2.0]))
    assert list(figure.layout.yaxis.range) == [0.95, 2.05]
    assert "Infinity" not in figure.to_json()


# Learning curves of the search.


def test_learning_curves_name_the_best_and_draw_them_on_top(study: optuna.Study) -> None:
    figure, _ = learning_curves_of(study)
    best = [f"trial {t.number}" for t in best_trials(study, 5)]
    assert [t.name for t in figure.data if t.showlegend] == ["trial 0", *reversed(best)]
    assert [t.name for t in figure.data][-5:] == best[::-1]
    assert [t.line.color for t in figure.data[-6::5]] == [DEFAULT, WINNER]
    assert {t.line.color for t in figure.data[:-6]} == {FAINT}


def test_learning_curves_of_a_default_point_that_leads_have_the_leaders_colour() -> None:
    study = make_study(CONFIG, 1)
    assert trace(learning_curves_of(study), "trial 0").line.color == WINNER


def test_learning_curves_are_the_evaluations(study: optuna.Study) -> None:
    curve = trace(learning_curves_of(study), "trial 0")
    assert list(curve.x) == [4000 * k for k in range(1, 11)]
    assert list(curve.y) == list(study.trials[0].intermediate_values.values())


def test_learning_curves_of_a_running_trial_are_drawn() -> None:
    study = optuna.create_study(direction="maximize")
    trial = study.ask()
    trial.report(-500.0, step=4000)
    running = trace(learning_curves_of(study), "trial 0")
    assert (list(running.x), list(running.y)) == ([4000], [-500.0])


# Race and test.


def test_scores_show_every_seed_and_the_interval(study: optuna.Study, result: StudyResult) -> None:
    figure, _ = scores_of(study, result)
    assert result.winner is not None
    assert result.default is not None
    test_dots, race_dots = [t for t in figure.data if t.name == "one seed"]
    means = [*result.winner.scores.mean(axis=1), *result.default.scores.mean(axis=1)]
    assert list(test_dots.customdata) == pytest.approx(means)
    assert list(race_dots.customdata) == [score for _, runs in result.raced for score in runs]
    diamonds = next(t for t in figure.data if t.name == "estimate; the bar is a 95 % interval")
    tested = [result.winner.iqm, result.default.iqm]
    assert list(diamonds.x) == [iqm.value for iqm in tested]
    assert list(diamonds.error_x.array) == [iqm.high - iqm.value for iqm in tested]
    assert list(diamonds.error_x.arrayminus) == [iqm.value - iqm.low for iqm in tested]
    assert list(diamonds.marker.color) == [WINNER, DEFAULT]
    winner = result.winner.candidate.name
    assert figure.layout.yaxis.ticktext == (f"{winner} (winner)", "SB3's default")
    assert figure.layout.yaxis2.ticktext[0] == f"{winner} (winner)"


def test_scores_mark_trial_values(study: optuna.Study, result: StudyResult) -> None:
    figure, _ = scores_of(study, result)
    marks = [t for t in figure.data if t.name == "trial value, from the search"]
    raced = [study.trials[c.trial].value for c, _ in result.raced if c.trial is not None]
    assert list(marks[1].customdata) == raced
    assert list(marks[0].customdata) == [best_trials(study, 1)[0].value]


def test_scores_of_a_broken_race_run_leave_it_out(study: optuna.Study) -> None:
    all_runs = make_runs(study, CONFIG)
    broken = next(run for run in all_runs if run.stage == "race")
    object.__setattr__(broken.record, "outcome", "diverged")
    figure, note = scores_of(study, read_result(study, CONFIG, all_runs, None))
    n_race = sum(r.stage == "race" for r in all_runs)
    dots = [t for t in figure.data if t.name == "one seed"][-1]
    assert len(dots.x) == n_race - 1
    assert note == "1 race run broke without a score."


def test_curves_of_test_runs_show_iqm_band_and_seeds(study: optuna.Study) -> None:
    winner = candidates(study, 1)[0]
    last = [-100.0, -200.0, -300.0, -400.0, -900.0]
    all_runs = [
        make_run(CONFIG, make_request(CONFIG, "test", winner, i), [-1000.0] * 9 + [last[i]])
        for i in range(5)
    ]
    all_runs.append(make_run(CONFIG, make_request(CONFIG, "test", BASELINE, 0), [-1000.0] * 10))
    drawn = curves(read_result(study, CONFIG, all_runs, winner), "return")
    iqm = trace(drawn, f"trial {winner.trial} (5 seeds)")
    assert iqm.y[-1] == pytest.approx(-300.0)
    assert iqm.line.color == WINNER
    *seeds, band = drawn[0].data[-7:-1]
    assert [seed.y[-1] for seed in seeds] == last
    assert list(band.y[9:11]) == pytest.approx([-200.0, -400.0])  # quartiles at the last step
    assert trace(drawn, "SB3's default (1 seed)").line.color == DEFAULT


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
    assert "Without 1 trial trained with given" in slices(points, None, "return")[1]


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
    figure, note = importances(points)
    assert list(figure.data[0].y) == ["y", "x"]
    assert sum(figure.data[0].x) == pytest.approx(1.0)
    assert note == "From 60 COMPLETE trials."


def test_slices_put_each_value_over_its_parameter(study: optuna.Study) -> None:
    points = read_points(study)
    leader = points.trials[0].number
    figure, _ = slices(points, leader, "return")
    axis = next(a for a in figure.select_xaxes() if a.title.text == "learning_rate")
    (dots,) = [t for t in figure.data if (t.yaxis or "y") == axis.anchor]
    placed = sorted(zip(dots.x, dots.y, strict=True))
    assert placed == sorted((t.params["learning_rate"], t.value or 0.0) for t in points.trials)
    assert (axis.type, list(axis.range)) == ("log", [-5.0, math.log10(3e-3)])
    n = len(points.trials)
    looks = {t: (dots.marker.color[i], dots.marker.symbol[i]) for i, t in enumerate(dots.text)}
    assert looks[f"trial {leader}: {number(points.trials[0].value or 0.0)}"] == (WINNER, "star")
    assert sorted(dots.marker.color) == sorted(
        [WINNER, *[GOOD] * (n // 10 - 1), *[OTHERS] * (n - n // 10)]
    )


def test_slices_show_the_most_important_first(study: optuna.Study) -> None:
    points = read_points(study)
    figure, _ = slices(points, None, "return")
    titles = [axis.title.text for axis in figure.select_xaxes() if axis.title.text]
    assert titles == list(points.importances)
    assert len(titles) == len(points.dimensions) == 10


def test_slices_and_parallel_of_a_conditional_dimension_are_drawn() -> None:
    study = optuna.create_study(direction="maximize")
    both: dict[str, BaseDistribution] = {
        "x": FloatDistribution(0, 1),
        "y": CategoricalDistribution((True, None)),
    }
    for params, value in (({"x": 0.5, "y": None}, 1.0), ({"x": 0.75}, 2.0)):
        own = {name: both[name] for name in params}
        study.add_trial(create_trial(value=value, params=params, distributions=own))
    points = read_points(study)
    assert [len(t.y) for t in slices(points, 1, "return")[0].data] == [2, 1]
    lines = [t for t in parallel(points, "return")[0].data if t.mode == "lines"]
    assert len(lines) == 2


def test_slices_of_a_range_that_was_widened_show_all_of_it() -> None:
    study = optuna.create_study(direction="maximize")
    for ends, value in (((1e-4, 1e-2), 1.0), ((1e-5, 1e-3), 2.0)):
        own: dict[str, BaseDistribution] = {"x": FloatDistribution(*ends, log=True)}
        study.add_trial(create_trial(value=value, params={"x": 1e-3}, distributions=own))
    figure, _ = slices(read_points(study), None, "return")
    assert list(figure.layout.xaxis.range) == [-5.0, -2.0]


def test_parallel_leaves_out_what_would_flatten_the_rest() -> None:
    study = study_of_values([-1e6, *np.linspace(-200, -100, 19)])
    figure, note = parallel(read_points(study), "return")
    assert len([t for t in figure.data if t.mode == "lines"]) == 19
    assert "1 of 20 values lie below it" in note


def test_parallel_of_a_dimension_that_only_an_outlier_had_is_drawn() -> None:
    study = study_of_values([*np.linspace(-200, -100, 19)])
    own: dict[str, BaseDistribution] = {"y": FloatDistribution(0, 1)}
    study.add_trial(create_trial(value=-1e6, params={"y": 0.5}, distributions=own))
    study.add_trial(create_trial(value=-1e6, params={"y": 0.6}, distributions=own))
    figure, _ = parallel(read_points(study), "return")
    assert "y" not in figure.layout.xaxis.ticktext


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
    figure, _ = scores_of(study, known)
    assert figure.layout.yaxis.ticktext == ("trial 0",)
    assert list(figure.data[0].marker.color) == [OTHERS]
