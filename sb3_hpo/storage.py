"""Optuna storages from one string, opened so that a crash cannot wedge them."""

from __future__ import annotations

import logging
import re
import shutil
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from sb3_hpo.errors import UserError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

_logger = logging.getLogger(__name__)

_URL = re.compile(r"(\w[\w+]*)://")


def journal_path(storage: str) -> Path:
    """Return the absolute path of the journal file that a storage string names.

    Args:
        storage: A path.

    Returns:
        The path. Relative ones are made absolute: Optuna's lock on a relative path with a folder
        in it is never broken, and a worker that died holding it would stop all others for ever.

    Raises:
        UserError: It is a URL, a folder, or a file that holds something else.
    """
    if match := _URL.match(storage):
        raise UserError(
            f"storage: {match[1]}:// is not supported yet; give the path of a journal file"
        )
    path = Path(storage).expanduser().resolve()
    if path.is_dir():
        raise UserError(f"storage: {path} is a folder; give a file in it, e.g. study.journal")
    if path.is_file() and path.stat().st_size > 0 and not _is_journal(path):
        raise UserError(f"storage: {path} is not a journal; give a new path or a study's own")
    return path


def _is_journal(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(16).startswith(b'{"op_code":')  # how Optuna begins every line


def open_storage(storage: str) -> BaseStorage:
    """Open a storage. To be called inside the process that uses it, never before a fork.

    Args:
        storage: Path of a journal file; its folder must exist.

    Returns:
        The storage, its torn tail mended if it had one.
    """
    path = journal_path(storage)
    lock = JournalFileOpenLock(str(path), grace_period=30)
    if path.exists():
        backup = _mend_torn_tail(path, lock)
        if backup is not None:
            _logger.warning("%s had a half-written last line; the old file is %s", path, backup)
    return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))


def _mend_torn_tail(path: Path, lock: JournalFileOpenLock) -> Path | None:
    """Cut off a half-written last line, which a full disk or a power cut leaves behind.

    The next line would be appended to it, and then no process could read the journal any more.

    Args:
        path: The journal.
        lock: Its lock.

    Returns:
        The backup made before the cut, or None if the tail was whole.
    """
    if _ends_whole(path):
        return None
    lock.acquire()
    try:
        if _ends_whole(path):  # it was only being written
            return None
        stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S")
        backup = path.with_name(f"{path.name}.torn-{stamp}")
        shutil.copy2(path, backup)
        content = path.read_bytes()
        with path.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)
        return backup
    finally:
        lock.release()


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as file:
        if file.seek(0, 2) == 0:
            return True
        file.seek(-1, 2)
        return file.read(1) == b"\n"
