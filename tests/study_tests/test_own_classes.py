from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from optuna.trial import TrialState

from sb3_hpo.config.study_config import StudyConfig, make_config
from sb3_hpo.optimize import main
from sb3_hpo.results.trials import STOP, USED_UP, trials_of
from sb3_hpo.study.pruners import build_pruner
from sb3_hpo.study.sampling.optuna_samplers import LateSeededSampler, check_search
from sb3_hpo.tuning import tune
from sb3_hpo.utils.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

TINY = {
    "algo": "ppo", "env": "tests.support.envs:TargetEnv", "n_timesteps": 640, "n_envs": 2,
    "n_workers": 1,
    "n_eval_episodes": 2, "reevaluate": False,
}  # fmt: skip
NUMBER = 0.25


class OwnSampler(optuna.samplers.RandomSampler):
    """Notes the seed it was made with."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.seed = seed


class OwnPruner(optuna.pruners.BasePruner):
    """Prunes every trial at its first report."""

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        return True


def make_gp(seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.GPSampler(seed=seed, n_startup_trials=3)


def make_grid() -> optuna.samplers.BaseSampler:
    return optuna.samplers.GridSampler({"x": [0.25, 0.75]})


def config(**values: Any) -> StudyConfig:
    return make_config({**TINY, **values})


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (
            {"sampler": OwnSampler, "pruner": OwnPruner},
            (f"{__name__}:OwnSampler", f"{__name__}:OwnPruner"),
        ),
        (
            {"sampler": "optuna.samplers:NSGAIISampler", "pruner": "optuna.pruners:NopPruner"},
            ("optuna.samplers:NSGAIISampler", "optuna.pruners:NopPruner"),
        ),
    ],
)
def test_own_sampler_and_pruner_are_part_of_the_identity(
    values: dict[str, Any], names: tuple[str, str]
) -> None:
    made = config(**values)
    assert (made.sampler, made.pruner) == names
    assert (made.identity()["sampler"], made.identity()["pruner"]) == names
    assert made.name() != config().name()
    check_search(made)


def test_own_sampler_gets_a_seed_of_its_first_trial() -> None:
    seeds = []
    for _ in range(2):
        for number in range(2):
            sampler = LateSeededSampler(config(sampler=OwnSampler))
            study = optuna.create_study(sampler=sampler)
            for _ in range(number + 1):
                study.ask()
            inner = sampler._inner
            assert isinstance(inner, OwnSampler)
            seeds.append(inner.seed)
        sampler = LateSeededSampler(config(sampler=OwnSampler, seed=1))
        optuna.create_study(sampler=sampler).ask()
        assert isinstance(sampler._inner, OwnSampler)
        seeds.append(sampler._inner.seed)
    assert seeds[:3] == seeds[3:]
    assert seeds[0] != seeds[2]


def test_build_pruner_makes_the_own_one() -> None:
    assert isinstance(build_pruner(config(pruner=OwnPruner)), OwnPruner)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"sampler": "optuna.samplers:GridSampler"},
            (
                "sampler: optuna.samplers:GridSampler is called without arguments but `seed`, "
                "but has others that must be given (missing a required argument: 'search_space'): "
                "name a function of your own that passes them"
            ),
        ),
        (
            {"pruner": "optuna.samplers:TPESampler"},
            "pruner: optuna.samplers:TPESampler must make an Optuna pruner, but made TPESampler",
        ),
        (
            {"sampler": f"{__name__}:NUMBER"},
            (
                f"sampler: {__name__}:NUMBER must be a class or a function that makes an Optuna "
                "sampler, but is an object of float: name its class, or a function that returns it"
            ),
        ),
        ({"sampler": "no_module:Sampler"}, "no module named 'no_module'"),
    ],
)
def test_check_search_what_makes_no_sampler_is_refused(
    values: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        check_search(config(**values))


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"sampler": optuna.samplers.TPESampler()}, "sampler"),
        ({"pruner": optuna.pruners.MedianPruner()}, "pruner"),
    ],
)
def test_make_config_an_instance_is_refused(values: dict[str, Any], key: str) -> None:
    with pytest.raises(UserError) as caught:
        config(**values)
    assert str(caught.value) == (
        f"{key}: an object of {type(values[key]).__name__} cannot reach the worker processes: "
        "pass its class, or a function that returns it"
    )


def test_own_gp_sees_pruned_trials() -> None:
    study = optuna.create_study(
        direction="maximize", sampler=LateSeededSampler(config(sampler=make_gp))
    )
    points = []
    for _ in range(16):
        trial = study.ask()
        points.append(trial.suggest_float("x", 0.0, 1.0))
        trial.report(-abs(points[-1] - NUMBER), 1)
        study.tell(trial, state=TrialState.PRUNED)
    assert sum(abs(point - NUMBER) < 0.1 for point in points[8:]) >= 6


def test_own_sampler_with_nothing_left_ends_the_search_for_all() -> None:
    study = optuna.create_study(sampler=LateSeededSampler(config(sampler=make_grid)))
    values = []
    while study.user_attrs.get(STOP) is None:
        trial = study.ask()
        values.append(trial.suggest_float("x", 0.0, 1.0))
        study.tell(trial, values[-1])
    assert sorted(values) == [0.25, 0.75]
    assert study.user_attrs[STOP] == USED_UP


def test_main_own_sampler_that_cannot_be_made_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    flags = ["--algo", "ppo", "--env", "Pendulum-v1", "--sampler", "optuna.samplers:GridSampler"]
    assert main(flags) == 2
    assert "sampler: optuna.samplers:GridSampler is called" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_tune_own_sampler_and_pruner_reach_the_worker(tmp_path: Path) -> None:
    values: dict[str, Any] = {**TINY, "n_trials": 5, "run_dir": str(tmp_path)}
    result = tune(**values, sampler="optuna.samplers:NSGAIISampler", pruner=OwnPruner)
    assert result.exit_status == 1  # nothing has a value
    trials = trials_of(result.study)
    assert [trial.state for trial in trials] == [TrialState.PRUNED] * 5
    assert "NSGAIISampler:generation" in trials[-1].system_attrs
