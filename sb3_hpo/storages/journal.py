"""Journal files that a crash or a full disk cannot wedge."""

from __future__ import annotations

import errno
import json
import logging
import os
import shlex
import shutil
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileOpenLock

from sb3_hpo.utils.errors import StorageError, UserError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_logger = logging.getLogger(__name__)

LOCK_GRACE_S = 30  # a lock that nobody has renewed for so long is a dead process's
# What Optuna raises at an operation of a kind that it does not know, or with other fields.
NOT_UNDERSTOOD = (AssertionError, AttributeError, LookupError, TypeError, ValueError)
_BYTES_PER_TRIAL = 30_000  # 8,500 measured with 10 evaluations of 20 episodes, 11 dimensions
_OTHER_FILES = 20_000_000  # report, models, logs


class DamagedJournalError(StorageError):
    """A line of a journal cannot be read, and so nothing after it."""

    def __init__(self, path: Path, line: int) -> None:
        super().__init__(
            f"storage: line {line:,} of {path} is damaged, so that nothing after it can be read; "
            f"`python -m sb3_hpo.doctor {shlex.quote(str(path))}` says what can be kept"
        )


class JournalReader(BaseJournalBackend):
    """Reads the whole lines of a journal, and never writes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offsets = [0]  # first byte of each operation read, and the end of the last

    def read_logs(self, log_number_from: int) -> Iterator[Any]:
        """Read operations, also those that were appended since the last time.

        Args:
            log_number_from: Number of the first one, from 0.

        Yields:
            One after the other; half a line at the end is none.

        Raises:
            DamagedJournalError: A line is no operation.
        """
        del self._offsets[log_number_from + 1 :]
        with self.path.open("rb") as file:
            file.seek(self._offsets[-1])
            for line in file:
                if not line.endswith(b"\n"):
                    return
                try:
                    operation = json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise DamagedJournalError(self.path, len(self._offsets)) from error
                self._offsets.append(self._offsets[-1] + len(line))
                yield operation

    def append_logs(self, _logs: list[dict[str, Any]]) -> None:
        """Refuse to write.

        Raises:
            OSError: Always.
        """
        raise OSError(errno.EROFS, "the journal has to be repaired first")


class _Lock(JournalFileOpenLock):
    """Optuna's, which tries for ever to break one that it may not remove."""

    def release(self) -> None:
        try:
            super().release()
        except RuntimeError as error:
            if isinstance(error.__context__, PermissionError):
                raise UserError(
                    f"storage: {self._lock_file} was left behind by a process of another user, "
                    "and may not be removed here; its owner must remove it"
                ) from error
            raise


class JournalBackend(JournalReader):
    """Appends to a journal so that it always ends with a whole line.

    Optuna's own backend appends to whatever is there. After half a line, which a full disk or a
    power cut leaves behind, the next operation is lost, and then no process can read the file.
    """

    def __init__(self, path: Path) -> None:
        """Open or create the file.

        Args:
            path: The file, absolute: Optuna's lock on a relative path with a folder in it is
                never broken, and a worker that died holding it would stop all others for ever.
        """
        super().__init__(path)
        self._lock = _Lock(str(path), grace_period=LOCK_GRACE_S)
        path.touch()
        if torn_tail(path):  # without the lock, which a dead process may have left behind
            with self._locked():
                repair_torn_tail(path)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append operations, all of them or, if there is no room, none.

        Args:
            logs: The operations.

        Raises:
            OSError: They could not be written; the file is as it was before.
        """
        lines = [json.dumps(log, separators=(",", ":")) + "\n" for log in logs]
        with self._locked():
            repair_torn_tail(self.path)
            size = self.path.stat().st_size
            try:
                self._write("".join(lines).encode())
            except OSError:
                os.truncate(self.path, size)
                raise

    def _write(self, content: bytes) -> None:
        with self.path.open("ab", buffering=0) as file:
            left = memoryview(content)
            while left:
                left = left[file.write(left) :]
            os.fsync(file.fileno())

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._lock.acquire()
        try:
            yield
        finally:
            try:
                self._lock.release()
            except RuntimeError:  # Optuna's word for: it is not there any more
                _logger.warning("%s: another process broke our lock after a pause", self.path)


class CheckedJournal(JournalStorage):
    """A journal that tells damage from answers."""

    _backend: JournalReader

    def _sync_with_backend(self) -> None:
        replay = self._replay_result
        for operation in self._backend.read_logs(replay.log_number_read):
            try:
                replay.apply_logs([operation])
            except NOT_UNDERSTOOD as error:
                if isinstance(operation, dict) and operation.get("worker_id") == replay.worker_id:
                    raise  # an answer, such as: there is no such study
                replay.log_number_read -= 1  # nobody may go on behind it
                line = replay.log_number_read + 1
                raise DamagedJournalError(self._backend.path, line) from error


def torn_tail(path: Path) -> bytes:
    """Return what follows the last line end of a file: empty if the file is whole."""
    tail = b""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end > 0 and b"\n" not in tail:
            start = max(0, end - 65_536)
            file.seek(start)
            tail = file.read(end - start) + tail
            end = start
    return tail[tail.rfind(b"\n") + 1 :]


def repair_torn_tail(path: Path) -> Path | None:
    """Cut off a half-written last line; to be called by who holds the file's lock.

    Args:
        path: The journal.

    Returns:
        The file that keeps what was cut off (appended to the journal, it restores it), or None if
        there was nothing to repair.
    """
    torn = torn_tail(path)
    if not torn:
        return None
    stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S.%f")
    backup = path.with_name(f"{path.name}.torn-{stamp}")
    backup.write_bytes(torn)
    os.truncate(path, path.stat().st_size - len(torn))
    _logger.warning("%s ended in half a line; it was cut off and is in %s", path, backup)
    return backup


def check_free_space(folder: Path, n_trials: int) -> None:
    """Refuse to start what would fill the disk.

    Args:
        folder: Where the journal is, or its nearest parent that exists.
        n_trials: Trials still to be run.

    Raises:
        UserError: The journal's growth and the run's other files do not fit.
    """
    while not folder.exists():
        folder = folder.parent
    needed = n_trials * _BYTES_PER_TRIAL + _OTHER_FILES
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"storage: {n_trials} trials need about {needed / 1e6:,.0f} MB, but only "
            f"{free / 1e6:,.1f} MB are free in {folder}; free some, or give another --run-dir "
            "or --storage"
        )
