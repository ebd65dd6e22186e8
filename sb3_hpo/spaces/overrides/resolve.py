"""Changes in the dimensions of a search space, checked."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from samplers import OneMinus
from sb3_hpo.algorithms.constructor import (
    check_limits,
    constructor_defaults,
    parse_kwarg,
    policy_arguments,
)
from sb3_hpo.space_syntax.entries import read_mapping, storable
from sb3_hpo.spaces.dimensions import (
    bears,
    check_budget,
    deciding,
    find_dimension,
    short_name,
    stands_for,
    to_drawn,
)
from sb3_hpo.spaces.overrides.changes import Drop, Fix, SetChoices, SetRange
from sb3_hpo.spaces.overrides.trial_proxy import ResolvedOverrides, UserChoice
from sb3_hpo.utils.errors import UserError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from samplers import Dimension
    from sb3_hpo.config.study_config import StudyConfig
    from sb3_hpo.spaces.overrides.changes import Change


@dataclass(frozen=True)
class OverriddenSpace:
    """The space that changes are about.

    Attributes:
        config: The study's configuration.
        dimensions: Of the space, by name.
        ranges: What may be drawn of each.
        all_names: Dimensions of the space in its largest size.
    """

    config: StudyConfig
    dimensions: Mapping[str, Dimension]
    ranges: Mapping[str, BaseDistribution]
    all_names: Mapping[str, Dimension]

    def any_value(self, name: str) -> Any:
        """Return what stands for SB3's default, or anything that may be drawn."""
        asked, default = self.ranges[name], self.dimensions[name].default
        if default is not None:
            return default
        if isinstance(asked, CategoricalDistribution):
            return asked.choices[0]
        return asked.low  # type: ignore[attr-defined]

    def silence(self, names: Iterable[str]) -> dict[str, Any]:
        """Return values for dimensions whose argument has another value anyway."""
        return {name: self.any_value(name) for name in names if name in self.dimensions}

    def argument_path(self, name: str) -> str | None:
        """Return the dotted name of an argument of the constructor or of the policy."""
        if name in constructor_defaults(self.config.algo):
            return name
        keys = policy_arguments(self.config.algo, self.config.policy)
        return f"policy_kwargs.{name}" if keys is None or name in keys else None

    def path_of(self, item: Dimension) -> str | None:
        """Return the argument that a dimension decides alone and in the argument's own words."""
        return None if item.together else self.argument_path(short_name(item.decides))


def resolve_overrides(
    changes: Iterable[Change], space: OverriddenSpace, place: str = ""
) -> ResolvedOverrides:
    """Find what changes mean for a space.

    Args:
        changes: As the user has written them.
        place: Where, for messages; "" for the options of these names.

    Raises:
        UserError: All unknown names and impossible values in one line.
    """
    # What is in policy_kwargs wins: sampling it had no effect.
    decided = (
        find_dimension(f"policy_kwargs.{name}", space.dimensions)
        for name in space.config.policy_kwargs
    )
    idle = space.silence(item.name for item in decided if item is not None)
    done, mistakes = ResolvedOverrides(idle=idle), []
    for change in changes:
        try:
            part = _resolve(change, space)
            _check_free(part, done, idle)
            done |= part
        except UserError as error:
            mistakes.append(f"{place or change.option}.{change.name}: {error}")
    if mistakes:
        raise UserError("; ".join(mistakes))
    done |= _leave_room_for_updates(done, space, place or Fix.option)
    # What is fixed does not fall over a run, unless that is asked for.
    schedules = {f"{name}_schedule" for name in done.held} - done.changed.keys()
    return done | ResolvedOverrides(idle=space.silence(schedules))


def _check_free(part: ResolvedOverrides, done: ResolvedOverrides, idle: Mapping[str, Any]) -> None:
    """Refuse a second change of the same dimension, perhaps by another name."""
    changed = part.held.keys() | part.changed.keys()
    if changed & (done.held.keys() | done.changed.keys()):
        raise UserError("is changed twice: keep one of the changes")
    if changed & idle.keys():
        raise UserError("has a value in policy_kwargs already, which wins: keep one of them")


