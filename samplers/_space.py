"""Search spaces as tables of declared dimensions.

A dimension says what it is called in a trial, which argument it decides, in which range, from
which size on, and why. What several dimensions decide together is left to the *finish* of a space:
steps that turn the values of the dimensions into arguments, and say what was used in the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from samplers._shared import SpaceContext, is_at_least, power_of_two

if TYPE_CHECKING:
    from optuna.distributions import (
        BaseDistribution,
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    from samplers._shared import Size, TrialLike

Params = Mapping[str, float | int | str]
Values = dict[str, Any]
"""Values by argument, dotted below `policy_kwargs`; some are no arguments before the finish."""

OfContext = Callable[[SpaceContext, "Size"], Any]


class Finish(Protocol):
    """A step from the values of dimensions to arguments, and back."""

    def do(self, values: Values, context: SpaceContext, size: Size) -> Mapping[str, Any]:
        """Change values into arguments.

        Returns:
            What is to be noted beside a trial's parameters: what was used.
        """

    def undo(self, values: Values, context: SpaceContext) -> None:
        """Change arguments back into the values that give them, as far as there are such."""


def _always(_context: SpaceContext) -> bool:
    return True


@dataclass(frozen=True)
class Dimension:
    """One searched parameter.

    Attributes:
        name: In the trial.
        argument: What it decides: an argument, dotted below `policy_kwargs`, or a value for the
            finish; "" stands for the name.
        default: What stands for SB3's default, in the trial.
        since: The smallest size that has it.
        source: Where the range comes from.
        exists: Whether a problem has it at all.
        when: Another dimension and its value without which this one is not asked for.
    """

    name: str
    argument: str = field(default="", kw_only=True)
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


@dataclass(frozen=True)
class Float(Dimension):
    """A number in a range.

    Attributes:
        low: Lowest, or a function of context and size.
        high: Highest, likewise.
        log: Whether on a log scale.
        to: What a number of the trial stands for, where it is not itself.
        back: What stands for such a value.
    """

    low: float | OfContext
    high: float | OfContext
    log: bool = field(default=False, kw_only=True)
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
        return FloatDistribution(low, high, log=self.log)

    def suggest(self, trial: TrialLike, context: SpaceContext, size: Size) -> Any:
        """Ask a trial for it."""
        asked = self.distribution(context, size)
        return trial.suggest_float(self.name, asked.low, asked.high, log=asked.log)

    def to_value(self, drawn: Any, context: SpaceContext, size: Size) -> Any:  # noqa: ARG002
        """Return what a number of the trial stands for."""
        return drawn if self.to is None else self.to(drawn)

    def to_drawn(self, value: Any, context: SpaceContext, size: Size) -> Any:
        """Return the nearest number of the range."""
        drawn: Any = value if self.back is None else self.back(value)
        if not is_number(drawn):
            return None
        asked = self.distribution(context, size)
        return min(max(float(drawn), asked.low), asked.high)


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

    def to_value(self, drawn: Any, context: SpaceContext, size: Size) -> Any:  # noqa: ARG002
        """Return the number."""
        return 1.0 if drawn < self.one_below else 1.0 - drawn

    def to_drawn(self, value: Any, context: SpaceContext, size: Size) -> Any:
        """Return the distance, or the nearest in the range."""
        return super().to_drawn(1.0 - value, context, size) if is_number(value) else None


@dataclass(frozen=True)
class Int(Dimension):
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

    def to_drawn(self, value: Any, context: SpaceContext, size: Size) -> Any:
        """Return the nearest number of the range."""
        if not is_number(value):
            return None
        asked = self.distribution(context, size)
        nearest = asked.low + asked.step * round((value - asked.low) / asked.step)
        return min(max(nearest, asked.low), asked.high)


@dataclass(frozen=True)
class PowerOfTwo(Int):
    """A power of two, searched by its exponent."""

    @property
    def is_noted(self) -> bool:
        """Always: the trial has the exponent."""
        return True

    def to_value(self, drawn: Any, context: SpaceContext, size: Size) -> Any:  # noqa: ARG002
        """Return the power: whole, unless the exponent may be negative."""
        return 2.0**drawn if isinstance(self.low, int) and self.low < 0 else power_of_two(drawn)

    def to_drawn(self, value: Any, context: SpaceContext, size: Size) -> Any:
        """Return the exponent of the nearest power in the range."""
        if not is_number(value) or value <= 0:
            return None
        return super().to_drawn(math.log2(value), context, size)


@dataclass(frozen=True)
class Choice(Dimension):
    """One of several.

    Attributes:
        choices: Them; or by name what each name stands for; or a function of context and size
            that returns either.
    """

    choices: Sequence[Any] | Mapping[str, Any] | OfContext

    @property
    def is_noted(self) -> bool:
        """Whether names stand for lists, which a storage can hold as a note only."""
        return self.decides.endswith("net_arch")

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


def is_number(value: Any) -> bool:
    """Tell whether something that people have written is a number, and finite."""
    is_any = isinstance(value, int | float) and not isinstance(value, bool)
    return is_any and math.isfinite(value)


def _of(value: Any, context: SpaceContext, size: Size) -> Any:
    return value(context, size) if callable(value) else value


def activations(_context: SpaceContext, size: Size) -> dict[str, Any]:
    """Return the classes of activation functions by name; the full space has more of them."""
    from torch import nn

    classes: dict[str, Any] = {"tanh": nn.Tanh, "relu": nn.ReLU}
    if is_at_least(size, "full"):
        classes |= {"elu": nn.ELU, "gelu": nn.GELU}
    return classes


NET_ARCH = "policy_kwargs.net_arch"


def merge_layers(values: Values, critic: str) -> None:
    """Take the hidden layers of actor and critic as one list, where they are the same."""
    layers = values.get(NET_ARCH)
    if isinstance(layers, Mapping) and layers.get("pi") == layers.get(critic):
        values[NET_ARCH] = layers["pi"]


class SearchSpace:
    """A table of dimensions, and how their values become arguments.

    Attributes:
        algorithm: The class that it is for, as messages name it.
        dimensions: In the order in which they are asked for.
        finish: What is decided by several dimensions together, step by step.
        min_rollout: Smallest rollout, in steps of the vectorised environment, that the space can
            sample; `min_rollout * n_envs <= n_timesteps // n_evaluations` must hold.
        supports_her: Whether goals can be relabelled in hindsight.
        first_points: Points of the full space that learn fast on small problems, to be tried
            after SB3's defaults: a search that starts from one of them is less a matter of luck.
    """

    def __init__(
        self,
        *dimensions: Dimension,
        algorithm: str,
        min_rollout: int,
        finish: Sequence[Finish] = (),
        supports_her: bool = False,
        first_points: Sequence[Params] = (),
    ) -> None:
        self.algorithm = algorithm
        self.dimensions = dimensions
        self.finish = tuple(finish)
        self.min_rollout = min_rollout
        self.supports_her = supports_her
        self.first_points = tuple({**self.default_params, **point} for point in first_points)

    @property
    def default_params(self) -> dict[str, float | int | str]:
        """The point of the full space that stands for SB3's constructor defaults.

        In a narrow context (small budget, many environments) it can lie outside the bounds.
        """
        return {item.name: item.default for item in self.dimensions if item.default is not None}

    def dimensions_for(self, context: SpaceContext, size: Size) -> list[Dimension]:
        """Return the dimensions that a problem has in a size, also those asked for now and then.

        Raises:
            ValueError: The space has none for such a problem.
        """
        if context.her and not self.supports_her:
            raise ValueError(
                f"{self.algorithm} cannot relabel goals in hindsight (her=True): use an "
                "off-policy algorithm with a policy for Dict observations, such as SAC, TQC or "
                "DQN."
            )
        found: dict[str, Dimension] = {}
        for item in self.dimensions:
            is_there = is_at_least(size, item.since) and item.exists(context)
            if is_there and (item.when is None or item.when[0] in found):
                found[item.name] = item
        return list(found.values())

    def distributions(
        self,
        context: SpaceContext,
        size: Size,
        held: Params | None = None,
        changed: Mapping[str, BaseDistribution] | None = None,
    ) -> dict[str, BaseDistribution]:
        """Return all ranges by the names of their dimensions.

        Args:
            held: Values of dimensions that a trial is not asked for.
            changed: Ranges in the place of the space's own.

        Returns:
            What a trial may be asked for.
        """
        possible: dict[str, Sequence[Any]] = {}
        ranges: dict[str, BaseDistribution] = {}
        for item in self.dimensions_for(context, size):
            if item.when is not None and not set(_one_or_more(item.when[1])) & set(
                possible.get(item.when[0], ())
            ):
                continue
            if held is not None and item.name in held:
                possible[item.name] = (held[item.name],)
                continue
            own = item.distribution(context, size)
            ranges[item.name] = own if changed is None else changed.get(item.name, own)
            possible[item.name] = getattr(ranges[item.name], "choices", ())
        return ranges

    def sample(
        self, trial: TrialLike, *, context: SpaceContext | None = None, size: Size = "default"
    ) -> dict[str, Any]:
        """Sample keyword arguments for the algorithm's constructor.

        Args:
            context: The problem; without it, `SpaceContext()`.
            size: How much is searched.

        Returns:
            Keyword arguments.

        Raises:
            ValueError: The space has no point for such a problem.
        """
        context = context or SpaceContext()
        drawn: dict[str, Any] = {}
        values: Values = {}
        notes: dict[str, Any] = {}
        for item in self.dimensions_for(context, size):
            if item.when is not None and drawn.get(item.when[0]) not in _one_or_more(item.when[1]):
                continue
            drawn[item.name] = item.suggest(trial, context, size)
            values[item.decides] = item.to_value(drawn[item.name], context, size)
            if item.is_noted:
                notes[item.decides.rpartition(".")[2]] = values[item.decides]
        for step in self.finish:
            notes |= step.do(values, context, size)
        for name, value in notes.items():
            trial.set_user_attr(name, value)
        return _nested(values)

    def params_of(
        self,
        kwargs: Mapping[str, Any],
        *,
        context: SpaceContext | None = None,
        size: Size = "full",
    ) -> dict[str, Any]:
        """Return the point that stands for keyword arguments, or the nearest to them.

        Args:
            kwargs: What it has not has SB3's default.
            context: The problem; without it, `SpaceContext()`.
            size: How much is searched.

        Returns:
            Parameters of a trial. Where the space contains the arguments, `sample` makes equal
            ones of it. Choices that it has not are left out.
        """
        context = context or SpaceContext()
        values = _flat(kwargs)
        for step in reversed(self.finish):
            step.undo(values, context)
        params: dict[str, Any] = {}
        for item in self.dimensions_for(context, size):
            if item.when is not None and params.get(item.when[0]) not in _one_or_more(
                item.when[1]
            ):
                continue
            drawn = item.default
            if item.decides in values:
                drawn = item.to_drawn(values[item.decides], context, size)
            elif drawn is not None:
                drawn = _nearest(drawn, item.distribution(context, size))
            if drawn is not None:
                params[item.name] = drawn
        return params

    def changed(
        self, *dimensions: Dimension, without: Sequence[str] = (), **changes: Any
    ) -> SearchSpace:
        """Return a space like this one.

        Args:
            *dimensions: Take the places of those of their names; others are added at the end.
            without: Names of dimensions that it lacks.
            **changes: Other arguments of the constructor.
        """
        new = {item.name: item for item in dimensions}
        old = [item for item in self.dimensions if item.name not in without]
        merged = [new.pop(item.name, item) for item in old]
        mine = {
            "algorithm": self.algorithm,
            "min_rollout": self.min_rollout,
            "finish": self.finish,
            "supports_her": self.supports_her,
            "first_points": self.first_points,
        }
        return SearchSpace(*merged, *new.values(), **{**mine, **changes})


def _one_or_more(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _nearest(drawn: Any, asked: BaseDistribution) -> Any:
    """Return a default, or the end of a narrower range that is next to it."""
    choices = getattr(asked, "choices", None)
    if choices is not None:
        return drawn if drawn in choices else None
    return min(max(drawn, asked.low), asked.high)  # type: ignore[attr-defined]


_GROUPS = ("policy_kwargs", "replay_buffer_kwargs")


def _flat(kwargs: Mapping[str, Any]) -> Values:
    """Write what is in groups with dots, as dimensions name it."""
    values: Values = {}
    for name, value in kwargs.items():
        if name in _GROUPS and isinstance(value, Mapping):
            values |= {f"{name}.{inner}": item for inner, item in value.items()}
        else:
            values[name] = value
    return values


def _nested(values: Values) -> dict[str, Any]:
    """Put dotted names into dicts of their own."""
    kwargs: dict[str, Any] = {}
    for name, value in values.items():
        outer, _, inner = name.partition(".")
        if inner:
            kwargs.setdefault(outer, {})[inner] = value
        elif name in kwargs:
            kwargs[name] = {**value, **kwargs[name]}
        else:
            kwargs[name] = value
    return kwargs
