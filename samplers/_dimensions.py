"""What a dimension of a search space can be."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from samplers._shared import SpaceContext, is_at_least, power_of_two

if TYPE_CHECKING:
    from optuna.distributions import (
        BaseDistribution,
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    from samplers._shared import Size, TrialLike


OfContext = Callable[[SpaceContext, "Size"], Any]


def _always(_context: SpaceContext) -> bool:
    return True


@dataclass(frozen=True)
class Dimension:
    """One searched parameter.

    Attributes:
        name: In the trial.
        argument: What it decides: an argument, dotted below `policy_kwargs`, or a value for the
            finish; "" stands for the name.
        together: The arguments that the finish makes of it, with others or in other words.
        default: What stands for SB3's default, in the trial.
        since: The smallest size that has it.
        source: Where the range comes from.
        exists: Whether a problem has it at all.
        when: Another dimension and its value without which this one is not asked for.
    """

    name: str
    argument: str = field(default="", kw_only=True)
    together: tuple[str, ...] = field(default=(), kw_only=True)
    default: Any = field(kw_only=True)
    since: Size = field(default="default", kw_only=True)
    source: str = field(default="", kw_only=True)
    exists: Callable[[SpaceContext], bool] = field(default=_always, kw_only=True)
    when: tuple[str, Any] | None = field(default=None, kw_only=True)

    @property
    def decides(self) -> str:
        """The argument or value that it decides."""
        return self.argument or self.name

    @property
    def is_noted(self) -> bool:
        """Whether its value is not what the trial has, and is noted beside that."""
        return False

    def distribution(self, context: SpaceContext, size: Size) -> BaseDistribution:
        """Return its range in Optuna's words."""
        raise NotImplementedError

    def suggest(self, trial: TrialLike, context: SpaceContext, size: Size) -> Any:
        """Ask a trial for it."""
        raise NotImplementedError

    def to_value(self, drawn: Any, context: SpaceContext, size: Size) -> Any:  # noqa: ARG002
        """Return what a number or name of the trial stands for."""
        return drawn

    def to_drawn(self, value: Any, context: SpaceContext, size: Size) -> Any:
        """Return what a trial has to say for a value, or the nearest to it; None: nothing."""
        raise NotImplementedError


class Number(Dimension):
    """A number of the trial, on a scale of its own."""

    def from_scale(self, drawn: Any) -> Any:
        """Return what a number of the trial stands for."""
        return drawn

    def to_value(self, drawn: Any, context: SpaceContext, size: Size) -> Any:  # noqa: ARG002
        """Return what a number of the trial stands for, whatever the problem."""
        return self.from_scale(drawn)

    def to_scale(self, value: Any) -> Any:
        """Return the number that stands for a value exactly, in the range or not; or None."""
        return value if is_number(value) else None

    def to_drawn(self, value: Any, context: SpaceContext, size: Size) -> Any:
        """Return the number of the range that stands for a value, or the nearest to that."""
        drawn = self.to_scale(value)
        return None if drawn is None else nearest(drawn, self.distribution(context, size))


@dataclass(frozen=True)
class Float(Number):
    """A number in a range.

    Attributes:
        low: Lowest, or a function of context and size.
        high: Highest, likewise.
        log: Whether on a log scale.
        step: From one to the next; default: all numbers.
        to: What a number of the trial stands for, where it is not itself.
        back: What stands for such a value.
    """

    low: float | OfContext
    high: float | OfContext
    log: bool = field(default=False, kw_only=True)
    step: float | None = field(default=None, kw_only=True)
    to: Callable[[float], Any] | None = field(default=None, kw_only=True)
    back: Callable[[Any], float | None] | None = field(default=None, kw_only=True)

    @property
    def is_noted(self) -> bool:
        """Whether it stands for something else."""
        return self.to is not None

    def distribution(self, context: SpaceContext, size: Size) -> FloatDistribution:
        """Return its range in Optuna's words."""
        from optuna.distributions import FloatDistribution

        low, high = _of(self.low, context, size), _of(self.high, context, size)
        return FloatDistribution(low, high, log=self.log, step=self.step)

    def suggest(self, trial: TrialLike, context: SpaceContext, size: Size) -> Any:
        """Ask a trial for it."""
        asked = self.distribution(context, size)
        return trial.suggest_float(
            self.name, asked.low, asked.high, step=asked.step, log=asked.log
        )

    def from_scale(self, drawn: Any) -> Any:
        """Return what a number of the trial stands for."""
        return drawn if self.to is None else self.to(drawn)

    def to_scale(self, value: Any) -> Any:
        """Return the number that stands for a value; None if there is none."""
        return super().to_scale(value if self.back is None else self.back(value))


@dataclass(frozen=True)
class OneMinus(Float):
    """A number next to 1, searched as its distance from 1 on a log scale.

    Attributes:
        one_below: Below this distance it is exactly 1.
    """

    log: bool = field(default=True, kw_only=True)
    one_below: float = field(default=0.0, kw_only=True)

    @property
    def is_noted(self) -> bool:
        """Always: the trial has the distance."""
        return True

    def from_scale(self, drawn: Any) -> Any:
        """Return the number."""
        return 1.0 if 0 <= drawn < self.one_below else 1.0 - drawn

    def to_scale(self, value: Any) -> Any:
        """Return the distance."""
        return 1.0 - value if is_number(value) else None


