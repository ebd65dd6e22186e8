"""Servers that restart, vanish, forget or freeze while a study runs on them."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import pytest
import redis
from optuna.distributions import CategoricalDistribution
from optuna.storages import RDBStorage

from sb3_hpo.doctor.__main__ import main as doctor
from sb3_hpo.storages.address import StorageAddress
from sb3_hpo.storages.existing import find_study
from sb3_hpo.storages.open import open_storage
from sb3_hpo.storages.retrying import outages
from sb3_hpo.utils.errors import UserError
from tests.faults.attacked_studies import ROOT, wait_for
from tests.faults.figures import Figures
from tests.faults.server_studies import Drill, OtherCommand, ServedStudy, interrupt
from tests.faults.servers import PASSWORD, GrpcProxy, MariaDB, PostgreSQL, Redis, Server
from tests.support.processes import pids_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Conclude = Callable[[Figures], None]
    Serve = Callable[..., tuple[Server, ServedStudy]]

# Optuna leaves the connections of its databases to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:.*was deleted while still open:ResourceWarning")

KINDS = pytest.mark.parametrize(
    "kind", [Redis, PostgreSQL, MariaDB, GrpcProxy], ids=lambda kind: kind.name
)
DATABASES = pytest.mark.parametrize("kind", [PostgreSQL, MariaDB], ids=lambda kind: kind.name)
SMALL = Drill(n_trials=8, n_workers=2, n_kills=1, n_kills_away=0, away_s=1)
FULL = Drill(n_trials=40, n_workers=4, n_kills=4, n_kills_away=1, away_s=8)
UNTIL_STOPPED, EVERYTHING, NOTHING = ("save", "3600 1"), ("appendonly", "yes"), ("save", "")


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts a server and prepares a study on it, or skips the test."""
    servers: list[Server] = []
    studies: list[ServedStudy] = []

    def start(
        kind: type[Server], server_options: dict[str, Any] | None = None, **options: Any
    ) -> tuple[Server, ServedStudy]:
        if reason := kind.missing():
            pytest.skip(reason)
        (tmp_path / "server").mkdir()
        servers.append(kind(tmp_path / "server", **(server_options or {})))
        servers[-1].start()
        studies.append(ServedStudy(tmp_path, servers[-1].url, **options))
        return servers[-1], studies[-1]

    yield start
    for study in studies:
        study.end()
    for server in servers:
        server.discard()
    gc.collect()  # connections, while the filter of warnings holds


@pytest.mark.slow
@KINDS
def test_small_drill(kind: type[Server], serve: Serve, conclude: Conclude) -> None:
    server, study = serve(kind, n_trials=SMALL.n_trials)
    figures = Figures(f"{kind.name}: a kill and a restart")
    figures.injected = SMALL.run(study, server, server.stop)
    study.judge(figures)
    assert (figures.injected, figures.hit >= 1) == (2, True)
    conclude(figures)


@pytest.mark.faults
@pytest.mark.parametrize(
    ("kind", "options", "end"),
    [
        pytest.param(Redis, {"keeps": UNTIL_STOPPED}, Server.stop, id="redis restarted"),
        pytest.param(Redis, {"keeps": EVERYTHING}, Server.kill, id="redis killed"),
        pytest.param(PostgreSQL, {}, Server.stop, id="postgresql restarted"),
        pytest.param(PostgreSQL, {}, Server.kill, id="postgresql killed"),
        pytest.param(MariaDB, {}, Server.stop, id="mariadb restarted"),
        pytest.param(MariaDB, {}, Server.kill, id="mariadb killed"),
        pytest.param(GrpcProxy, {}, Server.stop, id="grpc restarted"),
        pytest.param(GrpcProxy, {}, Server.kill, id="grpc killed"),
    ],
)
def test_full_drill(
    kind: type[Server],
    options: dict[str, Any],
    end: Callable[[Server], None],
    serve: Serve,
    conclude: Conclude,
) -> None:
    server, study = serve(kind, options, n_trials=FULL.n_trials)
    figures = Figures(f"{kind.name}: kills and a {end.__name__}")
    figures.injected = FULL.run(study, server, lambda: end(server))
    study.judge(figures)
    assert (figures.injected, figures.hit >= 4) == (6, True)
    conclude(figures)


