"""Real servers on loopback, which tests start, stop, kill and start again with what they kept."""

from __future__ import annotations

import abc
import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import ClassVar

import psutil

from tests.faults.attacked_studies import ROOT

PASSWORD = "s3cret-of-the-server"
_START_S = 60.0


class Server(abc.ABC):
    """A server whose data outlive its process."""

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    _user: str | None = None  # whom it runs as, where not as we do

    def __init__(self, folder: Path, *, password: str | None = None) -> None:
        """Choose a free port, which is kept over restarts; nothing is started yet."""
        self.folder, self.password = folder, password
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @staticmethod
    @abc.abstractmethod
    def missing() -> str | None:
        """Return why it cannot be started on this machine, or None."""

    @property
    @abc.abstractmethod
    def url(self) -> str:
        """What `--storage` takes, with the password."""

    @abc.abstractmethod
    def _command(self) -> list[str]: ...

    @abc.abstractmethod
    def _answers(self) -> bool:
        """Return whether it is ready; may raise an OSError instead."""

    def start(self) -> None:
        """Start it, and return when it answers."""
        give_up = time.monotonic() + _START_S
        while not self._is_ready():
            # A second try where the remains of a killed server were still ending.
            if self._process is None or self._process.poll() is not None:
                self._process = self._spawn(self._command())
            if time.monotonic() > give_up:
                self.kill()
                raise TimeoutError((self.folder / "server.log").read_text()[-2000:])
            time.sleep(0.05)

    def _is_ready(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            return False
        with contextlib.suppress(OSError):
            return self._answers()
        return False

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        with (self.folder / "server.log").open("ab") as log:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                user=self._user, group=self._user, extra_groups=[] if self._user else None,
            )  # fmt: skip

    def stop(self) -> None:
        """Let it end as its service manager would."""
        self._end(self.stop_signal)

    def kill(self) -> None:
        """Let it end as a power cut would, but for what the kernel has in its cache."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Let it neither answer nor close its connections, as when a network is cut."""
        for process in self._processes():
            process.suspend()

    def thaw(self) -> None:
        """Let it go on."""
        for process in self._processes():
            process.resume()

    def _processes(self) -> list[psutil.Process]:
        if self._process is None:
            return []
        process = psutil.Process(self._process.pid)
        return [process, *process.children(recursive=True)]

    def discard(self) -> None:
        """End it, whatever it does, and remove what it wrote outside its test's folder."""
        self.thaw()
        self.kill()

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(timeout=60)
            self._process = None


class Redis(Server):
    """Redis, which keeps its data only as far as it is told to."""

    name = "redis"

    def __init__(
        self,
        folder: Path,
        *,
        password: str | None = None,
        keeps: tuple[str, ...] = ("save", "1 1"),
    ) -> None:
        """Choose by Redis's own options what it keeps."""
        super().__init__(folder, password=password)
        self._keeps = keeps

    @staticmethod
    def missing() -> str | None:
        return None if shutil.which("redis-server") else "redis-server is not installed"

    @property
    def url(self) -> str:
        user = f":{self.password}@" if self.password else ""
        return f"redis://{user}127.0.0.1:{self.port}/0"

    def _command(self) -> list[str]:
        option, value = self._keeps
        words = ["--bind", "127.0.0.1", "--port", str(self.port), f"--{option}", value]
        if self.password is not None:
            words += ["--requirepass", self.password]
        return ["redis-server", *words]

    def _answers(self) -> bool:
        word = f"AUTH {self.password}\r\nPING\r\n" if self.password else "PING\r\n"
        with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
            connection.sendall(word.encode())
            said = connection.recv(64)
            if self.password and b"PONG" not in said:  # the two replies may come one by one
                said += connection.recv(64)
            return b"PONG" in said


