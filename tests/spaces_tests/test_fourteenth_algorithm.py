"""What it takes to add an algorithm: a module with its space, and a row in a table."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULE = '''
from samplers._dimensions import Float, OneMinus, PowerOfTwo
from samplers._space import SearchSpace

SPACE = SearchSpace(
    Float("learning_rate", 1e-5, 1e-2, log=True, default=7e-4, since="small", source="a guess"),
    OneMinus("one_minus_gamma", 1e-3, 0.1, argument="gamma", default=0.01, since="small"),
    PowerOfTwo("n_steps_pow", 3, 5, argument="n_steps", default=3, since="small"),
    algorithm="Fourteenth",
    min_rollout=32,
)


def sample_fourteenth_params(trial, *, context=None, size="default"):
    """Sample keyword arguments."""
    return SPACE.sample(trial, context=context, size=size)
'''
TABLE = "ALGORITHMS = {\n"
ROW = '    "fourteenth": Algorithm("stable_baselines3:A2C", ("Box", "Discrete"), 40_000, 8),\n'


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of the packages with one module and one row more."""
    for package in ("samplers", "sb3_hpo"):
        shutil.copytree(
            ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    (tmp_path / "samplers/fourteenth.py").write_text(MODULE)
    registry = tmp_path / "sb3_hpo/algorithms/registry.py"
    text = registry.read_text()
    assert text.count(TABLE) == 1
    registry.write_text(text.replace(TABLE, TABLE + ROW))
    return tmp_path


def run(house: Path, *words: str) -> str:
    """Run a command of the copy."""
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=house, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.slow
def test_fourteenth_algorithm_is_one_module_and_one_row(house: Path) -> None:
    table = run(house, "sb3_hpo.spaces", "fourteenth")
    for words in ("fourteenth on ", "one_minus_gamma", "n_steps = 2^x", "a guess"):
        assert words in table
    study = ["--algo", "fourteenth", "--env", "CartPole-v1", "--run-dir", "run"]
    quick = ["--n-timesteps", "2000", "--n-envs", "2", "--n-eval-episodes", "2"]
    search = ["--n-trials", "2", "--n-workers", "1", "--no-reevaluate", "--pruner", "none"]
    output = run(house, "sb3_hpo.optimize", *study, *quick, *search, "--fixed.gamma", "0.9")
    assert "fourteenth" in output
    recipe = (house / "run/best.yaml").read_text()
    assert "gamma: 0.9" in recipe
    assert "algo: fourteenth" in recipe
    spaces = "from sb3_hpo.testing import check_search_space as check; import samplers.fourteenth"
    code = f"{spaces} as own; check(own.sample_fourteenth_params, 'fourteenth', n_points=20)"
    done = subprocess.run([sys.executable, "-c", code], cwd=house, check=False)
    assert done.returncode == 0
