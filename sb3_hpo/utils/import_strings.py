"""Python objects as text that another process can import: `module:name` or `file.py:name`."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sb3_hpo.utils import notebook_objects
from sb3_hpo.utils.errors import UserError, one_line, unknown_name

if TYPE_CHECKING:
    from types import ModuleType

FILE_PREFIX = "_sb3_hpo_"  # of the modules made from files
ENV_ID = re.compile(r"[\w./-]+-v\d+$")  # Gymnasium's: what stands after a module's colon then


def reference(target: Any) -> str:
    """Return the text by which a worker process can import a class or function.

    Args:
        target: A class or function defined at the top level of a module or script, or the text
            itself.

    Returns:
        `module:name`; `/path/script.py:name` for what the running script or a file defines;
        `notebook:name` for what an interactive session does, which is pickled.

    Raises:
        UserError: The object cannot be imported by another process (a lambda, a local class).

    >>> reference(Path)
    'pathlib:Path'
    """
    if isinstance(target, str):
        return target
    if (loaded := getattr(target, "__dict__", {}).get(notebook_objects.REFERENCE)) is not None:
        return str(loaded)
    module = getattr(target, "__module__", None)
    name = getattr(target, "__qualname__", None)
    if name is not None and notebook_objects.is_interactive(target):
        return notebook_objects.keep(target)
    if isinstance(target, partial):
        raise UserError(
            f"{target!r} cannot be imported by a worker process: define a function at the top "
            "level of a module or script that calls it with these arguments, and pass that"
        )
    if name is None and module is not None:
        raise UserError(
            f"an object of {type(target).__name__} cannot be imported by a worker process: pass "
            "its class (an environment's arguments are env_kwargs), or a function at the top "
            "level of a module or script that makes or calls it"
        )
    if module is None or name is None or "<" in name:
        raise UserError(
            f"{target!r} cannot be imported by a worker process: "
            "define it at the top level of a module or script and pass that"
        )
    if module == "__main__":
        return f"{Path(sys.modules['__main__'].__file__ or '').resolve()}:{name}"
    if module.startswith(FILE_PREFIX):  # a name that only this process knows
        return f"{sys.modules[module].__file__}:{name}"
    return f"{module}:{name}"


def load_reference(text: str) -> Any:
    """Import the object that a reference names.

    Args:
        text: `package.module:name`, `path/to/file.py:name`, where the name may be dotted; or
            what `reference` made of an object of a notebook.

    Raises:
        UserError: The text has no colon, or the module, file or name does not exist.
    """
    module_name, colon, name = text.rpartition(":")
    if not colon or not module_name or not name:
        raise UserError(f"{text!r} must have the form package.module:name or file.py:name")
    if module_name == notebook_objects.NOTEBOOK:
        return notebook_objects.load(name)
    module = import_module(module_name)
    target: Any = module
    for part in name.split("."):
        if not hasattr(target, part):
            public = [known for known in vars(target) if not known.startswith("_")]
            raise UserError(f"{text}: {unknown_name('name', part, public)}")
        target = getattr(target, part)
    return target


def import_module(module_name: str) -> ModuleType:
    """Import a module by dotted name, or a file ending in .py by its path.

    Args:
        module_name: `package.module` or `path/to/file.py`.

    Returns:
        The module.

    Raises:
        UserError: There is no such module or file, or it fails as it is imported.
    """
    try:
        if module_name.endswith(".py"):
            return _import_file(Path(module_name))
        return importlib.import_module(module_name)
    except SystemExit as error:
        raise UserError(
            f"importing {module_name} ended with {one_line(error, site=True)}; put what a script "
            'does under if __name__ == "__main__":'
        ) from error
    except ModuleNotFoundError as error:
        missing = error.name or module_name
        if module_name == missing or module_name.startswith(f"{missing}."):
            raise UserError(
                f"no module named {missing!r}: is it installed, or in the folder where the "
                "command was started?"
            ) from error
        raise UserError(_failed(module_name, error)) from error
    except UserError:
        raise  # of a script that tunes as it is imported
    except Exception as error:
        raise UserError(_failed(module_name, error)) from error


def _failed(module_name: str, error: Exception) -> str:
    return f"importing {module_name} failed: {one_line(error, site=True)}"


def _import_file(path: Path) -> ModuleType:
    path = path.resolve()
    main = sys.modules.get("__main__")
    if main is not None and _is_file_of(main, path):
        return main
    name = f"{FILE_PREFIX}{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    if not path.is_file():
        raise UserError(f"no file {path}")
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before execution: dataclasses and pickles look the module up
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # the script's own neighbours stay importable
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _is_file_of(module: ModuleType, path: Path) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and Path(file).resolve() == path
