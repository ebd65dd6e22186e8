"""Storages on servers: what is asked of them, and what is made of their answers."""

from __future__ import annotations

import json
from typing import Any

import optuna
import pytest
import redis
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError

from sb3_hpo.storages.open import open_storage
from sb3_hpo.storages.servers import RedisBackend, limits
from sb3_hpo.utils.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")

URL = "redis://me:secret@h:6379/0"


class FakeRedis:
    """As much of a Redis client as a journal needs."""

    def __init__(self) -> None:
        self.keys: dict[str, bytes] = {}
        self.policy: str | None = "noeviction"
        self.n_calls = 0

    def get(self, key: str) -> bytes | None:
        self.n_calls += 1
        return self.keys.get(key)

    def mget(self, keys: list[str]) -> list[bytes | None]:
        self.n_calls += 1
        return [self.keys.get(key) for key in keys]

    def exists(self, key: str) -> int:
        return int(key in self.keys)

    def set(self, key: str, value: bytes) -> None:
        self.keys[key] = value

    def setnx(self, key: str, value: int) -> None:
        self.keys.setdefault(key, str(value).encode())

    def eval(self, _script: str, _n_keys: int, _prefix: str, log: str) -> None:
        number = int(self.keys[":log_number"]) + 1
        self.keys |= {":log_number": str(number).encode(), f":log:{number}": log.encode()}

    def info(self, section: str) -> dict[str, str]:
        assert section == "memory"
        if self.policy is None:
            raise redis.exceptions.NoPermissionError("NOPERM")
        return {"maxmemory_policy": self.policy}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> FakeRedis:
    fake = FakeRedis()
    monkeypatch.setattr(redis.Redis, "from_url", lambda *_args, **_options: fake)
    return fake


def make_study() -> optuna.Study:
    return optuna.create_study(storage=open_storage(URL), study_name="s", load_if_exists=True)


def test_redis_keeps_a_study_and_reads_it_in_few_calls(server: FakeRedis) -> None:
    make_study().optimize(lambda trial: trial.suggest_float("x", 0, 1), 20)
    server.n_calls = 0
    storage = open_storage(URL)
    assert server.n_calls == 3  # for a snapshot, the number of operations, and these
    study = optuna.load_study(storage=storage, study_name="s")
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 20


def test_redis_reads_in_portions(server: FakeRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    make_study().set_user_attr("key", 1)
    backend = RedisBackend(URL)
    monkeypatch.setattr("sb3_hpo.storages.servers._AT_ONCE", 1)
    assert [log["op_code"] for log in backend.read_logs(0)] == [0, 2]
    assert [log["op_code"] for log in backend.read_logs(1)] == [2]
    assert list(backend.read_logs(2)) == []


@pytest.mark.parametrize(
    ("key", "what"),
    [(":log:1", "operation 2 of 3"), (":log:0", "operation 1 of 3"),
     (":log_number", "the number of its operations")],
)  # fmt: skip
def test_redis_without_one_of_its_keys_is_told_at_once(
    key: str, what: str, server: FakeRedis
) -> None:
    study = make_study()
    study.set_user_attr("key", 1)
    study.set_user_attr("key", 2)
    del server.keys[key]
    with pytest.raises(UserError) as caught:
        open_storage(URL, retry_timeout_s=300)
    assert str(caught.value) == (
        f"storage: redis://***@h:6379/0 has lost {what} (evicted, or deleted), and all later ones "
        "count on it; start anew in another database of the server (a URL that ends in /1), "
        "after `CONFIG SET maxmemory-policy noeviction`"
    )


def test_redis_that_lost_its_latest_operations_is_told_to_who_has_seen_them(
    server: FakeRedis,
) -> None:
    study = make_study()
    study.set_user_attr("key", 1)
    server.keys[":log_number"] = b"0"
    with pytest.raises(UserError, match=r"has lost 1 operations, probably by a restart"):
        _ = study.user_attrs


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
def test_redis_that_evicts_is_refused_before_anything_is_written(
    policy: str, server: FakeRedis
) -> None:
    server.policy = policy
    with pytest.raises(UserError) as caught:
        make_study()
    assert str(caught.value) == (
        "storage: redis://***@h:6379/0 deletes operations when its memory is full "
        f"(maxmemory-policy {policy}), which breaks the study; let it refuse new ones: "
        "`CONFIG SET maxmemory-policy noeviction`"
    )
    assert server.keys == {}


def test_redis_that_evicts_can_still_be_read(server: FakeRedis) -> None:
    make_study().set_user_attr("key", 1)
    server.policy = "allkeys-lru"
    assert optuna.load_study(storage=open_storage(URL), study_name="s").user_attrs == {"key": 1}


def test_redis_that_does_not_say_its_policy_is_taken(server: FakeRedis) -> None:
    server.policy = None
    make_study().set_user_attr("key", 1)
    assert json.loads(server.keys[":log:1"])["user_attr"] == {"key": 1}


def test_redis_connection_has_limits() -> None:
    pool = RedisBackend("redis://h:6379/0")._redis.connection_pool
    assert pool.connection_kwargs["socket_timeout"] == 5
    assert pool.connection_kwargs["socket_connect_timeout"] == 5
    own = RedisBackend("redis://h:6379/0?socket_timeout=60")._redis.connection_pool
    assert own.connection_kwargs["socket_timeout"] == 60


@pytest.mark.parametrize(
    ("url", "names"),
    [
        ("mysql+pymysql://h/db", {"connect_timeout", "read_timeout", "write_timeout"}),
        ("mariadb+pymysql://h/db?read_timeout=9", {"connect_timeout", "write_timeout"}),
        ("sqlite:////x.db", {"timeout"}),
        ("mysql+mysqldb://h/db", set()),
    ],
)
def test_limits(url: str, names: set[str]) -> None:
    assert set(limits(url)["connect_args"]) == names


@pytest.mark.parametrize("url", ["mysql+pymysql://h/db", "postgresql+psycopg://h/db"])
def test_limits_are_known_to_the_driver(url: str) -> None:
    """It refuses options that it does not know before it connects."""
    url = url.replace("//h", "//127.0.0.1:1")
    with pytest.raises(OperationalError, match=r"127\.0\.0\.1"):
        create_engine(url, **limits(url)).connect()


def test_grpc_calls_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[Any] = []
    monkeypatch.setattr(
        optuna.storages.GrpcStorageProxy, "wait_server_ready", lambda *_args, **_options: None
    )
    monkeypatch.setattr(
        "grpc._channel._UnaryUnaryMultiCallable.__call__",
        lambda _self, _request, timeout=None: waited.append(timeout),
    )
    storage = open_storage("grpc://127.0.0.1:1")
    with pytest.raises(AttributeError):
        storage.get_all_studies()
    assert waited == [10]
