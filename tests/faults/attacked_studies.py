"""Studies under attack: the real command as processes, watched from outside, killed by id."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from optuna.trial import FrozenTrial, TrialState

from sb3_hpo.config.study_config import StudyConfig, make_config
from sb3_hpo.results.trials import FINISHED, trials_of
from sb3_hpo.storages.existing import find_study
from sb3_hpo.storages.study_location import StudyLocation
from sb3_hpo.study.create_or_resume import create_or_resume
from sb3_hpo.study.objective import Objective
from sb3_hpo.study.preflight import prepare
from sb3_hpo.utils.errors import UserError
from sb3_hpo.workers.loop import run_loop
from sb3_hpo.workers.lost_trials import handle_loss
from sb3_hpo.workers.trial_monitor import TrialMonitor
from tests.faults.faulty_envs import PACE
from tests.faults.figures import Figures, Ledger
from tests.support.processes import pids_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import optuna

ROOT = Path(__file__).parents[2]
PATIENCE_S = 240  # for what must happen sooner or later, on a loaded machine
OPTIONS: dict[str, Any] = {
    "algo": "ppo", "env": "tests.faults.faulty_envs:PacedEnv", "n_timesteps": 96, "n_envs": 1,
    "n_evaluations": 6, "n_eval_episodes": 1, "space": "tests.support.envs:sample_target_params",
    "pruner": "none", "beat_interval": 1, "stale_after": 20, "n_trials": 6, "n_workers": 2,
}  # fmt: skip


def sizes(small: Any, *full: Any) -> list[Any]:
    """Return the parameters of a row: a small one for CI, and the full ones."""
    parameters = [pytest.param(value, marks=pytest.mark.faults) for value in full]
    return [pytest.param(small, marks=pytest.mark.slow), *parameters]


def wait_for(condition: Callable[[], Any], what: str, timeout_s: float = PATIENCE_S) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.05)


def kill(pids: list[int], number: signal.Signals = signal.SIGKILL) -> int:
    """Send a signal to processes; return how many of them were still there."""
    n_hit = 0
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
        n_hit += 1
    return n_hit


class Command:
    """One started `python -m sb3_hpo.optimize`, its output and its workers."""

    def __init__(self, run_dir: Path, out: Path, options: dict[str, Any], step_s: float) -> None:
        self._run_dir, self._out = run_dir, out
        environment = {**os.environ, "PYTHONPATH": str(ROOT), PACE: str(step_s)}
        words = [sys.executable, "-m", "sb3_hpo.optimize", *_flags(options)]
        with out.open("wb") as file:
            self.process = subprocess.Popen(
                [*words, "--run-dir", str(run_dir)],
                stdout=file,
                stderr=file,
                env=environment,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self._out.read_text()

    @property
    def runs(self) -> bool:
        return self.process.poll() is None

    def workers(self) -> list[int]:
        """Return the worker processes of this run folder."""
        return pids_of("sb3_hpo.workers", str(self._run_dir))

    def log(self) -> str:
        """Return what all workers have logged."""
        return "\n".join(path.read_text() for path in self._run_dir.glob("worker-*.log"))

    def wait(self, timeout_s: float = PATIENCE_S) -> int:
        """Wait for the end; return the exit status."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            pytest.fail(f"still running after {timeout_s:g} s\n{self.output}\n{self.log()}")

    def ends_within(self, timeout_s: float) -> bool:
        """Give it some time; return whether it has ended by itself."""
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill_all(self) -> None:
        """Kill it and its workers at once, as when the machine dies."""
        self.process.kill()
        self.process.wait()
        while workers := self.workers():
            kill(workers)
            time.sleep(0.05)


def _flags(options: dict[str, Any]) -> list[str]:
    flags = []
    for name, value in options.items():
        if isinstance(value, dict):
            flags += [f"--{name.replace('_', '-')}.{key}={item}" for key, item in value.items()]
        elif value is not None:
            flags.append(f"--{name.replace('_', '-')}={value}")
    return [*flags, "--no-reevaluate", "--no-rehearse"]


