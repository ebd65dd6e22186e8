"""Where studies live: their storage and their run folder, and how an existing one is found."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from unicodedata import category

import optuna
from filelock import FileLock, Timeout
from sqlalchemy import create_engine, inspect, make_url
from sqlalchemy.exc import SQLAlchemyError

from sb3_hpo.config.study_config import make_config
from sb3_hpo.servers import limits
from sb3_hpo.storage import StorageAddress, is_folder, open_storage
from sb3_hpo.trials import CONFIG
from sb3_hpo.utils.errors import UserError, unknown_name
from sb3_hpo.utils.files import read_yaml_mapping
from sb3_hpo.utils.urls import scrub

if TYPE_CHECKING:
    from collections.abc import Iterator

    from optuna.storages import BaseStorage

    from sb3_hpo.config.study_config import StudyConfig

JOURNAL = "study.journal"
CONFIG_FILE = "config.yaml"  # in the folder where a study was created
_LONGEST_NAME = 200


@dataclass(frozen=True)
class Place:
    """Where a study lives.

    Attributes:
        name: The study's name.
        run_dir: Folder of the run's files, absolute.
        address: Its storage.
        patience_s: How long to wait for a storage that is away, in seconds.
    """

    name: str
    run_dir: Path
    address: StorageAddress
    patience_s: float = 0.0

    @classmethod
    def of(cls, config: StudyConfig) -> Place:
        """Find where the configuration puts its study; writes nothing.

        Args:
            config: The study's configuration.

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
        run_dir = _run_folder(config.run_dir or str(Path("runs") / name))
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
        return _file_of(self.address)

    def open(self, *, waits_to_open: bool = False) -> BaseStorage:
        """Open the storage, in the process that will use it.

        Args:
            waits_to_open: Whether to wait for one that is away, as all later calls do.
        """
        return open_storage(self.address, patience_s=self.patience_s, waits_to_open=waits_to_open)

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


def _run_folder(text: str) -> Path:
    folder = Path(text).expanduser().resolve()
    for path in (folder, *folder.parents):
        if path.is_file():
            raise UserError(f"run_dir: must be a folder, but {path} is a file; name another one")
    return folder


def _file_of(address: StorageAddress) -> Path | None:
    if address.kind == "sqlite":
        return Path(make_url(address.text).database or "")
    return address.journal


def find_address(storage: str) -> StorageAddress:
    """Find a storage that exists: a mistyped path must not make a new file.

    Args:
        storage: What `--storage` takes, or a run folder.

    Returns:
        Its address.

    Raises:
        UserError: There is nothing.
    """
    folder = Path(storage).expanduser()
    address = StorageAddress.parse(str(folder / JOURNAL) if is_folder(folder) else storage)
    path = _file_of(address)
    if path is not None and not path.is_file():
        raise UserError(f"storage: there is no file {path}")
    return address


def open_existing(storage: str, *, patience_s: float = 0.0) -> BaseStorage:
    """Open a storage that exists.

    Args:
        storage: As for `find_address`.
        patience_s: How long to wait for a storage that is away, in seconds.

    Returns:
        The storage; it has a study at least.

    Raises:
        UserError: There is no such storage, it cannot be read, or it is empty.
    """
    address = find_address(storage)
    try:
        if address.kind in ("database", "sqlite"):
            _check_has_studies(address)
        opened = open_storage(address, patience_s=patience_s)
        is_empty = not optuna.get_all_study_names(opened)
    except UserError:
        raise
    except (OSError, ImportError, RuntimeError, ValueError, SQLAlchemyError) as error:
        text = f"cannot open {scrub(storage)}: {' '.join(str(error).split())[:200]}"
        raise UserError(f"storage: {scrub(text)}") from error
    if is_empty:
        raise UserError(f"storage: there is no study in {scrub(storage)}")
    return opened


def find_study(storage: str, name: str | None = None, *, patience_s: float = 0.0) -> optuna.Study:
    """Open a study that exists.

    Args:
        storage: As for `find_address`.
        name: The study; may be left out where there is one only.
        patience_s: How long to wait for a storage that is away, in seconds.

    Returns:
        The study.

    Raises:
        UserError: There is no such storage or study; the names that exist are listed.
    """
    opened = open_existing(storage, patience_s=patience_s)
    names = sorted(optuna.get_all_study_names(opened))
    if name is None and len(names) == 1:
        name = names[0]
    if name is None:
        raise UserError(
            f"study_name: say which study of {scrub(storage)}; it has: {', '.join(names)}"
        )
    if name not in names:
        raise UserError(unknown_name("study", name, names))
    return optuna.load_study(storage=opened, study_name=name)


def _check_has_studies(address: StorageAddress) -> None:
    """Refuse a database that Optuna would have to make its tables in."""
    engine = create_engine(address.text, **limits(address.text))
    try:
        if not inspect(engine).has_table("studies"):
            raise UserError(f"storage: there is no study in {address}")
    finally:
        engine.dispose()


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
            f"study {study.study_name!r} minimises, but returns are maximised, so its best trials "
            'would be the worst policies: create it with direction="maximize"'
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
        journal; else `runs/<study name>`. A study may be anybody's, so that what it says of
        folders is believed only of one whose `config.yaml` is of this study.
    """
    if run_dir is not None:
        return _run_folder(run_dir)
    folder = Path(storage).expanduser().resolve()
    if folder.is_dir():
        return folder
    default = (Path("runs") / folder_name(study.study_name)).resolve()
    noted = study.user_attrs.get(CONFIG, {})
    if noted.get("run_dir"):
        there = Path(str(noted["run_dir"])).expanduser().resolve()
        if _is_home_of(there, study):
            return there
    elif noted.get("storage") and default.is_dir():
        return default
    return folder.parent if folder.name == JOURNAL else default


def folder_name(study_name: str) -> str:
    """Return a name for a study's folder that leads nowhere else.

    >>> folder_name("ppo-Pendulum-v1"), folder_name("../../x"), folder_name("..")
    ('ppo-Pendulum-v1', '_.._.._x', '_..')
    """
    signs = ("_" if sign in "/\\" or category(sign)[0] == "C" else sign for sign in study_name)
    name = "".join(signs)[:_LONGEST_NAME]
    return f"_{name}" if name.startswith(".") or not name else name


def _is_home_of(folder: Path, study: optuna.Study) -> bool:
    path = folder / CONFIG_FILE
    if not path.is_file():
        return False
    try:
        config = make_config(read_yaml_mapping(path), imports=False)
    except UserError:
        return False  # another tool calls a file of its own so
    return config.name() == study.study_name
