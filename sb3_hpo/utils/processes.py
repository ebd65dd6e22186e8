"""Child processes of ours: one Python module each, with the threads and paths that it needs."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import IO, TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from types import FrameType


# Set before torch is imported: results depend on the thread count, and two threads are slower.
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
# Environment variables.
IN_WORKER = "SB3_HPO_WORKER"  # this process was started by us
STORAGE = "SB3_HPO_STORAGE"  # its storage: a command line, with a password, is seen by everybody

DONE = 70  # a worker's exit status: 0 is also what `os._exit(0)` in an environment leaves

ORPHAN_GRACE_S = 8.0  # to end by itself: a step, a few words to the storage


def start_module(
    module: str,
    arguments: list[str],
    *,
    n_threads: int,
    log: IO[bytes],
    variables: Mapping[str, str] | None = None,
    pass_fds: Collection[int] = (),
) -> subprocess.Popen[bytes]:
    """Start `python -m module` as a process of its own.

    Args:
        arguments: Its command line.
        n_threads: Threads of its numerical libraries.
        log: Where its output and its errors go.
        variables: Further environment variables.
        pass_fds: File descriptors that it gets.
    """
    environment = {
        **os.environ,
        **dict.fromkeys(_THREAD_VARIABLES, str(n_threads)),
        "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),  # noqa: PTH109
        IN_WORKER: "1",
        **(variables or {}),
    }
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=environment,
        pass_fds=pass_fds,
        # Ctrl-C reaches this process only, which then asks the others: not twice.
        start_new_session=True,
    )


def start_talking(
    module: str, arguments: list[str], *, n_threads: int, log: IO[bytes]
) -> tuple[subprocess.Popen[bytes], Connection]:
    """Start a module as `start_module` does, and talk with it.

    Args:
        arguments: Its command line; `--connection` is added, a number for `open_connection`.

    Returns:
        The process and our end of the connection. What environments and libraries print is in
        the log and not between the words.
    """
    ours, theirs = multiprocessing.Pipe()
    with theirs:
        number = theirs.fileno()
        process = start_module(
            module,
            [*arguments, "--connection", str(number)],
            n_threads=n_threads,
            log=log,
            pass_fds=[number],
        )
    return process, ours


def open_connection(number: int) -> Connection:
    """Open the connection with the process that started this one.

    Args:
        number: What `start_talking` passed.
    """
    os.set_inheritable(number, False)  # else a child of the environment's would keep it open
    return Connection(number)


def end_process(process: subprocess.Popen[bytes]) -> int:
    """End a process of `start_module` and all that it has started; return its exit status.

    Args:
        process: The process; it may have ended.
    """
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)  # it leads a session: nobody else is in its group
    return process.wait()


def end_hung_orphan(parent: int, grace_s: float = ORPHAN_GRACE_S) -> None:
    """End this process if it outlives the one that started it, even when it hangs in a step.

    A process whose starter is killed notices that at its next step and ends properly. One that
    never finishes a step has nobody left who would kill it. (A step that never lets go of Python's
    interpreter lock cannot be ended from inside.)

    Args:
        parent: The process that started this one.
        grace_s: Seconds in which it may end by itself.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        time.sleep(grace_s)
        os._exit(1)  # the main thread hangs: there is nobody to raise an exception for

    threading.Thread(target=watch, name="orphan watch", daemon=True).start()


def leave(status: int) -> NoReturn:
    """End this process now that all is said.

    Python waits at its end for threads and child processes that an environment has started and
    that may never end.
    """
    main = threading.main_thread()
    threads = [thread.daemon for thread in threading.enumerate() if thread is not main]
    if all([*threads, *(child.daemon for child in multiprocessing.active_children())]):
        sys.exit(status)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def end_copy_of(pid: int) -> None:
    """End this process if it is a copy of another one that goes on as if it were that.

    An environment that calls `os.fork` and returns in both would be trained twice, and its results
    told twice.

    Args:
        pid: The process that it takes itself for.
    """
    if os.getpid() != pid:
        os._exit(1)


def n_cores() -> int:
    """Return the cores this process may use, which in a container are not all there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_signals(on_signal: Callable[[signal.Signals], None]) -> Iterator[None]:
    """Call a function for every SIGINT and SIGTERM, then restore the handlers there were.

    Args:
        on_signal: Gets the signal. Outside the main thread, where Python allows no handlers, it is
            never called.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, _frame: FrameType | None) -> None:
        on_signal(signal.Signals(number))

    before = {number: signal.signal(number, handle) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
