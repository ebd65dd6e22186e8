from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

README = Path(__file__).parent.parent / "README.md"
EXAMPLES = dict(
    re.findall(r"<!-- example: (\S+) -->\n```python\n(.*?)```", README.read_text(), re.DOTALL)
)


def run_example(name: str, folder: Path, *, long: str = "", short: str = "") -> str:
    """Run an example as it is printed, or with one thing in it replaced that saves time."""
    assert long in EXAMPLES[name]
    (folder / name).write_text(EXAMPLES[name].replace(long, short))
    command = [sys.executable, name]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def statements(name: str) -> int:
    lines = EXAMPLES[name].splitlines()
    return sum(bool(line.strip()) and not line.strip().startswith("#") for line in lines)


def test_readme_examples_are_as_short_as_promised() -> None:
    assert set(EXAMPLES) == {"miniature.py", "tune_my_env.py", "own_script.py"}
    assert statements("miniature.py") <= 30
    assert statements("tune_my_env.py") <= 14  # under 15 lines
    assert statements("own_script.py") <= 19


@pytest.mark.parametrize("name", ["tune_my_env.py", "own_script.py"])
def test_readme_scripts_may_be_imported_by_workers(name: str) -> None:
    before, guard, after = EXAMPLES[name].partition('if __name__ == "__main__":')
    assert guard
    assert not re.search(r"^(tune\(|study)", before, re.MULTILINE)
    assert all(line.startswith("    ") for line in after.strip("\n").splitlines())


@pytest.mark.slow
def test_readme_miniature_prints_its_best_parameters(tmp_path: Path) -> None:
    assert re.search(r"\{'one_minus_gamma': 0\.\d+", run_example("miniature.py", tmp_path))


@pytest.mark.slow
def test_readme_own_script_uses_callback_and_space_alone(tmp_path: Path) -> None:
    output = run_example("own_script.py", tmp_path, long="learn(10_000", short="learn(2_000")
    assert "Trial 1 finished with value" in output
    assert re.search(r"^best trial [01]: \d+\.\d, \{'learning_rate': ", output, re.MULTILINE)


@pytest.mark.slow
def test_readme_own_environment_tunes_to_its_end(tmp_path: Path) -> None:
    short = "tune(n_timesteps=2_000, test_episodes=20, "
    output = run_example("tune_my_env.py", tmp_path, long="tune(", short=short)
    (run_dir,) = (tmp_path / "runs").iterdir()
    assert run_dir.name.startswith("ppo-LightPendulum-s0-")
    assert "6 trials finished" in output
    storage = JournalStorage(JournalFileBackend(str(run_dir / "study.journal")))
    study = optuna.load_study(study_name=run_dir.name, storage=storage)
    assert len([trial for trial in study.trials if trial.state.is_finished()]) == 6
    assert "tune_my_env.py:LightPendulum" in (run_dir / "config.yaml").read_text()


def test_readme_links_and_files_exist() -> None:
    text = README.read_text()
    for name in re.findall(r"`((?:sb3_hpo|samplers|scripts|tests)/[\w./]*)`", text):
        assert (README.parent / name).exists(), name
