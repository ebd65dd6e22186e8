from __future__ import annotations

import json
import logging
import os
import re
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from optuna.trial import TrialState

from sb3_hpo.storage import open_storage
from sb3_hpo.trials import outcome_of, trials_of
from tests.faults.server_studies import (
    STUDY,
    Command,
    check_exact,
    n_finished,
    pid_of_running,
    values_of,
    wait_until,
    watch,
)
from tests.faults.servers import PASSWORD, GrpcProxy, PostgreSQL, Redis, Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Starter = Callable[..., Server]
    Tuner = Callable[..., Command]

_logger = logging.getLogger(__name__)

KINDS = pytest.mark.parametrize("kind", [Redis, PostgreSQL, GrpcProxy], ids=lambda kind: kind.name)
RDB, APPEND_ONLY, NOTHING = ("save", "3600 1"), ("appendonly", "yes"), ("save", "")


@dataclass(frozen=True)
class Size:
    """How much a drill does."""

    n_workers: int
    n_trials: int
    n_kills: int
    n_kills_while_away: int
    away_s: float


SMALL = Size(n_workers=2, n_trials=8, n_kills=1, n_kills_while_away=0, away_s=1.0)
FULL = Size(n_workers=4, n_trials=40, n_kills=4, n_kills_while_away=1, away_s=8.0)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Starter]:
    """Return what starts a server of a kind, or skips the test."""
    started: list[Server] = []

    def start_one(kind: type[Server], **options: Any) -> Server:
        if reason := kind.missing():
            pytest.skip(reason)
        (tmp_path / "server").mkdir()
        server = kind(tmp_path / "server", **options)
        started.append(server)
        server.start()
        return server

    yield start_one
    for server in started:
        server.discard()


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Tuner]:
    """Return what starts a command in a run folder of this test."""
    started: list[Command] = []

    def start_one(*words: str, run: str = "run", of: Callable[..., Command] = Command) -> Command:
        started.append(of(tmp_path / run, *words))
        return started[-1]

    yield start_one
    for each in started:
        each.discard()


@pytest.fixture
def tune(command: Tuner) -> Tuner:
    """Return what starts a study of short trials."""

    def start_one(
        url: str, n_trials: int, n_workers: int, *more: str, run: str = "run"
    ) -> Command:
        return command(url, str(n_trials), str(n_workers), *more, run=run, of=Command.tune)

    return start_one


def wait_for_study(command: Command, url: str, n_trials: int = 0) -> optuna.Study:
    """Open a study when so many of its trials are finished."""
    wait_until(lambda: f"study {STUDY} in" in command.output, 90, f"study: {command.output}")
    study = watch(url)
    wait_until(lambda: n_finished(study) >= n_trials, 120, f"{n_trials} trials")
    return study


def wait_for_end_of_workers(command: Command) -> None:
    wait_until(lambda: not command.workers, 15, f"end of {command.workers}")


def kill_running_worker(command: Command, study: optuna.Study) -> None:
    wait_until(lambda: pid_of_running(command, study), 60, "running trial")
    pid = pid_of_running(command, study)
    os.kill(pid or command.workers[0], signal.SIGKILL)


