"""Values that change over a run, and how they are searched.

A schedule maps SB3's `progress_remaining`, which falls from 1 to 0 over a run, to a value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from samplers._dimensions import Choice
from samplers._shared import SpaceContext, is_at_least
from samplers._space import Finish

if TYPE_CHECKING:
    from collections.abc import Callable

    from samplers._shared import Size
    from samplers._space import Values

_SUFFIX = "_schedule"


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


def learning_rate_schedule(since: Size = "full", source: str = "Zoo: lin_") -> Choice:
    """Return the dimension of how the learning rate falls; the full space has the cosine too."""
    return Choice(
        f"learning_rate{_SUFFIX}",
        _kinds,
        together=("learning_rate",),
        default="constant",
        since=since,
        source=source,
    )


CLIP_RANGE_SCHEDULE = Choice(
    f"clip_range{_SUFFIX}",
    ("constant", "linear"),
    together=("clip_range",),
    default="constant",
    since="full",
    source="Zoo: lin_",
)


def _kinds(_context: SpaceContext, size: Size) -> list[str]:
    return ["constant", "linear", *(["cosine"] if is_at_least(size, "full") else [])]


class Schedules(Finish):
    """Lets values fall to 0 over a run where that is their schedule."""

    def do(self, values: Values, _context: SpaceContext, _size: Size) -> dict[str, Any]:
        """Make the schedules."""
        for name in [name for name in values if name.endswith(_SUFFIX)]:
            kind, argument = values.pop(name), name.removesuffix(_SUFFIX)
            if kind == "cosine":
                values[argument] = CosineSchedule(values[argument])
            elif kind == "linear":
                values[argument] = _linear(values[argument])
        return {}

    def undo(self, values: Values, _context: SpaceContext) -> None:
        """Take schedules apart into where they start and how they fall."""
        for argument in ("learning_rate", "clip_range"):
            value = values.get(argument)
            if isinstance(value, CosineSchedule):
                values[argument] = value.initial_value
                values[f"{argument}{_SUFFIX}"] = "cosine"
            elif getattr(value, "end", None) == 0.0:  # SB3's LinearSchedule
                values[argument] = getattr(value, "start", None)
                values[f"{argument}{_SUFFIX}"] = "linear"
            elif value is not None:
                values[f"{argument}{_SUFFIX}"] = "constant"


def _linear(initial_value: float) -> Callable[[float], float]:
    from stable_baselines3.common.utils import LinearSchedule

    return LinearSchedule(start=initial_value, end=0.0, end_fraction=1.0)
