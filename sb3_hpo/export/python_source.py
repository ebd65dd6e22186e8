"""Python source from descriptions: expressions laid out as people do, and their imports."""

from __future__ import annotations

import inspect
import json
import keyword
import math
import re
import sys
import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sb3_hpo.algorithms.kwargs import NORMAL_NOISE, OU_NOISE
from sb3_hpo.utils.import_strings import load_reference

NOISE_DEFAULTS = {"theta": 0.15, "dt": 0.01, "initial_noise": None}  # SB3's
_WIDTH = 84  # all lines may be indented once more and then fit into 88

Namer = Callable[[str], str]  # from a reference to an expression for the object


class Code(str):
    """Python source that stands for itself, where other text would be quoted."""

    __slots__ = ()


@dataclass(frozen=True)
class Call:
    """A call to be written.

    Attributes:
        name: Source of what is called.
        args: Positional arguments: descriptions, `Code` or calls.
        kwargs: Keyword arguments likewise.
    """

    name: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)


def write(value: Any, name_of: Namer, *, indent: int = 0, used: float = 0) -> str:
    """Write a value as Python: on one line where it fits, otherwise one item a line.

    Args:
        value: A description (`serialize_kwargs`), `Code` or `Call`.
        name_of: How to write the objects that a description refers to.
        indent: Of the line that the expression begins in.
        used: Columns of that line that are taken; -inf to keep all on one line.

    >>> write({"net_arch": [64, 64], "train_freq": {"$tuple": [1, "episode"]}}, str)
    'dict(net_arch=[64, 64], train_freq=(1, "episode"))'
    """
    parts = _parts(value, name_of)
    if isinstance(parts, str):
        return parts
    opening, items, closing = parts
    flat = ", ".join(prefix + write(item, name_of, used=-math.inf) for prefix, item in items)
    if used + len(opening + flat + closing) <= _WIDTH:
        return f"{opening}{flat}{closing}"
    inner = indent + 4
    lines = [
        f"{prefix}{write(item, name_of, indent=inner, used=inner + len(prefix) + 1)},\n"
        for prefix, item in items
    ]
    return f"{opening}\n{''.join(' ' * inner + line for line in lines)}{' ' * indent}{closing[-1]}"


_Parts = tuple[str, list[tuple[str, Any]], str]  # opening, (prefix, item) ..., closing


def _parts(value: Any, name_of: Namer) -> str | _Parts:
    """Take a value apart into brackets and what they hold; an atom is source already."""
    if isinstance(value, Code):
        return value
    if isinstance(value, list):
        return "[", [("", item) for item in value], "]"
    if isinstance(value, Call):
        items = [("", item) for item in value.args]
        return f"{value.name}(", items + [(f"{k}=", v) for k, v in value.kwargs.items()], ")"
    if isinstance(value, dict):
        return _parts_of_mapping(value, name_of)
    return _atom(value)


def _parts_of_mapping(value: Mapping[str, Any], name_of: Namer) -> str | _Parts:
    if "$import" in value:
        return name_of(value["$import"])
    if "$tuple" in value:
        items = [("", item) for item in value["$tuple"]]
        return "(", items, ",)" if len(items) == 1 else ")"
    if "$call" in value:
        return _parts(_object(value, name_of), name_of)
    if all(key.isidentifier() and not keyword.iskeyword(key) for key in value):
        return _parts(Call("dict", (), value), name_of)
    return "{", [(f"{_atom(key)}: ", item) for key, item in value.items()], "}"