class AttackedStudy:
    """A study in one storage, on which any number of commands work.

    Attributes:
        n_trials: How many finished trials are asked for.
        commands: All commands that were started.
    """

    def __init__(self, folder: Path, storage: str | None = None, **options: Any) -> None:
        """Prepare; nothing is started yet.

        Args:
            folder: For the run folders.
            storage: As `--storage`; default: a journal file.
            **options: The command's options, over `OPTIONS`.
        """
        self._folder = folder.resolve()
        self.storage = storage or str(self._folder / "study.journal")
        self._options = {**OPTIONS, "storage": self.storage, "study_name": "attacked", **options}
        self.n_trials: int = self._options["n_trials"]
        self.commands: list[Command] = []
        self._ledger = Ledger()
        self._study: optuna.Study | None = None

    def start(self, machine: str = "run", step_s: float = 0.005, **options: Any) -> Command:
        """Start the command.

        Args:
            machine: Its run folder: another one for another machine.
            step_s: Seconds that an environment step takes there; a trial has 156 steps.
            **options: Over those of the study.
        """
        run_dir, out = self._folder / machine, self._folder / f"{len(self.commands)}.out"
        self.commands.append(Command(run_dir, out, {**self._options, **options}, step_s))
        return self.commands[-1]

    def config(self) -> StudyConfig:
        """Return the configuration, for a study that is run in this process."""
        return make_config({**self._options, "run_dir": str(self._folder / "run")})

    def trials(self) -> list[FrozenTrial]:
        """Return the trials as they are now."""
        if self._study is None:
            try:
                self._study = find_study(self.storage, "attacked")
            except UserError:
                return []  # no command has made it yet
        return trials_of(self._study)

    def finished(self) -> list[FrozenTrial]:
        return [trial for trial in self.trials() if trial.state in FINISHED]

    def running(self) -> list[FrozenTrial]:
        return [trial for trial in self.trials() if trial.state is TrialState.RUNNING]

    def wait_for_running(self, n_trials: int) -> None:
        """Wait until so many trials run at the same time."""
        wait_for(
            lambda: len(self.running()) >= n_trials or not self.commands[-1].runs,
            f"{n_trials} running trials",
        )

    def wait_for_finished(self, n_trials: int) -> None:
        """Wait until so many trials are finished."""
        wait_for(
            lambda: len(self.finished()) >= n_trials or not self.commands[-1].runs,
            f"{n_trials} finished trials",
        )

    def wait_for_end_of(self, trial: FrozenTrial) -> None:
        """Wait until a trial is no longer running."""
        number = trial.number
        wait_for(lambda: self.trials()[number] not in self.running(), f"end of trial {number}")

    def note(self) -> None:
        """Remember the finished trials, to be compared at the end."""
        self._ledger.note(self.trials())

    def judge(self, figures: Figures) -> None:
        """Add this study to the figures, after its last command has ended."""
        assert [command.workers() for command in self.commands if command.workers()] == []
        self._study = None  # read the storage anew, not what was seen of it
        figures.judge(self.trials(), self.n_trials, self._ledger)

    def end(self) -> None:
        """Kill whatever is left of it."""
        for command in self.commands:
            command.kill_all()


def work_in_process(config: StudyConfig) -> None:
    """Do in this process what the command and its worker do in two; the study is complete then."""
    space = prepare(config)
    study = create_or_resume(config, StudyLocation.of(config), space)
    for trial in study.get_trials(states=(TrialState.RUNNING,)):  # nobody runs them any more
        handle_loss(study, trial)
    watch = TrialMonitor(config)
    objective = Objective(config, space.sample, on_step=watch.on_step)
    assert run_loop(study, objective, config, watch, "here:0:1") is None
