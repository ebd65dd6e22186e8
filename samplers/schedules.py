"""Values that change over a run, and how they are sampled.

A schedule maps SB3's `progress_remaining`, which falls from 1 to 0 over a run, to a value.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from samplers._shared import is_at_least

if TYPE_CHECKING:
    from samplers._shared import Size, TrialLike

ScheduleOrFloat = float | Callable[[float], float]
"""What SB3 takes as a learning rate: a constant or a schedule."""


@dataclass(frozen=True)
class CosineSchedule:
    """Falls from the initial value to 0 along half a period of a cosine.

    Attributes:
        initial_value: Value at the start of the run.

    >>> schedule = CosineSchedule(0.4)
    >>> [round(schedule(remaining), 3) for remaining in (1.0, 0.75, 0.5, 0.0)]
    [0.4, 0.341, 0.2, 0.0]
    """

    initial_value: float

    def __call__(self, progress_remaining: float) -> float:
        """Return the value at this progress."""
        # A last rollout may end beyond the budget, where the progress is below 0.
        done = 1.0 - max(0.0, progress_remaining)
        return self.initial_value * 0.5 * (1.0 + math.cos(math.pi * done))


def sample_learning_rate(
    trial: TrialLike, low: float, high: float, *, size: Size, schedule_from: Size = "full"
) -> ScheduleOrFloat:
    """Sample the learning rate and, in a space that is large enough, how it falls.

    Args:
        low: Lowest initial rate.
        high: Highest initial rate.
        size: How much is searched.
        schedule_from: The smallest size in which it may fall linearly; in the full space it may
            also fall as a cosine.

    Returns:
        The constant rate, or a schedule that ends at 0.
    """
    learning_rate = trial.suggest_float("learning_rate", low, high, log=True)
    if not is_at_least(size, schedule_from):
        return learning_rate
    kinds = ["constant", "linear", *(["cosine"] if is_at_least(size, "full") else [])]
    kind: str = trial.suggest_categorical("learning_rate_schedule", kinds)
    if kind == "cosine":
        return CosineSchedule(learning_rate)
    return _linear(learning_rate) if kind == "linear" else learning_rate


def sample_clip_range(trial: TrialLike, *, size: Size) -> ScheduleOrFloat:
    """Sample PPO's clip range (Zoo's range); in the full space also whether it falls.

    Args:
        size: How much is searched.

    Returns:
        The constant clip range, or a schedule that ends at 0.
    """
    clip_range = trial.suggest_float("clip_range", 0.1, 0.4)
    if is_at_least(size, "full"):
        kind: str = trial.suggest_categorical("clip_range_schedule", ["constant", "linear"])
        if kind == "linear":
            return _linear(clip_range)
    return clip_range


def _linear(initial_value: float) -> Callable[[float], float]:
    from stable_baselines3.common.utils import LinearSchedule

    return LinearSchedule(start=initial_value, end=0.0, end_fraction=1.0)