def _atom(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10_000:
        return f"{value:_}"
    return repr(value)


def _object(description: Mapping[str, Any], name_of: Namer) -> Call:
    """Turn `$call` into a call; SB3's noise takes arrays where descriptions have lists."""
    target = description["$call"]
    arguments = {key: value for key, value in description.items() if key != "$call"}
    if target in (NORMAL_NOISE, OU_NOISE):
        arguments = {
            key: _array(value, name_of) if isinstance(value, list) else value
            for key, value in arguments.items()
            if key not in NOISE_DEFAULTS or value != NOISE_DEFAULTS[key]
        }
    return Call(name_of(target), (), arguments)


def _array(values: list[Any], name_of: Namer) -> Call:
    array = np.asarray(values)
    shape = len(values) if array.ndim == 1 else {"$tuple": list(array.shape)}
    if not array.any():
        return Call(name_of("numpy:zeros"), (shape,))
    if (array == array.flat[0]).all():
        return Call(name_of("numpy:full"), (shape, array.flat[0].item()))
    return Call(name_of("numpy:array"), (values,))


def is_plain(description: Any) -> bool:
    """Tell whether a description holds nothing but numbers, text, lists and mappings."""
    if isinstance(description, dict):
        plain_keys = not any(key.startswith("$") for key in description)
        return plain_keys and all(map(is_plain, description.values()))
    return not isinstance(description, list) or all(map(is_plain, description))


def comment(lines: Iterable[str]) -> str:
    """Return lines of text as lines of comment, in Python or YAML, long ones wrapped."""
    wrap = textwrap.TextWrapper(
        width=88,
        initial_indent="# ",
        subsequent_indent="#   ",
        break_on_hyphens=False,
        break_long_words=False,
    )
    return "".join(f"{wrap.fill(line)}\n" for line in lines)


def find_home(module: str) -> tuple[str | None, str]:
    """Find what must be on Python's path to import a module from somewhere else.

    Args:
        module: Its dotted name, or a file ending in .py.

    Returns:
        The folder, None if the module is installed; and the dotted name.
    """
    if module.endswith(".py"):
        path = Path(module).resolve()
        return str(path.parent), path.stem
    here = Path.cwd() / module.split(".", maxsplit=1)[0]
    if here.is_dir() or here.with_suffix(".py").is_file():
        return str(Path.cwd()), module
    return None, module


def _is_file_without_name(module: str) -> bool:
    """Tell whether a module is a file that no import statement can name."""
    return module.endswith(".py") and not Path(module).stem.isidentifier()


class Imports:
    """The imports of a script, collected while the rest of it is written."""

    def __init__(self, taken: Iterable[str]) -> None:
        """Begin.

        Args:
            taken: Names that the script uses itself.
        """
        self._owners = dict.fromkeys(taken, "")  # name in the script -> reference
        self._modules: dict[str, set[str]] = defaultdict(set)  # group -> import lines
        self._names: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        self._folders: dict[str, None] = {}
        self._files: dict[str, str] = {}  # path -> line that loads it
        self._copies: dict[str, str] = {}  # reference -> name of the copy in the script

    def copy(self, reference: str) -> str:
        """Define a class of the search spaces in the script, which must run without them.

        Args:
            reference: `module:Class`; it may use `math` and `dataclass`.
        """
        self.module("math")
        self.name("dataclasses:dataclass")
        self._copies[reference] = reference.rpartition(":")[2]
        return inspect.getsource(load_reference(reference)).rstrip()

    def name(self, reference: str) -> str:
        """Import an object.

        Args:
            reference: `module:name`, or `file.py:name`.

        Returns:
            What it is called in the script.
        """
        if reference in self._copies:
            return self._copies[reference]
        module, _, path = reference.rpartition(":")
        head, *rest = path.split(".")
        if module == "numpy":
            self._modules["installed"].add("import numpy as np")
            return f"np.{path}"
        if module.startswith("torch.nn.modules."):  # torch.nn has all their classes
            module, head, rest = "torch", "nn", [path]
        if _is_file_without_name(module):
            return ".".join([f"{self._file(Path(module).resolve())}[{_atom(head)}]", *rest])
        group, module = self._home(module)
        local = head
        if self._owners.setdefault(head, f"{module}:{head}") != f"{module}:{head}":
            local = f"{module.replace('.', '_')}_{head}"
        self._names[group][module].add(head if local == head else f"{head} as {local}")
        return ".".join([local, *rest])

    def module(self, module: str, note: str = "") -> None:
        """Import a whole module.

        Args:
            module: Its dotted name or file.
            note: What stands behind the name: `as alias`, or a comment.
        """
        if _is_file_without_name(module):
            self._file(Path(module).resolve())
            return
        group, module = self._home(module)
        self._modules[group].add(f"import {module}{note}")

    def _file(self, path: Path) -> str:
        """Load a file whose name cannot be imported; return the name of its contents."""
        self._modules["standard"].add("import runpy")
        local = re.sub(r"\W", "_", f"_{path.stem}")
        self._files[str(path)] = f"{local} = runpy.run_path({_atom(str(path))})"
        return local

    def _home(self, module: str) -> tuple[str, str]:
        folder, module = find_home(module)
        if folder is not None:
            self._folders[folder] = None
            return "own", module
        return "standard" if module in sys.stdlib_module_names else "installed", module

    def text(self) -> str:
        """Return the import lines, grouped."""
        groups: list[str] = []
        for group in ("standard", "installed", "own"):
            lines = sorted(self._modules[group])
            for module, names in sorted(self._names[group].items()):
                lines.append(f"from {module} import {', '.join(sorted(names))}")
            if group == "own":
                lines[:0] = [f"sys.path.insert(0, {_atom(path)})" for path in self._folders]
            groups.append("\n".join(lines))
        groups.append("\n".join(self._files.values()))
        return "\n\n".join(filter(None, groups))