def _resolve(change: Change, space: OverriddenSpace) -> ResolvedOverrides:
    item = find_dimension(change.name, space.dimensions)
    if isinstance(change, Fix):
        return _fix_argument(change, space) if item is None else _fix(change, item, space)
    if isinstance(change, Drop):
        return _drop_argument(change, space) if item is None else _drop(item, space)
    if item is None:
        raise _unknown(change.name, space)
    if isinstance(change, SetRange):
        return ResolvedOverrides(changed={item.name: _new_range(change, item, space)})
    return _set_choices(change, item, space)


def _fix(change: Fix, item: Dimension, space: OverriddenSpace) -> ResolvedOverrides:
    asked = space.ranges[item.name]
    drawn = to_drawn(change.name, change.value, item, asked)
    check_budget(item.decides, stands_for(item, drawn), space.config)
    is_choice = isinstance(asked, CategoricalDistribution)
    exact = {} if is_choice else {change.name: change.value}
    return ResolvedOverrides(held={item.name: drawn}, exact=exact)


def _fix_argument(change: Fix, space: OverriddenSpace) -> ResolvedOverrides:
    name, arguments = change.name, constructor_defaults(space.config.algo)
    if name.partition(".")[0] == "policy_kwargs":
        raise UserError("use --policy-kwargs, which merges with the sampled ones")
    if name not in arguments:
        raise UserError(unknown_name("parameter", name, {*arguments, *space.dimensions}))
    check_limits(name, change.value)
    check_budget(name, change.value, space.config)
    value = {name: parse_kwarg(name, change.value)}
    idle = space.silence(deciding(name, space.dimensions))
    return ResolvedOverrides(kwargs=value, exact=value, idle=idle)


def _new_range(change: SetRange, item: Dimension, space: OverriddenSpace) -> BaseDistribution:
    """Replace the ends of a dimension's range."""
    old = space.ranges[item.name]
    if not isinstance(old, FloatDistribution | IntDistribution):
        raise UserError(f"is one of {list(_choices_of(old))}: use choices instead")
    spec = change.spec()
    ends = {
        end: _end(change.name, spec[end], item, space) for end in ("low", "high") if end in spec
    }
    if isinstance(item, OneMinus) and not bears(item, change.name):  # gamma's low is its high
        ends = {{"low": "high", "high": "low"}[end]: value for end, value in ends.items()}
    rest = {key: value for key, value in spec.items() if key not in ("low", "high")}
    kind = "int" if isinstance(old, IntDistribution) else "float"
    same = {"low": old.low, "high": old.high, "log": old.log, "step": old.step}
    try:
        new = read_mapping({**same, **rest, **ends, "type": kind})
    except UserError as error:
        place = "" if item.name == change.name else f"{item.name}: "
        raise UserError(f"{place}{error}") from error
    return new.distribution()


def _end(name: str, value: Any, item: Dimension, space: OverriddenSpace) -> float:
    """Return an end of a range in its dimension's scale."""
    asked = space.ranges[item.name]
    end = to_drawn(name, value, item, asked)
    if isinstance(asked, IntDistribution) and end != int(end):
        powers = [2 ** math.floor(end), 2 ** math.ceil(end)]
        raise UserError(
            f"is searched in powers of two, but got {value!r}; nearest: {powers[0]}, {powers[1]}"
        )
    check_budget(item.decides, stands_for(item, end), space.config)
    return float(end) if isinstance(end, float) else int(end)


def _set_choices(change: SetChoices, item: Dimension, space: OverriddenSpace) -> ResolvedOverrides:
    """Replace what a dimension chooses among."""
    asked = space.ranges[item.name]
    choices: dict[Any, UserChoice] = {}
    for value in change.values():
        if isinstance(asked, CategoricalDistribution):
            key, choices[key] = _choose(item, value, space)
        else:
            key = to_drawn(change.name, value, item, asked)
            check_budget(item.decides, stands_for(item, key), space.config)
            choices[key] = UserChoice(key, exact={change.name: value})
    changed = {item.name: CategoricalDistribution(list(choices))}
    return ResolvedOverrides(changed=changed, choices={item.name: choices})


