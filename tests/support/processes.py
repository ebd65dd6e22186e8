"""The processes that tests have started, found in /proc."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def pids_of(*words: str) -> list[int]:
    """Find the processes whose command line has all these words, in /proc."""
    pids = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # it has just ended
        if all(word.encode() in line for word in words):
            pids.append(int(folder.name))
    return pids


@contextmanager
def living_worker(name: str) -> Iterator[None]:
    """Have a process that looks like a worker of this machine."""
    code = "import time; print(flush=True); time.sleep(60)"
    command = [sys.executable, "-c", code, "sb3_hpo.workers", "--name", name]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.kill()
