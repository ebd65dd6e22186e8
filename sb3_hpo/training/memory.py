"""Whether a replay buffer fits into memory, known before it is filled.

SB3 allocates with `np.zeros`, and the pages are provided only when they are first written: too
large a buffer is no `MemoryError` at the start, but kills the process when it is nearly full.
"""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from sb3_hpo.utils.formatting import number, plural
from sb3_hpo.utils.processes import IN_WORKER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from stable_baselines3.common.base_class import BaseAlgorithm

_GB = 1e9


def replay_memory(model: BaseAlgorithm, n_timesteps: int) -> tuple[int, int]:
    """Return how much a run writes into its replay buffer.

    Args:
        model: The model, which has not learned yet.
        n_timesteps: Environment steps of the run. Memory beyond what they write is never
            provided, so it does not count.

    Returns:
        Transitions and bytes; of what is no array, such as HerReplayBuffer's info dicts, nothing.
    """
    buffer: Any = getattr(model, "replay_buffer", None)
    if buffer is None:
        return 0, 0
    n_rows = min(buffer.buffer_size, math.ceil(n_timesteps / model.n_envs))
    return n_rows * model.n_envs, n_rows * _array_bytes(vars(buffer)) // buffer.buffer_size


def _array_bytes(values: Mapping[str, Any]) -> int:
    arrays = [value for value in values.values() if isinstance(value, np.ndarray)]
    parts = [value for value in values.values() if isinstance(value, dict)]
    return sum(array.nbytes for array in arrays) + sum(map(_array_bytes, parts))


def available_memory(root: Path = Path("/")) -> int:
    """Return how many bytes can still be used before something is killed for them.

    Args:
        root: The file system with `proc` and `sys`.

    Returns:
        What the machine and each control group (container, batch job) around this process have
        left, whichever is least. What Linux keeps in memory of files counts as left.
    """
    return max(0, min([psutil.virtual_memory().available, *_left_in_cgroups(root)]))


def _left_in_cgroups(root: Path) -> Iterator[int]:
    """Yield what is left in each group with a limit, from this process' own upwards."""
    memberships, mount = root / "proc/self/cgroup", root / "sys/fs/cgroup"
    lines = memberships.read_text().splitlines() if memberships.exists() else []  # not Linux
    for path in (line.removeprefix("0::/") for line in lines if line.startswith("0::")):
        # In a container, the path may be the host's: only the mount's top is there.
        for folder in (mount / path, *(mount / path).parents):
            limit = folder / "memory.max"
            if limit.exists() and limit.read_text().strip() != "max":
                stat = (folder / "memory.stat").read_text().splitlines()
                counts = dict(line.split() for line in stat)
                cached = (int(counts.get(f"{kind}_file", 0)) for kind in ("inactive", "active"))
                used = int((folder / "memory.current").read_text()) - sum(cached)
                yield int(limit.read_text()) - used


def workers_here() -> tuple[int, int]:
    """Count the worker processes that share this machine's memory, and what they hold of it.

    Returns:
        The workers that the parent of this one has, this one included (1 outside of a worker),
        and the bytes that the others have beyond this one, whose buffer is empty now: their
        buffers, which the workers' share of the memory has to make room for anyway.
    """
    this = psutil.Process()
    parent = this.parent() if IN_WORKER in os.environ else None
    held = []
    for process in [] if parent is None else parent.children():
        with contextlib.suppress(psutil.Error):  # it has just ended
            if process != this and IN_WORKER in process.environ():
                held.append(max(0, process.memory_info().rss - this.memory_info().rss))
    return 1 + len(held), sum(held)


def memory_shortage(model: BaseAlgorithm, n_timesteps: int, *, n_runs: int = 1) -> str | None:
    """Say why the replay buffers of all workers, each with this one's, would not fit.

    Args:
        model: The model, which has not learned yet.
        n_timesteps: Environment steps of the run.
        n_runs: How many such runs each worker trains at a time.

    Returns:
        What is needed, what is there and what to do; None if they fit.
    """
    n_transitions, n_bytes = replay_memory(model, n_timesteps)
    n_workers, held = workers_here()
    available = available_memory() + held
    if n_bytes * n_runs * n_workers <= available:
        return None
    each = f" in each of {plural(n_runs, 'run')}" if n_runs > 1 else ""
    each += f" in each of {plural(n_workers, 'worker')}" if n_workers > 1 else ""
    return (
        f"{plural(n_transitions, 'transition')} in the replay buffer need "
        f"{number(n_bytes / _GB)} GB{each}, but {number(available / _GB)} GB are available; "
        f"lower buffer_size (--fixed.buffer_size){' or --n-workers' if n_workers > 1 else ''}"
    )
