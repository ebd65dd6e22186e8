from __future__ import annotations

import importlib.util
import warnings
from typing import TYPE_CHECKING, Any, Literal

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from sb3_hpo.config import SAMPLERS, StudyConfig, make_config
from sb3_hpo.errors import UserError
from sb3_hpo.search import LateSeededSampler, QuantilePruner, build_pruner, check_sampler_installed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna.pruners import BasePruner

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
        ("cmaes", (), r"cmaes needs cmaes and scipy: pip install 'sb3-hpo\[cmaes\]'"),
        ("cmaes", ("scipy",), r"cmaes needs cmaes: pip install 'sb3-hpo\[cmaes\]'"),
        ("gp", (), r"sampler: gp needs scipy: pip install 'sb3-hpo\[gp\]'"),
        ("qmc", (), r"sampler: qmc needs scipy: pip install 'sb3-hpo\[qmc\]'"),
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