@pytest.mark.faults
def test_redis_that_forgot_everything_is_noticed_and_the_command_starts_anew(
    serve: Serve, conclude: Conclude
) -> None:
    server, study = serve(Redis, {"keeps": NOTHING}, n_trials=12)
    command = study.start()
    study.wait_for_finished(3)
    server.kill()
    server.start()
    assert command.wait(60) == 2
    assert re.search(
        r"^error: storage: redis://127\S+ has lost .*same command again to go on",
        command.output,
        re.MULTILINE,
    ), command.output
    assert "Traceback" not in command.output + command.log()
    assert command.workers() == []
    study.forget()
    figures = Figures("redis: back without its data", injected=1)
    study.resume(figures)
    conclude(figures)


@pytest.mark.faults
@KINDS
def test_server_away_for_too_long_ends_the_command_with_one_line(
    kind: type[Server], serve: Serve, conclude: Conclude
) -> None:
    server, study = serve(kind, n_trials=8, storage_timeout=3)
    command = study.start()
    study.wait_for_finished(2)
    study.note()
    server.stop()
    assert command.wait(40) == 2
    errors = re.findall("^error: .*", command.output, re.MULTILINE)
    assert len(errors) == 1
    assert re.match(r"error: storage: \S+ cannot be used for \d+ s \(.+\); once it can", errors[0])
    assert "Traceback" not in command.output + command.log()
    assert command.workers() == []
    server.start()
    figures = Figures(f"{kind.name}: away for too long", injected=1)
    study.resume(figures)
    conclude(figures)


@pytest.mark.faults
@KINDS
@pytest.mark.parametrize("how", ["stop", "freeze"])
def test_interrupt_while_the_server_does_not_answer_ends_the_command(
    kind: type[Server], how: str, serve: Serve, conclude: Conclude
) -> None:
    server, study = serve(kind, n_trials=8)
    command = study.start()
    study.wait_for_finished(2)
    study.note()
    getattr(server, how)()
    time.sleep(3)
    interrupt(command)
    assert "Traceback" not in command.output
    server.thaw()
    server.start()
    figures = Figures(f"{kind.name}: {how}, and Ctrl-C", injected=2)
    study.resume(figures)
    conclude(figures)


@pytest.mark.faults
@KINDS
def test_server_that_froze_for_a_while_is_waited_for(
    kind: type[Server], serve: Serve, conclude: Conclude
) -> None:
    server, study = serve(kind, n_trials=8)
    command = study.start()
    study.wait_for_finished(2)
    study.note()
    server.freeze()
    time.sleep(15)
    server.thaw()
    assert command.wait() == 0, command.output
    figures = Figures(f"{kind.name}: frozen for a while", injected=1)
    study.judge(figures)
    conclude(figures)


@pytest.mark.faults
@KINDS
def test_joined_workers_share_the_total_and_leave_the_answer_to_the_first(
    kind: type[Server], serve: Serve, conclude: Conclude
) -> None:
    _, study = serve(kind, n_trials=16)
    first = study.start(step_s=0.05)
    study.wait_for_finished(1)
    second = study.start_other("elsewhere", "--join", "--n-workers", "2")
    assert (first.wait(), second.wait()) == (0, 0), second.output
    figures = Figures(f"{kind.name}: --join", injected=1)
    study.judge(figures)
    assert len({trial.user_attrs["worker"] for trial in study.finished()}) == 4
    assert (study.folder / "run" / "best.yaml").exists()
    assert not (study.folder / "elsewhere" / "best.yaml").exists()
    assert f"command that created it in {study.folder / 'run'} on" in second.output
    conclude(figures)


