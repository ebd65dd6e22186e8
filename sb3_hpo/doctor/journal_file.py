"""A journal file read without changing it, however broken it is."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sb3_hpo.doctor.journal_repair.salvage import Salvage, salvage
from sb3_hpo.storages.journal import CheckedJournal, DamagedJournalError, JournalReader, torn_tail

if TYPE_CHECKING:
    from pathlib import Path

    from optuna.storages import JournalStorage

SETTLE_S = 0.3  # far longer than the write of one operation takes


@dataclass(frozen=True)
class Journal:
    """A journal file as it was found.

    Attributes:
        path: The file.
        storage: Its operations, and those that are appended while one looks; where lines are
            damaged, what can be kept of it. Refuses writes.
        n_bytes: Size of the file.
        torn: What follows the last line end.
        salvage: What can be kept, where lines are damaged; None for a journal that can be read.
    """

    path: Path
    storage: JournalStorage
    n_bytes: int
    torn: bytes
    salvage: Salvage | None

    @property
    def n_operations(self) -> int:
        """How many operations there are in `storage`."""
        return self.storage._replay_result.log_number_read


def read_journal(path: Path) -> Journal:
    """Read a journal without changing it, however broken it is.

    Returns:
        What is in it.
    """
    torn = _settled_tail(path)
    try:
        storage: JournalStorage = CheckedJournal(JournalReader(path))
    except DamagedJournalError:
        kept = salvage(whole_lines(path))
        return Journal(path, kept.storage, path.stat().st_size, torn, kept)
    return Journal(path, storage, path.stat().st_size, torn, None)


def whole_lines(path: Path) -> bytes:
    """Return all that a file holds up to its last line end."""
    content = path.read_bytes()
    return content[: content.rfind(b"\n") + 1]


def _settled_tail(path: Path) -> bytes:
    """Return half a line at the end, unless it is being written at this moment."""
    tail, before = torn_tail(path), None
    while tail and tail != before:
        time.sleep(SETTLE_S)
        tail, before = torn_tail(path), tail
    return tail
