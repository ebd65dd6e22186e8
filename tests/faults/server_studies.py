"""Studies on a server: what tests of servers need beyond those on a journal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from optuna.trial import TrialState

from sb3_hpo.results.trials import WORKER, trials_of
from sb3_hpo.storages.existing import find_study
from sb3_hpo.utils.errors import UserError
from tests.faults.attacked_studies import PATIENCE_S, ROOT, AttackedStudy, Command, kill, wait_for
from tests.faults.figures import Figures, Ledger
from tests.support.processes import pids_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from optuna.trial import FrozenTrial

    from tests.faults.servers import Server

POINT = 0.00123  # a learning rate that every study here tries on the user's request


class OtherCommand(Command):
    """The command with words of its own, as from a second terminal."""

    def __init__(self, run_dir: Path, out: Path, *words: str) -> None:
        self._run_dir, self._out = run_dir, out
        with out.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "sb3_hpo.optimize", *words],
                stdout=file, stderr=file, start_new_session=True,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )  # fmt: skip


class ServedStudy(AttackedStudy):
    """A study on a server that may be away while it is looked at."""

    def __init__(self, folder: Path, storage: str, **options: Any) -> None:
        """Prepare; nothing is started yet."""
        point = folder / "point.yaml"
        point.write_text(f"learning_rate: {POINT}\n")
        super().__init__(folder, storage, enqueue=str(point), **options)
        self.folder = self._folder

    def trials(self) -> list[FrozenTrial]:
        if self._study is None:
            try:
                self._study = find_study(self.storage, "attacked", retry_timeout_s=PATIENCE_S)
            except UserError:
                return []  # no command has made it yet
        return trials_of(self._study)

    def attributes(self) -> list[dict[str, Any]]:
        """Return the user's attributes of the study and of its trials."""
        trials = self.trials()
        assert self._study is not None
        return [self._study.user_attrs, *(trial.user_attrs for trial in trials)]

    def forget(self) -> None:
        """Expect nothing of what was there before."""
        self._study, self._ledger = None, Ledger()

    def end(self) -> None:
        super().end()
        self._study = None  # with its connections

    def start_other(self, machine: str, *words: str) -> OtherCommand:
        """Start the command with words of its own on this study."""
        run_dir, out = self._folder / machine, self._folder / f"{len(self.commands)}.out"
        where = ("--storage", self.storage, "--study-name", "attacked", "--run-dir", str(run_dir))
        command = OtherCommand(run_dir, out, *words, *where)
        self.commands.append(command)
        return command

    def kill_running_worker(self) -> int:
        """Kill one worker of this machine that runs a trial; return how many trials it hit."""
        while self.commands[-1].runs:
            for trial in self.running():
                killed = kill(pids_of("sb3_hpo.workers", trial.user_attrs.get(WORKER, "-")))
                # The trial may have come to its end just before.
                if killed and trial.number not in {ended.number for ended in self.finished()}:
                    return 1
        return 0

    def resume(self, figures: Figures) -> None:
        """Start the command again, and judge the study after its end."""
        command = self.start()
        assert command.wait() == 0, command.output
        self.judge(figures)

    def judge(self, figures: Figures) -> None:
        super().judge(figures)
        trials = self.trials()
        waiting = [trial.number for trial in trials if trial.state is TrialState.WAITING]
        if waiting:
            figures.problems.append(f"trials {waiting} are WAITING for nobody")
        n_asked = Counter(t.params.get("learning_rate") for t in trials if t.state.is_finished())
        if not n_asked[POINT]:
            figures.problems.append("the user's point was never tried")


@dataclass(frozen=True)
class Drill:
    """What happens to a server and the workers that use it.

    Attributes:
        n_trials: Trials of the study.
        n_workers: Worker processes.
        n_kills: How many of them are killed while they run a trial, one after the other.
        n_kills_away: How many are killed while the server is away.
        away_s: For how long it is away at least, in seconds; it comes back once it was missed.
    """

    n_trials: int
    n_workers: int
    n_kills: int
    n_kills_away: int
    away_s: float

    def run(self, study: ServedStudy, server: Server, end: Callable[[], None]) -> int:
        """Run a study through it to its end.

        Args:
            study: The study; not yet started.
            server: Its server.
            end: What ends the server, in the middle of the kills.

        Returns:
            How many faults were injected.
        """
        command = study.start(step_s=0.01, n_trials=self.n_trials, n_workers=self.n_workers)
        n_injected, n_stops = 0, self.n_kills + 1
        for stop in range(n_stops):
            study.wait_for_finished(self.n_trials * (stop + 1) // (n_stops + 1))
            study.note()
            if stop == n_stops // 2:
                study.wait_for_running(1)
                end()
                n_injected += 1 + kill(command.workers()[: self.n_kills_away])
                time.sleep(self.away_s)
                # Without this, a database may come back before anybody has asked it anything.
                wait_for(lambda: "trying again for" in command.log() + command.output, "an outage")
                server.start()
            else:
                n_injected += study.kill_running_worker()
        assert command.wait() == 0, command.output
        return n_injected


def interrupt(command: Command) -> None:
    """Press Ctrl-C; wait until the command and its workers are gone."""
    command.process.send_signal(signal.SIGINT)
    wait_for(lambda: not command.runs, f"end\n{command.output}", 15)
    wait_for(lambda: not command.workers(), f"end of workers\n{command.log()}", 15)
