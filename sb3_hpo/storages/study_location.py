"""Where a study lives: its name, its storage and its run folder."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from unicodedata import category

from filelock import FileLock, Timeout
from sqlalchemy import make_url

from sb3_hpo.storages.address import StorageAddress
from sb3_hpo.storages.open import open_storage
from sb3_hpo.utils.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from optuna.storages import BaseStorage

    from sb3_hpo.config.study_config import StudyConfig

JOURNAL = "study.journal"
CONFIG_FILE = "config.yaml"  # in the folder where a study was created
_LONGEST_NAME = 200


@dataclass(frozen=True)
class StudyLocation:
    """Where a study lives.

    Attributes:
        name: The study's name.
        run_dir: Folder of the run's files, absolute.
        address: Its storage.
        retry_timeout_s: How long to wait for a storage that is away, in seconds.
    """

    name: str
    run_dir: Path
    address: StorageAddress
    retry_timeout_s: float = 0.0

    @classmethod
    def of(cls, config: StudyConfig) -> StudyLocation:
        """Find where the configuration puts its study; writes nothing.

        Raises:
            UserError: The storage cannot be what the configuration says.
        """
        name = config.name()
        if config.run_dir is None and folder_name(name) != name:
            raise UserError(
                "study_name: without --run-dir it is the name of a folder below runs: without / "
                f"and control characters, at most {_LONGEST_NAME} signs, the first no dot, but "
                f"got {name[: _LONGEST_NAME + 1]!r}"
            )
        run_dir = run_folder(config.run_dir or str(Path("runs") / name))
        address = StorageAddress.parse(config.storage or str(run_dir / JOURNAL))
        if address.kind == "memory":
            raise UserError(
                "storage: :memory: is seen by one process only, and workers are processes; leave "
                "--storage out for a journal file"
            )
        if address.kind == "sqlite" and (config.n_workers or 1) > 1:
            raise UserError(
                "n_workers: sqlite:/// gives one trial to two workers now and then, so it holds "
                f"one, but got {config.n_workers}; a journal file (the default) holds many"
            )
        return cls(name, run_dir, address, config.storage_timeout)

    @property
    def file(self) -> Path | None:
        """The storage's file, if it is one."""
        return file_of(self.address)

    def open(self, *, waits_to_open: bool = False) -> BaseStorage:
        """Open the storage, in the process that will use it.

        Args:
            waits_to_open: Whether to wait for one that is away, as all later calls do.
        """
        return open_storage(
            self.address, retry_timeout_s=self.retry_timeout_s, waits_to_open=waits_to_open
        )

    @contextmanager
    def reserved(self) -> Iterator[None]:
        """Keep other commands away from a storage that holds one worker; free others.

        Raises:
            UserError: Another command has it.
        """
        if self.address.kind != "sqlite":
            yield
            return
        lock = FileLock(f"{self.file}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise UserError(
                f"storage: {self.address} holds one worker, and another command uses it now; "
                "wait for that, or use a journal file"
            ) from None
        try:
            yield
        finally:
            lock.release()


def run_folder(text: str) -> Path:
    """Return a folder for a run's files, absolute; refuse a path through a file."""
    folder = Path(text).expanduser().resolve()
    for path in (folder, *folder.parents):
        if path.is_file():
            raise UserError(f"run_dir: must be a folder, but {path} is a file; name another one")
    return folder


def file_of(address: StorageAddress) -> Path | None:
    """Return the file of a storage that is one."""
    if address.kind == "sqlite":
        return Path(make_url(address.text).database or "")
    return address.journal


def folder_name(study_name: str) -> str:
    """Return a name for a study's folder that leads nowhere else.

    >>> folder_name("ppo-Pendulum-v1"), folder_name("../../x"), folder_name("..")
    ('ppo-Pendulum-v1', '_.._.._x', '_..')
    """
    signs = ("_" if sign in "/\\" or category(sign)[0] == "C" else sign for sign in study_name)
    name = "".join(signs)[:_LONGEST_NAME]
    return f"_{name}" if name.startswith(".") or not name else name