@pytest.mark.faults
@KINDS
def test_stop_from_a_second_terminal_ends_all_and_the_command_goes_on_from_there(
    kind: type[Server], serve: Serve, conclude: Conclude
) -> None:
    _, study = serve(kind, n_trials=10)
    first = study.start(step_s=0.02)
    study.wait_for_finished(2)
    stop = study.start_other("elsewhere", "--stop")
    assert stop.wait() == 0, stop.output
    assert "study attacked: its search ends, and " in stop.output
    assert first.wait(30) == 0, first.output
    assert "The search ends: stopped with --stop. The same command goes on" in first.output
    assert (first.workers(), study.running()) == ([], [])
    assert 2 <= len(study.finished()) < 10
    study.note()
    figures = Figures(f"{kind.name}: --stop", injected=1)
    study.resume(figures)
    conclude(figures)


@pytest.mark.faults
@DATABASES
def test_two_commands_at_once_on_an_empty_database_make_one_study(
    kind: type[Server], serve: Serve, conclude: Conclude
) -> None:
    _, study = serve(kind, n_trials=6, n_workers=1)
    commands = [study.start("here"), study.start("there")]
    assert [command.wait() for command in commands] == [0, 0], commands[1].output
    figures = Figures(f"{kind.name}: two commands at once", injected=1)
    study.judge(figures)
    answers = [(study.folder / name / "best.yaml").exists() for name in ("here", "there")]
    assert sorted(answers) == [False, True]
    conclude(figures)


@pytest.mark.slow
@DATABASES
def test_eight_that_open_an_empty_database_at_once_make_its_tables(
    kind: type[Server], serve: Serve
) -> None:
    server, _ = serve(kind)
    barrier = threading.Barrier(8)
    names: list[list[str]] = []

    def open_one() -> None:
        barrier.wait()
        names.append(optuna.get_all_study_names(open_storage(server.url)))

    threads = [threading.Thread(target=open_one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names == [[]] * 8


LONG = "x" * 3_000_000


@pytest.mark.slow
def test_mariadb_holds_what_other_storages_hold(serve: Serve) -> None:
    """Records of more than 64 kB, a long error text, what a study holds; also in old tables."""
    server, _ = serve(MariaDB)
    url = StorageAddress.parse(server.url).text
    RDBStorage(url)  # with columns as Optuna makes them
    study = optuna.create_study(storage=open_storage(server.url), study_name="s")
    trial = study.ask()
    trial.set_user_attr("run", {"returns": list(range(50_000))})
    trial.set_user_attr("traceback", LONG)
    study._storage.set_trial_system_attr(trial._trial_id, "fixed_params", LONG)
    study.set_user_attr("config", LONG)
    study._storage.set_study_system_attr(study._study_id, "x", LONG)
    choices = [f"{i}{LONG[:100]}" for i in range(2000)]
    trial.suggest_categorical("c", choices)
    again = optuna.load_study(storage=open_storage(server.url), study_name="s")
    assert again.trials[0].user_attrs == {
        "run": {"returns": list(range(50_000))}, "traceback": LONG,
    }  # fmt: skip
    assert again.trials[0].system_attrs["fixed_params"] == again.user_attrs["config"] == LONG
    assert again._storage.get_study_system_attrs(again._study_id)["x"] == LONG
    assert again.trials[0].distributions["c"] == CategoricalDistribution(choices)


@pytest.mark.slow
def test_mariadb_user_who_may_not_widen_columns_is_told_who_may(serve: Serve) -> None:
    server, _ = serve(MariaDB)
    url = StorageAddress.parse(server.url).text
    RDBStorage(url)
    users = server.folder / "users.sql"
    users.write_text(
        "REVOKE ALL ON studies.* FROM tuner@'127.0.0.1';\n"
        "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE ON studies.* TO tuner@'127.0.0.1';\n"
    )
    server.stop()
    server.start()
    with pytest.raises(UserError) as caught:
        open_storage(server.url, retry_timeout_s=60)
    assert str(caught.value) == (
        f"storage: mysql+pymysql://***@127.0.0.1:{server.port}/studies holds at most 64 kB of "
        "what a trial records, and its user may not change that; let its owner run: ALTER TABLE "
        "study_system_attributes MODIFY value_json LONGTEXT; ALTER TABLE study_user_attributes "
        "MODIFY value_json LONGTEXT; ALTER TABLE trial_params MODIFY distribution_json LONGTEXT; "
        "ALTER TABLE trial_system_attributes MODIFY value_json LONGTEXT; ALTER TABLE "
        "trial_user_attributes MODIFY value_json LONGTEXT"
    )
    users.write_text("GRANT ALL ON studies.* TO tuner@'127.0.0.1';\n")
    server.stop()
    server.start()
    open_storage(server.url)
    users.write_text("REVOKE ALTER ON studies.* FROM tuner@'127.0.0.1';\n")
    server.stop()
    server.start()
    assert optuna.get_all_study_names(open_storage(server.url)) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Redis, MariaDB, GrpcProxy], ids=lambda kind: kind.name)
