from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import optuna
import pytest

from sb3_hpo.storages.address import StorageAddress
from sb3_hpo.storages.open import open_storage
from sb3_hpo.utils.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path


def test_parse_relative_becomes_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert StorageAddress.parse("runs/../a.journal").journal == tmp_path.resolve() / "a.journal"
    assert StorageAddress.parse("journal://a.journal").journal == tmp_path.resolve() / "a.journal"


def test_parse_home_is_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert StorageAddress.parse("~/a.journal").journal == tmp_path.resolve() / "a.journal"


@pytest.mark.parametrize(
    ("text", "kind", "url"),
    [
        ("redis://h:6379/0", "redis", "redis://h:6379/0"),
        ("rediss://h", "redis", "rediss://h"),
        ("grpc://h:13000", "grpc", "grpc://h:13000"),
        ("postgresql://u:p@h/db", "database", "postgresql+psycopg://u:p@h/db"),
        ("postgres://u:p@h/db", "database", "postgresql+psycopg://u:p@h/db"),
        ("postgresql+psycopg://h/db", "database", "postgresql+psycopg://h/db"),
        ("mysql://u@h/db", "database", "mysql+pymysql://u@h/db"),
        (":memory:", "memory", ":memory:"),
    ],
)
def test_parse_url(text: str, kind: str, url: str) -> None:
    assert StorageAddress.parse(text) == StorageAddress(kind, url)  # type: ignore[arg-type]


def test_parse_sqlite_path_becomes_absolute(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    address = StorageAddress.parse("sqlite:///a.db")
    assert address == StorageAddress("sqlite", f"sqlite:///{tmp_path.resolve()}/a.db")
    assert address.journal is None


def test_str_hides_the_password() -> None:
    address = StorageAddress.parse("postgresql://me:secret@h/db")
    assert "secret" in address.text
    assert str(address) == "postgresql+psycopg://***@h/db"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("posgresql://h/db", r"unknown scheme 'posgresql'; did you mean 'postgresql'\?"),
        ("mongodb://h/db", r"unknown scheme 'mongodb'; Known: grpc, journal, mariadb"),
        ("redis://***@h/0", r"the password was left out of redis://\*\*\*@h/0; give --storage"),
        (
            "sqlite:/x.db",
            r"`sqlite:\.\.\.` is no URL; write sqlite:///\.\.\., or \./sqlite:\.\.\. for",
        ),
        ("sqlite:x", r"`sqlite:\.\.\.` is no URL; write sqlite:///\.\.\., or"),
        (
            "redis::secret@host:6379/0",
            r"`redis:\.\.\.` is no URL; write redis://\.\.\., or [^:]*:\.\.\. f",
        ),
        ("sqlite://", r"sqlite:/// needs a file: sqlite:///study\.db"),
        ("postgresql://me:secret@h:port/db", r"postgresql://\*\*\*@h:port/db is no URL"),
        ("postgresql+nosuch://h/db", r"SQLAlchemy knows no postgresql\+nosuch://; write postgr"),
        ("mysql+mysqldb://h/db", r"mysql\+mysqldb:// needs MySQLdb: install it, or write mysql:"),
        (" redis://me:secret@h", r" redis://\*\*\*@h is neither a URL nor a path"),
        ("a\0b", r"must have no control characters, but has '\\x00'$"),
        ("postgresql://me:se@cret@h/db", r"`@`, [^\n]*, but postgresql://\*\*\*@h/db has one"),
    ],
)
def test_parse_mistakes(text: str, message: str) -> None:
    with pytest.raises(UserError, match=f"^storage: {message}"):
        StorageAddress.parse(text)


@pytest.mark.parametrize(
    ("url", "package", "extra"),
    [
        ("redis://h", "redis", "redis"),
        ("grpc://h:1", "grpc", "grpc"),
        ("postgresql://h/db", "psycopg", "postgresql"),
        ("mysql://h/db", "pymysql", "mysql"),
    ],
)
def test_parse_without_its_package_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, url: str, package: str, extra: str
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == package else name)
    with pytest.raises(UserError, match=rf"needs {package}: pip install .*\[{extra}\]'"):
        StorageAddress.parse(url)


@pytest.mark.parametrize("url", ["grpc://h", "grpc://h:port", "grpc://h:1/x"])
def test_parse_grpc_needs_host_and_port(url: str) -> None:
    with pytest.raises(UserError, match=r"`grpc://host:port` must hold, but got grpc://h"):
        StorageAddress.parse(url)


def test_parse_grpc_has_no_password_and_prints_none() -> None:
    with pytest.raises(UserError, match=r"but got grpc://\*\*\*@h:1$"):
        StorageAddress.parse("grpc://me:secret@h:1")


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "grpc://127.0.0.1:1",
                                 "postgresql://me:secret@127.0.0.1:1/db",
                                 "mysql://me:secret@127.0.0.1:1/db"])  # fmt: skip
def test_open_storage_without_a_server_says_so_at_once(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sb3_hpo.storages.servers._GRPC_READY_S", 0.1)
    with pytest.raises(
        UserError,
        match=r"^storage: [^\n]*127\.0\.0\.1:1[^\n]* cannot be used( for \d+ s)? \([^\n]+\)",
    ) as caught:
        open_storage(url, retry_timeout_s=300)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["redis://127.0.0.1:1/0?nosuch=1", "mysql://127.0.0.1:1/db?nosuch=1",
     "sqlite:///FOLDER/a.db?nosuch=1"],
)  # fmt: skip
def test_open_storage_names_an_option_that_the_driver_does_not_know(
    url: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"^storage: .*: the driver knows no option 'nosuch': rem"):
        open_storage(url.replace("FOLDER", str(tmp_path)))


def test_open_storage_memory_keeps_a_study() -> None:
    study = optuna.create_study(storage=open_storage(":memory:"))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), 2)
    assert len(study.trials) == 2


def test_open_storage_sqlite_keeps_a_study(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    optuna.create_study(storage=open_storage(url), study_name="s").optimize(lambda _: 1.5, 2)
    again = optuna.load_study(storage=open_storage(url), study_name="s")
    assert [trial.value for trial in again.trials] == [1.5, 1.5]


def test_parse_sqlite_file_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "a.db") as connection:
        connection.execute("create table t (x)")
    connection.close()
    with pytest.raises(UserError, match=r"a\.db is an SQLite database; write sqlite:///"):
        StorageAddress.parse(str(tmp_path / "a.db"))


def test_parse_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is a folder; give a file in it, e\.g\. study\.journal"):
        StorageAddress.parse(str(tmp_path))


@pytest.mark.parametrize("content", [b"a,b\n1,2", b"\x00\x01\x02", b"{}\n"])
def test_parse_other_file_is_refused_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "results.csv").write_bytes(content)
    with pytest.raises(UserError, match=r"results\.csv is not a journal"):
        open_storage(str(tmp_path / "results.csv"))
    assert (tmp_path / "results.csv").read_bytes() == content
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("host", ["localhost:99999", "localhost:abc", "[::1"])
def test_redis_with_an_impossible_port_is_refused(host: str) -> None:
    with pytest.raises(UserError, match=r"^storage: redis://\S+ is no URL of a server: "):
        StorageAddress.parse(f"redis://{host}/0")
