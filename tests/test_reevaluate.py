from __future__ import annotations

import json
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

from sb3_hpo import load_best
from sb3_hpo.config.study_config import make_config
from sb3_hpo.doctor.__main__ import main as doctor
from sb3_hpo.optimize import main as optimize
from sb3_hpo.reevaluate import main
from sb3_hpo.report.__main__ import main as report
from sb3_hpo.results.reevaluation_runs import Candidate, ReevaluationLog
from sb3_hpo.train import main as train
from tests.support.studies import flags_with, make_study, study_config

ROOT = Path(__file__).parent.parent
TINY = [
    "--algo", "ppo", "--env", "tests.support.envs:TargetEnv", "--n-timesteps", "640", "--n-envs",
    "2",
    "--n-eval-episodes", "3", "--space", "tests.support.envs:sample_target_params",
    "--no-rehearse",
]  # fmt: skip
SMALL = ["--top", "2", "--seeds", "3", "--test-episodes", "5"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def keys_of(path: Path) -> list[str]:
    return [line["key"] for line in lines_of(path) if "key" in line]


def objective(trial: optuna.Trial) -> float:
    """Somebody else's objective, with the parameters of `sample_target_params`."""
    return -trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True)


@pytest.fixture
def foreign(tmp_path: Path) -> str:
    """A study that Optuna alone has made, in a database."""
    url = f"sqlite:///{tmp_path / 'other.db'}"
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(
        storage=url, study_name="mine", direction="maximize", sampler=sampler
    )
    study.optimize(objective, n_trials=4)
    optuna.create_study(storage=url, study_name="loss")
    optuna.create_study(storage=url, study_name="empty", direction="maximize")
    return url


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--study-name", "mien", *TINY], "unknown study 'mien'; did you mean 'mine'?"),
        (TINY, "say which study of sqlite"),
        (["--study-name", "loss", *TINY], "study 'loss' minimises"),
        (["--study-name", "empty", *TINY], "has no COMPLETE trial to be re-evaluated"),
        (["--study-name", "mine", *TINY, "--top", "9"], "but got 9 > 4"),
        (["--study-name", "mine"], "study 'mine' was not made by sb3_hpo: say how it was trained"),
        (
            ["--study-name", "mine", *flags_with(TINY, "--env", "Pendulm-v1")],
            "did you mean 'Pendulum-v1'",
        ),
        (["--study-name", "mine", *TINY[:-3]], "does not replay through this search space"),
        (["--study-name", "mine", *TINY, "--sedes", "3"], "unknown flag '--sedes'"),
    ],
)
def test_main_bad_input_is_one_line_exit_2(
    foreign: str, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    assert main(["--storage", foreign, *flags]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["other.db"]


def test_main_without_storage_or_with_a_missing_one_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main([]) == 2
    assert "storage: missing; give the run folder" in capsys.readouterr().err
    assert main(["--storage", "nowhere/study.journal"]) == 2
    assert f"there is no file {tmp_path}/nowhere/study.journal" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_study_of_another_tool_is_raced_and_tested(
    tmp_path: Path, foreign: str, capsys: pytest.CaptureFixture[str]
) -> None:
    script = [sys.executable, str(ROOT / "scripts" / "reevaluate_top_trials.py")]
    arguments = ["--storage", foreign, "--study-name", "mine", *TINY, *SMALL]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*script, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    run_dir = tmp_path / "runs" / "mine"
    lines = lines_of(run_dir / "reevaluation.jsonl")
    runs = [(line["stage"], line["trial"], line["seed_index"]) for line in lines if "key" in line]
    best = sorted(optuna.load_study(study_name="mine", storage=foreign).trials,
                  key=lambda trial: -(trial.value or 0.0))[:2]  # fmt: skip
    raced = {(stage, number) for stage, number, _ in runs if stage == "race"}
    assert raced == {("race", trial.number) for trial in best}
    winner = next(line["winner"]["trial"] for line in lines if "winner" in line)
    assert sorted(run for run in runs if run[0] == "test" and run[1] == winner) == [
        ("test", winner, index) for index in range(3)
    ]
    rates = {
        line["record"]["kwargs"]["learning_rate"] for line in lines if line.get("trial") == winner
    }
    trial = best[0] if best[0].number == winner else best[1]
    assert rates == {trial.params["learning_rate"]}
    assert load_best(run_dir).trial == winner
    assert "IQM" in done.stdout
    # Again: everything is there, nothing is trained.
    before = (run_dir / "reevaluation.jsonl").read_bytes()
    assert main(arguments) == 0
    assert (run_dir / "reevaluation.jsonl").read_bytes() == before
    assert "The answer: trial" in capsys.readouterr().out
    # More seeds: only those are trained.
    assert main(flags_with(arguments, "--seeds", "4")) == 0
    keys = keys_of(run_dir / "reevaluation.jsonl")
    assert len(keys) == len(set(keys))
    assert keys[: len(runs)] == [line["key"] for line in lines if "key" in line]
    assert len(keys) > len(runs)


@pytest.mark.slow
def test_a_killed_re_evaluation_goes_on_and_trains_nothing_twice(tmp_path: Path) -> None:
    arguments = flags_with(
        TINY, "--n-trials", "3", "--run-dir", "run", "--test-seeds", "4", "--top", "2",
        "--test-episodes", "5", "--n-timesteps", "3200", "--pruner", "none",
    )  # fmt: skip
    log = tmp_path / "run" / "reevaluation.jsonl"
    command = [sys.executable, "-m", "sb3_hpo.optimize", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    seen: list[str] = []
    for n_runs in (1, 3):  # killed when there are so many
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
        )
        deadline = time.monotonic() + 120
        while not log.exists() or len(keys_of(log)) < n_runs:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert keys_of(log)[: len(seen)] == seen
        seen = keys_of(log)
    assert optimize(arguments) == 0
    keys = keys_of(log)
    assert keys[: len(seen)] == seen
    assert len(keys) == len(set(keys))
    winner = load_best("run")
    assert winner.reevaluated is not None
    assert winner.reevaluated["n_seeds"] == 4


@pytest.mark.slow
def test_optimize_ends_with_an_answer_that_train_repeats(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*TINY, "--n-trials", "3", "--run-dir", "run", "--test-seeds", "3",
                 "--test-episodes", "5", "--normalize"]  # fmt: skip
    assert optimize(arguments) == 0
    run_dir = tmp_path / "run"
    output = capsys.readouterr().out
    assert "Re-evaluation: trial" in output  # too few trials for a race
    assert "The answer: trial" in output
    names = {path.name for path in run_dir.iterdir()}
    assert names >= {"best.yaml", "train_best.py", "zoo.yml", "report.md", "report.html",
                     "reevaluation.jsonl", "best_model.zip", "vecnormalize.pkl"}  # fmt: skip
    best = yaml.safe_load((run_dir / "best.yaml").read_text())
    tested = [line for line in lines_of(run_dir / "reevaluation.jsonl")
              if line.get("stage") == "test" and line["trial"] == best["trial"]]  # fmt: skip
    middle = sorted(tested, key=lambda line: sum(line["final"]["returns"]))[1]
    assert best["reevaluated"]["best_model_is_median_test_seed"] == middle["record"]["seed"]
    folder = (
        run_dir
        / "models"
        / f"trial-{best['trial']}-seed-{middle['seed_index']}-{middle['key'][:8]}"
    )
    assert (run_dir / "best_model.zip").read_bytes() == (folder / "model.zip").read_bytes()

    assert train([str(run_dir / "best.yaml"), "--seeds", "2", "--episodes", "4", "--trust"]) == 0
    output = capsys.readouterr().out
    again = (
        f"trial {best['trial']}, trained again for 640 steps from 2 fresh seeds and judged by 4"
    )
    assert again in output
    lines = lines_of(run_dir / "retrained" / "retrained.jsonl")
    assert [line["record"]["kwargs"] for line in lines] == [best["kwargs"]] * 2
    used = {line["record"]["seed"] for line in tested}
    assert used.isdisjoint(line["record"]["seed"] for line in lines)
    for name in ("best_model.zip", "vecnormalize.pkl"):
        assert (run_dir / "retrained" / name).exists()
    before = (run_dir / "retrained" / "retrained.jsonl").read_bytes()
    assert train([str(run_dir), "--seeds", "2", "--episodes", "4", "--trust"]) == 0
    assert (run_dir / "retrained" / "retrained.jsonl").read_bytes() == before


@pytest.mark.slow
def test_optimize_without_reevaluation_says_what_a_trial_value_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert optimize([*TINY, "--n-trials", "2", "--run-dir", "run", "--no-reevaluate"]) == 0
    assert "A trial value is not yet a result" in capsys.readouterr().out
    assert not (tmp_path / "run" / "reevaluation.jsonl").exists()
    assert yaml.safe_load((tmp_path / "run" / "best.yaml").read_text())["reevaluated"] is None
    assert "Not re-evaluated" in (tmp_path / "run" / "report.md").read_text()


@pytest.mark.slow
def test_a_time_limit_holds_for_search_and_re_evaluation_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = time.monotonic()
    assert optimize([*TINY, "--n-trials", "10000", "--run-dir", "run", "--timeout", "50",
                     "--test-episodes", "5", "--test-seeds", "200", "--exact"]) == 0  # fmt: skip
    assert time.monotonic() - start < 80
    output = capsys.readouterr().out
    assert "The time is over" in output
    assert "The answer: trial" in output
    tests = [line for line in lines_of(tmp_path / "run" / "reevaluation.jsonl")
             if line.get("stage") == "test"]  # fmt: skip
    assert 1 <= len(tests) < 200
    assert "The test is not over" in (tmp_path / "run" / "report.md").read_text()


def test_train_of_a_missing_environment_is_one_line_exit_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "best.yaml"
    recipe.write_text("training: {algo: ppo, env: Pendulm-v1}\nkwargs: {}\nroot_seed: 0\n")
    assert train([str(recipe)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "did you mean 'Pendulum-v1'" in error
    assert list(tmp_path.iterdir()) == [recipe]


def test_training_inside_a_worker_names_the_missing_guard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "best.yaml"
    recipe.write_text("training: {algo: ppo, env: Pendulum-v1}\nkwargs: {}\nroot_seed: 0\n")
    monkeypatch.setenv("SB3_HPO_WORKER", "1")
    assert train([str(recipe)]) == 2
    assert "__main__" in capsys.readouterr().err


def test_a_strangers_study_runs_no_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "strange_env.py").write_text(
        "__import__('pathlib').Path('mark').touch()\nx = lambda: 1 / 0\nx()\n"
    )
    net = {"$import": "strange_env:Net"}
    strange = {"algo": "ppo", "env": "strange_env:make", "policy_kwargs": {"net": net}}
    config = make_config(strange, imports=False)
    study = make_study(study_config(), 12)
    journal = JournalStorage(JournalFileBackend(str(tmp_path / "study.journal")))
    optuna.copy_study(
        from_study_name=study.study_name, from_storage=study._storage,
        to_storage=journal, to_study_name="theirs",
    )  # fmt: skip
    theirs = optuna.load_study(study_name="theirs", storage=journal)
    theirs.set_user_attr("config", config.plain())
    winner = Candidate(trial=0, kwargs={"policy_kwargs": {"optimizer_class": "strange_env:Opt"}})
    ReevaluationLog(tmp_path / "reevaluation.jsonl").choose(winner)
    assert main(["--storage", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: study 'theirs': ")
    for name in ("strange_env:make", "strange_env:Net", "strange_env:Opt"):
        assert name in error
    assert report([str(tmp_path)]) == 0
    assert doctor([str(tmp_path)]) == 0
    assert not (tmp_path / "mark").exists()
    assert "strange_env" not in sys.modules
    assert main(["--storage", str(tmp_path), "--trust"]) == 2
    assert "importing strange_env failed: ZeroDivisionError" in capsys.readouterr().err
    assert (tmp_path / "mark").exists()


def test_reevaluate_keeps_where_the_study_lives_in_its_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run folder is a storage to be read only: `optimize --config config.yaml` refuses it."""
    journal = JournalStorage(JournalFileBackend(str(tmp_path / "study.journal")))
    study = optuna.create_study(storage=journal, study_name="mine", direction="maximize")
    study.set_user_attr("config", make_config({"algo": "ppo", "env": "Pendulum-v1"}).model_dump())
    assert main(["--storage", str(tmp_path), "--seeds", "4", "--print-config"]) == 0
    config = yaml.safe_load(capsys.readouterr().out)
    assert (config["storage"], config["test_seeds"]) == (None, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.yaml"], "no file nowhere.yaml"),
        (["nowhere.yaml", "--seeds", "0"], "`seeds >= 1` must hold, but got 0"),
    ],
)
def test_train_bad_input_is_one_line_exit_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert train(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert list(tmp_path.iterdir()) == []