class PostgreSQL(Server):
    """PostgreSQL; its folder is its own, as its user must be able to enter it."""

    name = "postgresql"
    stop_signal = signal.SIGINT  # the fast shutdown: SIGTERM waits for idle clients for ever

    def __init__(self, folder: Path, *, password: str | None = None) -> None:
        """Make an empty database in a folder below the system's temporary one."""
        super().__init__(Path(tempfile.mkdtemp(prefix=f"postgresql-{folder.name}-")))
        self.password = password
        if os.getuid() == 0:  # as which it does not run
            self._user = "postgres"
            shutil.chown(self.folder, self._user, self._user)
        secret = self.folder / "password"
        secret.write_text(password or "unused")
        secret.chmod(0o644)
        method = "scram-sha-256" if password else "trust"
        self._spawn([str(_program("initdb")), "--pgdata", str(self.folder / "data"), "--no-sync",
                     "--username", "tuner", "--auth", method, "--encoding", "UTF8",
                     "--pwfile", str(secret)]).wait(timeout=60)  # fmt: skip

    @staticmethod
    def missing() -> str | None:
        if _program("initdb") is None:
            return "postgresql is not installed"
        if os.getuid() == 0 and "postgres" not in {user.pw_name for user in pwd.getpwall()}:
            return "postgresql does not run as root, and there is no user `postgres`"
        return None

    @property
    def url(self) -> str:
        user = f"tuner:{self.password}" if self.password else "tuner"
        return f"postgresql://{user}@127.0.0.1:{self.port}/postgres"

    def _command(self) -> list[str]:
        return [str(_program("postgres")), "-D", str(self.folder / "data"), "-p", str(self.port),
                "-c", "listen_addresses=127.0.0.1", "-k", str(self.folder)]  # fmt: skip

    def discard(self) -> None:
        super().discard()
        shutil.rmtree(self.folder)

    def _answers(self) -> bool:
        command = [str(_program("pg_isready")), "--host", "127.0.0.1", "--port", str(self.port)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _program(name: str) -> Path | None:
    """Find one of PostgreSQL's programs; Debian puts them beside the path."""
    found = shutil.which(name)
    there = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return Path(found) if found else there[-1] if there else None


class MariaDB(Server):
    """MariaDB, as a stand-in for MySQL too; its folder is its own, as PostgreSQL's is."""

    name = "mariadb"

    def __init__(self, folder: Path, *, password: str | None = None) -> None:
        """Make an empty database in a folder below the system's temporary one."""
        super().__init__(Path(tempfile.mkdtemp(prefix=f"mariadb-{folder.name}-")))
        self.password = password
        if os.getuid() == 0:  # as which it does not run
            self._user = "mysql"
            shutil.chown(self.folder, self._user, self._user)
        secret = f" IDENTIFIED BY '{password}'" if password else ""
        (self.folder / "users.sql").write_text(
            f"CREATE DATABASE IF NOT EXISTS studies;\n"
            f"CREATE USER IF NOT EXISTS tuner@'127.0.0.1'{secret};\n"
            f"GRANT ALL ON studies.* TO tuner@'127.0.0.1';\n"
        )
        (self.folder / "users.sql").chmod(0o644)
        self._spawn(["mariadb-install-db", "--no-defaults", "--skip-test-db",
                     "--auth-root-authentication-method=normal",
                     f"--datadir={self.folder / 'data'}"]).wait(timeout=60)  # fmt: skip

    @staticmethod
    def missing() -> str | None:
        if _server_program() is None or shutil.which("mariadb-install-db") is None:
            return "mariadb-server is not installed"
        if os.getuid() == 0 and "mysql" not in {user.pw_name for user in pwd.getpwall()}:
            return "mariadb does not run as root, and there is no user `mysql`"
        return None

    @property
    def url(self) -> str:
        user = f"tuner:{self.password}" if self.password else "tuner"
        return f"mysql://{user}@127.0.0.1:{self.port}/studies"

    def _command(self) -> list[str]:
        return [str(_server_program()), "--no-defaults", f"--datadir={self.folder / 'data'}",
                f"--port={self.port}", "--bind-address=127.0.0.1", "--skip-name-resolve",
                f"--socket={self.folder / 'socket'}", f"--pid-file={self.folder / 'pid'}",
                f"--init-file={self.folder / 'users.sql'}"]  # fmt: skip

    def discard(self) -> None:
        super().discard()
        shutil.rmtree(self.folder)

    def _answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
            return connection.recv(64)[4:5] == b"\n"  # the version of the protocol


def _server_program() -> str | None:
    """Find MariaDB's server, which is not on everybody's path."""
    return shutil.which("mariadbd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


class GrpcProxy(Server):
    """Optuna's gRPC proxy in front of a journal."""

    name = "grpc"

    @staticmethod
    def missing() -> str | None:
        return None

    @property
    def url(self) -> str:
        return f"grpc://127.0.0.1:{self.port}"

    def _command(self) -> list[str]:
        journal = self.folder / "study.journal"
        program = f"from tests.faults import servers; servers.serve({str(journal)!r}, {self.port})"
        return [sys.executable, "-c", program]

    def _answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True


def serve(journal: str, port: int) -> None:
    """Be a gRPC proxy server."""
    from optuna.storages import run_grpc_proxy_server

    from sb3_hpo.storages.open import open_storage

    storage = open_storage(journal, retry_timeout_s=60)
    run_grpc_proxy_server(storage, host="127.0.0.1", port=port)
