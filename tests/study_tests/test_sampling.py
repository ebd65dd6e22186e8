from __future__ import annotations

import importlib.util
import warnings
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial

from sb3_hpo.config.fields import SAMPLERS as ALL_SAMPLERS
from sb3_hpo.config.study_config import StudyConfig, make_config
from sb3_hpo.study.pruners import QuantilePruner, build_pruner
from sb3_hpo.study.sampling.optuna_samplers import LateSeededSampler, check_sampler_installed
from sb3_hpo.utils.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna.pruners import BasePruner

SAMPLERS = [name for name in ALL_SAMPLERS if name != "grid"]  # has a space of choices alone
COMPLETE, PRUNED, RUNNING = TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING
NAN = float("nan")


def config(**values: Any) -> StudyConfig:
    return make_config({"algo": "ppo", "env": "Pendulum-v1", **values})


def study_of(
    values: Sequence[tuple[TrialState, float]],
    direction: Literal["minimize", "maximize"] = "maximize",
) -> optuna.Study:
    """Return a study whose trials reported one value each, at step 10."""
    study = optuna.create_study(direction=direction)
    for state, value in values:
        final = value if state is COMPLETE else None
        study.add_trial(create_trial(state=state, value=final, intermediate_values={10: value}))
    return study


def prunes(pruner: BasePruner, study: optuna.Study, value: float, step: int = 10) -> bool:
    trial = study.ask()
    trial.report(value, step)
    return bool(pruner.prune(study, study.trials[-1]))  # Optuna's give numpy's


EIGHT = [
    (COMPLETE, float(i)) for i in range(8)
]  # with the new one: 9, and the third best is the bar


@pytest.mark.parametrize(("value", "pruned"), [(4.5, True), (5.5, False), (9.0, False)])
def test_quantile_pruner_keeps_the_best_quarter(value: float, pruned: bool) -> None:
    assert prunes(QuantilePruner(), study_of(EIGHT), value) is pruned


@pytest.mark.parametrize(("value", "pruned"), [(2.5, True), (1.5, False), (-9.0, False)])
def test_quantile_pruner_minimised_study_keeps_the_lowest(value: float, pruned: bool) -> None:
    assert prunes(QuantilePruner(), study_of(EIGHT, "minimize"), value) is pruned


@pytest.mark.parametrize("state", [PRUNED, RUNNING])
def test_quantile_pruner_counts_trials_that_optuna_leaves_out(state: TrialState) -> None:
    values = [*((state, 0.0) for _ in range(8)), *((COMPLETE, float(i)) for i in range(1, 6))]
    optunas = optuna.pruners.PercentilePruner(25.0, n_startup_trials=5)
    assert prunes(QuantilePruner(0.25), study_of(values), 3.5) is False
    assert prunes(optunas, study_of(values), 3.5) is True


def test_quantile_pruner_leaves_out_failed_trials_which_are_tried_again() -> None:
    study = study_of([*EIGHT, *[(TrialState.FAIL, 100.0)] * 8])
    assert prunes(QuantilePruner(), study, 5.5) is False


@pytest.mark.parametrize(("n_others", "pruned"), [(4, False), (5, True)])
def test_quantile_pruner_waits_for_startup_trials(n_others: int, pruned: bool) -> None:
    study = study_of([(RUNNING, 1.0)] * n_others)
    assert prunes(QuantilePruner(n_startup_trials=5), study, 0.0) is pruned


@pytest.mark.parametrize(("n_warmup_steps", "pruned"), [(10, True), (11, False)])
def test_quantile_pruner_waits_for_warmup_steps(n_warmup_steps: int, pruned: bool) -> None:
    assert prunes(QuantilePruner(n_warmup_steps=n_warmup_steps), study_of(EIGHT), 0.0) is pruned


def test_quantile_pruner_compares_at_the_same_step_only() -> None:
    assert prunes(QuantilePruner(), study_of(EIGHT), -1.0, step=20) is False


def test_quantile_pruner_keeps_pruned_trials_in_the_comparison() -> None:
    study = study_of([(PRUNED, float(i)) for i in range(8)])
    for value in (9.0, 10.0):
        curve = {10: value, 20: value}
        study.add_trial(create_trial(state=COMPLETE, value=value, intermediate_values=curve))
    assert prunes(QuantilePruner(), study, 8.5, step=20) is False  # third of eleven
    assert prunes(QuantilePruner(), study, 7.0, step=20) is True  # behind three of twelve


