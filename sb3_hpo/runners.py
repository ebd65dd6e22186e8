"""Processes that train the runs of a re-evaluation, several at a time, replaced when they die."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import selectors
import signal
import time
from dataclasses import asdict, dataclass
from typing import IO, TYPE_CHECKING, Any

from sb3_hpo.processes import start_module
from sb3_hpo.reruns import Rerun, model_folder

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sb3_hpo.config import StudyConfig
    from sb3_hpo.reruns import RunSpec

_logger = logging.getLogger(__name__)

_POLL_S = 0.3
_READ_BYTES = 1 << 20
_MAX_LOSSES = 3  # of one run: then it is the run that kills its process


@dataclass
class _Runner:
    """One place for a process, and the run it is busy with."""

    log: IO[bytes]
    process: subprocess.Popen[bytes]
    job: RunSpec | None = None
    n_steps: int = 0
    last_word: float = 0.0  # when it last said something, on the monotonic clock
    unread: bytes = b""


class Runners:
    """Trains runs in processes; a context manager that leaves none of them behind."""

    def __init__(self, config: StudyConfig, run_dir: Path, n_runners: int) -> None:
        """Prepare; processes are started when there is work for them.

        Args:
            config: The study's configuration.
            run_dir: Where logs and models go.
            n_runners: How many runs are trained at a time.
        """
        self._config, self._run_dir, self._n_runners = config, run_dir, n_runners
        self._runners: list[_Runner] = []
        self._n_losses: dict[str, int] = {}
        self._is_news = True  # what is due may have changed
        self.errors: dict[str, str] = {}  # why a run has no result, by its key

    def __enter__(self) -> Runners:
        return self

    def __exit__(self, *_: object) -> None:
        for runner in self._runners:
            self._kill(runner)
        self._runners.clear()

    @property
    def running(self) -> list[tuple[RunSpec, int]]:
        """The runs in training, each with its environment steps so far."""
        return [(runner.job, runner.n_steps) for runner in self._runners if runner.job]

    def run(
        self,
        due: Callable[[], Sequence[RunSpec]],
        take: Callable[[RunSpec, Rerun], None],
        go_on: Callable[[], bool],
    ) -> None:
        """Train what is due until nothing is.

        Args:
            due: Returns the runs that are wanted now and have no result, the most urgent first.
                Asked again after every result: what is wanted may depend on it. Runs with an
                error must not be in it.
            take: Gets every result as soon as it is there.
            go_on: Called a few times a second; False ends it, and the runs in training with it.
        """
        wanted: Sequence[RunSpec] = ()
        self._is_news = True
        while go_on():
            if self._is_news:
                self._is_news, wanted = False, due()
            busy = [runner.job for runner in self._runners if runner.job is not None]
            keys = {spec.key(self._config) for spec in busy}
            waiting = [spec for spec in wanted if spec.key(self._config) not in keys]
            if not waiting and not busy:
                return
            for spec in waiting:
                runner = self._idle_runner()
                if runner is None:
                    break
                self._assign(runner, spec)
            self._listen(take)

    def _idle_runner(self) -> _Runner | None:
        for runner in self._runners:
            if runner.job is None:
                return runner
        if len(self._runners) == self._n_runners:
            return None
        log = (self._run_dir / f"runner-{len(self._runners)}.log").open("ab")
        runner = _Runner(log, self._start(log))
        self._runners.append(runner)
        return runner

    def _start(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        arguments = ["--config", json.dumps(self._config.plain()),
                     "--parent", str(os.getpid())]  # fmt: skip
        return start_module(
            "sb3_hpo.runner", arguments, n_threads=self._config.n_threads, log=log, talks=True
        )

    def _assign(self, runner: _Runner, spec: RunSpec) -> None:
        runner.job, runner.n_steps, runner.last_word = spec, 0, time.monotonic()
        folder = None
        if spec.stage == "test":
            folder = model_folder(
                self._run_dir, spec.candidate.trial, spec.seed_index, spec.key(self._config)
            )
        process = runner.process
        if process.stdin is None:
            raise RuntimeError("runners are started with an input")
        try:
            job = {"spec": asdict(spec), "save_to": folder and str(folder)}
            process.stdin.write(f"{json.dumps(job)}\n".encode())
            process.stdin.flush()
        except BrokenPipeError:
            self._lose(runner)  # it died while it had nothing to do

    def _listen(self, take: Callable[[RunSpec, Rerun], None]) -> None:
        """Wait a little for words of the runners, and look after those that have gone silent."""
        with selectors.DefaultSelector() as selector:
            for runner in self._runners:
                selector.register(_output(runner.process), selectors.EVENT_READ, runner)
            for key, _ in selector.select(_POLL_S):
                self._read(key.data, take)
        now = time.monotonic()
        for runner in self._runners:
            if runner.job is not None and now - runner.last_word > self._config.stale_after:
                _logger.warning("a run shows no progress; its process is replaced")
                self._lose(runner)

    def _read(self, runner: _Runner, take: Callable[[RunSpec, Rerun], None]) -> None:
        data = os.read(_output(runner.process).fileno(), _READ_BYTES)
        if not data:  # its end: the process is gone
            self._lose(runner)
            return
        *lines, runner.unread = (runner.unread + data).split(b"\n")
        runner.last_word = time.monotonic()
        for line in lines:
            self._obey(runner, json.loads(line), take)

    def _obey(
        self, runner: _Runner, word: dict[str, Any], take: Callable[[RunSpec, Rerun], None]
    ) -> None:
        if "n_steps" in word:
            runner.n_steps = word["n_steps"]
            return
        self._is_news = True
        job, runner.job = runner.job, None
        if job is None:
            raise RuntimeError("a runner answered without having been asked")
        if "error" in word:
            self.errors[job.key(self._config)] = word["error"]
        else:
            take(job, Rerun.from_dict(word["rerun"]))

    def _lose(self, runner: _Runner) -> None:
        """Replace a process; its run is tried again, unless it is what kills its processes."""
        self._is_news = True
        status = _end(runner.process)
        if runner.job is not None:
            key = runner.job.key(self._config)
            self._n_losses[key] = self._n_losses.get(key, 0) + 1
            if self._n_losses[key] == _MAX_LOSSES:
                self.errors[key] = (
                    f"its process died {_MAX_LOSSES} times (last exit status {status}); "
                    f"see {runner.log.name}"
                )
        self._close(runner)
        runner.job, runner.unread = None, b""
        runner.process = self._start(runner.log)

    def _kill(self, runner: _Runner) -> None:
        _end(runner.process)
        self._close(runner)
        runner.log.close()

    def _close(self, runner: _Runner) -> None:
        for pipe in (runner.process.stdin, runner.process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):  # it had not read its last job
                    pipe.close()


def _end(process: subprocess.Popen[bytes]) -> int:
    """End a process, and the environments it runs in processes of their own; return its status."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)  # it leads a session: nobody else is in its group
    return process.wait()


def _output(process: subprocess.Popen[bytes]) -> IO[bytes]:
    if process.stdout is None:
        raise RuntimeError("runners are started with an output")
    return process.stdout
