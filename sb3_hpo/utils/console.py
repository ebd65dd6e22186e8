"""Words on a terminal, alike in all commands."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sb3_hpo.utils.errors import UserError
from sb3_hpo.utils.formatting import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console


_USERS_OWN = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)


def run_command(command: Callable[[], int]) -> int:
    """Run a command, and tell a mistake of the user in one line.

    Args:
        command: Returns the exit status.

    Returns:
        That; 2 for a mistake of the user, a full disk, or a folder that cannot be written; 130
        where Ctrl-C comes before or after the work that answers it itself. Bugs show their
        traceback.
    """
    # `python -m` puts the current folder on the path; a console script must do it itself.
    if str(Path.cwd()) not in sys.path and "" not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    _empty_input()
    try:
        return command()
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted.\n")
        return 130
    except UserError as error:
        sys.stderr.write(f"error: {printable(str(error))}\n")
    except OSError as error:
        if error.errno not in _USERS_OWN:
            raise
        where = "" if error.filename is None else f"{printable(str(error.filename))}: "
        sys.stderr.write(
            f"error: {where}{error.strerror}; what was finished is kept, and once this is "
            "repaired the same command goes on from there\n"
        )
    return 2


def _empty_input() -> None:
    """Let an environment that reads input find nothing: it would wait for a person for ever."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)


def quiet_optuna(*, verbose: bool = False) -> None:
    """Let Optuna tell of nothing but problems: we make many studies in memory, to look around.

    Args:
        verbose: Whether it may talk.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.INFO if verbose else optuna.logging.WARNING)


def echo(console: Console, text: str) -> None:
    """Print a line as it is: no markup, no colours, no emoji (`env.py:100:` has one), no wraps."""
    console.print(printable(text), highlight=False, markup=False, emoji=False, soft_wrap=True)


def relative_path(path: Path) -> Path:
    """Return the path as seen from here, if it is below here."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