def drill(
    server: Server, command: Command, size: Size, end: Callable[[], None]
) -> dict[str, int | float]:
    """Kill workers and restart the server while a study runs; then it must be exact.

    Returns:
        Figures.
    """
    began = time.monotonic()
    study = wait_for_study(command, server.url)
    seen: dict[int, float | None] = {}
    n_stops = size.n_kills + 1
    for stop in range(n_stops):
        wait_for_study(command, server.url, size.n_trials * (stop + 1) // (n_stops + 1))
        seen |= values_of(study)
        if stop == n_stops // 2:
            end()
            for _ in range(size.n_kills_while_away):
                os.kill(command.workers[0], signal.SIGKILL)
            time.sleep(size.away_s)
            server.start()
        else:
            kill_running_worker(command, study)
    assert command.wait(300) == 0, command.output
    check_exact(study, size.n_trials, seen)
    trials = trials_of(study)
    return {
        "trials": len(trials), "finished": n_finished(study),
        **{what: sum(outcome_of(trial) == what for trial in trials)
           for what in ("lost", "surplus", "interrupted", "error")},
        "values_seen_before": len(seen), "seconds": round(time.monotonic() - began),
    }  # fmt: skip


@pytest.mark.slow
@KINDS
def test_small_drill_leaves_the_exact_total(
    kind: type[Server], start: Starter, tune: Tuner
) -> None:
    server = start(kind)
    command = tune(server.url, SMALL.n_trials, SMALL.n_workers)
    figures = drill(server, command, SMALL, server.stop)
    assert (figures["finished"], figures["error"]) == (8, 0)
    assert figures["lost"] >= 1
    assert f"is back after" in command.worker_logs


@pytest.mark.faults
@pytest.mark.parametrize(
    ("kind", "options", "how"),
    [
        (Redis, {"keeps": RDB}, "stop"),
        (Redis, {"keeps": APPEND_ONLY}, "kill"),
        (PostgreSQL, {}, "stop"),
        (PostgreSQL, {}, "kill"),
        (GrpcProxy, {}, "stop"),
        (GrpcProxy, {}, "kill"),
    ],
    ids=["redis-stop", "redis-kill", "postgresql-stop", "postgresql-kill", "grpc-stop", "grpc-kill"],
)
def test_full_drill_leaves_the_exact_total(
    kind: type[Server], options: dict[str, Any], how: str, start: Starter, tune: Tuner
) -> None:
    server = start(kind, **options)
    command = tune(server.url, FULL.n_trials, FULL.n_workers)
    figures = drill(server, command, FULL, getattr(server, how))
    _logger.info("%s, %s: %s", kind.name, how, json.dumps(figures))
    assert (figures["finished"], figures["error"]) == (40, 0)
    assert figures["lost"] >= 1


@pytest.mark.faults
def test_redis_that_lost_everything_is_told_and_the_same_command_starts_anew(
    start: Starter, tune: Tuner
) -> None:
    server = start(Redis, keeps=NOTHING)
    command = tune(server.url, 12, 2)
    wait_for_study(command, server.url, 3)
    server.kill()
    server.start()
    assert command.wait(60) == 2
    assert re.search(
        r"^error: storage: redis://127\S+ has lost \d+ operations, .*same command again to go on",
        command.output, re.MULTILINE,
    ), command.output  # fmt: skip
    assert "Traceback" not in command.output
    wait_for_end_of_workers(command)
    again = tune(server.url, 12, 2)
    assert again.wait(120) == 0, again.output
    check_exact(watch(server.url), 12, {})


@pytest.mark.faults
@KINDS
def test_server_away_for_too_long_ends_the_command_with_one_line(
    kind: type[Server], start: Starter, tune: Tuner
) -> None:
    server = start(kind)
    command = tune(server.url, 8, 2, "--storage-timeout", "3")
    wait_for_study(command, server.url, 2)
    server.stop()
    assert command.wait(40) == 2
    errors = [line for line in command.output.splitlines() if "error" in line]
    assert len(errors) == 1
    assert re.match(r"error: storage: \S+ cannot be used for \d+ s \(.+\); once it can", errors[0])
    assert "Traceback" not in command.output + command.worker_logs
    wait_for_end_of_workers(command)
    server.start()
    again = tune(server.url, 8, 2)
    assert again.wait(120) == 0, again.output
    check_exact(watch(server.url), 8, {})


@pytest.mark.faults
@KINDS
def test_interrupt_while_the_server_is_away_ends_the_command(
    kind: type[Server], start: Starter, tune: Tuner
) -> None:
    server = start(kind)
    command = tune(server.url, 8, 2)
    seen = values_of(wait_for_study(command, server.url, 2))
    server.stop()
    time.sleep(3)
    command.process.send_signal(signal.SIGINT)
    command.wait(15)
    assert "Traceback" not in command.output
    wait_for_end_of_workers(command)
    server.start()
    again = tune(server.url, 8, 2)
    assert again.wait(120) == 0, again.output
    check_exact(watch(server.url), 8, seen)


@pytest.mark.faults
@KINDS
def test_joined_workers_share_the_total_and_leave_the_answer_to_the_first(
    kind: type[Server], start: Starter, tune: Tuner, command: Tuner
) -> None:
    server = start(kind)
    first = tune(server.url, 12, 2)
    study = wait_for_study(first, server.url, 1)
    words = ("--join", "--storage", server.url, "--study-name", STUDY, "--n-workers", "2")
    second = command(*words, run="elsewhere")
    assert (first.wait(120), second.wait(120)) == (0, 0), second.output
    check_exact(study, 12, {})
    workers = {trial.user_attrs["worker"] for trial in trials_of(study)}
    assert len(workers) == 4
    assert (first.run_dir / "best.yaml").exists()
    assert not (second.run_dir / "best.yaml").exists()
    assert f"found by the command that created it in {first.run_dir}" in second.output


@pytest.mark.faults
@KINDS
def test_stop_from_a_second_terminal_ends_all_and_the_command_goes_on_from_there(
    kind: type[Server], start: Starter, tune: Tuner, command: Tuner
) -> None:
    server = start(kind)
    first = tune(server.url, 10, 2)
    study = wait_for_study(first, server.url, 2)
    stop = command("--stop", "--storage", server.url, "--study-name", STUDY, run="elsewhere")
    assert stop.wait(30) == 0, stop.output
    assert "its search ends" in stop.output
    assert first.wait(30) == 0, first.output
    assert "The search ends: stopped with --stop. The same command goes on" in first.output
    wait_for_end_of_workers(first)
    states = [trial.state for trial in trials_of(study)]
    assert states.count(TrialState.RUNNING) == 0
    seen = values_of(study)
    assert 2 <= len(seen) < 10
    again = tune(server.url, 10, 2)
    assert again.wait(120) == 0, again.output
    check_exact(study, 10, seen)


@pytest.mark.faults
def test_two_commands_at_once_on_an_empty_database_make_one_study(
    start: Starter, tune: Tuner
) -> None:
    server = start(PostgreSQL)
    commands = [tune(server.url, 6, 1, run=run) for run in ("here", "there")]
    assert [command.wait(120) for command in commands] == [0, 0], commands[1].output
    check_exact(watch(server.url), 6, {})
    assert sum((command.run_dir / "best.yaml").exists() for command in commands) == 1


@pytest.mark.slow
def test_open_storage_eight_times_at_once_makes_the_tables_of_an_empty_database(
    start: Starter,
) -> None:
    server = start(PostgreSQL)
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


@pytest.mark.faults
@pytest.mark.parametrize("kind", [Redis, PostgreSQL], ids=lambda kind: kind.name)
def test_password_is_in_no_file_no_command_line_and_no_attribute(
    kind: type[Server], start: Starter, tune: Tuner
) -> None:
    server = start(kind, password=PASSWORD)
    command = tune(server.url, 12, 2, "--storage-timeout", "3")
    study = wait_for_study(command, server.url, 2)
    lines = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in command.workers]
    assert len(lines) == 2
    assert not any(PASSWORD.encode() in line for line in lines)
    attributes = [study.user_attrs, *(trial.user_attrs for trial in trials_of(study))]
    assert PASSWORD not in json.dumps(attributes)
    assert "://***@127.0.0.1" in json.dumps(study.user_attrs)
    server.stop()  # a message about the outage is in the files, too
    assert command.wait(40) == 2
    assert "cannot be used for" in command.output
    files = [path for path in command.run_dir.rglob("*") if path.is_file()]
    assert {"config.yaml", "output.txt", "worker-0.log"} <= {path.name for path in files}
    assert [path for path in files if PASSWORD.encode() in path.read_bytes()] == []


@pytest.mark.faults
def test_sqlite_holds_one_worker_of_one_command(tmp_path: Path, tune: Tuner) -> None:
    url = f"sqlite:///{tmp_path}/x.db"
    first = tune(url, 6, 1)
    study = wait_for_study(first, url, 1)
    second = tune(url, 6, 1, run="elsewhere")
    assert second.wait(60) == 2
    assert "holds one worker, and another command uses it now" in second.output
    assert first.wait(120) == 0, first.output
    check_exact(study, 6, {})
    assert len({trial.user_attrs["worker"] for trial in trials_of(study)}) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("url", "n_workers", "message"),
    [
        ("sqlite:///x.db", 2, "n_workers: sqlite:/// gives one trial to two workers now and then"),
        (":memory:", 1, "storage: :memory: is seen by one process only"),
    ],
)
def test_storages_of_one_process_refuse_more(
    url: str, n_workers: int, message: str, tune: Tuner
) -> None:
    command = tune(url, 4, n_workers)
    assert command.wait(60) == 2
    assert command.output.startswith(f"error: {message}")
    assert command.output.count("\n") == 1
