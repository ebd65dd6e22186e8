"""A storage whose server may restart, or whose disk may fill up, while a study runs."""

from __future__ import annotations

import abc
import errno
import logging
import re
import sys
import time
from typing import TYPE_CHECKING, Any

from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage

from sb3_hpo.utils.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

    import optuna

_logger = logging.getLogger(__name__)

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0
_RESPITE = 2.0  # times as long as the last call took
_PASSING_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.ESTALE)
# Memory or disk full, or a copy that is about to become the server.
_REDIS_FULL = re.compile(r"not allowed when used memory >|\bMISCONF\b|read only replica")


class StorageAwayError(StorageError):
    """A storage was away for longer than `--storage-timeout`."""


def outage(error: BaseException) -> str | None:
    """Say what is wrong with a storage, if it is something that may pass.

    Args:
        error: What a call to it raised.

    Returns:
        The reason in words, or None for everything else: bugs, and answers such as "finished".
    """
    from sqlalchemy.exc import InterfaceError, OperationalError, PendingRollbackError

    if isinstance(error, OSError) and error.errno in _PASSING_ERRORS:
        return error.strerror
    if isinstance(error, ConnectionError):  # Python's own, which Optuna's gRPC client raises
        return str(error)
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    if isinstance(cause, PendingRollbackError):
        # Optuna asks once more in the session that has just lost its connection.
        cause = cause.__context__
    if isinstance(cause, OperationalError | InterfaceError):
        return _short(cause.orig)
    redis, grpc = sys.modules.get("redis"), sys.modules.get("grpc")  # optional packages
    if redis is not None and isinstance(error, redis.RedisError):
        is_away = isinstance(error, redis.ConnectionError | redis.TimeoutError)
        return _short(error) if is_away or _REDIS_FULL.search(str(error)) else None
    if grpc is not None and isinstance(error, grpc.RpcError):
        passing = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
        return _short(error.details()) if error.code() in passing else None
    return None


def _short(error: object) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def retry(
    call: Callable[[], Any],
    what: str,
    retry_timeout_s: Callable[[], float],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Any:
    """Call until it works, it fails for another reason than an outage, or time is over.

    Args:
        call: What to call.
        what: The storage, for messages.
        retry_timeout_s: Says how long to go on trying, in seconds; asked before every pause.
        clock: Seconds; tests pass their own.
        sleep: Pauses; tests pass their own.

    Returns:
        What the call returned.

    Raises:
        StorageAwayError: The storage was away for too long.
    """
    start, pause = clock(), _FIRST_PAUSE_S
    while True:
        try:
            result = call()
        except Exception as error:
            reason = outage(error)
            if reason is None:
                raise
            waited = clock() - start
            if waited + pause > retry_timeout_s():
                lasting = f" for {waited:.0f} s" if waited >= 1 else ""
                raise StorageAwayError(
                    f"storage: {what} cannot be used{lasting} ({reason}); once it can, the same "
                    "command goes on from what is in it"
                ) from error
            if pause == _FIRST_PAUSE_S:
                _logger.warning("%s: %s; trying again for %g s", what, reason, retry_timeout_s())
            sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)
        else:
            if pause > _FIRST_PAUSE_S:
                _logger.warning("%s is back after %.1f s", what, clock() - start)
            return result


def _delegating(cls: type[RetryingStorage]) -> type[RetryingStorage]:
    """Give the class every public method of Optuna's storages, whatever their number."""

    def delegate(name: str) -> Callable[..., Any]:
        def method(self: RetryingStorage, *args: Any, **kwargs: Any) -> Any:
            if self._gave_up is not None and time.monotonic() < self._next_try:
                raise self._gave_up
            call = getattr(self.storage, name)
            failed = False

            def attempt() -> Any:
                start = time.monotonic()
                try:
                    return call(*args, **kwargs)
                finally:
                    self._next_try = time.monotonic() + _RESPITE * (time.monotonic() - start)

            def time_left() -> float:
                nonlocal failed
                failed = True
                return self._time_left()

            try:
                result = retry(attempt, self.what, time_left)
            except StorageAwayError as error:
                self._gave_up = self._gave_up or error
                raise self._gave_up from error.__cause__
            finally:
                self.n_outages += failed
            self._gave_up = None
            return result

        return method

    for name, value in vars(BaseStorage).items():
        if callable(value) and not name.startswith("_"):
            setattr(cls, name, delegate(name))
    return abc.update_abstractmethods(cls)


@_delegating
class RetryingStorage(BaseStorage):
    """Repeats the calls to another storage while that is away.

    A call whose answer was lost may be carried out twice. That is harmless: a second trial that
    nobody runs shows no beat and is given to another worker, and a trial that was told already is
    finished.

    Attributes:
        storage: The other one.
        what: Its name in messages.
        retry_timeout_s: How long a call may wait for it, in seconds.
        n_outages: How many calls had to wait for it.
    """

    def __init__(self, storage: BaseStorage, what: str, retry_timeout_s: float) -> None:
        self.storage, self.what, self.retry_timeout_s = storage, what, retry_timeout_s
        self.n_outages = 0
        self._gave_up: StorageAwayError | None = None
        self._next_try = 0.0  # a server that lets us wait is not asked again at once

    def _time_left(self) -> float:
        # Whoever cleans up after that time must not wait as long again.
        return self.retry_timeout_s if self._gave_up is None else 0.0


def stop_retrying(study: optuna.Study) -> None:
    """Let the calls to a study's storage wait no longer, also one that waits now."""
    if isinstance(study._storage, RetryingStorage):
        study._storage.retry_timeout_s = 0.0


def outages(study: optuna.Study) -> int:
    """Return how often this process has found a study's storage away."""
    storage = study._storage
    return storage.n_outages if isinstance(storage, RetryingStorage) else 0
