"""The user's SB3 callbacks in plain values: a class, or `{class: arguments}` as in RL Zoo."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from sb3_hpo.utils.errors import UserError
from sb3_hpo.utils.files import parse_yaml
from sb3_hpo.utils.import_strings import reference

_FORM = "package.module:Class, file.py:Class, or one of them above its arguments"


def callback_entries(value: Any) -> list[dict[str, Any]]:
    """Return callbacks in one form, each as a reference above its arguments.

    Args:
        value: A class, a function that returns a callback, or a reference; or a mapping of one
            of them to its arguments, also as YAML text; or a list of all these.

    Raises:
        UserError: It is something else.

    >>> callback_entries(["my.py:Log", "my.py:Save: {every: 100}"])
    [{'my.py:Log': {}}, {'my.py:Save': {'every': 100}}]
    """
    items = value if isinstance(value, list | tuple) else [value]
    return [_entry(item) for item in items]


def _entry(item: Any) -> dict[str, Any]:
    if isinstance(item, str) and ": " in item:
        try:
            item = parse_yaml(item)
        except yaml.YAMLError as error:
            text = " ".join(str(error).split())
            raise UserError(f"must be {_FORM}, but {item!r} is not YAML: {text}") from error
    pairs = list(item.items()) if isinstance(item, Mapping) else [(item, None)]
    if len(pairs) != 1:
        raise UserError(f"must be {_FORM}; several are a list, but got {item!r}")
    target, arguments = pairs[0]
    if not isinstance(target, str) and not callable(target):
        raise UserError(
            f"an object of {type(target).__name__} cannot be made anew for each run: pass its "
            "class, {class: arguments}, or a function that returns one"
        )
    name = reference(target)
    if ":" not in name:
        raise UserError(f"must be {_FORM}, but got {name!r}; RL Zoo's a.b.Class is a.b:Class here")
    return {name: {} if arguments is None else arguments}
