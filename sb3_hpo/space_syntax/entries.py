"""What stands beside a name in a search space file: a range, choices or a constant.

As a mapping: `{low: 1e-5, high: 1e-2, log: true}`, `{choices: [64, 128]}`, or just a value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sb3_hpo.utils.errors import UserError, unknown_name

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

_KEYS = ("choices", "high", "log", "low", "step", "type")
_TYPES = ("categorical", "float", "int")


@dataclass(frozen=True)
class Range:
    """All numbers from `low` to `high`, both included; whole ones if both are.

    Attributes:
        low: Lowest value.
        high: Highest value; lowered to a whole number of steps above `low`.
        log: Whether it is searched on a log scale.
        step: Distance of neighbours, or None for all (whole) numbers.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high)) or self.low >= self.high:
            raise UserError(
                f"`low < high` must hold, but got (low={self.low}, high={self.high}); "
                "for a single value write the value"
            )
        if self.log and self.low <= 0:
            raise UserError(
                f"`low > 0` must hold on a log scale, but got low={self.low}; raise it or leave "
                "the log scale"
            )
        if self.step is None:
            return
        if self.log:
            raise UserError("a log scale has no steps: leave out `log` or `step`")
        if not 0 < self.step <= self.high - self.low:
            raise UserError(
                f"`0 < step <= high - low` must hold, but got (low={self.low}, high={self.high}, "
                f"step={self.step})"
            )
        object.__setattr__(self, "high", _last_step(self.low, self.high, self.step))

    @property
    def is_whole(self) -> bool:
        """Whether the values are integers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def values(self) -> list[Any]:
        """Return the ends."""
        return [self.low, self.high]

    def distribution(self) -> BaseDistribution:
        """Return the range in Optuna's words."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if self.is_whole:
            step = 1 if self.step is None else int(self.step)
            return IntDistribution(int(self.low), int(self.high), log=self.log, step=step)
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def plain(self) -> dict[str, Any]:
        """Return the entry as a mapping."""
        more: dict[str, Any] = {"log": True} if self.log else {}
        if self.step is not None:
            more["step"] = self.step
        return {"low": self.low, "high": self.high, **more}


