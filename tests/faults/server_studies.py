"""The command on a server: started, watched, its workers killed, and its study judged."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import TrialState

from sb3_hpo.storage import open_storage
from sb3_hpo.trials import FINISHED, OUTCOME, RETRY_OF, WORKER, trials_of
from tests.envs import TargetEnv
from tests.faults.servers import REPOSITORY
from tests.own_processes import pids_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from optuna.trial import FrozenTrial

STUDY = "drill"
ENQUEUED = (0.0011, 0.0022, 0.0033)  # learning rates
_PATIENCE_S = 120.0


class UnhurriedEnv(TargetEnv):
    """Takes its time without using the processor, so that many workers fit on few cores."""

    def __init__(self, seconds: float = 0.002) -> None:
        super().__init__()
        self._seconds = seconds

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        time.sleep(self._seconds)
        return super().step(action)


def sample(trial: Any) -> dict[str, Any]:
    """A search space whose training costs next to nothing."""
    rate = trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True)
    return {"learning_rate": rate, "n_steps": 64, "batch_size": 128, "n_epochs": 1}


class Command:
    """One `python -m sb3_hpo.optimize`, run in a folder of its own."""

    def __init__(self, run_dir: Path, *words: str) -> None:
        """Start it."""
        run_dir.mkdir(parents=True, exist_ok=True)
        self.run_dir, self._out = run_dir, run_dir / "output.txt"
        with self._out.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "sb3_hpo.optimize", "--run-dir", str(run_dir), *words],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=run_dir,
                env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            )  # fmt: skip

    @classmethod
    def tune(cls, run_dir: Path, url: str, n_trials: str, n_workers: str, *more: str) -> Command:
        """Start a study of trials that last about a second each."""
        run_dir.mkdir(parents=True, exist_ok=True)
        points = [run_dir / f"point-{index}.yaml" for index in range(len(ENQUEUED))]
        for path, rate in zip(points, ENQUEUED, strict=True):
            path.write_text(f"learning_rate: {rate}\n")
        return cls(
            run_dir, "--algo", "ppo", "--env", "tests.faults.server_studies:UnhurriedEnv",
            "--space", "tests.faults.server_studies:sample", "--n-timesteps", "512",
            "--n-envs", "2", "--n-evaluations", "6", "--n-eval-episodes", "2",
            "--pruner", "none", "--no-reevaluate", "--study-name", STUDY,
            "--storage", url, "--n-trials", n_trials, "--n-workers", n_workers,
            *(word for path in points for word in ("--enqueue", str(path))),
            "--beat-interval", "2", "--stale-after", "20", *more,
        )  # fmt: skip

    @property
    def output(self) -> str:
        return self._out.read_text()

    @property
    def worker_logs(self) -> str:
        return "".join(path.read_text() for path in sorted(self.run_dir.glob("worker-*.log")))

    @property
    def workers(self) -> list[int]:
        """Its worker processes."""
        return sorted(pids_of("sb3_hpo.worker", str(self.run_dir)))

    def wait(self, timeout_s: float) -> int:
        """Wait for its end; return the exit status."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.run_dir} hangs\n{self.output}\n{self.worker_logs}") from None

    def discard(self) -> None:
        """Kill what a failed test left behind."""
        for pid in [self.process.pid, *self.workers]:
            if self.process.returncode is None or pid != self.process.pid:
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


def wait_until(condition: Callable[[], object], timeout_s: float, what: str) -> None:
    """Wait for something to become true."""
    give_up = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < give_up, f"no {what} in {timeout_s:g} s"
        time.sleep(0.1)


def watch(url: str) -> optuna.Study:
    """Open the study, to look at it; calls wait while the server is away."""
    return optuna.load_study(storage=open_storage(url, patience_s=_PATIENCE_S), study_name=STUDY)


def n_finished(study: optuna.Study) -> int:
    """Count the trials that `--n-trials` counts."""
    return len(values_of(study))


def values_of(study: optuna.Study) -> dict[int, float | None]:
    """Return the values of the finished trials by number."""
    return {trial.number: trial.value for trial in trials_of(study) if trial.state in FINISHED}


def check_exact(study: optuna.Study, n_trials: int, seen: dict[int, float | None]) -> None:
    """Check that nothing was lost, done twice or left over.

    Args:
        study: The study after its end.
        n_trials: How many finished trials were asked for.
        seen: The values of trials that were finished earlier.
    """
    trials = trials_of(study)
    states = [trial.state for trial in trials]
    finished = [trial for trial in trials if trial.state in FINISHED]
    assert len(finished) == n_trials
    assert (states.count(TrialState.RUNNING), states.count(TrialState.WAITING)) == (0, 0)
    assert [trial.number for trial in trials] == list(range(len(trials)))
    assert seen.items() <= values_of(study).items()
    rates = [trial.params["learning_rate"] for trial in finished if trial.params]
    assert len(rates) == len(set(rates))
    assert set(ENQUEUED) <= set(rates)
    for family in families(trials).values():
        n_ended = sum(trial.state in FINISHED for trial in family)
        assert n_ended == any(map(params_of, family)), [t.number for t in family]


def families(trials: list[FrozenTrial]) -> dict[int, list[FrozenTrial]]:
    """Group trials with those that repeat them; leave surplus ones out."""
    groups: dict[int, list[FrozenTrial]] = {}
    for trial in trials:
        if trial.user_attrs.get(OUTCOME) != "surplus":
            groups.setdefault(trial.user_attrs.get(RETRY_OF, trial.number), []).append(trial)
    return groups


def params_of(trial: FrozenTrial) -> dict[str, Any]:
    """Return the parameters that a trial has sampled or was told to take."""
    return {**trial.system_attrs.get("fixed_params", {}), **trial.params}


def pid_of_running(command: Command, study: optuna.Study) -> int | None:
    """Return one of the command's workers that runs a trial now."""
    running = {
        trial.user_attrs.get(WORKER) for trial in trials_of(study)
        if trial.state is TrialState.RUNNING and trial.params
    }  # fmt: skip
    pids = [pid for name in running if name for pid in pids_of("sb3_hpo.worker", name)]
    return pids[0] if pids else None