def test_quantile_pruner_without_report_does_not_prune() -> None:
    study = study_of(EIGHT)
    study.ask()
    assert QuantilePruner().prune(study, study.trials[-1]) is False


def test_quantile_pruner_nan_is_pruned() -> None:
    assert prunes(QuantilePruner(), study_of(EIGHT), NAN) is True


@pytest.mark.parametrize(("value", "pruned"), [(4.5, True), (5.5, False)])
def test_quantile_pruner_nan_of_others_does_not_count(value: float, pruned: bool) -> None:
    study = study_of([*EIGHT, (RUNNING, NAN), (PRUNED, NAN)])
    assert prunes(QuantilePruner(), study, value) is pruned


@pytest.mark.parametrize("keep_fraction", [0.0, 1.0, -0.5])
def test_quantile_pruner_impossible_fraction_is_refused(keep_fraction: float) -> None:
    with pytest.raises(UserError, match=r"`0 < keep_fraction < 1` must hold, but got "):
        QuantilePruner(keep_fraction)


@pytest.mark.parametrize(
    ("name", "kind", "arguments"),
    [
        ("quantile", "QuantilePruner", {"_keep_fraction": 0.25, "_n_warmup_steps": 300}),
        ("median", "MedianPruner", {"_percentile": 50.0, "_n_warmup_steps": 300}),
        ("percentile", "PercentilePruner", {"_percentile": 25.0, "_n_warmup_steps": 300}),
        ("halving", "SuccessiveHalvingPruner", {"_min_resource": 300, "_reduction_factor": 3}),
        ("hyperband", "HyperbandPruner", {"_min_resource": 300, "_max_resource": 1000}),
        ("patient", "PatientPruner", {"_patience": 2}),
        ("none", "NopPruner", {}),
    ],
)
def test_build_pruner_by_name_has_arguments_in_steps(
    name: str, kind: str, arguments: dict[str, Any]
) -> None:
    pruner = build_pruner(config(pruner=name, n_timesteps=1000))
    assert type(pruner).__name__ == kind
    assert {key: vars(pruner)[key] for key in arguments} == arguments


@pytest.mark.parametrize(
    "name", ["quantile", "median", "percentile", "halving", "hyperband", "patient"]
)
def test_build_pruner_worst_trial_before_the_first_decision_goes_on(name: str) -> None:
    pruner = build_pruner(config(pruner=name, n_timesteps=1000))
    study = optuna.create_study(direction="maximize", pruner=pruner)
    for _ in range(9):
        trial = study.ask()
        trial.report(1.0, 200)
        study.tell(trial, 1.0)
    assert prunes(pruner, study, 0.0, step=200) is False


@pytest.mark.parametrize(
    ("name", "present", "message"),
    [
        ("cmaes", (), r"cmaes needs cmaes and scipy: pip install .*\[cmaes\]'"),
        ("cmaes", ("scipy",), r"cmaes needs cmaes: pip install .*\[cmaes\]'"),
        ("gp", (), r"sampler: gp needs scipy: pip install .*\[gp\]'"),
        ("qmc", (), r"sampler: qmc needs scipy: pip install .*\[qmc\]'"),
    ],
)
def test_check_sampler_installed_missing_package_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, name: str, present: tuple[str, ...], message: str
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: package in present or None)
    with pytest.raises(UserError, match=message):
        check_sampler_installed(name)


def test_check_sampler_installed_tpe_asks_for_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(importlib.util, "find_spec", asked.append)
    for name in ("tpe", "random"):
        check_sampler_installed(name)
    assert asked == []