def _choose(item: Dimension, value: Any, space: OverriddenSpace) -> tuple[Any, UserChoice]:
    """Understand one of the choices of a dimension that had choices."""
    old = _choices_of(space.ranges[item.name])
    if any(value == choice and type(value) is type(choice) for choice in old):
        return value, UserChoice(value)
    name = short_name(item.decides)
    if isinstance(value, int | float) and not isinstance(value, bool) and _has_numbers(old):
        check_limits(name, value)
        return value, UserChoice(value)
    # Anything else replaces what the space makes of one of its own choices.
    path = space.path_of(item)
    is_word = isinstance(value, str) and not name.endswith(("_fn", "_class"))
    if path is None or is_word or isinstance(value, int | float):
        raise UserError(f"must be among {list(old)}, but got {value!r}")
    literal = {path: parse_kwarg(name, value)}
    return storable(value), UserChoice(space.any_value(item.name), literal=literal)


def _drop(item: Dimension, space: OverriddenSpace) -> ResolvedOverrides:
    """Leave what a dimension decides to SB3."""
    path, held = space.path_of(item), {item.name: space.any_value(item.name)}
    if path is None:
        if item.default is None:
            raise UserError("has no default of SB3's: fix it, or drop what it belongs to")
        return ResolvedOverrides(held=held)
    check_budget(short_name(item.decides), _defaults(space).get(path), space.config)
    idle = space.silence([f"{path}_schedule"])
    return replace(_leave(path, space), held=held, idle=idle)


def _drop_argument(change: Drop, space: OverriddenSpace) -> ResolvedOverrides:
    """Leave an argument to SB3 that several dimensions decide."""
    others = deciding(change.name, space.dimensions)
    if not others:
        raise _unknown(change.name, space)
    return replace(_leave(change.name, space), idle=space.silence(others))


def _leave(path: str, space: OverriddenSpace) -> ResolvedOverrides:
    """Leave an argument to SB3, and let the trial note SB3's value."""
    defaults = _defaults(space)
    exact = {path: defaults[path]} if path in defaults else {}
    return ResolvedOverrides(dropped=(path,), exact=exact)


def _defaults(space: OverriddenSpace) -> dict[str, Any]:
    return constructor_defaults(space.config.algo)


def _leave_room_for_updates(
    done: ResolvedOverrides, space: OverriddenSpace, place: str
) -> ResolvedOverrides:
    """With `train_freq` held, leave a rollout room for one gradient step."""
    name, train_freq = "update_to_data_pow", done.held.get("train_freq_pow")
    ratio = done.changed.get(name, space.ranges.get(name))
    if train_freq is None or not isinstance(ratio, IntDistribution):
        return ResolvedOverrides()
    low = math.ceil(-train_freq - math.log2(space.config.n_envs))
    if done.held.get(name, low) < low or ratio.high < low:
        raise UserError(
            f"{place}.{name}: must be at least {low} with this train_freq and n_envs, or a "
            f"rollout has less than one gradient step, but got {done.held.get(name, ratio.high)}"
        )
    return ResolvedOverrides(changed={name: IntDistribution(max(low, ratio.low), ratio.high)})


def _unknown(name: str, space: OverriddenSpace) -> UserError:
    """Say why a name cannot be searched otherwise, and what can be done."""
    if others := deciding(name, space.dimensions):
        return UserError(f"is decided by {' and '.join(others)}: change that, or fix {name}")
    if find_dimension(name, space.all_names):
        return UserError("is not searched in a space of this size: add --space-size full")
    if space.argument_path(short_name(name)) is not None:
        return UserError("is not searched, so it has SB3's default: hold it with --fixed")
    alone = {short_name(i.decides) for i in space.dimensions.values() if not i.together}
    return UserError(unknown_name("parameter", name, {*alone, *space.dimensions}))


def _has_numbers(choices: Collection[Any]) -> bool:
    return all(isinstance(c, int | float) and not isinstance(c, bool) for c in choices)


def _choices_of(asked: BaseDistribution) -> tuple[Any, ...]:
    if not isinstance(asked, CategoricalDistribution):
        raise TypeError(asked)
    return asked.choices
