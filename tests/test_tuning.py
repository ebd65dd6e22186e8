from __future__ import annotations

import inspect
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydantic_core import PydanticUndefined

import sb3_hpo
from sb3_hpo import TuningResult, UserError, tune
from sb3_hpo.config.study_config import StudyConfig

GOLDEN = Path(__file__).parent / "golden" / "journal"


@pytest.fixture
def result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TuningResult:
    shutil.copytree(GOLDEN, tmp_path / "journal")
    monkeypatch.chdir(tmp_path)
    return TuningResult.load("journal")


def test_tune_has_every_option_with_its_default() -> None:
    parameters = inspect.signature(tune).parameters
    assert parameters.keys() == StudyConfig.model_fields.keys()
    for name, field in StudyConfig.model_fields.items():
        is_open = field.default is PydanticUndefined or field.default == {}
        default = None if is_open else field.default
        if name not in ("algo", "env"):
            assert parameters[name].default == default, name


def test_tune_says_what_every_option_is() -> None:
    arguments = (inspect.getdoc(tune) or "").partition("Args:")[2].partition("Returns:")[0]
    documented = re.findall(r"^ {4}(\w+): \S", arguments, re.MULTILINE)
    assert set(documented) == set(StudyConfig.model_fields)


def test_tune_refuses_what_is_no_option() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'n_trails'"):
        tune("ppo", "Pendulum-v1", n_trails=3)  # type: ignore[call-arg]


def test_public_names_are_seen_before_they_are_used() -> None:
    code = "import sb3_hpo; print(sorted(set(sb3_hpo.__all__) - set(dir(sb3_hpo))))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert re.fullmatch(r"\d+\.\d+\.\d+", sb3_hpo.__version__)


def test_result_has_the_answer_and_what_it_is_worth(result: TuningResult) -> None:
    assert result.exit_status == 0
    assert result.best.trial == result.reevaluated.candidate.trial  # type: ignore[union-attr]
    assert result.best.reevaluated is not None
    tested = result.reevaluated
    assert tested is not None
    assert tested.iqm.value == pytest.approx(result.best.reevaluated["iqm"])
    assert len(tested.runs) == 3
    said = f"PPO on CartPole-v1, trial {result.best.trial} of study golden: IQM "
    assert result._repr_html_().startswith(f"<div>{said}")
    assert repr(result).startswith(f"TuningResult({said}")
    assert "worst seed" in repr(result)


def test_result_policy_plays_in_its_environment(result: TuningResult) -> None:
    model, venv = result.model(), result.make_env()
    observation, done = venv.reset(), np.array([False])
    n_steps = 0
    while not done[0]:
        action, _ = model.predict(observation, deterministic=True)  # type: ignore[arg-type]
        observation, _, done, _ = venv.step(action)
        n_steps += 1
    assert 8 <= n_steps <= 500
    assert result.build_kwargs().keys() == result.best.kwargs.keys()


def test_result_tables_hold_what_was_measured(result: TuningResult) -> None:
    curves, seeds = result.curves(), result.seeds()
    assert list(curves.columns) == ["trial", "seed", "step", "value"]
    trial = curves[curves["trial"] == 0]
    assert list(trial["step"]) == [128, 256, 384, 512, 640, 768]
    assert np.isfinite(trial["value"]).all()
    assert sorted(seeds["of"].unique()) == ["SB3's default", result.reevaluated.candidate.name]  # type: ignore[union-attr]
    ours = seeds[seeds["of"] != "SB3's default"]["value"]
    assert ours.min() == pytest.approx(result.reevaluated.worst)  # type: ignore[union-attr]
    assert len(result.trials_dataframe()) == len(result.study.trials)


def test_result_before_a_test_says_how_to_get_one(result: TuningResult) -> None:
    (result.run_dir / "best_model.zip").unlink()
    with pytest.raises(UserError, match=r"best_model.zip: the answer has not been tested: `pyth"):
        result.model()


def test_result_of_a_stranger_runs_no_code_of_theirs(result: TuningResult) -> None:
    path = result.run_dir / "best.yaml"
    path.write_text(path.read_text().replace("env: CartPole-v1", "env: strange_module:make"))
    for use in (result.make_env, result.model):
        with pytest.raises(UserError, match=r"strange_module:make would be imported, .* --trust"):
            use()
