from __future__ import annotations

import errno
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from sb3_hpo.reevaluation import executor
from sb3_hpo.results.reevaluation_runs import Candidate, ReevaluationLog, make_request
from sb3_hpo.utils.errors import UserError
from tests.support.studies import make_run, study_config

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sb3_hpo.results.reevaluation_runs import ReevaluationRequest, ReevaluationRun

CONFIG = study_config(storage_timeout=2.0)
SPEC = make_request(CONFIG, "test", Candidate(trial=3, kwargs={}, trial_value=1.0), 0)
RERUN = make_run(CONFIG, SPEC, [1.0] * CONFIG.n_evaluations)


class FinishedRunners:
    """In place of processes: the first run that is due has just ended."""

    def __init__(self, *_: Any) -> None:
        self.errors: dict[str, str] = {}
        self.alone: set[str] = set()

    def __enter__(self) -> FinishedRunners:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(
        self,
        due: Callable[[], list[ReevaluationRequest]],
        take: Callable[[ReevaluationRequest, ReevaluationRun], None],
        _go_on: Callable[[], bool],
    ) -> None:
        for request in due():
            take(request, RERUN)


def train(run_dir: Path, n_full: int) -> tuple[ReevaluationLog, str]:
    """Take one run while the disk is full for a number of attempts."""
    log, file = ReevaluationLog(run_dir / "reevaluation.jsonl"), StringIO()
    attempts: list[ReevaluationRun] = []

    def take(run: ReevaluationRun) -> None:
        attempts.append(run)
        if len(attempts) <= n_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        log.append(run)

    def due(_broken: Any) -> list[ReevaluationRequest]:
        return [] if log.read() else [SPEC]

    executor.train_due(CONFIG, run_dir, Console(file=file), due, take)
    return log, file.getvalue()


@pytest.fixture(autouse=True)
def no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "Runners", FinishedRunners)


def test_train_due_waits_for_room_to_write_what_is_finished(tmp_path: Path) -> None:
    log, said = train(tmp_path, n_full=2)
    assert log.read() == [RERUN]
    assert said.startswith("test: trial 3, seed 0: ")


def test_train_due_disk_that_stays_full_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be used[^\n]*No space left on device"):
        train(tmp_path, n_full=10_000)
