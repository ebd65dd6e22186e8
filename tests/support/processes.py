"""The processes that tests have started, found in /proc."""

from __future__ import annotations

from pathlib import Path


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
