"""A journal file read without changing it, however broken it is."""

from __future__ import annotations

import errno
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend

from sb3_hpo.journals import torn_tail
from sb3_hpo.trials import FINISHED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SETTLE_S = 0.3  # far longer than the write of one operation takes
# What Optuna raises at an operation of a kind that it does not know, or with other fields.
_NOT_UNDERSTOOD = (AssertionError, AttributeError, LookupError, TypeError, ValueError)


@dataclass(frozen=True)
class BrokenLine:
    """The first line of a journal that Optuna cannot read, and so nothing after it.

    Attributes:
        number: Its number, from 1.
        offset: Its first byte in the file, from 0.
        start: How it begins.
        is_garbled: False if it may be whole, and of a kind that only a newer Optuna knows.
        n_lost: Lines from this one on.
        n_lost_trials: How many of them finish a trial.
    """

    number: int
    offset: int
    start: str
    is_garbled: bool
    n_lost: int
    n_lost_trials: int


@dataclass(frozen=True)
class Journal:
    """A journal file as it was found.

    Attributes:
        path: The file.
        storage: Its operations up to the first broken line, and those that are appended while
            one looks; refuses writes.
        n_operations: How many there were.
        n_bytes: Size of the file.
        torn: What follows the last line end.
        broken: The first line that cannot be read, or None.
    """

    path: Path
    storage: JournalStorage
    n_operations: int
    n_bytes: int
    torn: bytes
    broken: BrokenLine | None


class JournalReader(BaseJournalBackend):
    """Reads the whole lines of a journal up to the first that is no JSON, and never writes.

    Attributes:
        offsets: First byte of each operation read, and the end of the last.
        stuck_at: The line that is no JSON, or that its reader has failed at; or None.
    """

    def __init__(self, path: Path, limit: int | None = None) -> None:
        """Prepare.

        Args:
            path: The file.
            limit: Read no more operations than this.
        """
        self._path, self._limit = path, limit
        self.offsets = [0]
        self.stuck_at: bytes | None = None

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Read operations, also those that were appended since the last time.

        Args:
            log_number_from: Number of the first one, from 0.

        Yields:
            One after the other.
        """
        del self.offsets[log_number_from + 1 :]
        with self._path.open("rb") as file:
            file.seek(self.offsets[-1])
            for line in file:
                if not line.endswith(b"\n") or len(self.offsets) - 1 == self._limit:
                    return
                self.stuck_at = line
                try:
                    operation = json.loads(line)
                except ValueError:
                    return
                yield operation
                self.stuck_at = None
                self.offsets.append(self.offsets[-1] + len(line))

    def append_logs(self, _logs: list[dict[str, Any]]) -> None:
        """Refuse to write.

        Raises:
            OSError: Always.
        """
        raise OSError(errno.EROFS, "the journal has to be mended first")


def read_journal(path: Path) -> Journal:
    """Read a journal without changing it, however broken it is.

    Args:
        path: The file.

    Returns:
        What is in it.
    """
    torn = _settled_tail(path)
    reader, is_known = JournalReader(path), True
    try:
        storage = JournalStorage(reader)
    except _NOT_UNDERSTOOD as error:
        is_known = not isinstance(error, AssertionError)  # Optuna's word for: of no known kind
        storage = JournalStorage(JournalReader(path, limit=len(reader.offsets) - 1))
    broken = None
    if reader.stuck_at is not None:
        n_lost, n_lost_trials = _lines_from(path, reader.offsets[-1])
        broken = BrokenLine(
            number=len(reader.offsets),
            offset=reader.offsets[-1],
            start=repr(reader.stuck_at[:40].rstrip()),
            is_garbled=is_known,
            n_lost=n_lost,
            n_lost_trials=n_lost_trials,
        )
    n_operations = len(reader.offsets) - 1
    return Journal(path, storage, n_operations, path.stat().st_size, torn, broken)


def _settled_tail(path: Path) -> bytes:
    """Return half a line at the end, unless it is being written at this moment."""
    tail, before = torn_tail(path), None
    while tail and tail != before:
        time.sleep(SETTLE_S)
        tail, before = torn_tail(path), tail
    return tail


def _lines_from(path: Path, offset: int) -> tuple[int, int]:
    """Count the whole lines from an offset on, and those of them that finish a trial."""
    n_lines = n_finished = 0
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                break
            n_lines += 1
            n_finished += _finishes_a_trial(line)
    return n_lines, n_finished


def _finishes_a_trial(line: bytes) -> bool:
    try:
        operation = json.loads(line)
    except ValueError:
        return False
    states = [state.value for state in FINISHED]
    return isinstance(operation, dict) and operation.get("state") in states
