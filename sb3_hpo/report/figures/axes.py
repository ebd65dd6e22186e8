"""Where the values of a hyperparameter lie on an axis, whatever kind of hyperparameter it is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


@dataclass(frozen=True)
class Axis:
    """An axis of places: values, their decimal logarithms, or the numbers of choices.

    Attributes:
        low: Place of the lower end.
        high: Place of the upper end.
        ticks: Places of the ticks.
        labels: What is written there.
        is_log: Whether places are logarithms.
        choices: The choices, whose places are 0, 1, ...; empty for numbers.
    """

    low: float
    high: float
    ticks: tuple[float, ...]
    labels: tuple[str, ...]
    is_log: bool = False
    choices: tuple[Any, ...] = ()

    @classmethod
    def of(cls, distribution: BaseDistribution) -> Axis:
        """Make the scale of a distribution.

        Args:
            distribution: One of Optuna's.

        Returns:
            Its scale, from end to end of the range.
        """
        if isinstance(distribution, CategoricalDistribution):
            places = tuple(map(float, range(len(distribution.choices))))
            labels = tuple(map(str, distribution.choices))
            return cls(-0.5, len(places) - 0.5, places, labels, choices=distribution.choices)
        if not isinstance(distribution, FloatDistribution | IntDistribution):
            raise TypeError(f"{distribution} is none of Optuna's distributions")
        low, high = float(distribution.low), float(distribution.high)
        if distribution.log:
            values = log_ticks(low, high)
            places = tuple(math.log10(value) for value in values)
            ends = math.log10(low), math.log10(high)
            return cls(*ends, places, tuple(map(_tick, values)), is_log=True)
        values = _even_ticks(low, high, whole=isinstance(distribution, IntDistribution))
        return cls(low, high, tuple(values), tuple(map(_tick, values)))

    @property
    def padded(self) -> list[float]:
        """The range of the axis, with room for marks at its ends."""
        room = 0.0 if self.choices else 0.04 * (self.high - self.low)
        return [self.low - room, self.high + room]

    def place(self, value: Any) -> float:
        """Return the place of a value."""
        if self.choices:
            # By identity of type too: 1 == True in Python, but they are two choices.
            pairs = [(type(choice), choice) for choice in self.choices]
            return float(pairs.index((type(value), value)))
        return math.log10(value) if self.is_log else float(value)

    def jitter(self, number: int) -> float:
        """Return a shift that keeps equal choices of different trials apart."""
        # Golden-ratio steps spread well without chance.
        return ((0.618 * number) % 1 - 0.5) * 0.5 if self.choices else 0.0

    def share(self, place: float) -> float:
        """Return how far from the lower end to the upper a place is, 0 to 1."""
        return (place - self.low) / (self.high - self.low)


def log_ticks(low: float, high: float) -> list[float]:
    """Return at most seven round numbers in a range, for a logarithmic axis.

    >>> log_ticks(1e-5, 3e-3), log_ticks(1, 20)
    ([1e-05, 0.0001, 0.001], [1.0, 2.0, 5.0, 10.0, 20.0])
    """
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for digits in ((1, 2, 5), (1,)):
        ticks = [float(f"{digit}e{exponent}") for exponent in exponents for digit in digits]
        ticks = [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001]
        if len(ticks) <= 5:
            break
    if len(ticks) < 2:  # less than a factor of two: nearly linear
        return _even_ticks(low, high, whole=False)
    return ticks[:: math.ceil(len(ticks) / 7)]


def _even_ticks(low: float, high: float, *, whole: bool) -> list[float]:
    """Return four to eight round numbers in a range."""
    rough = (high - low) / 5
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * k for k in (1, 2, 5, 10) if size * k >= rough * 0.8)
    step = max(step, 1.0) if whole else step
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(k * step, 10) for k in range(first, last + 1)]


def _tick(value: float) -> str:
    """Return a tick's label.

    >>> [_tick(value) for value in (1e-05, 0.003, 20.0, 1e6)]
    ['1e-5', '0.003', '20', '1e6']
    """
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:g}"
    digits, _, exponent = f"{value:e}".partition("e")
    return f"{float(digits):g}e{int(exponent)}"


def shortened(text: str, limit: int) -> str:
    """Return a text, cut to a number of characters.

    >>> shortened("one_minus_gamma", 20), shortened("one_minus_gamma", 8)
    ('one_minus_gamma', 'one_min…')
    """
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
