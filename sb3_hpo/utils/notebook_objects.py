"""Classes and functions of an interactive session, which no other process can import.

They are pickled by value, and named by what they are made of: a cell that is run again without a
change is the same object, so that the same study goes on.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import tempfile
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

from sb3_hpo.utils.errors import UserError, one_line
from sb3_hpo.utils.files import copy_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator

NOTEBOOK = "notebook"  # stands where a module's name does
FOLDER = "objects"  # in a study's
REFERENCE = "__sb3_hpo_reference__"  # attribute of objects that were loaded
_SEARCHED = "SB3_HPO_OBJECTS"  # environment variable: folders, of this process and its children


def is_interactive(target: Any) -> bool:
    """Return whether an object was defined where no other process can import it from."""
    main = sys.modules["__main__"]
    return getattr(target, "__module__", None) == "__main__" and not hasattr(main, "__file__")


def keep(target: Any) -> str:
    """Pickle an object for other processes.

    Returns:
        Its reference, `notebook:Name-1a2b3c4d`.
    """
    import cloudpickle

    parts = "\n".join(_parts(target, set()))
    digest = hashlib.sha256(parts.encode()).hexdigest()[:8]
    name = f"{target.__qualname__.rpartition('.')[2].strip('<>')}-{digest}"
    path = _own_folder() / f"{name}.pkl"
    path.write_bytes(cloudpickle.dumps(target))
    return f"{NOTEBOOK}:{name}"


def keep_in(folder: Path, values: Any) -> None:
    """Copy the objects that plain values name into a study's folder, where others find them.

    Args:
        folder: The study's.
        values: Its configuration.
    """
    names = re.findall(rf"\b{NOTEBOOK}:([\w-]+)", json.dumps(values))
    for name in names:
        (folder / FOLDER).mkdir(exist_ok=True)
        copy_atomically(find(name), folder / FOLDER / f"{name}.pkl")
    search_in(folder / FOLDER)


@cache
def _own_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="sb3_hpo-objects-"))
    search_in(folder)
    return folder


def search_in(folder: Path) -> None:
    """Let this process and its children look for objects in a folder, too."""
    folders = dict.fromkeys([*_folders(), folder.resolve()])
    os.environ[_SEARCHED] = os.pathsep.join(map(str, folders))


def _folders() -> list[Path]:
    return [Path(item) for item in os.environ.get(_SEARCHED, "").split(os.pathsep) if item]


def find(name: str) -> Path:
    """Return the file of an object.

    Args:
        name: What follows `notebook:`.

    Raises:
        UserError: It is in none of the folders.
    """
    for folder in _folders():
        if (folder / f"{name}.pkl").is_file():
            return folder / f"{name}.pkl"
    where = ", ".join(map(str, _folders())) or "no folder"
    raise UserError(
        f"{NOTEBOOK}:{name} was defined in a notebook and is not in {where}: run its cell first, "
        f"or copy {FOLDER} of the study's folder there"
    )


@cache
def load(name: str) -> Any:
    """Return an object that was kept, by this process or another.

    Raises:
        UserError: It is not there, or what it was made with is not.
    """
    import pickle

    path = find(name)
    try:
        kept = pickle.loads(path.read_bytes())
    except Exception as error:
        raise UserError(f"{path} cannot be loaded: {one_line(error, site=True)}") from error
    setattr(kept, REFERENCE, f"{NOTEBOOK}:{name}")
    return kept


def _parts(target: Any, seen: set[int]) -> Iterator[str]:
    """Yield what an object is made of, with all of the session that it uses; no line numbers."""
    if id(target) in seen:
        return
    seen.add(id(target))
    if isinstance(target, FunctionType):
        yield from _code(target.__code__)
        yield repr(target.__defaults__)
        names = sorted(set(target.__code__.co_names) & target.__globals__.keys())
        used = [target.__globals__[name] for name in names]
        used += [cell.cell_contents for cell in target.__closure__ or ()]
        for item in used:
            yield from _parts(item, seen)
    elif isinstance(target, type) and target.__module__ == "__main__":
        yield f"{target.__qualname__}{[base.__qualname__ for base in target.__bases__]}"
        for name, item in sorted(vars(target).items()):
            if name not in ("__dict__", "__weakref__", "__doc__", "__firstlineno__"):
                yield name
                yield from _parts(getattr(item, "__func__", item), seen)
        for base in target.__bases__:
            yield from _parts(base, seen)
    elif isinstance(target, bool | int | float | str | bytes | tuple | list | dict | type(None)):
        yield repr(target)
    else:
        yield f"{type(target).__qualname__} {getattr(target, '__qualname__', '')}"


def _code(code: CodeType) -> Iterator[str]:
    yield f"{code.co_code.hex()} {code.co_names} {code.co_varnames}"
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _code(constant)
        else:
            yield repr(constant)
