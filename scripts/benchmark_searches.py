"""The searches that `benchmark_peers` compares: how each is run, and what its study says.

A search is a process of its own with the environment variables of a user: nothing sets its number
of threads.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna.trial import FixedTrial, TrialState

from sb3_hpo.algorithms.kwargs import serialize_kwargs
from sb3_hpo.export.recipe import load_best
from sb3_hpo.results.trials import trials_of
from sb3_hpo.storages.existing import find_study
from sb3_hpo.storages.study_location import JOURNAL
from sb3_hpo.utils.errors import UserError
from scripts import benchmark_tutorial
from scripts.benchmark_tally import (
    SearchProblem,
    Tally,
    our_effort,
    tally,
    tutorial_effort,
    zoo_effort,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import optuna

ENV = "Pendulum-v1"
_ROOT = Path(__file__).resolve().parents[1]
_GRACE_S = 300.0  # for a search that ends by itself: its last trial, its report
_NOT_A_USERS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PYTHONPATH")
# Run by the Python that RL Zoo is installed in.
_ASK_ZOO = """
import importlib.metadata, json, pathlib, sys
import rl_zoo3, yaml
from rl_zoo3.hyperparams_opt import HYPERPARAMS_CONVERTER
env, params = json.load(sys.stdin)
folder = pathlib.Path(rl_zoo3.__file__).parent / "hyperparams"
entry = yaml.safe_load((folder / "ppo.yml").read_text())[env]
fixed = {k: v for k, v in entry.items() if k not in ("n_envs", "n_timesteps", "policy")}
answer = {
    "version": importlib.metadata.version("rl_zoo3"),
    "n_envs": entry.get("n_envs", 1),
    "kwargs": {**fixed, **HYPERPARAMS_CONVERTER["ppo"](params)},
}
print(json.dumps(answer, default=lambda c: {"$import": f"{c.__module__}:{c.__qualname__}"}))
"""


@dataclass(frozen=True)
class Settings:
    """What all searches share.

    Attributes:
        n_timesteps: Environment steps of one run.
        seconds: Wall time of a search.
        seed: Of its sampler, and of training where it can be given.
        folder: Where each search has a folder.
        zoo_python: The Python that has RL Zoo; None to install it.
    """

    n_timesteps: int
    seconds: float
    seed: int
    folder: Path
    zoo_python: str | None = None


@dataclass(frozen=True)
class Found:
    """A search after its end.

    Attributes:
        tally: What it has done.
        cpu_s: CPU seconds of all its processes, from start to exit.
        value: The best trial's value: what the search claims.
        n_envs: Training environments of one run.
        kwargs: Description of the best trial's arguments (`codec.describe`).
        note: A version that belongs to it.
    """

    tally: Tally
    cpu_s: float
    value: float
    n_envs: int
    kwargs: dict[str, Any]
    note: str = ""


def search_by_tutorial(settings: Settings, folder: Path, n_threads: int | None = None) -> Found:
    """Run the tutorial's way.

    Args:
        settings: What all searches share.
        folder: For its files.
        n_threads: Of torch; None for torch's default.

    Raises:
        SearchProblem: There is nothing to show.
    """
    command = [
        sys.executable, str(_ROOT / "scripts" / "benchmark_tutorial.py"), "--env", ENV,
        "--n-timesteps", str(settings.n_timesteps), "--storage", str(folder / JOURNAL),
        "--timeout", str(settings.seconds), "--seed", str(settings.seed),
        *([] if n_threads is None else ["--n-threads", str(n_threads)]),
    ]  # fmt: skip
    start, cpu_s = _run(command, folder, settings.seconds + _GRACE_S)
    study = _study(folder / JOURNAL, folder)
    kwargs = serialize_kwargs(benchmark_tutorial.sample(FixedTrial(study.best_params)))
    counts = tally(trials_of(study), start, tutorial_effort)
    return Found(counts, cpu_s, study.best_value, benchmark_tutorial.N_ENVS, kwargs)


def search_by_zoo(settings: Settings, folder: Path) -> Found:
    """Run RL Zoo's own command until the time is over; it knows no timeout.

    Args:
        settings: What all searches share.
        folder: For its files.

    Returns:
        The search; the trial that the end of the time interrupted, and its time, are left out.

    Raises:
        SearchProblem: There is nothing to show.
    """
    python = settings.zoo_python or _install_zoo(settings.folder / "rl_zoo3-venv")
    journal = folder / "study.log"  # by this ending RL Zoo knows a journal
    command = [
        python, "-m", "rl_zoo3.train", "--algo", "ppo", "--env", ENV,
        "-n", str(settings.n_timesteps), "-optimize", "--storage", str(journal),
        "--study-name", "zoo", "--seed", str(settings.seed), "--no-optim-plots",
    ]  # fmt: skip
    start, cpu_s = _run(command, folder, settings.seconds)
    study = _study(journal, folder)
    zoo = _ask_zoo(python, study.best_params)
    n_envs = zoo["n_envs"]
    counts = tally(trials_of(study), start, lambda t: zoo_effort(t, n_envs, settings.n_timesteps))
    note = f"rl_zoo3 {zoo['version']}"
    return Found(counts, cpu_s, study.best_value, n_envs, zoo["kwargs"], note)


def search_by_us(settings: Settings, folder: Path, batch_trials: int) -> Found:
    """Run this package's command, without re-evaluation.

    Args:
        settings: What all searches share.
        folder: For its files.
        batch_trials: Trials that a worker trains together.

    Raises:
        SearchProblem: There is nothing to show.
    """
    command = [
        sys.executable, "-m", "sb3_hpo.optimize", "--algo", "ppo", "--env", ENV,
        "--n-timesteps", str(settings.n_timesteps), "--timeout", str(settings.seconds),
        "--batch-trials", str(batch_trials), "--seed", str(settings.seed),
        "--n-trials", "2000", "--no-reevaluate", "--run-dir", str(folder),
    ]  # fmt: skip
    start, cpu_s = _run(command, folder, settings.seconds + _GRACE_S, path=str(_ROOT))
    study = _study(folder / JOURNAL, folder)
    recipe = load_best(study)
    counts = tally(trials_of(study), start, our_effort)
    return Found(counts, cpu_s, study.best_value, recipe.config.n_envs, recipe.kwargs)


def _run(
    command: Sequence[str], folder: Path, seconds: float, path: str | None = None
) -> tuple[float, float]:
    """Run a command until it ends or its time is over; return its start and its CPU seconds."""
    variables = {name: text for name, text in os.environ.items() if name not in _NOT_A_USERS}
    if path is not None:
        variables["PYTHONPATH"] = path
    before, start = _cpu_of_children(), time.time()
    with (folder / "output.txt").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=variables, stdout=log, stderr=log)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.terminate()
        finally:
            process.wait()
    return start, _cpu_of_children() - before


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _study(journal: Path, folder: Path) -> optuna.Study:
    """Open a study that has a best trial."""
    try:
        study = find_study(str(journal))
    except UserError as error:
        raise SearchProblem(f"{error}; its last words: {_last_line(folder)}") from error
    if not any(trial.state is TrialState.COMPLETE for trial in trials_of(study)):
        raise SearchProblem(f"no trial was completed; its last words: {_last_line(folder)}")
    return study


def _last_line(folder: Path) -> str:
    lines = (folder / "output.txt").read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "none"


def _install_zoo(venv: Path) -> str:
    """Install RL Zoo into a virtual environment, if it is not there; return its Python."""
    python = venv / "bin" / "python"
    constraints = str(_ROOT / "constraints.txt")
    commands = [
        [sys.executable, "-m", "venv", str(venv)],
        [str(python), "-m", "pip", "install", "--quiet", "-c", constraints, "rl_zoo3"],
    ]
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            words = (done.stderr or done.stdout).strip().splitlines() or ["no words"]
            raise SearchProblem(f"it could not be installed: {words[-1]}")
    return str(python)


def _ask_zoo(python: str, params: dict[str, Any]) -> dict[str, Any]:
    """Ask RL Zoo what it made of a trial's parameters."""
    command, question = [python, "-c", _ASK_ZOO], json.dumps([ENV, params])
    done = subprocess.run(command, input=question, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SearchProblem(f"its parameters are not understood: {done.stderr.strip()[-200:]}")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result
