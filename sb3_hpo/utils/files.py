"""Text files as people write them (YAML) and as programs must write them (whole or not at all)."""

from __future__ import annotations

import os
import re
import shutil
import time
import uuid
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import yaml

from sb3_hpo.utils.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MOST_VALUES, _MOST_LEVELS = 100_000, 50  # of a file; RL Zoo's largest has 400 and 3
_STALE_S = 60.0  # age of a temporary file whose writer was killed


class _Loader(yaml.SafeLoader):
    """YAML 1.1, except that `1e-3` is a number, as everybody who writes it means."""


class _Dumper(yaml.SafeDumper):
    """Puts text that `_Loader` would take for a number in quotes."""


for _class in (_Loader, _Dumper):
    _class.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?(?:\d+(?:\.\d*)?|\.\d+)[eE][-+]?\d+$"),
        list("-+.0123456789"),
    )


def parse_yaml(text: str) -> Any:
    """Parse YAML text into plain values.

    Args:
        text: YAML.

    Returns:
        Dicts, lists, strings, numbers, booleans, None.

    Raises:
        yaml.YAMLError: The text is not YAML, or stands for more than any file of people.

    >>> parse_yaml("learning_rate: 1e-3")
    {'learning_rate': 0.001}
    """
    try:
        values = yaml.load(text, Loader=_Loader)
    except RecursionError as error:
        raise yaml.YAMLError("its values are nested too deeply") from error
    except ValueError as error:  # of what looks like a date or a number and is none
        raise yaml.YAMLError(str(error)) from error
    _check_size(values)
    return values


def _check_size(values: Any) -> None:
    """Refuse values that are few in the text, but by its aliases endless or too many."""
    n, left = 0, [(values, 0)]
    while left:
        value, level = left.pop()
        n += 1
        if level > _MOST_LEVELS:
            raise yaml.YAMLError("its values are nested too deeply, or an alias holds itself")
        if n > _MOST_VALUES:
            raise yaml.YAMLError(f"it stands for more than {_MOST_VALUES:,} values")
        if isinstance(value, dict):
            left += [(item, level + 1) for item in value.values()]
        elif isinstance(value, list | tuple | set):
            left += [(item, level + 1) for item in value]


def read_yaml_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds one mapping.

    Returns:
        The mapping, empty for an empty file.

    Raises:
        UserError: The file is missing, is not YAML, or holds something else.
    """
    try:
        values = parse_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError(
            f"{path} must hold `key: value` lines, but holds a {type(values).__name__}"
        )
    return values


def format_yaml(values: Any) -> str:
    """Format plain values as YAML, in the order given.

    Args:
        values: Dicts, lists, strings, numbers, booleans, None.

    Returns:
        YAML text that ends with a newline.

    >>> print(format_yaml({"gamma": 0.9, "net_arch": [64, 64]}), end="")
    gamma: 0.9
    net_arch: [64, 64]
    """
    text: str = yaml.dump(
        values, Dumper=_Dumper, sort_keys=False, default_flow_style=None, allow_unicode=True
    )
    return text


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that a reader sees the old content or the new, never half of it.

    Args:
        path: The file; its folder must exist.
        text: The new content.
    """
    with _replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def copy_atomically(source: Path, path: Path) -> None:
    """Copy a file so that a reader sees the old content or the new, never half of it.

    Args:
        source: The file to copy.
        path: The copy; its folder must exist.
    """
    with _replacing(path) as temporary:
        shutil.copyfile(source, temporary)


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Yield a file beside another, which it becomes when the block ends without an error."""
    for left in path.parent.glob(f".{path.name}.*.tmp"):
        with suppress(FileNotFoundError):  # another process is as quick
            if time.time() - left.stat().st_mtime > _STALE_S:
                left.unlink()
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