def objective(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", 1e-3, 1.0, log=True)
    n = trial.suggest_int("n", 1, 5)
    return x * n if trial.suggest_categorical("kind", ["a", "b"]) == "a" else -x


def sampled(
    sampler: str, *, root: int = 0, first_number: int = 0, n: int = 3
) -> list[dict[str, Any]]:
    """Return the parameters of a new process's first trials."""
    made = LateSeededSampler(config(sampler=sampler, seed=root, n_startup_trials=4))
    study = optuna.create_study(direction="maximize", sampler=made)
    study.add_trials([create_trial(state=TrialState.FAIL)] * first_number)
    study.optimize(objective, n)
    return [trial.params for trial in study.trials[first_number:]]


@pytest.mark.parametrize("name", SAMPLERS)
def test_late_seeded_sampler_same_root_and_number_draws_the_same(name: str) -> None:
    assert sampled(name, first_number=2, n=7) == sampled(name, first_number=2, n=7)


@pytest.mark.parametrize("name", SAMPLERS)
def test_late_seeded_sampler_other_first_number_draws_others(name: str) -> None:
    starts = [sampled(name, first_number=number, n=1)[0]["x"] for number in range(4)]
    assert len(set(starts)) == 4


@pytest.mark.parametrize("name", SAMPLERS)
def test_late_seeded_sampler_other_root_draws_others(name: str) -> None:
    assert sampled(name)[0]["x"] != sampled(name, root=1)[0]["x"]


@pytest.mark.parametrize("name", SAMPLERS)
def test_late_seeded_sampler_12_trials_explore_and_warn_of_nothing(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        points = sampled(name, n=12)
    assert {tuple(point) for point in points} == {("x", "n", "kind")}
    assert len({tuple(point.values()) for point in points}) >= 6  # gp goes to corners twice
    assert {point["kind"] for point in points} == {"a", "b"}


def test_late_seeded_sampler_tpe_leaves_startup_for_the_good_region() -> None:
    points = sampled("tpe", n=40)
    late = [point["kind"] for point in points[20:]]
    assert late.count("a") > 14  # half of them, were it random


STEPS = range(100, 1001, 100)


def regret_and_infeasibility(sampler: str, seed: int) -> tuple[float, float]:
    """Search a bowl whose best point is next to a region where every trial diverges.

    Returns:
        Mean regret of the last 30 of 60 trials; the part of the last 20 that was infeasible.
    """
    settings = config(sampler=sampler, seed=seed, n_timesteps=1000)
    study = optuna.create_study(
        direction="maximize", sampler=LateSeededSampler(settings), pruner=build_pruner(settings)
    )
    noise = np.random.default_rng(seed)
    regrets, infeasible = [], []
    for _ in range(60):
        trial = study.ask()
        x = [trial.suggest_float(name, 0.0, 1.0) for name in "abc"]
        regrets.append(sum((value - 0.55) ** 2 for value in x))
        infeasible.append(x[0] > 0.6)
        if infeasible[-1]:
            trial.set_constraint("diverged", 1.0)
            study.tell(trial, state=PRUNED)
            continue
        tell_curve(study, trial, [-regrets[-1] - 0.5 * 0.6**i for i in range(10)], noise)
    return float(np.mean(regrets[30:])), float(np.mean(infeasible[40:]))


def tell_curve(
    study: optuna.Study,
    trial: optuna.Trial,
    curve: Sequence[float],
    noise: np.random.Generator,
) -> None:
    for step, value in zip(STEPS, curve, strict=True):
        last = value + noise.normal(scale=0.01)
        trial.report(last, step)
        if trial.should_prune():
            study.tell(trial, state=PRUNED)
            return
    study.tell(trial, last)


@pytest.mark.parametrize("sampler", [pytest.param("gp", marks=pytest.mark.slow), "cmaes"])
def test_late_seeded_sampler_learns_from_pruned_and_infeasible_trials(sampler: str) -> None:
    results = [regret_and_infeasibility(sampler, seed) for seed in range(3)]
    regret, infeasibility = np.mean(results, axis=0)
    assert regret < 0.7 * 0.2575  # of uniform points
    assert infeasibility < 0.2  # 0.4 of uniform points


def sample_line(sampler: str, n: int, constraint: float, value: float | None) -> list[float]:
    """Return the last ten of `n` points in [0, 1], all pruned; the lower, the better."""
    study = optuna.create_study(
        direction="maximize", sampler=LateSeededSampler(config(sampler=sampler))
    )
    points = []
    for _ in range(n):
        trial = study.ask()
        points.append(trial.suggest_float("x", 0.0, 1.0))
        trial.suggest_float("y", 0.0, 1.0)
        if points[-1] < 0.5:
            trial.report(1.0 - points[-1], 10)
        else:
            trial.set_constraint("oom", constraint)
            if value is not None:
                trial.report(value, 10)
        study.tell(trial, state=PRUNED)
    return points[-10:]


@pytest.mark.parametrize("sampler", ["gp", "cmaes"])
@pytest.mark.parametrize(("constraint", "value"), [(1.0, None), (1.0, 5.0), (0.0, 0.0)])
def test_late_seeded_sampler_all_pruned_stays_in_the_better_half(
    sampler: str, constraint: float, value: float | None
) -> None:
    points = sample_line(sampler, 45 if sampler == "cmaes" else 25, constraint, value)
    assert sum(point < 0.5 for point in points) >= 8
