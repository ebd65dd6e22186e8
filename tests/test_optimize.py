from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import create_trial
from rich.console import Console

import sb3_hpo
from sb3_hpo.config.study_config import make_config
from sb3_hpo.optimize import _answer, main
from sb3_hpo.storages.address import StorageAddress
from sb3_hpo.storages.study_location import StudyLocation
from sb3_hpo.train import main as train
from sb3_hpo.tuning import tune
from sb3_hpo.utils.errors import UserError
from sb3_hpo.utils.processes import IN_WORKER
from tests.support.studies import DEFAULT_PARAMS, ended_trial, flags_with, study_config

TINY = [
    "--algo", "ppo", "--env", "tests.support.envs:TargetEnv", "--n-timesteps", "640", "--n-envs",
    "2",
    "--n-eval-episodes", "3", "--n-trials", "4", "--space",
    "tests.support.envs:sample_target_params",
    "--no-reevaluate", "--no-rehearse",
]  # fmt: skip


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def load(run_dir: Path) -> optuna.Study:
    storage = JournalStorage(JournalFileBackend(str(run_dir / "study.journal")))
    (name,) = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=name, storage=storage)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--algo", "ppoo"], "unknown algorithm 'ppoo'; did you mean 'ppo'?"),
        (["--env", "Pendulm-v1"], "env: unknown environment 'Pendulm-v1'; did you mean"),
        (["--sampler", "tpee"], "unknown sampler 'tpee'; did you mean 'tpe'?"),
        (["--pruner", "medain"], "unknown pruner 'medain'; did you mean 'median'?"),
        (["--fixed.gama", "0.9"], "fixed.gama: unknown parameter 'gama'; did you mean 'gamma'?"),
        (["--algo", "dqn"], "algo: dqn acts in Discrete spaces"),
        (["--algo", "sac", "--env", "CartPole-v1"], "algo: sac acts in Box spaces"),
        (["--env", "tests.support.envs:make_failing"], "failed: RuntimeError: no licence server"),
        (
            ["--env", "tests.support.envs:RaisingEnv"],
            "step 5 of 'tests.support.envs:RaisingEnv', with random act",
        ),
        (["--env", "no_module:Env"], "no module named 'no_module'"),
        (["--n-trials", "0"], "n_trials: Input should be greater than 0"),
        (["--n-evaluations", "0"], "n_evaluations: Input should be greater than 0"),
        (["--n-timesteps", "100"], "n_timesteps: `n_timesteps >= n_evaluations"),
        (["--n-trails", "3"], "unknown flag '--n-trails'; did you mean '--n-trials'"),
        (["--storage", "redis://localhost:1"], "storage: redis://localhost:1 cannot be used ("),
    ],
)
def test_main_bad_input_is_one_line_exit_2_and_nothing_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    assert main(flags_with(["--algo", "ppo", "--env", "Pendulum-v1"], *flags)) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err
    assert list(tmp_path.iterdir()) == []


def test_main_config_mistakes_are_reported_all_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.yaml").write_text("algo: ppo\nn_trails: 3\nn_envs: many\nnormalize: 7\n")
    assert main(["--config", "bad.yaml"]) == 2
    error = capsys.readouterr().err
    for part in ("'n_trails'; did you mean 'n_trials'", "n_envs: ", "normalize: ", "env: missing"):
        assert part in error


def test_main_missing_extra_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "cmaes" else name)
    assert main([*TINY, "--sampler", "cmaes"]) == 2
    assert "cmaes needs cmaes: pip install -e '" in capsys.readouterr().err


def test_main_print_config_prints_what_would_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*TINY, "--print-config"]) == 0
    values = yaml.safe_load(capsys.readouterr().out)
    assert (values["n_timesteps"], values["score"]) == (640, "last_half")
    assert make_config(values).n_trials == 4
    assert list(tmp_path.iterdir()) == []


def test_tune_inside_a_worker_names_the_missing_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(IN_WORKER, "1")
    with pytest.raises(UserError, match='call it under if __name__ == "__main__":'):
        tune(algo="ppo", env="Pendulum-v1")


def test_public_names_are_all_importable() -> None:
    assert [name for name in sb3_hpo.__all__ if not hasattr(sb3_hpo, name)] == []
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = sb3_hpo.nonsense


@pytest.mark.parametrize(("value", "status"), [(None, 1), (1.5, 0)])
def test_answer_of_nothing_is_no_success(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], value: float | None, status: int
) -> None:
    config = study_config(env="tests.support.envs:TargetEnv", n_trials=2)
    study = optuna.create_study(direction="maximize", study_name="made-up")
    study.add_trial(ended_trial(config, DEFAULT_PARAMS, [], "diverged", "a reward was NaN"))
    if value is not None:
        study.add_trial(create_trial(value=value))
    location = StudyLocation("made-up", tmp_path, StorageAddress("memory", ":memory:"))
    assert _answer(study, config, location, 0.0, Console(), reevaluate=False) == status
    output = capsys.readouterr().out
    assert ("No trial has a value, so there is no answer." in output) is (status == 1)


