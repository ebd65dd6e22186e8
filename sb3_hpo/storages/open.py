"""Optuna storages, opened so that a crash cannot wedge them."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING

import optuna
from optuna.storages import InMemoryStorage, JournalStorage
from sqlalchemy.exc import SAWarning

from sb3_hpo.storages.address import StorageAddress, grpc_host
from sb3_hpo.storages.journal import CheckedJournal, JournalBackend
from sb3_hpo.storages.retrying import RetryingStorage, retry
from sb3_hpo.storages.servers import RedisBackend, open_database, open_grpc
from sb3_hpo.utils.errors import UserError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage


def open_storage(
    address: StorageAddress | str, *, retry_timeout_s: float = 0.0, waits_to_open: bool = False
) -> BaseStorage:
    """Open a storage. To be called inside the process that uses it, never before a fork.

    Args:
        address: Where it is, or what `--storage` takes; the folder of a file must exist.
        retry_timeout_s: How long its calls wait for a server that is away or a disk that is
            full, in seconds.
        waits_to_open: Whether opening waits as well. A mistyped address is better told at once.

    Returns:
        The storage; a journal's torn tail is repaired.

    Raises:
        UserError: It cannot be opened now.
    """
    if isinstance(address, str):
        address = StorageAddress.parse(address)
    to_open_s = retry_timeout_s if waits_to_open else 0.0
    storage = retry(lambda: _open(address), str(address), lambda: to_open_s)
    # Its methods come from a decorator.
    return RetryingStorage(storage, str(address), retry_timeout_s)  # type: ignore[abstract]


def _open(address: StorageAddress) -> BaseStorage:
    if address.kind == "memory":
        return InMemoryStorage()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if address.kind == "grpc":
            return open_grpc(*grpc_host(address.text))
        if address.journal is not None:
            return CheckedJournal(JournalBackend(address.journal))
        warnings.simplefilter("error", SAWarning)  # of an option that would have no effect
        try:
            if address.kind == "redis":
                return JournalStorage(RedisBackend(address.text))
            return open_database(address.text)
        except (TypeError, SAWarning) as error:
            for option in re.findall(r"'(\w+)'", str(error)):
                if re.search(rf"[?&]{option}=", address.text):
                    text = f"storage: {address}: the driver knows no option {option!r}: remove it"
                    raise UserError(text) from error
            raise
