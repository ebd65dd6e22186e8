"""Where a storage is: `--storage`, read and checked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from sb3_hpo.utils.errors import UserError, check_installed, unknown_name
from sb3_hpo.utils.urls import HIDDEN, check_url, scrub

Kind = Literal["journal", "redis", "grpc", "database", "sqlite", "memory"]


_URL = re.compile(r"(\w[\w+]*)://")


_KINDS: dict[str, Kind] = {
    "journal": "journal", "redis": "redis", "rediss": "redis", "grpc": "grpc",
    "sqlite": "sqlite", "postgresql": "database", "mysql": "database", "mariadb": "database",
}  # fmt: skip


_DRIVERS = {"postgresql": "psycopg", "mysql": "pymysql", "mariadb": "pymysql"}


_NEEDS = {  # import names, and the extra that brings them
    "redis": (("redis",), "redis"),
    "grpc": (("grpc", "google.protobuf"), "grpc"),
    "postgresql": (("psycopg",), "postgresql"),
    "mysql": (("pymysql",), "mysql"),
    "mariadb": (("pymysql",), "mysql"),
}


_LINE_START = b'{"op_code":'  # of every line that Optuna writes


_LOOK = 1_000_000  # bytes in which some line of a journal begins, also of a damaged one


@dataclass(frozen=True)
class StorageAddress:
    """Where a storage is.

    Attributes:
        kind: Which of Optuna's storages it needs.
        text: An absolute path or a URL, with its password; `str()` hides that.
    """

    kind: Kind
    text: str

    @classmethod
    def parse(cls, text: str) -> StorageAddress:
        """Read what `--storage` takes.

        Args:
            text: Path of a journal file, `:memory:`, or a URL: `redis://`, `grpc://`,
                `postgresql://`, `mysql://`, `sqlite:///`, `journal://`. Relative paths are made
                absolute.

        Raises:
            UserError: It is of no known kind, misses a package, or is a file of another sort.
        """
        if control := [sign for sign in text if sign < " "]:
            raise UserError(f"storage: must have no control characters, but has {control[0]!r}")
        if text == ":memory:":
            return cls("memory", text)
        match = _URL.match(text)
        if match is None or match[1] == "journal":
            _check_is_path(text)
            return cls("journal", str(_journal_path(text.removeprefix("journal://"))))
        if HIDDEN in text:
            raise UserError(
                f"storage: the password was left out of {text}; give --storage with it"
            )
        check_url(text)
        scheme = {"postgres": "postgresql"}.get(match[1], match[1])
        dialect, _, driver = scheme.partition("+")
        if dialect not in _KINDS:
            raise UserError(f"storage: {unknown_name('scheme', scheme, _KINDS)}")
        kind = _KINDS[dialect]
        if not driver and dialect in _NEEDS:
            packages, extra = _NEEDS[dialect]
            check_installed(f"storage: {dialect}://", packages, extra=extra)
        if kind in ("database", "sqlite"):
            return cls(kind, _database_url(f"{scheme}{text[match.end(1) :]}"))
        if kind == "grpc":
            grpc_host(text)
        if kind == "redis":
            _check_port(text)
        return cls(kind, text)

    def __str__(self) -> str:
        return scrub(self.text)

    @property
    def journal(self) -> Path | None:
        """The journal file, if it is one."""
        return Path(self.text) if self.kind == "journal" else None


def _check_port(url: str) -> None:
    try:
        _ = urlsplit(url).port
    except ValueError as error:
        raise UserError(f"storage: {scrub(url)} is no URL of a server: {error}") from error


def _check_is_path(text: str) -> None:
    """Refuse a URL with too few slashes, which would become a journal of that name."""
    scheme, colon, rest = text.partition(":")
    known = (*_KINDS, "postgres")
    if colon and scheme.partition("+")[0].lower() in known and not rest.startswith("//"):
        slashes = ":///" if scheme.startswith("sqlite") else "://"
        raise UserError(  # without the rest, which may have a password
            f"storage: `{scheme}:...` is no URL; write {scheme}{slashes}..., or ./{scheme}:... "
            "for a file of that name"
        )


def is_folder(path: Path) -> bool:
    """Tell whether a path is a folder.

    Args:
        path: What the user says; no file need be there.

    Raises:
        UserError: No file can be there: a name is too long, say.
    """
    try:
        return path.is_dir()
    except OSError as error:
        text = scrub(str(path))
        raise UserError(f"storage: {text[:200]} cannot be a file: {error.strerror}") from error


def _journal_path(text: str) -> Path:
    if "://" in text:
        raise UserError(f"storage: {scrub(text)} is neither a URL nor a path")
    path = Path(text).expanduser().resolve()
    if is_folder(path):
        raise UserError(f"storage: {path} is a folder; give a file in it, e.g. study.journal")
    if path.is_file() and path.stat().st_size > 0:
        with path.open("rb") as file:
            start = file.read(_LOOK)
        if start.startswith(b"SQLite format 3"):
            raise UserError(f"storage: {path} is an SQLite database; write sqlite:///{path}")
        is_damaged = b"\n" + _LINE_START in start
        if not (start.startswith(_LINE_START) or _LINE_START.startswith(start) or is_damaged):
            raise UserError(f"storage: {path} is not a journal; give a new path or a study's own")
    return path


def _database_url(text: str) -> str:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:  # ValueError: of the port
        raise UserError(f"storage: {scrub(text)} is no URL of a database") from error
    dialect = url.get_backend_name()
    if dialect == "sqlite":
        if url.database in (None, "", ":memory:"):
            raise UserError("storage: sqlite:/// needs a file: sqlite:///study.db")
        url = url.set(database=str(Path(url.database).expanduser().resolve()))
        return url.render_as_string(hide_password=False)
    if url.drivername == dialect:
        url = url.set(drivername=f"{dialect}+{_DRIVERS[dialect]}")
    try:
        url.get_dialect().import_dbapi()
    except (NoSuchModuleError, ValueError) as error:  # ValueError: of a name with several dots
        raise UserError(
            f"storage: SQLAlchemy knows no {url.drivername}://; write {dialect}://"
        ) from error
    except ImportError as error:
        raise UserError(
            f"storage: {url.drivername}:// needs {error.name}: install it, or write {dialect}://"
        ) from error
    return url.render_as_string(hide_password=False)


def grpc_host(url: str) -> tuple[str, int]:
    """Return host and port of a `grpc://` URL."""
    match = re.fullmatch(r"grpc://([^:/@]+):(\d+)/?", url)
    if match is None:
        raise UserError(f"storage: `grpc://host:port` must hold, but got {scrub(url)}")
    return match[1], int(match[2])
