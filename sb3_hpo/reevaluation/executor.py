"""Runs trained while somebody watches: lines or a live view, signals, and an end to the time."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from sb3_hpo.reevaluation.pool import Runners
from sb3_hpo.results.study_result import race_score
from sb3_hpo.storages.retrying import retry
from sb3_hpo.utils.console import echo
from sb3_hpo.utils.errors import UserError
from sb3_hpo.utils.processes import IN_WORKER, n_cores, stop_signals

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

    from rich.console import Console

    from sb3_hpo.config.reevaluation_config import ReevaluationConfig
    from sb3_hpo.results.reevaluation_runs import ReevaluationRequest, ReevaluationRun


@dataclass(frozen=True)
class RunsResult:
    """How it ended.

    Attributes:
        errors: Why runs could not be trained, one line each.
        signal: The signal that ended it, or None.
    """

    errors: tuple[str, ...]
    signal: signal.Signals | None

    @property
    def exit_status(self) -> int:
        """0 all trained or out of time, 1 if some could not be trained, 130, 143 interrupted."""
        if self.signal is not None:
            return 128 + self.signal
        return 1 if self.errors else 0


@contextmanager
def alone(run_dir: Path, console: Console) -> Iterator[None]:
    """Let one process at a time train the runs of a folder; the lock dies with its process.

    Args:
        run_dir: The folder.
        console: Where it is said that this process waits.
    """
    lock = FileLock(run_dir / ".reevaluation.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        echo(console, "Another process trains these runs; waiting for its results.")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def train_due(
    config: ReevaluationConfig,
    run_dir: Path,
    console: Console,
    due: Callable[[Collection[str]], Sequence[ReevaluationRequest]],
    on_result: Callable[[ReevaluationRun], None],
    *,
    deadline: float | None = None,
) -> RunsResult:
    """Train what is due until nothing is, the time is over, or a signal comes.

    Args:
        config: What all runs share; `n_workers` of them are trained at a time.
        run_dir: Where logs and models go.
        console: Where progress is shown: live on a terminal, a line a run elsewhere.
        due: Gets the keys of runs that cannot be trained; returns those wanted now, the most
            urgent first.
        on_result: Gets every result as soon as it is there.
        deadline: When to stop, in seconds since the epoch.

    Returns:
        How it ended.

    Raises:
        UserError: This process trains a run itself and came upon the caller's script.
    """
    if IN_WORKER in os.environ:
        raise UserError(
            "a worker came upon more training while importing your script: call it under "
            'if __name__ == "__main__":'
        )
    received: list[signal.Signals] = []
    with (
        stop_signals(received.append),
        Runners(config, run_dir, config.n_workers or n_cores()) as runners,
        console.status("starting") if console.is_terminal else nullcontext() as status,
    ):

        def go_on() -> bool:
            if status is not None:
                status.update(_describe_running(runners.running))
            return not received and (deadline is None or time.time() < deadline)

        def write(call: Callable[[], Any]) -> Any:
            """Write down what is finished, also on a disk that is full for a while."""
            return retry(call, str(run_dir), lambda: 0 if received else config.storage_timeout)

        def take_and_tell(request: ReevaluationRequest, run: ReevaluationRun) -> None:
            write(lambda: on_result(run))
            echo(console, _describe(request, run, config))

        runners.run(lambda: write(lambda: due(runners.errors)), take_and_tell, go_on)
    for reason in sorted(runners.alone):
        echo(console, f"Seeds were trained one after the other: {reason}")
    for text in runners.errors.values():
        echo(console, f"A run could not be trained: {text}")
    if received:
        echo(console, "Interrupted; the same command goes on from here.")
    elif due(runners.errors):
        echo(console, "The time is over; the same command goes on from here.")
    return RunsResult(tuple(runners.errors.values()), received[0] if received else None)


def _describe(
    request: ReevaluationRequest, run: ReevaluationRun, config: ReevaluationConfig
) -> str:
    record = run.record
    who = f"{request.stage}: {request.candidate.name}, seed {request.seed_index}"
    cost = f"{record.n_steps:,} steps in {record.seconds:.0f} s"
    if record.outcome != "finished":
        return f"{who}: {record.outcome} ({record.reason}), {cost}"
    value = race_score(run, config) if run.final is None else run.final.value
    return f"{who}: {value:.1f}, {cost}{f'; {record.reason}' * bool(record.reason)}"


def _describe_running(running: Sequence[tuple[list[ReevaluationRequest], int]]) -> str:
    return "   ".join(
        f"{together[0].stage}: {together[0].candidate.name}, seed "
        f"{', '.join(str(request.seed_index) for request in together)}, step {n_steps:,}"
        for together, n_steps in running
    )
