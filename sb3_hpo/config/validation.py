"""Plain values made a configuration, all mistakes in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from sb3_hpo.utils.errors import UserError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Model = TypeVar("Model", bound=BaseModel)


def validate(kind: type[Model], values: Mapping[str, Any], *, imports: bool = True) -> Model:
    """Validate plain values (or Python classes and functions, where a name can stand).

    Args:
        kind: What they are to become.
        values: Field names and values.
        imports: Whether what they name is imported, to be checked; not where a study or a file
            is only read, which may be a stranger's.

    Raises:
        UserError: All mistakes in one line.
    """
    try:
        return kind.model_validate(values, context={"imports": imports})
    except ValidationError as error:
        raise UserError(say_mistakes(error, {"": kind.model_fields})) from error


def say_mistakes(error: ValidationError, keys: Mapping[str, Iterable[str]]) -> str:
    """Turn pydantic's findings into `key: what is wrong`, on one line.

    Args:
        error: What it found.
        keys: The keys that there are, by the key above them; `""` for the top.
    """
    return "; ".join(_sentence(item, keys) for item in error.errors())


def _sentence(error: Any, keys: Mapping[str, Iterable[str]]) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        *parents, last = map(str, error["loc"])  # which may have a dot in it
        return ": ".join([*parents, unknown_name("key", last, keys[".".join(parents)])])
    message = "missing" if error["type"] == "missing" else error["msg"]
    message = message.removeprefix("Value error, ")
    if not key:
        return message
    given = "" if error["type"] in ("value_error", "missing") else f", but got {error['input']!r}"
    return f"{key}: {message}{given}"
