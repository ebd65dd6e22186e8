"""Python source from descriptions of arguments, and the imports that it needs."""

from __future__ import annotations

import json
import math
import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sb3_hpo.utils.notebook_objects import FOLDER, NOTEBOOK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def expression(value: Any, name_of: Callable[[str], str]) -> str:
    """Write a value as a Python expression, on one line.

    Args:
        value: A description (`serialize_kwargs`).
        name_of: From a reference in it to an expression for the object.

    >>> expression({"net_arch": [64, 64], "train_freq": {"$tuple": [1, "episode"]}}, str)
    '{"net_arch": [64, 64], "train_freq": (1, "episode")}'
    """

    def join(values: Iterable[Any]) -> str:
        return ", ".join(expression(item, name_of) for item in values)

    match value:
        case {"$import": target}:
            text = name_of(target)
        case {"$call": target, **arguments}:
            words = [f"{key}={_argument(item, name_of)}" for key, item in arguments.items()]
            text = f"{name_of(target)}({', '.join(words)})"
        case {"$tuple": [item]}:
            text = f"({join([item])},)"
        case {"$tuple": items}:
            text = f"({join(items)})"
        case dict():
            pairs = [f"{join([key])}: {join([item])}" for key, item in value.items()]
            text = f"{{{', '.join(pairs)}}}"
        case list():
            text = f"[{join(value)}]"
        case str():
            text = json.dumps(value, ensure_ascii=False)
        case float() if not math.isfinite(value):
            text = f'float("{value}")'
        case _:
            text = repr(value)
    return text


def _argument(value: Any, name_of: Callable[[str], str]) -> str:
    """Write an argument of SB3's noise, which takes arrays where descriptions have lists."""
    text = expression(value, name_of)
    return f"{name_of('numpy:array')}({text})" if isinstance(value, list) else text


def comment(lines: Iterable[str]) -> str:
    """Return lines of text as lines of comment, in Python or YAML, long ones wrapped."""
    return "".join(
        f"{textwrap.fill(line, 88, initial_indent='# ', subsequent_indent='#   ')}\n"
        for line in lines
    )


class Names:
    """What a script imports, collected while it is written.

    Attributes:
        folders: What must be on Python's path to find the user's own modules, in this order.
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        """Begin.

        Args:
            taken: Names that the script uses itself.
        """
        self.folders: dict[str, None] = {}
        self._own: set[str] = set()  # modules that are found in these folders
        self._modules = dict.fromkeys(taken, "")  # name in the script -> where it is from

    def module(self, module: str) -> str:
        """Return the name by which a module can be imported.

        Args:
            module: Its dotted name, or a file ending in .py.
        """
        folder, path = Path.cwd(), Path(module).resolve()
        here = folder / module.split(".", maxsplit=1)[0]
        if module.endswith(".py"):
            folder, module = path.parent, path.stem
        elif not here.is_dir() and not here.with_suffix(".py").is_file():
            return module  # it is installed
        self.folders[str(folder)] = None
        self._own.add(module)
        return module

    def name(self, reference: str) -> str:
        """Import an object.

        Args:
            reference: `module:name`, or `file.py:name`.

        Returns:
            An expression for it.
        """
        module, _, path = reference.rpartition(":")
        if module == NOTEBOOK:
            folder = f'{self.name("pathlib:Path")}(__file__).with_name("{FOLDER}")'
            return f'{self.name("pickle:load")}(({folder} / "{path}.pkl").open("rb"))'
        # torch.nn has the classes of all its modules.
        module = self.module(re.sub(r"^torch\.nn\.modules\..*", "torch.nn", module))
        name = path.partition(".")[0]
        can_be_named = all(map(str.isidentifier, module.split(".")))
        if can_be_named and self._modules.setdefault(name, module) == module:
            return path
        return f'{self.name("importlib:import_module")}("{module}").{path}'

    def imports(self) -> str:
        """Return the import lines, those of the user's own modules last."""
        lines = {
            f"from {module} import {name}": module in self._own
            for name, module in self._modules.items()
            if module
        }
        installed = sorted(line for line, is_own in lines.items() if not is_own)
        folders = [f"sys.path.insert(0, {json.dumps(folder)})" for folder in self.folders]
        own = sorted(line for line, is_own in lines.items() if is_own)
        return "\n".join([*installed, *folders, *own])
