"""Processes that train the runs of a re-evaluation, several at a time, replaced when they die."""

from __future__ import annotations

import json
import logging
import os
import time
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from typing import IO, TYPE_CHECKING, Any

from sb3_hpo.results.reevaluation_runs import model_folder
from sb3_hpo.utils.processes import end_process, start_talking

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection
    from pathlib import Path

    from sb3_hpo.config.reevaluation_config import ReevaluationConfig
    from sb3_hpo.results.reevaluation_runs import ReevaluationRequest, ReevaluationRun

_logger = logging.getLogger(__name__)

_POLL_S = 0.3
_MOST_TOGETHER = 16  # beyond, the arithmetic costs as much as the overhead that is saved
_MAX_LOSSES = 3  # of one run: then it is the run that kills its process


@dataclass
class _Runner:
    """One place for a process, and the runs of its job whose results it still owes."""

    log: IO[bytes]
    process: subprocess.Popen[bytes]
    connection: Connection
    job: list[ReevaluationRequest] = field(default_factory=list)
    is_idle: bool = True  # it is busy until it says so, also after the last result
    n_steps: int = 0
    last_word: float = 0.0  # when it last said something, on the monotonic clock


class Runners:
    """Trains runs in processes; a context manager that leaves none of them behind."""

    def __init__(self, config: ReevaluationConfig, run_dir: Path, n_runners: int) -> None:
        """Prepare; processes are started when there is work for them.

        Args:
            run_dir: Where logs and models go.
            n_runners: How many runs are trained at a time.
        """
        self._config, self._run_dir, self._n_runners = config, run_dir, n_runners
        self._runners: list[_Runner] = []
        self._n_losses: dict[str, int] = {}
        self._is_news = True  # what is due may have changed
        self.errors: dict[str, str] = {}  # why a run has no result, by its key
        self.alone: set[str] = set()  # why runs were trained one after the other

    def __enter__(self) -> Runners:
        return self

    def __exit__(self, *_: object) -> None:
        for runner in self._runners:
            end_process(runner.process)
            runner.connection.close()
            runner.log.close()
        self._runners.clear()

    @property
    def running(self) -> list[tuple[list[ReevaluationRequest], int]]:
        """The runs in training, those trained together with their environment steps so far."""
        return [(list(runner.job), runner.n_steps) for runner in self._runners if runner.job]

    def run(
        self,
        due: Callable[[], Sequence[ReevaluationRequest]],
        on_result: Callable[[ReevaluationRequest, ReevaluationRun], None],
        go_on: Callable[[], bool],
    ) -> None:
        """Train what is due until nothing is.

        Args:
            due: Returns the runs that are wanted now and have no result, the most urgent first.
                Asked again after every result: what is wanted may depend on it. Runs with an
                error must not be in it.
            on_result: Gets every result as soon as it is there.
            go_on: Called a few times a second; False ends it, and the runs in training with it.
        """
        wanted: Sequence[ReevaluationRequest] = ()
        self._is_news = True
        while go_on():
            if self._is_news:
                self._is_news, wanted = False, due()
            busy = [request for runner in self._runners for request in runner.job]
            keys = {request.key(self._config) for request in busy}
            waiting = [request for request in wanted if request.key(self._config) not in keys]
            if not waiting and not busy:
                return
            n_places = self._n_runners - sum(not runner.is_idle for runner in self._runners)
            for group in self._groups(waiting, n_places):
                self._assign(self._idle_runner(), group)
            self._listen(on_result)

    def _groups(
        self, waiting: Sequence[ReevaluationRequest], n_places: int
    ) -> list[list[ReevaluationRequest]]:
        """Divide the most urgent runs among idle runners, equal configurations together."""
        groups: list[list[ReevaluationRequest]] = []
        rest = list(waiting)
        while rest and len(groups) < n_places:
            first, size = rest[0], -(-len(rest) // (n_places - len(groups)))
            alike = [request for request in rest if self._can_join(request, first)]
            group = alike[: min(size, _MOST_TOGETHER)] if alike else [first]
            rest = [request for request in rest if request not in group]
            groups.append(group)
        return groups

    def _can_join(self, request: ReevaluationRequest, first: ReevaluationRequest) -> bool:
        """Say whether two runs differ in their seeds only; one that has killed others is alone."""
        lost = any(self._n_losses.get(item.key(self._config)) for item in (request, first))
        return not lost and (request.stage, request.candidate) == (first.stage, first.candidate)

    def _idle_runner(self) -> _Runner:
        for runner in self._runners:
            if runner.is_idle:
                return runner
        log = (self._run_dir / f"runner-{len(self._runners)}.log").open("ab")
        runner = _Runner(log, *self._start(log))
        self._runners.append(runner)
        return runner

    def _start(self, log: IO[bytes]) -> tuple[subprocess.Popen[bytes], Connection]:
        arguments = ["--config", json.dumps(self._config.plain_reevaluation()),
                     "--parent", str(os.getpid())]  # fmt: skip
        return start_talking(
            "sb3_hpo.reevaluation", arguments, n_threads=self._config.n_threads, log=log
        )

    def _assign(self, runner: _Runner, group: list[ReevaluationRequest]) -> None:
        runner.job, runner.is_idle = list(group), False
        runner.n_steps, runner.last_word = 0, time.monotonic()
        job = []
        for request in group:
            folder = None
            if request.stage == "test":
                trial, key = request.candidate.trial, request.key(self._config)
                folder = model_folder(self._run_dir, trial, request.seed_index, key)
            job.append((request, folder))
        try:
            runner.connection.send(job)
        except OSError:
            self._lose(runner)  # it died while it had nothing to do

    def _listen(self, on_result: Callable[[ReevaluationRequest, ReevaluationRun], None]) -> None:
        """Wait a little for words of the runners, and look after those that have gone silent."""
        said = wait([runner.connection for runner in self._runners], _POLL_S)
        for runner in self._runners:
            if runner.connection in said:
                self._read(runner, on_result)
            elif (
                not runner.is_idle
                and time.monotonic() - runner.last_word > self._config.stale_after
            ):
                _logger.warning("a run shows no progress; its process is replaced")
                self._lose(runner)

    def _read(
        self, runner: _Runner, on_result: Callable[[ReevaluationRequest, ReevaluationRun], None]
    ) -> None:
        try:
            word = runner.connection.recv()
        except (EOFError, OSError):  # the process is gone
            self._lose(runner)
            return
        runner.last_word = time.monotonic()
        self._obey(runner, word, on_result)

    def _obey(
        self,
        runner: _Runner,
        word: dict[str, Any],
        on_result: Callable[[ReevaluationRequest, ReevaluationRun], None],
    ) -> None:
        if "n_steps" in word:
            runner.n_steps = word["n_steps"]
            return
        if "alone" in word:
            self.alone.add(word["alone"])
            return
        self._is_news = True
        if "done" in word:
            runner.job, runner.is_idle = [], True
            return
        key = word["key"]
        request = next(
            (request for request in runner.job if request.key(self._config) == key), None
        )
        if request is None:
            _logger.warning("a run was told twice")
            return
        runner.job.remove(request)
        if "error" in word:
            self.errors[key] = word["error"]
        else:
            on_result(request, word["run"])

    def _lose(self, runner: _Runner) -> None:
        """Replace a process; its runs are tried again, unless one is what kills its processes."""
        self._is_news = True
        status = end_process(runner.process)
        for request in runner.job:
            key = request.key(self._config)
            self._n_losses[key] = self._n_losses.get(key, 0) + 1
            if self._n_losses[key] == _MAX_LOSSES:
                self.errors[key] = (
                    f"its process died {_MAX_LOSSES} times (last exit status {status}); "
                    f"see {runner.log.name}"
                )
        runner.connection.close()
        runner.job, runner.is_idle = [], True
        runner.process, runner.connection = self._start(runner.log)