@pytest.mark.slow
def test_main_runs_a_study_to_its_end_and_resumes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*TINY, "--run-dir", "run", "--tensorboard"]) == 0
    run_dir = tmp_path / "run"
    study = load(run_dir)
    assert [trial.state.is_finished() for trial in study.trials] == [True] * 4
    best = yaml.safe_load((run_dir / "best.yaml").read_text())
    assert best["trial"] == study.best_trial.number
    assert best["trial_value"] == study.best_value
    assert best["params"] == study.best_params
    assert best["kwargs"]["learning_rate"] == study.best_params["learning_rate"]
    assert make_config(yaml.safe_load((run_dir / "config.yaml").read_text())).n_trials == 4
    assert {path.name for path in (run_dir / "tensorboard").iterdir()} == {
        f"trial-{number}" for number in range(4)
    }
    output = capsys.readouterr().out
    assert "[4/4]" in output
    assert "A trial value is not yet a result" in output
    assert main([*TINY, "--run-dir", "run", "--tensorboard"]) == 0
    assert "It is complete. For more trials: --n-trials 8" in capsys.readouterr().out
    assert main(flags_with(TINY, "--run-dir", "run", "--n-trials", "5")) == 0
    assert len(load(run_dir).trials) == 5
    assert main([*TINY, "--run-dir", "run", "--study-name", study.study_name, "--seed", "9"]) == 2
    assert "seed: 0 in the study, 9 now" in capsys.readouterr().err


@pytest.mark.slow
def test_main_repeated_errors_end_with_status_1_and_say_why(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert (
        main(flags_with(TINY, "--env", "tests.support.envs:RaisingLaterEnv", "--n-trials", "9"))
        == 1
    )
    output = capsys.readouterr().out
    assert "ValueError: the gripper is gone" in output
    assert "Given up: 3 trials failed with ValueError" in output


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_command_interrupted_exits_with_the_signals_status(
    tmp_path: Path, number: signal.Signals, status: int
) -> None:
    flags = flags_with(TINY, "--run-dir", "run", "--n-timesteps", "400000", "--n-workers", "1")
    command: list[Any] = [sys.executable, "-m", "sb3_hpo.optimize", *flags]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    with (tmp_path / "out").open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=environment)
    deadline = time.monotonic() + 60
    while not any(trial.state.name == "RUNNING" for trial in _trials(tmp_path / "run")):
        assert time.monotonic() < deadline, (tmp_path / "out").read_text()
        time.sleep(0.3)
    process.send_signal(number)
    assert process.wait(timeout=30) == status
    assert "the same command goes on from here" in (tmp_path / "out").read_text()
    assert [trial.state.name for trial in _trials(tmp_path / "run")] == ["FAIL", "WAITING"]


def _trials(run_dir: Path) -> list[optuna.trial.FrozenTrial]:
    if not (run_dir / "config.yaml").exists():
        return []
    return load(run_dir).trials


OWN_CALLBACKS = """
from pathlib import Path

from stable_baselines3.common.callbacks import BaseCallback


class Notes(BaseCallback):
    def __init__(self, path):
        super().__init__()
        self.path = path

    def _on_step(self):
        return True

    def _on_training_end(self):
        with Path(self.path).open("a") as file:
            print(self.model.seed, self.num_timesteps, file=file)


class Breaks(BaseCallback):
    def _on_step(self):
        raise KeyError("no such layer")
"""


@pytest.mark.slow
def test_main_solved_study_is_reevaluated_with_its_callbacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(OWN_CALLBACKS)
    words = [word for word in TINY if word != "--no-reevaluate"]
    words += ["--run-dir", "run", "--pruner", "none", "--test-seeds", "2", "--test-episodes", "2",
              "--n-workers", "1", "--callback", "mine.py:Notes: {path: notes.txt}"]  # fmt: skip
    assert main([*words, "--stop-at", "-100"]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "[1/4] trial 0: value -" in output
    assert "The search ends: --stop-at -100 is reached: trial 0 has the value -" in output
    assert "proves nothing alone: the re-evaluation trains the best trials again" in output
    assert output.count("callbacks of yours are for one run at a time") == 1
    assert len(load(tmp_path / "run").trials) == 1
    # A trial and two seeds of the winner; SB3's default has none.
    notes = (tmp_path / "notes.txt").read_text().splitlines()
    assert [line.split()[1] for line in notes] == ["640"] * 3
    assert len({line.split()[0] for line in notes}) == 3
    logged = (tmp_path / "run" / "reevaluation.jsonl").read_text().splitlines()
    runs = [yaml.safe_load(line) for line in logged if '"stage": "test"' in line]
    assert sorted(str(run["trial"]) for run in runs) == ["0", "0", "None", "None"]
    best = yaml.safe_load((tmp_path / "run" / "best.yaml").read_text())
    assert best["training"]["callbacks"] == [{"mine.py:Notes": {"path": "notes.txt"}}]
    assert 'Notes(path="notes.txt")' in (tmp_path / "run" / "train_best.py").read_text()
    assert "mine.Notes" in (tmp_path / "run" / "zoo.yml").read_text()

    assert main([*words, "--stop-at", "-100"]) == 0  # nothing is searched or trained again
    output = " ".join(capsys.readouterr().out.split())
    assert "The search ends: --stop-at -100 is reached: trial 0" in output
    assert "To search on: a larger --stop-at." in output
    assert len(load(tmp_path / "run").trials) == 1
    assert (tmp_path / "notes.txt").read_text().splitlines() == notes

    again = ["run/best.yaml", "--seeds", "1", "--episodes", "2"]
    assert train([*again, "--trust"]) == 0
    assert len((tmp_path / "notes.txt").read_text().splitlines()) == 4
    capsys.readouterr()

    assert main([*words, "--stop-at", "-0.000001", "--no-reevaluate"]) == 0
    assert "[4/4]" in capsys.readouterr().out
    assert len(load(tmp_path / "run").trials) == 4
    assert main(flags_with(words, "--callback", "mine.py:Breaks", "--study-name", "b")) == 1
    assert "KeyError: 'no such layer' at " in capsys.readouterr().out


def test_main_callback_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TINY, "--callback", "tests.support.callbacks:Cuonts"]) == 2
    assert "callbacks: tests.support.callbacks:Cuonts: unknown name" in capsys.readouterr().err
