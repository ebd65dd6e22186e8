"""Optuna storages from one string, opened so that a crash cannot wedge them."""

from __future__ import annotations

import logging
import re
import shutil
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from sqlalchemy import create_engine, inspect, make_url
from sqlalchemy.exc import SQLAlchemyError

from sb3_hpo.errors import UserError, unknown_name
from sb3_hpo.trials import CONFIG

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

    from sb3_hpo.config import StudyConfig

_logger = logging.getLogger(__name__)

JOURNAL = "study.journal"
_PASSWORD = re.compile(r"://[^/@\s]*@")  # and who it belongs to
_URL = re.compile(r"(\w[\w+]*)://")


@dataclass(frozen=True)
class Place:
    """Where a study lives.

    Attributes:
        name: The study's name.
        run_dir: Folder of the run's files, absolute.
        journal: The journal file, absolute.
    """

    name: str
    run_dir: Path
    journal: Path

    @classmethod
    def of(cls, config: StudyConfig) -> Place:
        """Find where the configuration puts its study; writes nothing."""
        name = config.name()
        run_dir = Path(config.run_dir or Path("runs") / name).expanduser().resolve()
        storage = config.storage or str(run_dir / JOURNAL)
        return cls(name, run_dir, journal_path(storage))


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


def find_study(storage: str, name: str | None = None) -> optuna.Study:
    """Open a study that exists, to be read: a mistyped path must not make a new file.

    Args:
        storage: Path of a journal or of a run folder, or Optuna's URL of a database.
        name: The study; may be left out where there is one only.

    Returns:
        The study.

    Raises:
        UserError: There is no such storage or study; the names that exist are listed.
    """
    try:
        opened = _open_to_read(storage)
        names = sorted(optuna.get_all_study_names(opened))
    except UserError:
        raise
    except (OSError, ImportError, RuntimeError, ValueError, SQLAlchemyError) as error:
        text = f"cannot open {storage}: {' '.join(str(error).split())[:200]}"
        raise UserError(f"storage: {_PASSWORD.sub('://***@', text)}") from error
    storage = _PASSWORD.sub("://***@", storage)
    if not names:
        raise UserError(f"storage: there is no study in {storage}")
    if name is None and len(names) == 1:
        return optuna.load_study(storage=opened, study_name=names[0])
    if name is None:
        raise UserError(f"study_name: say which study of {storage}; it has: {', '.join(names)}")
    if name not in names:
        raise UserError(unknown_name("study", name, names))
    return optuna.load_study(storage=opened, study_name=name)


def _open_to_read(storage: str) -> BaseStorage:
    if not _URL.match(storage):
        path = Path(storage).expanduser().resolve()
        path = path / JOURNAL if path.is_dir() else path
        if not path.is_file():
            raise UserError(f"storage: there is no file {path}")
        return open_storage(str(path))
    url = make_url(storage)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        raise UserError(f"storage: there is no file {url.database or storage}")
    engine = create_engine(url)
    try:
        if not inspect(engine).has_table("studies"):  # Optuna would make its tables there
            raise UserError(f"storage: there is no study in {storage}")
    finally:
        engine.dispose()
    return optuna.storages.get_storage(storage)


def check_maximises(study: optuna.Study) -> None:
    """Refuse a study whose best trials are those with the lowest values.

    Args:
        study: The study.

    Raises:
        UserError: It minimises, or has several objectives.
    """
    if len(study.directions) > 1:
        raise UserError(
            f"study {study.study_name!r} has {len(study.directions)} objectives, so no best "
            "trials; give a study of one"
        )
    if study.direction is not optuna.study.StudyDirection.MAXIMIZE:
        raise UserError(
            f"study {study.study_name!r} minimises, but returns are maximised: its best trials "
            "are not the ones to train again"
        )


def home_of(storage: str, study: optuna.Study, run_dir: str | None = None) -> Path:
    """Find the run folder of a study that exists.

    Args:
        storage: As for `find_study`.
        study: The study.
        run_dir: The folder, where the user names one.

    Returns:
        That folder; else the one that `storage` is; else the one where `optimize` has put the
        study's files, if it can be seen from here; else the one that holds the study's own
        journal; else `runs/<study name>`.
    """
    if run_dir is not None:
        return Path(run_dir).expanduser().resolve()
    path = None if _URL.match(storage) else Path(storage).expanduser().resolve()
    if path is not None and path.is_dir():
        return path
    default = (Path("runs") / study.study_name).resolve()
    noted = study.user_attrs.get(CONFIG, {})
    if noted.get("run_dir") or noted.get("storage"):
        first = Path(noted.get("run_dir") or default).expanduser().resolve()
        if first.is_dir():
            return first
    return path.parent if path is not None and path.name == JOURNAL else default
