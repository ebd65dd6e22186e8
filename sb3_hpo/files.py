"""Text files as people write them (YAML) and as programs must write them (whole or not at all)."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import Any

import yaml

from sb3_hpo.errors import UserError


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
        yaml.YAMLError: The text is not YAML.

    >>> parse_yaml("learning_rate: 1e-3")
    {'learning_rate': 0.001}
    """
    return yaml.load(text, Loader=_Loader)


def read_yaml_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds one mapping.

    Args:
        path: The file.

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
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        temporary.chmod(0o644)  # mkstemp makes files that only their owner may read
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
