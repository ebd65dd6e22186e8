"""A process that tests start as a worker: `hold BYTES`, or `count` the workers beside it."""

from __future__ import annotations

import sys

from sb3_hpo.training.memory import workers_here

if __name__ == "__main__":
    if sys.argv[1] == "hold":
        written = b"x" * int(sys.argv[2])
        sys.stdout.write("holding\n")
    else:
        sys.stdout.write("{} {}\n".format(*workers_here()))
    sys.stdout.flush()
    sys.stdin.read()
