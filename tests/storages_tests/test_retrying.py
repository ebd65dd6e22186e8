from __future__ import annotations

import contextlib
import errno
import logging
from typing import TYPE_CHECKING, Any

import grpc
import optuna
import pytest
import redis
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage, InMemoryStorage
from sqlalchemy.exc import IntegrityError, OperationalError, PendingRollbackError

from sb3_hpo.storages.open import open_storage
from sb3_hpo.storages.retrying import RetryingStorage, outage, retry, stop_retrying
from sb3_hpo.utils.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable


class Away(grpc.RpcError):
    def __init__(self, code: grpc.StatusCode) -> None:
        super().__init__(str(code))
        self._code = code

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return "Connection refused"


class Clock:
    """A time that passes only in pauses."""

    def __init__(self) -> None:
        self.now, self.pauses = 0.0, list[float]()

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def failing(n_failures: int, error: Exception) -> Callable[[], str]:
    left = [error] * n_failures

    def call() -> str:
        if left:
            raise left.pop()
        return "there"

    return call


def wrapped(cause: Exception) -> StorageInternalError:
    error = StorageInternalError("An exception is raised during the commit.")
    error.__cause__ = cause
    return error


def asked_again(first: Exception) -> PendingRollbackError:
    error = PendingRollbackError("Can't reconnect until invalid transaction is rolled back.")
    error.__context__ = first
    return error


DRIVER_ERROR = Exception("server closed the connection")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (ConnectionError("GRPC connection timeout"), "GRPC connection timeout"),
        (redis.ConnectionError("Connection refused"), "Connection refused"),
        (redis.exceptions.BusyLoadingError("loading"), "loading"),
        (
            redis.exceptions.OutOfMemoryError(
                "command not allowed when used memory > 'maxmemory'."
            ),
            "command",
        ),
        (redis.exceptions.ReadOnlyError("You can't write against a read only replica."), "You"),
        (
            redis.ResponseError(
                "Error running script (call to f_1): @user_script:1: -OOM command "
                "not allowed when used memory > 'maxmemory'."
            ),
            "Error running",
        ),
        (redis.ResponseError("MISCONF Redis is configured to save RDB snapshots"), "MISCONF"),
        (Away(grpc.StatusCode.UNAVAILABLE), "Connection refused"),
        (OperationalError(None, None, DRIVER_ERROR), "server closed"),
        (wrapped(OperationalError(None, None, DRIVER_ERROR)), "server closed"),
        (wrapped(asked_again(OperationalError(None, None, DRIVER_ERROR))), "server closed"),
        (wrapped(asked_again(IntegrityError(None, None, DRIVER_ERROR))), None),
        (OSError(errno.EACCES, "Permission denied"), None),
        (Away(grpc.StatusCode.UNKNOWN), None),
        (redis.ResponseError("WRONGTYPE"), None),
        (wrapped(IntegrityError(None, None, DRIVER_ERROR)), None),
        (UpdateFinishedTrialError(), None),
        (KeyError("x"), None),
    ],
)
def test_outage(error: Exception, reason: str | None) -> None:
    said = outage(error)
    assert said is reason is None or str(said).startswith(str(reason))


def test_retry_waits_longer_and_longer_until_it_works(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    caplog.set_level(logging.WARNING)
    error = redis.ConnectionError("Connection refused")
    call = failing(8, error)
    assert retry(call, "redis://h", lambda: 60, clock=clock, sleep=clock.sleep) == "there"
    assert clock.pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert [record.message for record in caplog.records] == [
        "redis://h: Connection refused; trying again for 60 s",
        "redis://h is back after 16.3 s",
    ]


def test_retry_gives_up_when_its_time_is_over() -> None:
    clock = Clock()
    call = failing(99, OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(
        UserError, match=r"^storage: a\.journal cannot be used for 6 s \(No space left on device\)"
    ):
        retry(call, "a.journal", lambda: 9, clock=clock, sleep=clock.sleep)


def test_retry_passes_other_errors_through_at_once() -> None:
    clock = Clock()
    with pytest.raises(KeyError):
        retry(failing(1, KeyError("x")), "s", lambda: 9, clock=clock, sleep=clock.sleep)
    assert clock.pauses == []


def test_patient_storage_has_every_method_of_optuna_s(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [n for n, v in vars(BaseStorage).items() if callable(v) and not n.startswith("_")]
    called = []
    inner = InMemoryStorage()
    for name in names:
        monkeypatch.setattr(
            inner, name, lambda *args, name=name, **kwargs: called.append((name, args, kwargs))
        )
    patient = open_storage(":memory:")
    assert isinstance(patient, RetryingStorage)
    patient.storage = inner
    for name in names:
        getattr(patient, name)(1, deepcopy=False)
    assert called == [(name, (1,), {"deepcopy": False}) for name in names]
    assert len(names) >= 25


def test_hurry_ends_a_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    study = optuna.create_study(storage=open_storage(":memory:", retry_timeout_s=300))
    monkeypatch.setattr("sb3_hpo.storages.retrying._FIRST_PAUSE_S", 0.0)

    def away(*_args: Any, **_kwargs: Any) -> None:
        stop_retrying(study)
        raise redis.ConnectionError("Connection refused")

    storage = study._storage
    assert isinstance(storage, RetryingStorage)
    monkeypatch.setattr(storage.storage, "get_study_user_attrs", away)
    monkeypatch.setattr("sb3_hpo.storages.retrying._FIRST_PAUSE_S", 0.1)
    with pytest.raises(UserError, match="cannot be used \\(Connection refused\\)"):
        _ = study.user_attrs


def test_time_that_is_over_is_not_spent_again_until_a_call_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    monkeypatch.setattr(retry, "__kwdefaults__", {"clock": clock, "sleep": clock.sleep})
    storage = open_storage(":memory:", retry_timeout_s=20)
    assert isinstance(storage, RetryingStorage)
    error = redis.ConnectionError("Connection refused")
    waits = []
    for n_failures in (99, 99, 0, 4):
        monkeypatch.setattr(storage.storage, "get_all_studies", failing(n_failures, error))
        start = clock.now
        with contextlib.suppress(UserError):
            storage.get_all_studies()
        waits.append(clock.now - start)
    assert waits == pytest.approx([16.3, 0, 0, 1.5])
    assert storage.n_outages == 3


def test_later_errors_say_what_the_first_one_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last one is what the user sees, and it comes from who cleans up."""
    clock = Clock()
    monkeypatch.setattr(retry, "__kwdefaults__", {"clock": clock, "sleep": clock.sleep})
    storage = open_storage(":memory:", retry_timeout_s=20)
    assert isinstance(storage, RetryingStorage)
    away = failing(99, redis.ConnectionError("Connection refused"))
    monkeypatch.setattr(storage.storage, "get_all_studies", away)
    for _ in range(2):
        with pytest.raises(UserError, match=r"cannot be used for 16 s \(Connection refused\)"):
            storage.get_all_studies()


def test_server_that_does_not_answer_is_not_asked_again_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr("sb3_hpo.storages.retrying.time.monotonic", lambda: now[0])
    storage = open_storage(":memory:")
    assert isinstance(storage, RetryingStorage)
    asked = []

    def hang(study_id: int) -> None:
        asked.append(study_id)
        now[0] += 10
        raise redis.TimeoutError("Timeout reading from socket")

    monkeypatch.setattr(storage.storage, "delete_study", hang)
    for number, pause in enumerate((0, 1, 20)):
        now[0] += pause
        with pytest.raises(UserError, match=r"cannot be used \(Timeout reading|for 10 s"):
            storage.delete_study(number)
    assert asked == [0, 2]
