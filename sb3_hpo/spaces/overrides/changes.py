"""What the user wants of a search space, from options or from a file that is based on one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from sb3_hpo.space_syntax.entries import Choices, Constant, Range, make_choices
from sb3_hpo.space_syntax.hydra import parse_entry
from sb3_hpo.spaces.dimensions import find_dimension
from sb3_hpo.utils.errors import UserError

if TYPE_CHECKING:
    from samplers import Dimension
    from sb3_hpo.config.study_config import StudyConfig


@dataclass(frozen=True)
class Fix:
    """Hold a dimension or an argument at a value."""

    name: str
    value: Any
    option: ClassVar = "fixed"


@dataclass(frozen=True)
class SetRange:
    """Search another range: `low`, `high`, `log` and `step`, of which some may be missing."""

    name: str
    value: Any
    option: ClassVar = "range"

    def spec(self) -> Mapping[str, Any]:
        """Return the range as a mapping.

        Raises:
            UserError: It is none.
        """
        value = self.value
        if isinstance(value, str):
            entry = parse_entry(value)
            value = entry.plain() if isinstance(entry, Range) else value
        if isinstance(value, list | tuple) and len(value) == 2:
            value = {"low": value[0], "high": value[1]}
        if not isinstance(value, Mapping) or not value or "choices" in value:
            raise UserError(f"must be [low, high], but got {value!r}")
        return value


@dataclass(frozen=True)
class SetChoices:
    """Try other values."""

    name: str
    value: Any
    option: ClassVar = "choices"

    def values(self) -> list[Any]:
        """Return the choices.

        Raises:
            UserError: There are none.
        """
        entry = parse_entry(self.value) if isinstance(self.value, str) else None
        return (entry if isinstance(entry, Choices) else make_choices(self.value)).values()


@dataclass(frozen=True)
class Drop:
    """Leave an argument to SB3."""

    name: str
    option: ClassVar = "drop"


Change = Fix | SetRange | SetChoices | Drop


def changes_of_options(config: StudyConfig) -> list[Change]:
    """Return what is in `--fixed`, `--range`, `--choices` and `--drop`."""
    return [
        *(Fix(*item) for item in config.fixed.items()),
        *(SetRange(*item) for item in _with_dots(config.range)),
        *(SetChoices(*item) for item in _with_dots(config.choices)),
        *map(Drop, config.drop),
    ]


def _with_dots(values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Write the keys of `policy_kwargs` with a dot."""
    inner = values.get("policy_kwargs", {})
    return [
        *((name, value) for name, value in values.items() if name != "policy_kwargs"),
        *((f"policy_kwargs.{name}", value) for name, value in inner.items()),
    ]


def changes_of_file(names: Mapping[str, Any], dimensions: Mapping[str, Dimension]) -> list[Change]:
    """Return what is in a file that is based on a shipped space.

    Args:
        names: Plain entries by name; a dimension that is not among them is dropped.
        dimensions: Of the shipped space.
    """
    changes: list[Change] = []
    for name, value in names.items():
        entry = parse_entry(value)
        if isinstance(entry, Constant):
            changes.append(Fix(name, entry.value))
        elif isinstance(entry, Range):
            changes.append(SetRange(name, {"log": False, "step": None, **entry.plain()}))
        else:
            changes.append(SetChoices(name, entry.values()))
    known = [find_dimension(name, dimensions) for name in names]
    return [*changes, *(Drop(name) for name, item in dimensions.items() if item not in known)]
