"""Mistakes of the user, and the words for them."""

from __future__ import annotations

import difflib
import importlib.util
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class UserError(ValueError):
    """A mistake that the user can mend: the command prints its message and exits with 2."""


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


def check_installed(what: str, packages: Iterable[str], *, extra: str) -> None:
    """Refuse an option whose optional packages are missing.

    Args:
        what: The option, as the message's first words.
        packages: Import names of what it needs.
        extra: The extra of this distribution that brings them.

    Raises:
        UserError: Names what is missing and how to install it.
    """
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise UserError(f"{what} needs {' and '.join(missing)}: pip install 'sb3-hpo[{extra}]'")
