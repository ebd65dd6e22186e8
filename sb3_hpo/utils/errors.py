"""Mistakes of the user, and the words for them."""

from __future__ import annotations

import difflib
import importlib.util
import sysconfig
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


_PACKAGE = Path(__file__).parents[1]
_NOT_THE_USERS = (  # folders of code in which no user looks for a mistake of theirs
    f"{_PACKAGE}/",
    *(f"{sysconfig.get_path(name)}/" for name in ("stdlib", "purelib", "platlib")),
    "<",  # of generated code
)


class UserError(ValueError):
    """A mistake that the user can correct: the command prints its message and exits with 2."""


class StorageError(UserError):
    """A storage is away, damaged, or has lost something: no fault of what was being done."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Say that a name is unknown, which one was probably meant, and which there are.

    Args:
        kind: What the name should have named, for instance "algorithm".
        name: The name as the user wrote it.
        known: All names that would have been right.

    Returns:
        One line without a final full stop.

    >>> unknown_name("algorithm", "ppoo", ["a2c", "ppo"])
    "unknown algorithm 'ppoo'; did you mean 'ppo'? Known: a2c, ppo"
    """
    names = sorted(known)
    by_lower = {item.lower(): item for item in names}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.5)
    hint = f"did you mean {by_lower[close[0]]!r}? " if close else ""
    return f"unknown {kind} {name!r}; {hint}Known: {', '.join(names)}"


def one_line(error: BaseException, *, site: bool = False) -> str:
    """Return an error of somebody else's code, for a line about it.

    Args:
        site: Whether to say where the user's code raised it, or called what raised it.

    >>> one_line(ValueError("two lines"))
    'ValueError: two lines'
    """
    text = " ".join(str(error).split())
    kind = type(error).__name__
    text = f"{kind}: {text}" if text else kind
    if not site:
        return text
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(_NOT_THE_USERS)]
    return f"{text} ({own[-1].filename}:{own[-1].lineno})" if own else text


def check_installed(what: str, packages: Iterable[str], *, extra: str) -> None:
    """Refuse an option whose optional packages are missing.

    Args:
        what: The option, as the message's first words.
        packages: Import names of what it needs.
        extra: The extra of this distribution that brings them.

    Raises:
        UserError: Names what is missing and how to install it.
    """
    missing = [package for package in packages if not _is_there(package)]
    if missing:
        raise UserError(f"{what} needs {' and '.join(missing)}: {how_to_install(extra)}")


def _is_there(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # what it is in is not there
        return False


def how_to_install(extra: str) -> str:
    """Return the command that installs an extra of this distribution, also from a checkout.

    Args:
        extra: Its name.
    """
    checkout = _PACKAGE.parent
    if (checkout / "pyproject.toml").is_file():
        return f"pip install -e '{checkout}[{extra}]'"
    return f"pip install 'sb3-hpo[{extra}]'"
