"""What this package costs and finds beside its peers, measured in one run on this machine.

    python scripts/benchmark.py cost             # M runs trained together against one SB3 run
    python scripts/benchmark.py peers            # whole searches of equal wall time

The first takes about half an hour, the second five minutes a search and then the retraining. Both
print a Markdown table and write all numbers with `--out FILE`, as JSON. Measure on a machine that
does nothing else: the load before the first measurement is printed with the results.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a script knows no package

from scripts import benchmark_cost, benchmark_peers

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the two benchmarks.

    Args:
        argv: The command line.

    Returns:
        0, or 1 if a part of it could not be measured.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parts = parser.add_subparsers(dest="part", required=True)
    for name, part in (("cost", benchmark_cost), ("peers", benchmark_peers)):
        subparser = parts.add_parser(name, description=(part.__doc__ or "").splitlines()[0])
        part.add_arguments(subparser)
        subparser.add_argument("--out", type=Path, help="write all numbers there, as JSON")
        subparser.set_defaults(run=part.run)
    arguments = parser.parse_args(argv)
    status: int = arguments.run(arguments)
    return status


if __name__ == "__main__":
    sys.exit(main())
