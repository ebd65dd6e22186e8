from __future__ import annotations

from typing import TYPE_CHECKING, Any

import optuna
import pytest

from sb3_hpo.config.study_config import StudyConfig, make_config
from sb3_hpo.optimize import main
from sb3_hpo.results.trials import STOP, STOPPED, TIME_OVER, trials_of
from sb3_hpo.storages.open import open_storage
from sb3_hpo.storages.study_location import StudyLocation
from sb3_hpo.study.create_or_resume import create_or_resume
from sb3_hpo.study.preflight import prepare

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def config(**values: Any) -> StudyConfig:
    defaults = {
        "algo": "ppo", "env": "tests.support.envs:TargetEnv", "n_timesteps": 640, "n_envs": 2,
        "space": "tests.support.envs:sample_target_params", "n_trials": 2, "run_dir": "first",
        "study_name": "s", "n_workers": 1,
    }  # fmt: skip
    return make_config({**defaults, **values})


def create(**values: Any) -> optuna.Study:
    config_ = config(**values)
    return create_or_resume(config_, StudyLocation.of(config_), prepare(config_))


def finish(study: optuna.Study, n_trials: int = 2) -> None:
    study.sampler = optuna.samplers.RandomSampler(seed=0)
    study.optimize(lambda trial: trial.suggest_float("learning_rate", 1e-4, 1e-2), n_trials)


def error_of(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert main(argv) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    return captured.err.removeprefix("error: ").strip()


@pytest.mark.parametrize("action", ["--join", "--stop"])
def test_which_study_must_be_said(
    action: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert error_of(capsys, action).startswith("storage: missing; give the --storage")
    assert "unknown flag '--n-trails'" in error_of(capsys, action, "--n-trails", "3")
    assert "there is no file" in error_of(capsys, action, "--storage", "mistyped.journal")
    assert list(tmp_path.iterdir()) == []
    create()
    text = error_of(capsys, action, "--storage", "first", "--study-name", "t")
    assert text == "unknown study 't'; Known: s"


@pytest.mark.parametrize("action", ["--join", "--stop"])
def test_a_study_of_another_tool_is_refused(
    action: str, capsys: pytest.CaptureFixture[str]
) -> None:
    optuna.create_study(storage=open_storage("other.journal"), study_name="o")
    text = error_of(capsys, action, "--storage", "other.journal")
    assert text == "study 'o' was not made by sb3_hpo"


def test_join_with_another_value_is_refused_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    create()
    text = error_of(capsys, "--join", "--storage", "first", "--seed", "4", "--n-envs", "1")
    assert "n_envs: 2 in the study, 1 now; seed: 0 in the study, 4 now" in text


@pytest.mark.parametrize("reason", [STOPPED, TIME_OVER])
def test_join_of_an_ended_search_is_refused(
    reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    create().set_user_attr(STOP, reason)
    text = error_of(capsys, "--join", "--storage", "first")
    assert text == (
        f"study 's' cannot be joined: its search has ended ({reason}); first start again the "
        "command that created it"
    )


def test_join_of_a_complete_study_adds_nothing_and_says_where_its_answer_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = create()
    finish(study)
    before = (tmp_path / "first" / "study.journal").read_bytes()
    assert main(["--join", "--storage", "first/study.journal", "--run-dir", "second"]) == 0
    output = capsys.readouterr().out
    assert "joining study s; logs are in second" in output
    assert "It is complete. For more trials: --n-trials 4" in output
    assert f"by the command that created it in {tmp_path}/first on " in output
    assert f"reevaluate --storage {tmp_path}/first/study.journal --study-name s" in output
    assert (tmp_path / "first" / "study.journal").read_bytes() == before
    assert list((tmp_path / "second").iterdir()) == []


def test_stop_sets_a_flag_that_the_same_command_takes_back(
    capsys: pytest.CaptureFixture[str],
) -> None:
    study = create()
    assert main(["--stop", "--storage", "first", "--study-name", "s"]) == 0
    assert "study s: its search ends, and 0 trials with it" in capsys.readouterr().out
    assert study.user_attrs[STOP] == STOPPED
    assert create().user_attrs[STOP] is None


def test_the_same_command_elsewhere_works_for_the_first_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finish(create(storage="all.journal"))
    command = [
        "--algo", "ppo", "--env", "tests.support.envs:TargetEnv", "--n-timesteps", "640",
        "--n-envs", "2",
        "--space", "tests.support.envs:sample_target_params", "--n-trials", "2", "--study-name",
        "s",
        "--storage", "all.journal",
    ]  # fmt: skip
    assert main([*command, "--run-dir", "second"]) == 0
    assert f"created it in {tmp_path}/first on " in capsys.readouterr().out
    assert list((tmp_path / "second").iterdir()) == []
    study = optuna.load_study(storage=open_storage("all.journal"), study_name="s")
    assert len(trials_of(study)) == 2
