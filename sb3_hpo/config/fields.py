"""What an option can be: types that read what people write, and the declaration of a field."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationInfo,
)

from sb3_hpo.algorithms.callbacks import callback_entries
from sb3_hpo.algorithms.kwargs import deserialize_kwargs, serialize_kwargs
from sb3_hpo.algorithms.registry import ALGORITHMS, resolve_alias
from sb3_hpo.algorithms.trust import may_import
from sb3_hpo.scoring.score_rules import score_rule
from sb3_hpo.utils.errors import UserError, unknown_name
from sb3_hpo.utils.formatting import printable, storable
from sb3_hpo.utils.import_strings import reference

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic.fields import FieldInfo

SAMPLERS = ("tpe", "random", "gp", "cmaes", "qmc", "grid")
PRUNERS = ("quantile", "median", "percentile", "halving", "hyperband", "patient", "none")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _duration(value: Any) -> Any:
    if isinstance(value, str) and (match := re.fullmatch(r"([\d.]+)([smhd])", value.strip())):
        return float(match[1]) * _SECONDS[match[2]]
    if isinstance(value, str) and not re.fullmatch(r"[-+]?[\d.]+([eE][-+]?\d+)?", value.strip()):
        raise UserError(f"must be seconds, or 90s, 10m, 2h, 1d, but got {value!r}")
    return value


def _whole(value: Any) -> Any:
    if isinstance(value, str) and re.fullmatch(r"\d+(\.\d*)?[eE]\d+", value):
        return float(value)  # 1e5, as on the command line it is text
    return value


def _own_or(kind: str, names: tuple[str, ...]) -> Callable[[Any], str]:
    """Accept these names, suggesting the nearest, and a class or function of the user's own."""

    def read(value: Any) -> str:
        if not isinstance(value, str) and not callable(value):
            raise UserError(
                f"an object of {type(value).__name__} cannot reach the worker processes: pass its "
                "class, or a function that returns it"
            )
        name = reference(value)
        if ":" not in name and name not in names:
            raise UserError(unknown_name(kind, name, names))
        return name

    return read


def _check_kept(value: Any, path: str = "") -> None:
    """Refuse what JSON, in which studies and workers keep values, turns into something else."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    if isinstance(value, dict):
        for key, part in value.items():
            _check_kept(part, f"{path}.{key}")
    if isinstance(value, str) and storable(value) != value:
        raise UserError(
            f"{path.removeprefix('.')} must be text without lone surrogates and NUL, which "
            f"databases refuse, but got {printable(value)[:40]!r}"
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(
            f"{path.removeprefix('.')} must be finite, but got {value}: studies keep plain JSON, "
            "which has no such number; set it in the environment or in a wrapper"
        )


def _plain(values: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
    return serialize_kwargs(deserialize_kwargs(values)) if may_import(info) else values


def _kwargs(values: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
    plain = _plain(values, info)
    _check_kept(plain)
    return plain


def _check_algo(name: str) -> str:
    name = resolve_alias(name)
    if ":" not in name and name not in ALGORITHMS:
        raise UserError(unknown_name("algorithm", name, ALGORITHMS))
    return name


def _check_score(name: str, info: ValidationInfo) -> str:
    if may_import(info) or ":" not in name:
        score_rule(name)
    return name


PathText = Annotated[
    str, BeforeValidator(lambda value: str(value) if isinstance(value, Path) else value)
]
Steps = Annotated[PositiveInt, BeforeValidator(_whole)]
Seconds = Annotated[PositiveFloat, BeforeValidator(_duration)]
Reference = Annotated[str, BeforeValidator(reference)]
Sampler = Annotated[str, BeforeValidator(_own_or("sampler", SAMPLERS))]
Pruner = Annotated[str, BeforeValidator(_own_or("pruner", PRUNERS))]
Algorithm = Annotated[Reference, AfterValidator(_check_algo)]
Score = Annotated[Reference, AfterValidator(_check_score)]
Kwargs = Annotated[dict[str, Any], AfterValidator(_kwargs)]
Callbacks = Annotated[tuple[dict[str, Kwargs], ...], BeforeValidator(callback_entries)]
Plain = Annotated[dict[str, Any], AfterValidator(_plain)]


def option(group: str, text: str, default: Any = ..., *, changes_value: bool = True) -> Any:
    """Declare a field: its place and text in `--help`, and whether trial values depend on it."""
    if isinstance(default, int | float | str) and not isinstance(default, bool):
        text = f"{text} (default: {default})"
    extra: dict[str, Any] = {"group": group, "changes_value": changes_value}
    return Field(default, description=text, json_schema_extra=extra)


def changes_value(field: FieldInfo) -> bool:
    """Return whether trial values depend on a field that `option` has declared."""
    extra = field.json_schema_extra
    return isinstance(extra, dict) and bool(extra["changes_value"])


def group_of(field: FieldInfo) -> str:
    """Return the part of `--help` that a field belongs to."""
    extra = field.json_schema_extra
    return str(extra["group"]) if isinstance(extra, dict) else ""