def test_call_to_a_server_that_froze_ends_with_patience(
    kind: type[Server], serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sb3_hpo.storages.servers._ANSWER_S", 1)
    monkeypatch.setattr("sb3_hpo.storages.servers._REDIS_ANSWER_S", 1)
    monkeypatch.setattr(
        "sb3_hpo.storages.retrying._RESPITE", 0
    )  # it is asked again as soon as it thaws
    server, _ = serve(kind)
    study = optuna.create_study(storage=open_storage(server.url, retry_timeout_s=2))
    server.freeze()
    start = time.monotonic()
    with pytest.raises(UserError, match=r"^storage: \S+ cannot be used for \d+ s \(.+\); once it"):
        study.set_user_attr("key", 1)
    assert time.monotonic() - start < 10
    server.thaw()
    study.set_user_attr("key", 2)
    assert study.user_attrs == {"key": 2}


@pytest.mark.slow
def test_redis_whose_memory_is_full_is_waited_for(serve: Serve) -> None:
    server, _ = serve(Redis)
    client = redis.Redis(port=server.port)
    study = optuna.create_study(storage=open_storage(server.url, retry_timeout_s=60))
    client.config_set("maxmemory", 1_000_000)
    threading.Timer(1, lambda: client.config_set("maxmemory", 0)).start()
    study.set_user_attr("key", LONG)
    assert outages(study) == 1
    assert study.user_attrs == {"key": LONG}
    client.config_set("maxmemory-policy", "allkeys-lru")
    with pytest.raises(UserError, match=r"full \(maxmemory-policy allkeys-lru\)"):
        optuna.create_study(storage=open_storage(server.url))
    client.delete(":log:0")
    assert doctor([server.url]) == 2
    client.close()


@pytest.mark.faults
@pytest.mark.parametrize("kind", [Redis, PostgreSQL, MariaDB], ids=lambda kind: kind.name)
def test_password_is_in_no_file_no_command_line_and_no_attribute(
    kind: type[Server], serve: Serve
) -> None:
    server, study = serve(kind, {"password": PASSWORD}, n_trials=12, storage_timeout=3)
    command = study.start()
    study.wait_for_finished(2)
    lines = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in command.workers()]
    assert len(lines) == 2
    assert PASSWORD.encode() not in b"".join(lines)
    attributes = json.dumps(study.attributes())
    assert PASSWORD not in attributes
    assert "://***@127.0.0.1" in attributes
    server.stop()  # what is said of an outage must not say the password either
    assert command.wait(40) == 2
    assert re.search(r"error: storage: \w+\S+://\*\*\*@\S+ cannot be used for", command.output)
    files = [path for path in study.folder.glob("run/**/*") if path.is_file()]
    assert {"config.yaml", "worker-0.log"} <= {path.name for path in files}
    assert [path for path in files if PASSWORD.encode() in path.read_bytes()] == []
    assert PASSWORD not in command.output


