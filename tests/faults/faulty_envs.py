"""Environments for studies under attack: one that takes its time, one that misbehaves once."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.envs import KnownReturnEnv, TargetEnv

if TYPE_CHECKING:
    import numpy as np

PACE = "SB3_HPO_TEST_PACE"  # environment variable: seconds per step
BUGS = {"ValueError": ValueError, "RuntimeError": RuntimeError, "MemoryError": MemoryError}


class PacedEnv(TargetEnv):
    """Takes a set time per step, so that a trial is still running when a fault comes.

    Commands on one study may have different paces, as the pace is no part of its configuration.
    """

    def __init__(self) -> None:
        super().__init__()
        self._step_s = float(os.environ.get(PACE, "0"))

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        time.sleep(self._step_s)
        return super().step(action)


class FaultyEnv(KnownReturnEnv):
    """Every instance that is stepped takes the next fault of a folder, until none is left.

    With one environment for training and evaluation, an instance is a trial.
    """

    def __init__(self, folder: str) -> None:
        super().__init__()
        self._folder = Path(folder)
        self._fault: str | None = None

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        if Path(sys.argv[0]).name == "try_out.py":
            return super().step(action)  # faults are for trials
        if self._fault is None:
            self._fault = take_fault(self._folder)
        if self._t == 4:
            self._misbehave()
        observation, reward, done, truncated, info = super().step(action)
        if self._fault == "NaN reward" and done:
            reward = float("nan")
        elif self._fault == "NaN weights":
            reward = 3e38  # finite, but sums of it are not, in float32
        elif self._fault == "endless episode":
            done = False
        return observation, reward, done, truncated, info

    def _misbehave(self) -> None:
        if self._fault in BUGS:
            raise BUGS[self._fault]("the gripper is gone")
        if self._fault == "os._exit":
            os._exit(3)
        if self._fault == "hang":
            time.sleep(3600)


def put_faults(folder: Path, faults: list[str]) -> None:
    """Put faults into a folder, to be taken in this order."""
    folder.mkdir()
    for index, fault in enumerate(faults):
        (folder / f"{index:02d} {fault}").touch()


def take_fault(folder: Path) -> str:
    """Take the next fault, which no other process gets; an empty text when there is none."""
    for path in sorted(folder.iterdir()):
        try:
            path.unlink()
        except FileNotFoundError:
            continue  # another process was faster
        return path.name[3:]
    return ""
