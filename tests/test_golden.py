"""What must not change: studies of an earlier version, public names, commands.

Nothing here names a module inside the package, so that walls may move without touching it.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest
import yaml
from stable_baselines3 import PPO

import samplers
import sb3_hpo
from samplers.schedules import CosineSchedule

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

GOLDEN = Path(__file__).parent / "golden"
COMMANDS = ("optimize", "reevaluate", "train", "report", "doctor", "spaces")
SEEDS = [(1000, 1842418031), (1001, 1754792234)]
SMALL = [
    "--algo=ppo", "--env=CartPole-v1", "--n-timesteps=768", "--n-evaluations=6",
    "--n-eval-episodes=2", "--n-envs=2", "--test-seeds=3", "--test-episodes=2", "--top=2",
    "--seed=1", "--n-workers=1", "--no-rehearse", "--study-name=golden",
]  # fmt: skip
JOURNAL = [
    *SMALL, "--space-size=full", "--fixed.learning_rate_schedule=cosine", "--enqueue=first.yaml",
    "--run-dir=journal",
]  # fmt: skip
SQLITE = [
    *SMALL, "--n-seeds=2", "--fixed.gamma=0.97", "--range.learning_rate=[1e-4, 1e-3]",
    "--no-reevaluate", "--run-dir=sqlite", "--storage=sqlite:///sqlite/study.db",
]  # fmt: skip


@pytest.fixture
def golden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the studies, which is the working directory."""
    for name in ("journal", "sqlite"):
        shutil.copytree(GOLDEN / name, tmp_path / name)
    shutil.copy(GOLDEN / "first.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _run(command: str, *words: str) -> str:
    return _python("-m", f"sb3_hpo.{command}", *words)


def _python(*words: str) -> str:
    made = subprocess.run([sys.executable, *words], check=False, capture_output=True, text=True)
    assert (made.returncode, made.stderr) == (0, "")
    return made.stdout


def _trials(path: Path) -> list[FrozenTrial]:
    if path.suffix == ".db":
        return optuna.load_study(study_name="golden", storage=f"sqlite:///{path}").get_trials()
    backend = optuna.storages.journal.JournalFileBackend(str(path))
    storage = optuna.storages.JournalStorage(backend)
    return optuna.load_study(study_name="golden", storage=storage).get_trials()


def _yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "file", "n_trials"),
    [(JOURNAL, "journal/study.journal", 4), (SQLITE, "sqlite/study.db", 3)],
)
def test_study_is_resumed(golden: Path, words: list[str], file: str, n_trials: int) -> None:
    before = _trials(GOLDEN / file)
    shown = _run("optimize", *words, f"--n-trials={n_trials + 1}")
    after = _trials(golden / file)
    assert after[:n_trials] == before
    assert [trial.state.is_finished() for trial in after] == [True] * (n_trials + 1)
    assert after[-1].distributions == before[1].distributions
    assert after[-1].user_attrs.keys() == before[1].user_attrs.keys() - {"source"}
    assert f"[{n_trials + 1}/{n_trials + 1}] trial {n_trials}: " in shown


def test_answer_is_written_as_before_and_nothing_trained_again(golden: Path) -> None:
    for name in ("best.yaml", "zoo.yml"):
        (golden / "journal" / name).unlink()
    shown = _run("reevaluate", "--storage=journal", "--no-rehearse")
    kept = {  # as text: pytest would import a script
        "train_best.py": "train_best.txt",
        "zoo.yml": "zoo.yml",
        "reevaluation.jsonl": "reevaluation.jsonl",
    }
    for name, before in kept.items():
        assert (golden / "journal" / name).read_text() == (GOLDEN / "journal" / before).read_text()
    assert _yaml(golden / "journal/best.yaml") == _yaml(GOLDEN / "journal/best.yaml")
    assert "IQM 48.8, median 44.0, worst seed 41.0" in shown


@pytest.mark.parametrize(
    ("storage", "folder"), [("journal", "journal"), ("sqlite:///sqlite/study.db", "sqlite")]
)
def test_report_has_the_same_numbers(golden: Path, storage: str, folder: str) -> None:
    (golden / folder / "report.md").unlink()
    _run("report", storage, f"--run-dir={folder}")
    tables = [
        [line for line in (root / folder / "report.md").read_text().splitlines() if "|" in line]
        for root in (GOLDEN, golden)
    ]
    assert len(tables[0]) > 40
    assert tables[1] == tables[0]


def test_doctor_finds_nothing_wrong(golden: Path) -> None:
    shown = _run("doctor", "journal")
    assert "finished: 4 of 4 (4 complete)" in shown
    assert shown.endswith("nothing to repair\n")


def test_recipe_is_loaded(golden: Path) -> None:
    for folder in ("journal", "sqlite"):
        recipe = sb3_hpo.load_best(str(golden / folder))
        stored = _yaml(golden / folder / "best.yaml")
        assert recipe.trial == stored["trial"]
        assert recipe.kwargs == stored["kwargs"]
        assert recipe.config.model_dump()["n_timesteps"] == 768
    kwargs = sb3_hpo.load_best(str(golden / "journal")).build_kwargs()
    assert kwargs["learning_rate"] == CosineSchedule(0.0003)


def test_every_trial_is_replayed_to_what_was_trained(golden: Path) -> None:
    for trial in _trials(golden / "journal/study.journal"):
        recipe = sb3_hpo.load_trial(str(golden / "journal"), trial.number)
        assert recipe.kwargs == trial.user_attrs["run"]["kwargs"]


@pytest.mark.slow
def test_recipe_is_trained_from_the_same_seeds(golden: Path) -> None:
    _run("train", "journal/best.yaml", "--seeds=2", "--episodes=2", "--out=again", "--n-workers=1")
    lines = (golden / "again/retrained.jsonl").read_text().splitlines()
    runs = [json.loads(line) for line in lines]
    assert [(run["seed_index"], run["record"]["seed"]) for run in runs] == SEEDS
    assert [run["record"]["n_steps"] for run in runs] == [768, 768]
    assert [len(run["final"]["returns"]) for run in runs] == [2, 2]


def test_model_is_loaded(golden: Path) -> None:
    model = PPO.load(golden / "journal/best_model.zip", device="cpu")
    assert model.learning_rate == CosineSchedule(0.0003)
    assert model.n_steps == 64
    observations = np.array([[0.0, 0.0, 0.1, 0.5], [0.0, 0.0, -0.1, -0.5]], dtype=np.float32)
    assert model.predict(observations, deterministic=True)[0].tolist() == [1, 0]


@pytest.mark.slow
@pytest.mark.parametrize(  # the search spaces all come from one module
    "name", sorted({re.sub(r"^sample_.*", "sample_ppo_params", name) for name in sb3_hpo.__all__})
)
def test_public_name_is_imported_in_a_bare_process(name: str) -> None:
    code = f"import sb3_hpo; print(sb3_hpo.{name}.__name__)"
    assert _python("-c", code).strip() == name


def test_search_spaces_are_imported_in_a_bare_process() -> None:
    code = "import samplers; print([n for n in samplers.__all__ if getattr(samplers, n) is None])"
    assert _python("-c", code) == "[]\n"
    assert len(samplers.__all__) > 13


@pytest.mark.parametrize("command", COMMANDS)
def test_command_has_help(command: str) -> None:
    assert _run(command, "--help").startswith(f"usage: sb3-hpo {command} ")
