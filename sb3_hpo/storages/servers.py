"""Storages on servers, so that nothing waits for one for ever and nothing is lost unnoticed."""

from __future__ import annotations

import functools
import json
import logging
import time
from typing import TYPE_CHECKING, Any

import optuna
from optuna.storages import GrpcStorageProxy, RDBStorage
from optuna.storages.journal import JournalRedisBackend
from sqlalchemy import Text, event, make_url, text
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError

from sb3_hpo.utils.errors import StorageError, UserError
from sb3_hpo.utils.urls import scrub

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from optuna.storages import BaseStorage
    from sqlalchemy import Engine

_ANSWER_S = 10  # of a call; then it counts as away, and is asked again
_CREATION_ATTEMPTS = 5
_GRPC_READY_S = 5.0
_REDIS_ANSWER_S = 5  # it answers in milliseconds
_POSTGRESQL_ANSWER_S = 5  # a call may wait for it twice: connected, and anew
_AT_ONCE = 500  # operations that are asked for in one call
_NOT_ALLOWED, _TABLE_EXISTS = (1044, 1142, 1227), 1050  # MySQL's words


class RedisBackend(JournalRedisBackend):
    """Optuna's journal in Redis, told apart from one that has lost some of it.

    Optuna appends by a script, which Redis carries out as a whole or not at all.
    """

    def __init__(self, url: str) -> None:
        """Prepare; nothing is asked yet.

        Args:
            url: Of the server.
        """
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        super().__init__(url)
        self._redis = redis.Redis.from_url(
            url, socket_timeout=_REDIS_ANSWER_S, socket_connect_timeout=_REDIS_ANSWER_S,
            retry=Retry(NoBackoff(), 1),  # for a connection that went stale
        )  # fmt: skip
        self._keeps_all = False

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        """Read operations.

        Args:
            log_number_from: Number of the first one.

        Yields:
            One after the other.

        Raises:
            StorageError: Some are not there any more.
        """
        n_there = self._n_there()
        if n_there < log_number_from:
            raise StorageError(
                f"storage: {scrub(self._url)} has lost {log_number_from - n_there} "
                "operations, probably by a restart (see Redis's `appendonly`); give the "
                "same command again to go on from what it has"
            )
        for start in range(log_number_from, n_there, _AT_ONCE):
            numbers = range(start, min(start + _AT_ONCE, n_there))
            logs = self._redis.mget([self._key_log_id(number) for number in numbers])
            for number, log in zip(numbers, logs, strict=True):
                if log is None:
                    raise self._lost(f"operation {number + 1:,} of {n_there:,}")
                yield json.loads(log)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append operations.

        Args:
            logs: The operations.

        Raises:
            UserError: The server would delete them when its memory is full.
        """
        if not self._keeps_all:
            _check_policy(self._redis, self._url)
            self._keeps_all = True
        super().append_logs(logs)

    def _n_there(self) -> int:
        number = self._redis.get(f"{self._prefix}:log_number")
        if number is None and self._redis.exists(self._key_log_id(0)):
            raise self._lost("the number of its operations")
        return 0 if number is None else int(number) + 1

    def _lost(self, what: str) -> StorageError:
        return StorageError(
            f"storage: {scrub(self._url)} has lost {what} (evicted, or deleted), and all later "
            "ones count on it; start anew in another database of the server (a URL that ends in "
            "/1), after `CONFIG SET maxmemory-policy noeviction`"
        )


def _check_policy(server: Any, url: str) -> None:
    """Refuse a Redis that deletes what it has no room for."""
    import redis

    try:
        policy = server.info("memory").get("maxmemory_policy", "noeviction")
    except redis.exceptions.NoPermissionError:
        return
    if policy != "noeviction":
        raise UserError(
            f"storage: {scrub(url)} deletes operations when its memory is full (maxmemory-policy "
            f"{policy}), which breaks the study; let it refuse new ones: "
            "`CONFIG SET maxmemory-policy noeviction`"
        )


def open_grpc(host: str, port: int) -> BaseStorage:
    """Open Optuna's gRPC proxy.

    Args:
        host: Where it is.
        port: At which port.
    """
    proxy = GrpcStorageProxy(host=host, port=port)
    proxy.wait_server_ready(timeout=_GRPC_READY_S)
    for name, call in list(vars(proxy._stub).items()):
        setattr(proxy._stub, name, functools.partial(call, timeout=_ANSWER_S))
    return proxy


def limits(url: str) -> dict[str, Any]:
    """Return SQLAlchemy's arguments of an engine that does not wait for ever.

    Args:
        url: Of the database; what it says itself holds.
    """
    parts = make_url(url)
    own: dict[str, int] = {}
    if parts.drivername == "sqlite":
        own = {"timeout": 60}
    elif parts.drivername.endswith("+pymysql"):
        own = dict.fromkeys(("connect_timeout", "read_timeout", "write_timeout"), _ANSWER_S)
    elif parts.drivername == "postgresql+psycopg":
        # For a network that is cut; `_limit_answers` is for a server that is stopped.
        own = {
            "connect_timeout": _POSTGRESQL_ANSWER_S, "tcp_user_timeout": 1000 * _ANSWER_S,
            "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 4,
        }  # fmt: skip
    return {"connect_args": {key: n for key, n in own.items() if key not in parts.query}}


def open_database(url: str) -> BaseStorage:
    """Open a database; several processes may be making its tables at this moment.

    Args:
        url: Of the database.

    Raises:
        UserError: It refuses an option of the URL, or its user may not make tables.
    """
    # At a lost connection it shows a traceback of its own, besides the error that we tell.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    for attempt in range(_CREATION_ATTEMPTS):
        try:
            storage = RDBStorage(url, engine_kwargs={"pool_pre_ping": True, **limits(url)})
            if storage.engine.dialect.name in ("mysql", "mariadb"):
                _widen(storage.engine, url)
            if storage.engine.dialect.driver == "psycopg":
                _limit_answers(storage.engine)
            return optuna.storages.get_storage(storage)
        except DBAPIError as error:
            if attempt < _CREATION_ATTEMPTS - 1 and _others_were_first(error):
                time.sleep(0.2 * 2**attempt)
                continue
            if isinstance(error, ProgrammingError):  # an option unknown, a right not granted
                why = " ".join(str(error.orig).split())[:200]
                raise UserError(f"storage: {scrub(url)} refuses: {why}") from error
            raise
    raise AssertionError("the last attempt returns or raises")


def _limit_answers(engine: Engine) -> None:
    """Let no call wait for ever for a PostgreSQL that is stopped.

    Its machine goes on to say that all is received, for which libpq has no limit.
    """

    @event.listens_for(engine, "connect")
    def limit(connection: Any, _record: Any) -> None:
        wait = connection.wait

        def wait_with_limit(steps: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                return wait(_with_limit(steps), *args, **kwargs)
            except TimeoutError as error:
                connection.pgconn.finish()  # else it would be used again
                kind = engine.dialect.loaded_dbapi.OperationalError
                raise kind(f"no answer within {_POSTGRESQL_ANSWER_S} s") from error

        connection.wait = wait_with_limit

    engine.dispose()  # connections from before


def _with_limit(steps: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """Raise TimeoutError where steps of psycopg get nothing to read or write for too long."""
    give_up = time.monotonic() + _POSTGRESQL_ANSWER_S
    try:
        wanted = next(steps)
        while True:
            ready = yield wanted
            if ready:
                give_up = time.monotonic() + _POSTGRESQL_ANSWER_S
            elif time.monotonic() > give_up:
                raise TimeoutError
            wanted = steps.send(ready)
    except StopIteration as stop:
        return stop.value


def _others_were_first(error: DBAPIError) -> bool:
    """Say whether another process was making the same table."""
    is_there = error.orig is not None and error.orig.args[:1] == (_TABLE_EXISTS,)
    return is_there or isinstance(error, IntegrityError | ProgrammingError)


def _widen(engine: Engine, url: str) -> None:
    """Let columns hold more than the 64 kB of MySQL's TEXT: the record of a trial may need it."""
    from optuna.storages._rdb.models import BaseModel

    wanted = {
        (table.name, column.name)
        for table in BaseModel.metadata.tables.values()
        for column in table.columns
        if isinstance(column.type, Text)
    }
    found = text(
        "SELECT table_name, column_name FROM information_schema.columns "
        "WHERE table_schema = DATABASE() AND data_type = 'text'"
    )
    with engine.connect() as connection:
        narrow = sorted(wanted.intersection((row[0], row[1]) for row in connection.execute(found)))
        changes = [f"ALTER TABLE {table} MODIFY {column} LONGTEXT" for table, column in narrow]
        try:
            for change in changes:
                connection.execute(text(change))
        except DBAPIError as error:
            if error.orig is None or error.orig.args[0] not in _NOT_ALLOWED:
                raise
            raise UserError(
                f"storage: {scrub(url)} holds at most 64 kB of what a trial records, and its user "
                f"may not change that; let its owner run: {'; '.join(changes)}"
            ) from error