@dataclass(frozen=True)
class Int(Number):
    """A whole number in a range.

    Attributes:
        low: Lowest, or a function of context and size.
        high: Highest, likewise.
        log: Whether on a log scale.
        step: From one to the next.
    """

    low: int | OfContext
    high: int | OfContext
    log: bool = field(default=False, kw_only=True)
    step: int = field(default=1, kw_only=True)

    def distribution(self, context: SpaceContext, size: Size) -> IntDistribution:
        """Return its range in Optuna's words."""
        from optuna.distributions import IntDistribution

        low, high = _of(self.low, context, size), _of(self.high, context, size)
        return IntDistribution(low, high, log=self.log, step=self.step)

    def suggest(self, trial: TrialLike, context: SpaceContext, size: Size) -> Any:
        """Ask a trial for it."""
        asked = self.distribution(context, size)
        # Not its highest value: Optuna has lowered that to a multiple of the step.
        high = _of(self.high, context, size)
        return trial.suggest_int(self.name, asked.low, high, step=asked.step, log=asked.log)


@dataclass(frozen=True)
class PowerOfTwo(Int):
    """A power of two, searched by its exponent."""

    @property
    def is_noted(self) -> bool:
        """Always: the trial has the exponent."""
        return True

    def from_scale(self, drawn: Any) -> Any:
        """Return the power; below 1 it is no whole number."""
        return 2.0**drawn if drawn < 0 else power_of_two(drawn)

    def to_scale(self, value: Any) -> Any:
        """Return the exponent, which is whole where the value is a power."""
        if not is_number(value) or value <= 0:
            return None
        exponent = math.log2(value)
        return int(exponent) if exponent.is_integer() else exponent


@dataclass(frozen=True)
class Choice(Dimension):
    """One of several.

    Attributes:
        choices: Them; or by name what each name stands for; or a function of context and size
            that returns either.
    """

    choices: Sequence[Any] | Mapping[str, Any] | OfContext

    def distribution(self, context: SpaceContext, size: Size) -> CategoricalDistribution:
        """Return its choices in Optuna's words."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(list(_of(self.choices, context, size)))

    def suggest(self, trial: TrialLike, context: SpaceContext, size: Size) -> Any:
        """Ask a trial for it."""
        return trial.suggest_categorical(self.name, self.distribution(context, size).choices)

    def to_value(self, drawn: Any, context: SpaceContext, size: Size) -> Any:
        """Return what a choice stands for."""
        choices = _of(self.choices, context, size)
        value = choices[drawn] if isinstance(choices, Mapping) else drawn
        return list(value) if isinstance(value, list) else value

    def to_drawn(self, value: Any, context: SpaceContext, size: Size) -> Any:
        """Return the choice that stands for a value; None if there is none."""
        choices = _of(self.choices, context, size)
        by_name = choices if isinstance(choices, Mapping) else {item: item for item in choices}
        return next((name for name, item in by_name.items() if item == value), None)


@dataclass(frozen=True)
class Layers(Choice):
    """The hidden layers of actor and critic, which are the same."""

    def to_drawn(self, value: Any, context: SpaceContext, size: Size) -> Any:
        """Return the choice of a list of widths, or of two equal ones by network."""
        if isinstance(value, Mapping) and value:
            first, *others = value.values()
            value = first if all(other == first for other in others) else None
        return super().to_drawn(value, context, size)


def is_number(value: Any) -> bool:
    """Tell whether something that people have written is a number, and finite."""
    is_any = isinstance(value, int | float) and not isinstance(value, bool)
    return is_any and math.isfinite(value)


def nearest(drawn: Any, asked: BaseDistribution) -> Any:
    """Return what can be drawn and is next to a value; None if there is nothing near."""
    choices = getattr(asked, "choices", None)
    if choices is not None:
        numbers = [choice for choice in choices if is_number(choice)]
        if drawn in choices or not is_number(drawn) or len(numbers) < len(choices):
            return drawn if drawn in choices else None
        return min(numbers, key=lambda choice: abs(choice - drawn))
    if not is_number(drawn):
        return None
    low, high, step = asked.low, asked.high, asked.step  # type: ignore[attr-defined]
    drawn = min(max(drawn, low), high)
    if step is not None and drawn != low:
        drawn = min(low + round((drawn - low) / step) * step, high)
    return drawn


def _of(value: Any, context: SpaceContext, size: Size) -> Any:
    return value(context, size) if callable(value) else value


def activations(_context: SpaceContext, size: Size) -> dict[str, Any]:
    """Return the classes of activation functions by name; the full space has more of them."""
    from torch import nn

    classes: dict[str, Any] = {"tanh": nn.Tanh, "relu": nn.ReLU}
    if is_at_least(size, "full"):
        classes |= {"elu": nn.ELU, "gelu": nn.GELU}
    return classes
