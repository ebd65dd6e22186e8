"""Studies that exist: found by storage, name or run folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import optuna
from sqlalchemy import create_engine, inspect
from sqlalchemy.exc import SQLAlchemyError

from sb3_hpo.config.study_config import make_config
from sb3_hpo.results.trials import CONFIG
from sb3_hpo.storages.address import StorageAddress, is_folder
from sb3_hpo.storages.open import open_storage
from sb3_hpo.storages.servers import limits
from sb3_hpo.storages.study_location import CONFIG_FILE, JOURNAL, file_of, folder_name, run_folder
from sb3_hpo.utils.errors import UserError, unknown_name
from sb3_hpo.utils.files import read_yaml_mapping
from sb3_hpo.utils.urls import scrub

if TYPE_CHECKING:
    from optuna.storages import BaseStorage


def find_address(storage: str) -> StorageAddress:
    """Find a storage that exists: a mistyped path must not make a new file.

    Args:
        storage: What `--storage` takes, or a run folder.

    Raises:
        UserError: There is nothing.
    """
    folder = Path(storage).expanduser()
    address = StorageAddress.parse(str(folder / JOURNAL) if is_folder(folder) else storage)
    path = file_of(address)
    if path is not None and not path.is_file():
        raise UserError(f"storage: there is no file {path}")
    return address


def open_existing(storage: str, *, retry_timeout_s: float = 0.0) -> BaseStorage:
    """Open a storage that exists.

    Args:
        storage: As for `find_address`.
        retry_timeout_s: How long to wait for a storage that is away, in seconds.

    Returns:
        The storage; it has a study at least.

    Raises:
        UserError: There is no such storage, it cannot be read, or it is empty.
    """
    address = find_address(storage)
    try:
        if address.kind in ("database", "sqlite"):
            _check_has_studies(address)
        opened = open_storage(address, retry_timeout_s=retry_timeout_s)
        is_empty = not optuna.get_all_study_names(opened)
    except UserError:
        raise
    except (OSError, ImportError, RuntimeError, ValueError, SQLAlchemyError) as error:
        text = f"cannot open {scrub(storage)}: {' '.join(str(error).split())[:200]}"
        raise UserError(f"storage: {scrub(text)}") from error
    if is_empty:
        raise UserError(f"storage: there is no study in {scrub(storage)}")
    return opened


def find_study(
    storage: str, name: str | None = None, *, retry_timeout_s: float = 0.0
) -> optuna.Study:
    """Open a study that exists.

    Args:
        storage: As for `find_address`.
        name: The study; may be left out where there is one only.
        retry_timeout_s: How long to wait for a storage that is away, in seconds.

    Raises:
        UserError: There is no such storage or study; the names that exist are listed.
    """
    opened = open_existing(storage, retry_timeout_s=retry_timeout_s)
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


def find_run_dir(storage: str, study: optuna.Study, run_dir: str | None = None) -> Path:
    """Find the run folder of a study that exists.

    Args:
        storage: As for `find_study`.
        run_dir: The folder, where the user names one.

    Returns:
        That folder; else the one that `storage` is; else the one where `optimize` has put the
        study's files, if it can be seen from here; else the one that holds the study's own
        journal; else `runs/<study name>`. A study may be anybody's, so that what it says of
        folders is believed only of one whose `config.yaml` is of this study.
    """
    if run_dir is not None:
        return run_folder(run_dir)
    folder = Path(storage).expanduser().resolve()
    if folder.is_dir():
        return folder
    default = (Path("runs") / folder_name(study.study_name)).resolve()
    noted = study.user_attrs.get(CONFIG, {})
    if noted.get("run_dir"):
        there = Path(str(noted["run_dir"])).expanduser().resolve()
        if _is_run_dir_of(there, study):
            return there
    elif noted.get("storage") and default.is_dir():
        return default
    return folder.parent if folder.name == JOURNAL else default


def _is_run_dir_of(folder: Path, study: optuna.Study) -> bool:
    path = folder / CONFIG_FILE
    if not path.is_file():
        return False
    try:
        config = make_config(read_yaml_mapping(path), imports=False)
    except UserError:
        return False  # another tool calls a file of its own so
    return config.name() == study.study_name
