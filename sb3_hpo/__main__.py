"""All commands under one name: `sb3-hpo COMMAND`, or `python -m sb3_hpo COMMAND`.

It imports nothing but what it needs to find the command: `--help` is there at once, and Ctrl-C in
the first moments has an answer.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "optimize": ("sb3_hpo.optimize", "tune: search, re-evaluate, write the answer"),
    "reevaluate": ("sb3_hpo.reevaluate", "train a study's best trials again from fresh seeds"),
    "train": ("sb3_hpo.train", "train an answer again, or a recipe of your own"),
    "report": ("sb3_hpo.report.__main__", "make the report of any study, also of a running one"),
    "doctor": ("sb3_hpo.doctor.__main__", "say what is wrong with a storage, and repair it"),
    "spaces": ("sb3_hpo.spaces.__main__", "show the search space of an algorithm"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: The command and its arguments; options alone are `optimize`'s. Default: those of
            the process.

    Returns:
        The exit status: 2 for a mistake of the user.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if words in ([], ["-h"], ["--help"]):
        sys.stdout.write(_overview())
        return 0 if words else 2
    try:
        if words == ["--version"]:
            from sb3_hpo import __version__

            sys.stdout.write(f"sb3-hpo {__version__}\n")
            return 0
        name = "optimize" if words[0].startswith("-") else words.pop(0)
        if name not in COMMANDS:
            from sb3_hpo.utils.errors import unknown_name

            sys.stderr.write(f"error: {unknown_name('command', name, COMMANDS)}\n")
            return 2
        status: int = importlib.import_module(COMMANDS[name][0]).main(words)
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted.\n")
        return 130
    return status


def _overview() -> str:
    lines = "".join(f"  {name:<12}{text}\n" for name, (_, text) in COMMANDS.items())
    return (
        "usage: sb3-hpo COMMAND [options]\n\n"
        f"{lines}\n"
        "`sb3-hpo COMMAND --help` lists a command's options; without a command they are those of "
        "optimize.\nFor instance: sb3-hpo optimize --algo ppo --env Pendulum-v1\n"
    )


def run() -> NoReturn:
    """Run a command and exit: the entry point of the console script."""
    from sb3_hpo.utils.processes import leave

    leave(main())


if __name__ == "__main__":
    run()
