"""Whether a replay buffer fits into memory, known before it is allocated.

SB3 allocates with `np.zeros`, and Linux provides the pages only when they are first written: too
large a buffer is no `MemoryError` at the start, but kills the process when it is nearly full.
"""

from __future__ import annotations

import inspect
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from sb3_hpo.utils.formatting import number, plural
from sb3_hpo.utils.processes import IN_WORKER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import gymnasium as gym
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.buffers import ReplayBuffer
    from stable_baselines3.common.vec_env import VecEnv

_GB = 1e9


@dataclass(frozen=True)
class ReplayMemory:
    """What the arrays of a replay buffer take.

    Attributes:
        n_transitions: How many transitions they hold.
        n_bytes: Their size.
    """

    n_transitions: int
    n_bytes: int


def replay_memory(
    algorithm_class: type[BaseAlgorithm],
    kwargs: Mapping[str, Any],
    observation_space: gym.Space[Any],
    action_space: gym.Space[Any],
    n_envs: int,
    n_timesteps: int | None = None,
) -> ReplayMemory | None:
    """Return what a model's replay buffer will take, exactly.

    Args:
        kwargs: Its keyword arguments; for the others its defaults count.
        observation_space: As the algorithm sees it, after VecNormalize.
        action_space: Of the environment.
        n_envs: Number of parallel training environments.
        n_timesteps: Environment steps of the run. Memory beyond what they write is never
            provided, so it does not count. None: all that is allocated.

    Returns:
        The memory: nothing for an algorithm without replay buffer. HerReplayBuffer's info dicts
        are not in it. None where a class of the user's own decides.
    """
    from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
    from stable_baselines3.common.preprocessing import check_for_nested_spaces

    if not issubclass(algorithm_class, OffPolicyAlgorithm):
        return ReplayMemory(0, 0)
    parameters = inspect.signature(algorithm_class).parameters
    arguments = {name: parameter.default for name, parameter in parameters.items()} | {**kwargs}
    buffer_size = arguments.get("buffer_size")
    buffer_class = _buffer_class(arguments, observation_space)
    if not isinstance(buffer_size, int) or buffer_class is None:
        return None
    check_for_nested_spaces(observation_space)  # SB3's own words, as its constructor has them
    n_rows = max(buffer_size // n_envs, 1)
    if n_timesteps is not None:
        n_rows = min(n_rows, math.ceil(n_timesteps / n_envs))
    options = {
        **(arguments.get("replay_buffer_kwargs") or {}),
        **({"env": None} if buffer_class.__name__ == "HerReplayBuffer" else {}),
        "optimize_memory_usage": arguments.get("optimize_memory_usage", False),
    }

    def first_rows(n: int) -> int:
        """Build a buffer of a few rows: SB3 knows best what it keeps of a transition."""
        buffer = buffer_class(
            n * n_envs, observation_space, action_space, device="cpu", n_envs=n_envs, **options
        )
        return _array_bytes(vars(buffer))

    one = first_rows(1)
    return ReplayMemory(n_rows * n_envs, one + (n_rows - 1) * (first_rows(2) - one))


def _buffer_class(
    arguments: Mapping[str, Any], observation_space: gym.Space[Any]
) -> type[ReplayBuffer] | None:
    """Return the class that SB3 will take, or None for one that SB3 does not have."""
    from gymnasium.spaces import Dict
    from stable_baselines3.common import buffers
    from stable_baselines3.her import HerReplayBuffer

    given: type[ReplayBuffer] | None = arguments.get("replay_buffer_class")
    if given is None and isinstance(observation_space, Dict):
        return buffers.DictReplayBuffer
    if given is None:
        n_steps = arguments.get("n_steps")
        is_n_step = isinstance(n_steps, int) and n_steps > 1
        return buffers.NStepReplayBuffer if is_n_step else buffers.ReplayBuffer
    known = (
        buffers.ReplayBuffer,
        buffers.DictReplayBuffer,
        buffers.NStepReplayBuffer,
        HerReplayBuffer,
    )
    return given if given in known else None


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
    memberships = root / "proc/self/cgroup"
    if not memberships.exists():  # not Linux
        return
    for line in memberships.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            version, mount = _V2, root / "sys/fs/cgroup"
        elif "memory" in controllers.split(","):
            version, mount = _V1, root / "sys/fs/cgroup/memory"
        else:
            continue
        group = mount / path.lstrip("/")
        for folder in (group, *group.parents):
            # In a container, the path may be the host's: only the mount's top is there.
            if folder.is_relative_to(mount) and (folder / version.limit).exists():
                limit = (folder / version.limit).read_text().strip()
                if limit != "max":
                    yield int(limit) - version.used_in(folder)


@dataclass(frozen=True)
class _CgroupFiles:
    """Names of a group's files, and of the lines in `memory.stat` that count cached files."""

    limit: str
    usage: str
    cached: tuple[str, str]

    def used_in(self, folder: Path) -> int:
        """Return the bytes that a group uses and that the kernel cannot take back."""
        lines = (folder / "memory.stat").read_text().splitlines()
        counts = dict(line.split() for line in lines)
        cached = sum(int(counts.get(name, 0)) for name in self.cached)
        return int((folder / self.usage).read_text()) - cached


_V1 = _CgroupFiles(
    "memory.limit_in_bytes",
    "memory.usage_in_bytes",
    ("total_inactive_file", "total_active_file"),
)
_V2 = _CgroupFiles("memory.max", "memory.current", ("inactive_file", "active_file"))


def workers_here() -> tuple[int, int]:
    """Count the worker processes that share this machine's memory, and what they hold of it.

    Returns:
        The workers that the parent of this one has, this one included (1 outside of a worker),
        and the bytes that the others have beyond this one, which has no buffer now: their
        buffers, which the workers' share of the memory has to make room for anyway.
    """
    if IN_WORKER not in os.environ:
        return 1, 0
    this = psutil.Process()
    own = this.memory_info().rss
    parent = this.parent()
    n_workers, held = 1, 0
    for process in [] if parent is None else parent.children():
        try:
            if process != this and IN_WORKER in process.environ():
                held += max(0, process.memory_info().rss - own)
                n_workers += 1
        except psutil.Error:
            continue  # it has just ended
    return n_workers, held


def memory_shortage(
    algorithm_class: type[BaseAlgorithm],
    kwargs: Mapping[str, Any],
    venv: VecEnv,
    n_timesteps: int,
    *,
    n_runs: int = 1,
) -> str | None:
    """Say why the replay buffers of all workers, each with this one's, would not fit.

    Args:
        kwargs: Its keyword arguments.
        venv: The training environments.
        n_timesteps: Environment steps of the run.
        n_runs: How many such runs each worker trains at a time.

    Returns:
        What is needed, what is there and what to do; None if they fit, or nobody can tell.
    """
    need = replay_memory(
        algorithm_class,
        kwargs,
        venv.observation_space,
        venv.action_space,
        venv.num_envs,
        n_timesteps,
    )
    if need is None or need.n_bytes == 0:
        return None
    n_workers, held = workers_here()
    available = available_memory() + held
    if need.n_bytes * n_runs * n_workers <= available:
        return None
    each = f" in each of {plural(n_runs, 'run')}" if n_runs > 1 else ""
    each += f" in each of {plural(n_workers, 'worker')}" if n_workers > 1 else ""
    return (
        f"{plural(need.n_transitions, 'transition')} in the replay buffer need "
        f"{number(need.n_bytes / _GB)} GB{each}, but {number(available / _GB)} GB are available; "
        f"lower buffer_size (--fixed.buffer_size){' or --n-workers' if n_workers > 1 else ''}"
    )