@dataclass(frozen=True)
class Choices:
    """Some values, in no order.

    Attributes:
        by_name: The values by what a storage keeps of them: a number, text, boolean or None
            itself, the text of anything else.
    """

    by_name: Mapping[Any, Any]

    def distribution(self) -> BaseDistribution:
        """Return the choices in Optuna's words."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(list(self.by_name))

    def values(self) -> list[Any]:
        """Return the choices."""
        return list(self.by_name.values())

    def plain(self) -> dict[str, Any]:
        """Return the entry as a mapping."""
        values = self.by_name
        named = any(name != storable(value) for name, value in values.items())
        return {"choices": dict(values) if named else list(values.values())}


@dataclass(frozen=True)
class Constant:
    """One value.

    Attributes:
        value: The value.
    """

    value: Any

    def values(self) -> list[Any]:
        """Return the value alone."""
        return [self.value]

    def plain(self) -> Any:
        """Return the value."""
        return self.value


Entry = Range | Choices | Constant


def is_spec(value: Any) -> bool:
    """Tell whether a mapping is an entry, not a group of names.

    Args:
        value: Anything from YAML.
    """
    return isinstance(value, Mapping) and not {"choices", "high", "low", "type"}.isdisjoint(value)


def storable(value: Any) -> Any:
    """Return a value as an Optuna storage can keep it, which is as text if it is a container.

    Args:
        value: Any plain value.

    >>> storable(64), storable([64, 64])
    (64, '[64, 64]')
    """
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def make_choices(values: Any) -> Choices:
    """Make choices of a list, or of a mapping from names to values.

    Args:
        values: At least one, all different.

    Raises:
        UserError: There are none, or two are equal.
    """
    if isinstance(values, Mapping):
        pairs = list(values.items())
    elif isinstance(values, list | tuple):
        pairs = [(storable(value), value) for value in values]
    else:
        raise UserError(f"must be a list of choices such as [64, 128], but got {values!r}")
    if not pairs:
        raise UserError("must have at least one choice, but got none")
    seen: list[tuple[type, Any]] = []
    for name, value in pairs:
        check_constant(value)
        if (type(name), name) in seen:
            raise UserError(f"has the choice {name!r} twice: remove one")
        seen.append((type(name), name))
    if len({name for _, name in seen}) < len(seen):  # to Python, 1, 1.0 and True are one key
        raise UserError(f"has choices that count as equal: {[name for _, name in seen]}")
    return Choices(dict(pairs))


def check_constant(value: Any) -> None:
    """Refuse a range inside of a value: nothing would draw it.

    Args:
        value: A plain value.

    Raises:
        UserError: There is one.
    """
    if isinstance(value, Range | Choices):
        raise UserError("a range or choice cannot be part of another value, only all of it")
    if isinstance(value, list | tuple):
        for item in value:
            check_constant(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            check_constant(item)
    elif isinstance(value, str) and re.match(r"(choice|interval|range|tag)\(", value):
        raise UserError(
            f"{value!r} cannot be part of another value, only all of it: write choices of whole "
            "values, or a function in Python (--space file.py:function)"
        )


def read_mapping(spec: Mapping[str, Any]) -> Range | Choices:
    """Read an entry that is written as a mapping.

    Args:
        spec: With `choices`, or with `low` and `high`.

    Raises:
        UserError: Something else is in it, or nothing can be drawn from it.
    """
    unknown = [str(key) for key in spec if key not in _KEYS]
    if unknown:
        raise UserError(
            f"{unknown_name('key', unknown[0], _KEYS)}; a dimension that depends on another one "
            "needs Python (--space file.py:function)"
        )
    kind = spec.get("type")
    if kind is not None and kind not in _TYPES:
        raise UserError(unknown_name("type", str(kind), _TYPES))
    if "choices" in spec:
        if len(set(spec) - {"type"}) > 1 or kind not in (None, "categorical"):
            raise UserError("has `choices` and a range: keep one of them")
        return make_choices(spec["choices"])
    if kind == "categorical":
        raise UserError("must have `choices`, as its type is categorical")
    for key in ("low", "high"):
        if spec.get(key) is None:
            raise UserError(f"must have `low` and `high`, but `{key}` is missing")
    given = [key for key in ("low", "high", "step") if spec.get(key) is not None]
    log = spec.get("log", False)
    if not isinstance(log, bool):
        raise UserError(f"log: must be true or false, but got {log!r}")
    return make_range([read_number(key, spec[key]) for key in given], log=log, kind=kind)


def make_range(numbers: list[float], *, log: bool = False, kind: str | None = None) -> Range:
    """Make a range.

    Args:
        numbers: Low, high and perhaps the step.
        log: Whether it is searched on a log scale.
        kind: "int" or "float"; default: whole numbers if all given ones are.

    Raises:
        UserError: There is nothing between them, or a log scale cannot hold them.
    """
    whole = kind == "int" or (kind is None and all(isinstance(item, int) for item in numbers))
    if whole and not all(float(item).is_integer() for item in numbers):
        raise UserError(f"must be whole numbers, but got {numbers}")
    low, high, *rest = [int(item) if whole else float(item) for item in numbers]
    step = rest[0] if rest and not (whole and rest[0] == 1) else None
    return Range(low, high, log, step)


def read_number(key: str, value: Any) -> float:
    """Return a value that must be a number.

    Args:
        key: What it is, for the message.

    Raises:
        UserError: It is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"{key}: must be a number, but got {value!r}")
    return value


def _last_step(low: float, high: float, step: float) -> float:
    """Return the highest value at whole steps above `low`; in decimals, as 0.3 is 3 * 0.1."""
    start, stride = Decimal(str(low)), Decimal(str(step))
    last = start + (Decimal(str(high)) - start) // stride * stride
    return int(last) if isinstance(high, int) else float(last)
