"""A process that trains runs of a re-evaluation: `python -m sb3_hpo.reevaluation`.

It is sent lists of runs that are to be trained together, each with the folder for its model or
None. It answers with `{"n_steps": ...}`, then `{"key": ..., "run": ...}` or
`{"key": ..., "error": ...}` for each run, and `{"done": True}`; `{"alone": reason}` says why they
are trained one after the other. It ends with its connection, so with whoever started it.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
import traceback
from typing import TYPE_CHECKING, Any

from sb3_hpo.config.reevaluation_config import ReevaluationConfig
from sb3_hpo.config.validation import validate
from sb3_hpo.reevaluation.retrain import retrain
from sb3_hpo.training.hooks import Hooks, StopRun
from sb3_hpo.utils.formatting import tail
from sb3_hpo.utils.processes import end_copy_of, end_hung_orphan, leave, open_connection

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sb3_hpo.results.reevaluation_runs import ReevaluationRequest

    Say = Callable[[dict[str, Any]], None]
    Job = list[tuple[ReevaluationRequest, Path | None]]

_BEAT_S = 1.0


def main(argv: Sequence[str] | None = None) -> int:
    """Train what is asked for until the input ends.

    Args:
        argv: The configuration that all runs share, as JSON, and who started this process.

    Returns:
        0.
    """
    parser = argparse.ArgumentParser(prog="python -m sb3_hpo.reevaluation")
    parser.add_argument("--config", required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--connection", type=int, required=True)
    arguments = parser.parse_args(argv)
    config = validate(ReevaluationConfig, json.loads(arguments.config))
    end_hung_orphan(arguments.parent)
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(name)s %(message)s"
    )
    logging.captureWarnings(capture=True)
    own, connection = os.getpid(), open_connection(arguments.connection)

    def say(word: dict[str, Any]) -> None:
        end_copy_of(own)
        connection.send(word)

    while True:
        try:
            job = connection.recv()
        except (EOFError, OSError):
            return 0
        _train(config, job, say, _beats(say, arguments.parent))


def _train(config: ReevaluationConfig, job: Job, say: Say, on_step: Callable[[int], None]) -> None:
    requests = [request for request, _ in job]

    def on_error(index: int, error: Exception) -> tuple[()]:
        logging.getLogger(__name__).error("a run failed", exc_info=error)
        site = traceback.extract_tb(error.__traceback__)[-1]
        what = f"{type(error).__name__}: {tail(' '.join(str(error).split()))}"
        key = requests[index].key(config)
        say({"key": key, "error": f"{what} at {site.filename}:{site.lineno}"})
        return ()

    hooks = Hooks(
        on_step=on_step, on_error=on_error, on_alone=lambda reason: say({"alone": reason})
    )
    try:
        retry_timeout_s = min(config.storage_timeout, config.stale_after / 2)
        folders = [folder for _, folder in job]
        for run in retrain(
            config, requests, hooks, folders=folders, retry_timeout_s=retry_timeout_s
        ):
            say({"key": run.key, "run": run})
    except Exception as error:
        if len(requests) > 1:
            raise  # of the batch, not of a run: this process is replaced, and each run tried alone
        on_error(0, error)
    say({"done": True})


def _beats(say: Say, parent: int) -> Callable[[int], None]:
    """Return what is called at every step: it says how far the run is, and ends an orphan's."""
    next_beat = 0.0

    def on_step(n_steps: int) -> None:
        nonlocal next_beat
        now = time.monotonic()
        if now < next_beat:
            return
        next_beat = now + _BEAT_S
        if os.getppid() != parent:
            raise StopRun("interrupted", "the process that started this one is gone")
        say({"n_steps": n_steps})

    return on_step


if __name__ == "__main__":
    leave(main())
