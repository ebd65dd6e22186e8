"""A process that tests start as a worker: `hold BYTES`, or `count` the workers beside it."""

from __future__ import annotations

import sys
from contextlib import suppress

from sb3_hpo.training.memory import workers_here
from sb3_hpo.utils.processes import open_connection

if __name__ == "__main__":
    connection = open_connection(int(sys.argv[-1]))
    if sys.argv[1] == "hold":
        written = b"x" * int(sys.argv[2])
        connection.send("holding")
    else:
        connection.send("{} {}".format(*workers_here()))
    with suppress(EOFError):
        connection.recv()