def _as_option(url: str) -> str:
    """Write user and password as options of a URL."""
    scheme, user, password, rest = re.fullmatch(r"(\w+://)(\w*):(.*)@(.*)", url).groups()  # type: ignore[union-attr]
    return f"{scheme}{rest}?{f'user={user}&' * bool(user)}password={password}"


@pytest.mark.faults
@pytest.mark.parametrize("form", [str, _as_option])
@pytest.mark.parametrize("kind", [Redis, PostgreSQL, MariaDB], ids=lambda kind: kind.name)
def test_finished_study_has_the_password_nowhere(
    kind: type[Server], form: Callable[[str], str], serve: Serve, tmp_path: Path
) -> None:
    server, _ = serve(kind, {"password": PASSWORD})
    url, run_dir, out = form(server.url), tmp_path / "finished", tmp_path / "out"
    words = [
        "--algo", "ppo", "--env", "tests.support.envs:TargetEnv", "--n-timesteps", "640",
        "--n-envs", "2",
        "--n-eval-episodes", "2", "--space", "tests.support.envs:sample_target_params",
        "--n-trials", "3",
        "--n-workers", "1", "--test-seeds", "2", "--test-episodes", "2",
        "--study-name", "finished",
    ]  # fmt: skip
    command = OtherCommand(run_dir, out, *words, "--storage", url, "--run-dir", str(run_dir))
    lines = set()
    while command.runs:
        for pid in pids_of("--parent", str(command.process.pid)):
            with contextlib.suppress(OSError):  # it has just ended
                lines.add(Path(f"/proc/{pid}/cmdline").read_bytes())
        time.sleep(0.02)
    assert command.wait() == 0, command.output
    for child in (b"sb3_hpo.workers", b"sb3_hpo.reevaluation"):
        assert any(child in line.split(b"\0") for line in lines)
    said = [command.output.encode(), *lines]
    for module in ("doctor", "report"):
        done = subprocess.run(
            [sys.executable, "-m", f"sb3_hpo.{module}", url, "--study-name", "finished"],
            capture_output=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=True,
        )  # fmt: skip
        said += [done.stdout, done.stderr]
    study = find_study(url, "finished")
    said.append(repr([study.user_attrs, study.trials]).encode())
    files = [path for path in tmp_path.rglob("*") if path.is_file() and "server" not in path.parts]
    names = {path.name for path in files}
    assert {"config.yaml", "report.html", "report.md", "worker-0.log", "best.yaml"} <= names
    said += [path.read_bytes() for path in files]
    assert [text[:300] for text in said if PASSWORD.encode() in text] == []
    assert any(b"***" in text for text in said)


@pytest.mark.faults
def test_sqlite_holds_one_worker_of_one_command(tmp_path: Path, conclude: Conclude) -> None:
    study = ServedStudy(tmp_path, f"sqlite:///{tmp_path}/x.db", n_trials=6, n_workers=None)
    first = study.start(step_s=0.02)
    study.wait_for_finished(1)
    second = study.start("elsewhere")
    assert second.wait() == 2
    assert "holds one worker, and another command uses it now" in second.output
    assert first.wait() == 0, first.output
    assert len({trial.user_attrs["worker"] for trial in study.finished()}) == 1
    figures = Figures("sqlite: a second command", injected=1)
    study.judge(figures)
    conclude(figures)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("storage", "n_workers", "message"),
    [
        ("sqlite:///x.db", 2, "n_workers: sqlite:/// gives one trial to two workers now and then"),
        (":memory:", 1, "storage: :memory: is seen by one process only"),
    ],
)
def test_storage_of_one_process_refuses_more(
    storage: str, n_workers: int, message: str, tmp_path: Path
) -> None:
    command = ServedStudy(tmp_path, storage, n_workers=n_workers).start()
    wait_for(lambda: not command.runs, "end", 60)
    assert command.process.returncode == 2
    assert command.output.startswith(f"error: {message}")
    assert command.output.count("\n") == 1
