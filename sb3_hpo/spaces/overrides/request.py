"""What the user wants of a search space, from options or from a file that is based on one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from sb3_hpo.space_syntax.entries import Choices, Constant, Range
from sb3_hpo.space_syntax.hydra import parse_entry
from sb3_hpo.spaces.dimensions import find_dimension
from sb3_hpo.utils.errors import UserError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Collection

    from sb3_hpo.config.study_config import StudyConfig


@dataclass(frozen=True)
class OverrideRequest:
    """The changes of one place, by dimension or by SB3's names.

    Attributes:
        fixed: Values to hold.
        range: New ends, `[low, high]` or a mapping with low, high, log or step.
        choices: New choices.
        drop: What is left to SB3.
        kept: Dimensions that are to be searched as they are.
        place: Where they are written, for messages; "" for the options of these names.
    """

    fixed: Mapping[str, Any] = field(default_factory=dict)
    range: Mapping[str, Any] = field(default_factory=dict)
    choices: Mapping[str, Any] = field(default_factory=dict)
    drop: Collection[str] = ()
    kept: Collection[str] = ()
    place: str = ""


def request_of_options(config: StudyConfig) -> OverrideRequest:
    """Return what is in `--fixed`, `--range`, `--choices` and `--drop`."""
    ranges, choices = _with_dots(config.range), _with_dots(config.choices)
    return OverrideRequest(config.fixed, ranges, choices, config.drop)


def _with_dots(values: Mapping[str, Any]) -> dict[str, Any]:
    """Write the keys of `policy_kwargs` with a dot."""
    flat = {name: value for name, value in values.items() if name != "policy_kwargs"}
    inner = values.get("policy_kwargs", {})
    return flat | {f"policy_kwargs.{name}": value for name, value in inner.items()}


def range_spec(value: Any) -> Mapping[str, Any]:
    """Return a range as a mapping.

    Args:
        value: What stands beside a name in `range`.

    Raises:
        UserError: It is neither two ends nor a mapping of low, high, log and step.
    """
    if isinstance(value, list | tuple) and len(value) == 2:
        return {"low": value[0], "high": value[1]}
    keys = ("high", "log", "low", "step")
    if not isinstance(value, Mapping) or not value:
        raise UserError(f"must be [low, high], but got {value!r}")
    for key in value:
        if key not in keys:
            raise UserError(unknown_name("key", str(key), keys))
    if not isinstance(value.get("log", False), bool):
        raise UserError(f"log: must be true or false, but got {value['log']!r}")
    return value


def request_of_file(
    names: Mapping[str, Any], dimensions: Mapping[str, BaseDistribution]
) -> OverrideRequest:
    """Return what is in a file that is based on a shipped space.

    Args:
        names: Plain entries by name; a dimension that is not among them is dropped.
        dimensions: Of the shipped space.
    """
    request: dict[str, dict[str, Any]] = {"fixed": {}, "range": {}, "choices": {}}
    known, kept = set(), []
    for name, value in names.items():
        entry = parse_entry(value)
        dimension = find_dimension(name, dimensions)
        known.add(dimension)
        if isinstance(entry, Constant):
            request["fixed"][name] = entry.value
        elif dimension is not None and _is_same(entry, dimensions[dimension], name == dimension):
            kept.append(dimension)
        elif isinstance(entry, Range):
            request["range"][name] = {"log": False, "step": None, **entry.plain()}
        else:
            request["choices"][name] = list(entry.by_name.values())
    drop = [name for name in dimensions if name not in known]
    return OverrideRequest(**request, drop=drop, kept=kept, place="space")


def _is_same(entry: Range | Choices, distribution: BaseDistribution, is_own_name: bool) -> bool:
    """Tell whether an entry of a file is what the shipped space has anyway."""
    if not is_own_name:
        return False
    if isinstance(entry, Choices):
        choices = getattr(distribution, "choices", None)
        return choices is not None and list(choices) == list(entry.by_name.values())
    if not isinstance(distribution, FloatDistribution | IntDistribution):
        return False
    step = None if distribution.step == 1 else distribution.step
    ours = (distribution.low, distribution.high, distribution.log, step)
    return ours == (entry.low, entry.high, entry.log, entry.step)
