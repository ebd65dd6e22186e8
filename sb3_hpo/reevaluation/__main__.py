"""A process that trains runs of a re-evaluation: `python -m sb3_hpo.reevaluation`.

Each line of its input names runs that are to be trained together,
`{"runs": [{"request": ..., "save_to": folder or null}, ...]}`. It answers on its output with lines
of `{"n_steps": ...}`, then `{"run": ...}` or `{"error": ..., "key": ...}` for each run, and
`{"done": true}`; `{"alone": reason}` says why they are trained one after the other. It ends with
its input, so with whoever started it. What environments print goes to the log.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sb3_hpo.config.study_config import make_config
from sb3_hpo.reevaluation.retrain import retrain
from sb3_hpo.results.reevaluation_runs import request_from_dict
from sb3_hpo.training.hooks import Hooks, StopRun
from sb3_hpo.utils.formatting import tail
from sb3_hpo.utils.processes import end_copy_of, end_hung_orphan, leave, own_pipes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sb3_hpo.config.study_config import StudyConfig
    from sb3_hpo.results.reevaluation_runs import ReevaluationRequest

    Say = Callable[[dict[str, Any]], None]

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
    arguments = parser.parse_args(argv)
    config = make_config(json.loads(arguments.config))
    end_hung_orphan(arguments.parent)
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(name)s %(message)s"
    )
    logging.captureWarnings(capture=True)
    own = os.getpid()
    with own_pipes() as (jobs, output):

        def say(values: dict[str, Any]) -> None:
            end_copy_of(own)
            output.write(f"{json.dumps(values)}\n".encode())
            output.flush()

        for line in jobs:
            _train(config, json.loads(line)["runs"], say, _beats(say, arguments.parent))
    return 0


def _train(
    config: StudyConfig, jobs: list[dict[str, Any]], say: Say, on_step: Callable[[int], None]
) -> None:
    requests = [request_from_dict(job["request"]) for job in jobs]
    folders = {id(request): job["save_to"] for request, job in zip(requests, jobs, strict=True)}

    def folder_of(request: ReevaluationRequest) -> Path | None:
        folder = folders[id(request)]
        return None if folder is None else Path(folder)

    def on_error(index: int, error: Exception) -> tuple[()]:
        logging.getLogger(__name__).error("a run failed", exc_info=error)
        site = traceback.extract_tb(error.__traceback__)[-1]
        what = f"{type(error).__name__}: {tail(' '.join(str(error).split()))}"
        say(
            {
                "error": f"{what} at {site.filename}:{site.lineno}",
                "key": requests[index].key(config),
            }
        )
        return ()

    hooks = Hooks(
        on_step=on_step, on_error=on_error, on_alone=lambda reason: say({"alone": reason})
    )
    try:
        retry_timeout_s = min(config.storage_timeout, config.stale_after / 2)
        for run in retrain(
            config, requests, hooks, folder_of=folder_of, retry_timeout_s=retry_timeout_s
        ):
            say({"run": run.to_dict()})
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
