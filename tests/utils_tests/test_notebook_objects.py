from __future__ import annotations

import json
import subprocess
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from sb3_hpo.utils import notebook_objects
from sb3_hpo.utils.errors import UserError
from sb3_hpo.utils.import_strings import load_reference, reference

if TYPE_CHECKING:
    from pathlib import Path

CELL = """
import gymnasium as gym
STRENGTH = 3.0

def half(value):
    return value / 2

class Light(gym.Wrapper):
    scale = 0.5

    def __init__(self):
        super().__init__(gym.make("Pendulum-v1", g=half(STRENGTH)))

    def step(self, action):
        observation, reward, *rest = self.env.step(action)
        return observation, float(reward) * self.scale, *rest
"""
STUDY = """
from sb3_hpo import tune

def space(trial):
    return {"learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-3), "n_steps": 32}

result = tune(
    "ppo", Light, space=space, score=lambda means: max(means), n_timesteps=768, n_envs=2,
    n_evaluations=6, n_eval_episodes=2, n_trials=2, n_workers=1, test_seeds=1, test_episodes=2,
    top=1, run_dir="run", n_eval_envs=1,
)
env = result.make_env()
action, _ = result.model().predict(env.reset())
print(result.exit_status, action.shape, result.best.config.env)
"""


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """An interactive session: its main module has no file."""
    monkeypatch.setenv("SB3_HPO_OBJECTS", "")
    notebook_objects._own_folder.cache_clear()
    notebook_objects.load.cache_clear()
    main = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    return main


def run_cell(session: ModuleType, text: str, name: str = "Light") -> Any:
    exec(compile(text, "<cell>", "exec"), vars(session))
    return vars(session)[name]


def test_class_of_a_session_is_found_again(session: ModuleType) -> None:
    text = reference(run_cell(session, CELL))
    assert text.startswith("notebook:Light-")
    loaded = load_reference(text)
    assert loaded.scale == 0.5
    assert loaded().unwrapped.g == 1.5
    assert reference(loaded) == text


def test_cell_that_is_run_again_is_the_same_object(session: ModuleType) -> None:
    first = reference(run_cell(session, CELL))
    assert reference(run_cell(session, f"\n\n# moved\n{CELL}")) == first


@pytest.mark.parametrize(
    ("before", "after"),
    [("scale = 0.5", "scale = 0.25"), ("STRENGTH = 3.0", "STRENGTH = 4.0"),
     ("value / 2", "value / 4"), ("gym.Wrapper", "gym.RewardWrapper"),
     ("float(reward) *", "float(reward) +")],
)  # fmt: skip
def test_whatever_it_uses_makes_it_another(session: ModuleType, before: str, after: str) -> None:
    assert CELL.count(before) == 1
    first = reference(run_cell(session, CELL))
    assert reference(run_cell(session, CELL.replace(before, after))) != first


def test_objects_are_kept_with_their_study(session: ModuleType, tmp_path: Path) -> None:
    text = reference(run_cell(session, CELL, "half"))
    notebook_objects.keep_in(tmp_path, {"score": text, "env": "Pendulum-v1"})
    name = text.removeprefix("notebook:")
    assert [path.name for path in (tmp_path / "objects").iterdir()] == [f"{name}.pkl"]


def test_object_that_is_missing_says_what_to_copy(tmp_path: Path, session: ModuleType) -> None:
    notebook_objects.search_in(tmp_path)
    message = rf"^notebook:Gone-1 was defined in a notebook and is not in {tmp_path}: run its cell"
    with pytest.raises(UserError, match=message):
        load_reference("notebook:Gone-1")


@pytest.mark.slow
def test_study_of_a_session_is_tuned_trained_and_exported(tmp_path: Path) -> None:
    def python(*words: str, folder: Path = tmp_path) -> str:
        command = [sys.executable, *words]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    output = python("-c", CELL + STUDY)
    assert "0 (1, 1) notebook:Light-" in output
    again = python("-c", f"{CELL}\n\n{STUDY}")
    assert "It is complete." in again
    python("-m", "sb3_hpo.train", "run/best.yaml", "--seeds", "1", "--episodes", "2",
                       "--trust")  # fmt: skip
    runs = (tmp_path / "run/retrained/retrained.jsonl").read_text().splitlines()
    assert [json.loads(line)["record"]["outcome"] for line in runs] == ["finished"]
    assert "seed 3: return" in python("train_best.py", "3", folder=tmp_path / "run")
