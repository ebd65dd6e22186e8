"""Search spaces as tables of declared dimensions.

A dimension says what it is called in a trial, which argument it decides, in which range, from
which size on, and why. What several dimensions decide together is left to the *finish* of a space:
steps that turn the values of the dimensions into arguments, and say what was used in the end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from samplers._dimensions import nearest
from samplers._shared import SpaceContext, is_at_least

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

    from samplers._dimensions import Dimension
    from samplers._shared import Size, TrialLike

Params = Mapping[str, float | int | str]
Values = dict[str, Any]
"""Values by argument, dotted below `policy_kwargs`; some are no arguments before the finish."""


class Finish:
    """A step from the values of dimensions to arguments, and back."""

    def do(self, values: Values, context: SpaceContext, size: Size) -> Mapping[str, Any]:
        """Change values into arguments.

        Returns:
            What is to be noted beside a trial's parameters: what was used.
        """
        raise NotImplementedError

    def undo(self, values: Values, context: SpaceContext) -> None:
        """Change arguments back into the values that give them, as far as there are such."""


NET_ARCH = "policy_kwargs.net_arch"


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
            # A storage can hold lists as notes only; a choice is the name of one.
            if item.is_noted or isinstance(values[item.decides], list):
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
                drawn = nearest(drawn, item.distribution(context, size))
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
        *groups, last = name.split(".")
        inner = kwargs
        for group in groups:
            inner = inner.setdefault(group, {})
        is_group = isinstance(value, dict) and isinstance(inner.get(last), dict)
        inner[last] = {**value, **inner[last]} if is_group else value
    return kwargs
