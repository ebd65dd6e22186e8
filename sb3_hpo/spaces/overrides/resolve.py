"""Requested overrides in the dimensions of a search space, checked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from sb3_hpo.algorithms.constructor import (
    check_limits,
    constructor_defaults,
    parse_kwarg,
    policy_arguments,
)
from sb3_hpo.space_syntax.entries import Range, make_choices, storable
from sb3_hpo.spaces.dimensions import (
    check_budget,
    deciding,
    find_dimension,
    is_shared,
    short_name,
    to_dimension,
)
from sb3_hpo.spaces.overrides.request import range_spec
from sb3_hpo.spaces.overrides.trial_proxy import ResolvedOverrides, UserChoice
from sb3_hpo.utils.errors import UserError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sb3_hpo.config.study_config import StudyConfig
    from sb3_hpo.spaces.overrides.request import OverrideRequest


@dataclass(frozen=True)
class OverrideContext:
    """The space that the request is about.

    Attributes:
        config: The study's configuration.
        dimensions: Of the space, by name.
        defaults: The point that stands for SB3's defaults, as far as there is one.
        all_names: Dimensions of the space in its largest size.
    """

    config: StudyConfig
    dimensions: Mapping[str, BaseDistribution]
    defaults: Mapping[str, Any]
    all_names: Collection[str] = ()


def resolve_overrides(request: OverrideRequest, context: OverrideContext) -> ResolvedOverrides:
    """Find what each override means for a space.

    Args:
        request: The overrides, as the user has written them.
        context: The space.

    Raises:
        UserError: All unknown names and impossible values in one line.
    """
    resolver = _OverrideResolver(context)
    mistakes = []
    kinds = {
        "fixed": (request.fixed, resolver.fix),
        "range": (request.range, resolver.set_range),
        "choices": (request.choices, resolver.set_choices),
        "drop": (dict.fromkeys(request.drop), resolver.drop),
    }
    for kind, (items, take) in kinds.items():
        for name, value in items.items():
            try:
                take(name, value)
            except UserError as error:
                mistakes.append(f"{request.place or kind}.{name}: {error}")
    if mistakes:
        raise UserError("; ".join(mistakes))
    resolver.bound_updates(f"{request.place or 'fixed'}.")
    resolver.end_schedules(request.kept)
    return resolver.overrides()


class _OverrideResolver:
    """Takes overrides one by one."""

    def __init__(self, context: OverrideContext) -> None:
        self._config, self._dimensions = context.config, context.dimensions
        self._context = context
        self._arguments = constructor_defaults(context.config.algo)
        self._held: dict[str, Any] = {}
        self._idle: dict[str, Any] = {}
        self._changed: dict[str, BaseDistribution] = {}
        self._choices: dict[str, dict[Any, UserChoice]] = {}
        self._kwargs: dict[str, Any] = {}
        self._dropped: list[str] = []
        self._exact: dict[str, Any] = {}
        for name in context.config.policy_kwargs:  # the user's wins: sampling it had no effect
            dimension = find_dimension(f"policy_kwargs.{name}", self._dimensions)
            if dimension is not None:
                self._idle[dimension] = self._any_value(dimension)

    def overrides(self) -> ResolvedOverrides:
        """Return what they come to."""
        held = {**self._idle, **self._held}
        changed = {name: item for name, item in self._changed.items() if name not in held}
        return ResolvedOverrides(
            held,
            changed,
            self._choices,
            self._kwargs,
            tuple(self._dropped),
            self._exact,
        )

    def fix(self, name: str, value: Any) -> None:
        """Hold a dimension or an argument at a value."""
        dimension = to_dimension(name, value, self._dimensions)
        if dimension is None:
            self._check_argument(name)
            check_limits(name, value)
            check_budget(name, value, self._config)
            self._kwargs[name] = self._exact[name] = parse_kwarg(name, value)
            self._silence(deciding(name, self._dimensions))
            return
        self._check_free(dimension[0])
        check_budget(*dimension, self._config)
        self._held.update([dimension])
        if not isinstance(self._dimensions[dimension[0]], CategoricalDistribution):
            self._exact[name] = value

    def set_range(self, name: str, value: Any) -> None:
        """Replace the ends of a dimension's range."""
        dimension = self._searched(name)
        old = self._dimensions[dimension]
        if not isinstance(old, FloatDistribution | IntDistribution):
            raise UserError(f"is one of {list(_choices_of(old))}: use choices instead")
        spec = range_spec(value)
        ends = {}
        for end in ("low", "high"):
            if end in spec:
                ends[end] = self._end(name, spec[end])
        if dimension.startswith("one_minus_") and name != dimension:  # gamma's low is its high
            ends = {{"low": "high", "high": "low"}[end]: item for end, item in ends.items()}
        step = spec.get("step", None if old.step == 1 else old.step)
        new = {"low": old.low, "high": old.high, **ends}
        try:
            range_ = Range(new["low"], new["high"], spec.get("log", old.log), step)
        except UserError as error:
            place = "" if dimension == name else f"{dimension}: "
            raise UserError(f"{place}{error}") from error
        self._changed[dimension] = _distribution(range_, old)

    def _end(self, name: str, value: Any) -> float:
        """Return an end of a range in its dimension's scale."""
        found = to_dimension(name, value, self._dimensions)
        if found is None:
            raise KeyError(name)
        dimension, end = found
        if isinstance(self._dimensions[dimension], IntDistribution) and end != int(end):
            powers = [2 ** math.floor(end), 2 ** math.ceil(end)]
            raise UserError(
                f"is searched in powers of two, but got {value!r}; nearest: {powers[0]}, "
                f"{powers[1]}"
            )
        check_budget(dimension, end, self._config)
        return float(end) if isinstance(end, float) else int(end)

    def set_choices(self, name: str, values: Any) -> None:
        """Replace what a dimension chooses among."""
        dimension = self._searched(name)
        old = self._dimensions[dimension]
        values = make_choices(values).by_name.values()
        choices: dict[Any, UserChoice] = {}
        for value in values:
            if isinstance(old, CategoricalDistribution):
                key, choice = self._choose(dimension, value)
            else:
                found = to_dimension(name, value, self._dimensions)
                key = value if found is None else found[1]
                check_budget(dimension, key, self._config)
                choice = UserChoice(key, exact={name: value})
            choices[key] = choice
        self._changed[dimension] = CategoricalDistribution(list(choices))
        self._choices[dimension] = choices

    def _choose(self, dimension: str, value: Any) -> tuple[Any, UserChoice]:
        """Understand one of the choices of a dimension that had choices."""
        old = _choices_of(self._dimensions[dimension])
        if any(value == item and type(value) is type(item) for item in old):
            return value, UserChoice(value)
        true = short_name(dimension)
        if isinstance(value, int | float) and not isinstance(value, bool) and _has_numbers(old):
            check_limits(true, value)
            return value, UserChoice(value)
        # Anything else replaces what the space makes of one of its own choices.
        path = None if is_shared(dimension) else self._argument_path(true)
        is_word = isinstance(value, str) and not true.endswith(("_fn", "_class"))
        if path is None or is_word or isinstance(value, int | float):
            raise UserError(f"must be among {list(old)}, but got {value!r}")
        literal = {path: parse_kwarg(true, value)}
        return storable(value), UserChoice(self._any_value(dimension), literal=literal)

    def drop(self, name: str, _: Any = None) -> None:
        """Leave an argument to SB3."""
        dimension = find_dimension(name, self._dimensions)
        if dimension is None:
            others = deciding(name, self._dimensions)
            if not others:
                raise self._unknown(name)
            self._silence(others)
            self._leave(name)
            return
        self._check_free(dimension)
        path = None if is_shared(dimension) else self._argument_path(short_name(dimension))
        if path is None and dimension not in self._context.defaults:
            raise UserError("has no default of SB3's: fix it, or drop what it belongs to")
        if path is not None:
            default = self._arguments.get(path)
            check_budget(short_name(dimension), default, self._config)
            self._leave(path)
            self._silence(deciding(path, [f"{path}_schedule"]))
        self._held[dimension] = self._any_value(dimension)

    def _leave(self, path: str) -> None:
        """Leave an argument to SB3, and let the trial note SB3's value."""
        self._dropped.append(path)
        if path in self._arguments:
            self._exact[path] = self._arguments[path]

    def bound_updates(self, place: str) -> None:
        """With `train_freq` held, leave a rollout room for one gradient step."""
        name = "update_to_data_pow"
        ratio = self._changed.get(name, self._dimensions.get(name))
        if "train_freq_pow" not in self._held or not isinstance(ratio, IntDistribution):
            return
        low = math.ceil(-self._held["train_freq_pow"] - math.log2(self._config.n_envs))
        if self._held.get(name, low) < low or ratio.high < low:
            raise UserError(
                f"{place}{name}: must be at least {low} with this train_freq and n_envs, or a "
                f"rollout has less than one gradient step, but got "
                f"{self._held.get(name, ratio.high)}"
            )
        self._changed[name] = IntDistribution(max(low, ratio.low), ratio.high)

    def end_schedules(self, kept: Collection[str]) -> None:
        """Let what is fixed not fall over a run, unless that is asked for.

        Args:
            kept: Dimensions that are to be searched as they are.
        """
        schedules = {f"{name}_schedule" for name in self._held}
        self._silence(schedules - self._changed.keys() - set(kept))

    def _searched(self, name: str) -> str:
        """Return the dimension of a name, which must be one and free."""
        dimension = find_dimension(name, self._dimensions)
        if dimension is None:
            raise self._unknown(name)
        self._check_free(dimension)
        return dimension

    def _check_free(self, dimension: str) -> None:
        """Refuse a second change of the same dimension, perhaps by another name."""
        if dimension in self._held or dimension in self._changed:
            raise UserError("is changed twice: keep one of the changes")
        if dimension in self._idle and short_name(dimension) in self._config.policy_kwargs:
            raise UserError("has a value in policy_kwargs already, which wins: keep one of them")

    def _silence(self, dimensions: Collection[str]) -> None:
        """Hold dimensions whose argument has another value anyway."""
        known = [name for name in dimensions if name in self._dimensions]
        self._idle.update({name: self._any_value(name) for name in known})

    def _any_value(self, dimension: str) -> Any:
        if dimension in self._context.defaults:
            return self._context.defaults[dimension]
        distribution = self._dimensions[dimension]
        if isinstance(distribution, CategoricalDistribution):
            return distribution.choices[0]
        return distribution.low  # type: ignore[attr-defined]

    def _argument_path(self, name: str) -> str | None:
        """Return the dotted name of an argument of the constructor or of the policy."""
        if name in self._arguments:
            return name
        keys = policy_arguments(self._config.algo, self._config.policy)
        return f"policy_kwargs.{name}" if keys is None or name in keys else None

    def _check_argument(self, name: str) -> None:
        if name.partition(".")[0] == "policy_kwargs":
            raise UserError("use --policy-kwargs, which merges with the sampled ones")
        if name not in self._arguments:
            raise UserError(unknown_name("parameter", name, {*self._arguments, *self._dimensions}))

    def _unknown(self, name: str) -> UserError:
        """Say why a name cannot be searched otherwise, and what can be done."""
        if others := deciding(name, self._dimensions):
            return UserError(f"is decided by {' and '.join(others)}: change that, or fix {name}")
        if self._config.space is None and find_dimension(name, self._context.all_names):
            return UserError("is not searched in a space of this size: add --space-size full")
        if self._argument_path(name.removeprefix("policy_kwargs.")) is not None:
            return UserError("is not searched, so it has SB3's default: hold it with --fixed")
        held = {short_name(key) for key in self._dimensions if not is_shared(key)}
        return UserError(unknown_name("parameter", name, {*held, *self._dimensions}))


def _has_numbers(choices: Collection[Any]) -> bool:
    return all(isinstance(c, int | float) and not isinstance(c, bool) for c in choices)


def _choices_of(distribution: BaseDistribution) -> tuple[Any, ...]:
    if not isinstance(distribution, CategoricalDistribution):
        raise TypeError(distribution)
    return distribution.choices


def _distribution(item: Range, old: FloatDistribution | IntDistribution) -> BaseDistribution:
    if isinstance(old, FloatDistribution):
        return FloatDistribution(item.low, item.high, log=item.log, step=item.step)
    step = 1 if item.step is None else int(item.step)
    return IntDistribution(int(item.low), int(item.high), log=item.log, step=step)
