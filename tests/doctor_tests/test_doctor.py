from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from optuna.trial import TrialState, create_trial
from rich.filesize import decimal

from sb3_hpo.config.study_config import make_config
from sb3_hpo.doctor.__main__ import main
from sb3_hpo.doctor.journal_faults import journal_findings
from sb3_hpo.doctor.journal_file import read_journal
from sb3_hpo.results.trials import trials_of
from sb3_hpo.storages.open import open_storage
from sb3_hpo.workers.lost_trials import living_workers
from tests.support.processes import living_worker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TORN = b'{"op_code": 6, "trial_id": 1, "val'
HERE = socket.gethostname()


def plain(**values: Any) -> dict[str, Any]:
    quick = {"n_trials": 5, "beat_interval": 0.2, "study_name": "s"}
    return make_config({"algo": "ppo", "env": "Pendulum-v1", **quick, **values}).plain()


def study_in(storage: str, name: str = "s", **values: Any) -> optuna.Study:
    """Make a study like ours, with two finished trials."""
    study = optuna.create_study(
        storage=open_storage(storage), study_name=name, direction="maximize"
    )
    study.set_user_attr("config", plain(**values))
    for value in (1.5, 2.5):
        trial = study.ask()
        trial.suggest_float("x", 0, 1)
        study.tell(trial, value)
    return study


def start_trial(study: optuna.Study, worker: str | None) -> optuna.Trial:
    trial = study.ask()
    if worker is not None:
        trial.set_user_attr("worker", worker)
    trial.suggest_float("x", 0, 1)
    return trial


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the journals of these tests are."""
    return tmp_path / "study.journal"


@pytest.fixture
def study(path: Path) -> optuna.Study:
    return study_in(str(path))


class Doctor:
    """Runs the command; remembers whether it changed anything."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._folder, self._capsys = folder, capsys
        self.changed = False
        self.error = ""

    def __call__(self, storage: Path | str, *argv: str) -> tuple[int, list[str]]:
        before = self._files()
        status = main([str(storage), *argv])
        self.changed = self._files() != before
        text = self._capsys.readouterr()
        self.error = text.err
        return status, text.out.splitlines()

    def _files(self) -> dict[str, bytes]:
        return {p.name: p.read_bytes() for p in self._folder.iterdir() if p.is_file()}


@pytest.fixture
def doctor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Doctor:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sb3_hpo.doctor.journal_file.SETTLE_S", 0.01)
    return Doctor(tmp_path, capsys)


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def test_healthy_journal_is_described(path: Path, study: optuna.Study, doctor: Doctor) -> None:
    study.set_user_attr("home", {"host": "far", "run_dir": "/runs/s"})
    status, lines = doctor(path)
    n, n_bytes = len(lines_of(path)), path.stat().st_size
    size, each = decimal(n_bytes), decimal(round(n_bytes / 2))
    assert (status, doctor.changed) == (0, False)
    assert lines == [
        f"study.journal: a journal of {n} operations, 2 trials, {size}, {each} a trial",
        "study s: ppo on Pendulum-v1",
        "  home: /runs/s on far",
        "  finished: 2 of 5 (2 complete)",
        "  best value: 2.5 (trial 1)",
        "nothing to repair",
    ]


def test_run_folder_stands_for_its_journal(
    path: Path, study: optuna.Study, doctor: Doctor
) -> None:
    assert doctor(path.parent) == doctor(path)


def test_trials_are_counted_by_what_became_of_them(
    path: Path, study: optuna.Study, doctor: Doctor
) -> None:
    fates = [
        ("PRUNED", "dropped"), ("PRUNED", None), ("PRUNED", "diverged"), ("PRUNED", "lost"),
        ("FAIL", "lost"), ("FAIL", "error"), ("FAIL", "surplus"), ("FAIL", None),
    ]  # fmt: skip
    for state, outcome in fates:
        attrs = {} if outcome is None else {"outcome": outcome}
        study.add_trial(create_trial(state=TrialState[state], user_attrs=attrs))
    study.enqueue_trial({"x": 0.5})
    study.set_user_attr("stop", "stopped with --stop")
    besides = "1 failed, 1 failed with an error, 1 lost, 1 surplus, 1 waiting"
    assert doctor(path)[1][2:] == [
        f"  finished: 6 of 5 (2 complete, 1 diverged, 1 lost, 2 pruned); besides: {besides}",
        "  best value: 2.5 (trial 1)",
        "  its search was ended: stopped with --stop",
        "nothing to repair",
    ]


def test_all_studies_of_a_journal_are_described_or_one(path: Path, doctor: Doctor) -> None:
    study_in(str(path), "b")
    storage = open_storage(str(path))
    other = optuna.create_study(storage=storage, study_name="a", direction="minimize")
    for value in (4.0, -3.0):
        other.tell(other.ask(), value)
    other.set_user_attr("config", "something of its own")
    optuna.create_study(storage=storage, study_name="c", directions=["minimize"] * 2).add_trial(
        create_trial(values=[1.0, 2.0])
    )
    assert doctor(path)[1][1:] == [
        "study a: made by another tool",
        "  finished: 2 (2 complete)",
        "  best value: -3 (trial 1)",
        "study b: ppo on Pendulum-v1",
        "  finished: 2 of 5 (2 complete)",
        "  best value: 2.5 (trial 1)",
        "study c: made by another tool",
        "  finished: 1 (1 complete)",
        "nothing to repair",
    ]
    assert [line for line in doctor(path, "--study-name", "c")[1] if "study " in line] == [
        "study c: made by another tool"
    ]


def test_empty_journal_is_nothing_wrong(path: Path, doctor: Doctor) -> None:
    path.touch()
    assert doctor(path) == (
        0, ["study.journal: a journal of 0 operations, 0 trials, 0 bytes", "nothing to repair"],
    )  # fmt: skip


def test_torn_tail_is_told_and_then_cut_off(
    path: Path, study: optuna.Study, doctor: Doctor
) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole + TORN)
    finding = "wrong: it ends in half a line of 34 bytes, never completed"
    status, lines = doctor(path)
    assert (status, doctor.changed) == (1, False)
    assert finding in lines
    assert "  best value: 2.5 (trial 1)" in lines
    assert lines[-1] == "1 thing to repair: run again with --fix"

    status, lines = doctor(path, "--fix")
    (backup,) = path.parent.glob("*.torn-*")
    repaired = f"  repaired: cut off, and kept in {backup.name}"
    assert (status, lines[1:3], lines[-1]) == (0, [finding, repaired], "1 thing repaired")
    assert (path.read_bytes(), backup.read_bytes()) == (whole, TORN)

    status, lines = doctor(path)
    kept = f"  kept from earlier repairs, 34 bytes, may be deleted: {backup.name}"
    assert (status, lines[1], lines[-1]) == (0, kept, "nothing to repair")
    assert not list(path.parent.glob("*.lock*"))


def test_half_a_line_that_is_being_written_is_nothing_wrong(
    path: Path, study: optuna.Study, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    monkeypatch.setattr(time, "sleep", lambda _: path.write_bytes(whole))
    assert doctor(path)[1][-1] == "nothing to repair"


def break_line(path: Path, index: int, content: bytes) -> tuple[bytes, bytes]:
    """Write something else over a line; return what is before it, and all."""
    lines = lines_of(path)
    path.write_bytes(b"".join([*lines[:index], content, *lines[index + 1 :]]))
    return b"".join(lines[:index]), path.read_bytes()


def second_trial_of(path: Path) -> int:
    """Return the index of the line that creates trial 1."""
    creations = [i for i, line in enumerate(lines_of(path)) if json.loads(line)["op_code"] == 4]
    return creations[1]


@pytest.mark.parametrize(
    ("garbage", "start"),
    [
        (b'{"op_code": 4, "stu\n', """b'{"op_code": 4, "stu'"""),
        (b"\0" * 99 + b"\n", "b'" + "\\x00" * 40 + "'"),
        (b'{"op_code":\xff}\n', """b'{"op_code":\\xff}'"""),
        (b'{"op_code": 6}\n', """b'{"op_code": 6}'"""),
        (b"[]\n", "b'[]'"),
    ],
)
def test_broken_line_is_told_and_then_left_out(
    path: Path, study: optuna.Study, doctor: Doctor, garbage: bytes, start: str
) -> None:
    """It created a trial, and the other lines about that trial still find it."""
    index, n_lines = second_trial_of(path), len(lines_of(path))
    good, broken = break_line(path, index, garbage)
    after = broken.removeprefix(good + garbage)
    status, lines = doctor(path)
    assert (status, doctor.changed) == (1, False)
    assert lines[0].startswith(f"study.journal: a journal of {n_lines} operations, 2 trials, ")
    assert lines[1] == (
        f"wrong: line {index + 1} (from byte {len(good):,}) is broken ({start}...), so nothing "
        "after it can be used; repaired, the file keeps all that can be read, below a new "
        "beginning of 1 trial; first end all that uses it"
    )
    assert "  best value: 2.5 (trial 1)" in lines
    assert lines[-1] == "1 thing to repair: run again with --fix"

    status, lines = doctor(path, "--fix")
    (backup,) = path.parent.glob("*.broken-*")
    assert (status, lines[-1]) == (0, "1 thing repaired")
    assert f"left out; the whole file as it was is {backup.name}" in lines[2]
    assert backup.read_bytes() == broken
    assert path.read_bytes().startswith(good)
    assert path.read_bytes().endswith(after)
    assert sorted(p.name for p in path.parent.iterdir()) == ["study.journal", backup.name]
    again = optuna.load_study(storage=open_storage(str(path)), study_name="s")
    assert [trial.value for trial in again.trials] == [1.5, 2.5]
    assert doctor(path)[1][-1] == "nothing to repair"


def test_several_broken_lines_and_a_torn_tail_are_told_in_two_lines(
    path: Path, study: optuna.Study, doctor: Doctor
) -> None:
    lines = lines_of(path)
    creation = next(i for i, line in enumerate(lines) if b'"op_code":0' in line)
    lines[creation] = b"\0\0\n"
    lines[-1] = b"\n"
    path.write_bytes(b"".join([*lines, b"{}\n", TORN]))
    status, said = doctor(path)
    assert (status, said[-1]) == (1, "2 things to repair: run again with --fix")
    assert said[1] == (
        "wrong: line 1 (from byte 0) is broken (b'\\x00\\x00'...), and 2 others, so nothing after "
        "it can be used; repaired, the file keeps all that can be read, below a new beginning of "
        "the study s; first end all that uses it"
    )
    assert "  finished: 1 of 5 (1 complete); besides: 1 running" in said
    assert (
        "trial 1 of s: it is not on this machine; only the study's workers can tell if it is gone"
        in said
    )
    assert doctor(path, "--fix")[0] == 0
    again = optuna.load_study(storage=open_storage(str(path)), study_name="s")
    assert [trial.value for trial in again.trials] == [1.5, None]
    assert again.direction.name == "MAXIMIZE"


def test_broken_last_line_is_found_before_anything_follows_it(
    path: Path, study: optuna.Study, doctor: Doctor
) -> None:
    """Optuna reads such a file, but not once it has appended to it."""
    with path.open("ab") as file:
        file.write(TORN + b"\n" + TORN)
    status, lines = doctor(path)
    assert (status, lines[-1]) == (1, "2 things to repair: run again with --fix")
    assert "is broken" in lines[1]
    assert doctor(path, "--fix")[0] == 0
    study_again = optuna.load_study(storage=open_storage(str(path)), study_name="s")
    study_again.set_user_attr("key", 1)
    assert doctor(path)[1][-1] == "nothing to repair"


def test_operation_of_a_newer_optuna_is_left_alone(
    path: Path, study: optuna.Study, doctor: Doctor
) -> None:
    index = second_trial_of(path)
    break_line(path, index, b'{"op_code":99}\n')
    status, lines = doctor(path, "--fix")
    assert (status, doctor.changed) == (1, False)
    assert lines[1].startswith(f"wrong: line {index + 1} (from byte ")
    unknown = """is no operation that this version of Optuna knows (b'{"op_code":99}'...), so it"""
    assert unknown in lines[1]
    assert "  best value: 1.5 (trial 0)" in lines
    assert lines[-1] == "1 thing that --fix cannot repair"


@pytest.fixture
def worker(path: Path) -> Iterator[str]:
    """A process that looks like a worker of this machine."""
    name = f"{HERE}:0:{os.getpid():x}"
    with living_worker(name):
        yield name


def test_broken_line_of_a_journal_in_use_is_left_alone(
    path: Path, study: optuna.Study, doctor: Doctor, worker: str
) -> None:
    start_trial(study, worker)
    with path.open("ab") as file:
        file.write(TORN + b"\n")
    status, lines = doctor(path, "--fix")
    assert (status, doctor.changed) == (1, False)
    assert lines[1].endswith("workers of this machine still use it: end them first")
    assert f"trial 2 of s: its worker {worker} is at work on this machine" in lines
    assert lines[-1] == "1 thing that --fix cannot repair"


def test_broken_line_without_room_for_its_backup_is_left_alone(
    path: Path, study: optuna.Study, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_trial(study, f"{HERE}:0:dead")
    with path.open("ab") as file:
        file.write(TORN + b"\n")

    def fill(_: Path, backup: Path) -> None:
        backup.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", fill)
    status, lines = doctor(path, "--fix")
    assert (status, doctor.changed) == (1, False)
    assert lines[2] == "  not repaired: No space left on device"
    assert lines[-2:] == [
        "  not repaired: the journal has to be repaired first",
        "2 things that --fix cannot repair",
    ]


def lock_of(path: Path, age_s: float) -> Path:
    lock = path.with_name(f"{path.name}.lock")
    lock.touch()
    os.utime(lock, (time.time() - age_s,) * 2)
    return lock


def test_lock_left_behind_is_told_and_then_removed(
    path: Path, study: optuna.Study, doctor: Doctor
) -> None:
    lock = lock_of(path, 100)
    finding = (
        "wrong: study.journal.lock was left behind 100 s ago by a process that died; the next "
        "one to write has to wait"
    )
    status, lines = doctor(path)
    assert (status, doctor.changed, lines[1]) == (1, False, finding)
    status, lines = doctor(path, "--fix")
    assert (status, lines[1:3], lock.exists()) == (0, [finding, "  repaired: removed"], False)
    assert doctor(path)[1][-1] == "nothing to repair"


def test_lock_of_another_kind_that_points_nowhere_is_removed(
    path: Path, study: optuna.Study, doctor: Doctor
) -> None:
    """Optuna's own lock on a relative path: it makes every writer wait for ever."""
    lock = path.with_name(f"{path.name}.lock")
    lock.symlink_to("nowhere/study.journal")
    os.utime(lock, (1, 1), follow_symlinks=False)
    assert doctor(path)[0] == 1
    assert doctor(path, "--fix")[0] == 0
    assert not lock.is_symlink()


def test_young_lock_is_left_alone(path: Path, study: optuna.Study, doctor: Doctor) -> None:
    lock = lock_of(path, 3)
    assert doctor(path, "--fix")[1][-1] == "nothing to repair"
    assert lock.exists()


def test_lock_that_is_taken_meanwhile_is_left_alone(
    path: Path, study: optuna.Study, doctor: Doctor
) -> None:
    lock = lock_of(path, 100)
    (finding,) = journal_findings(read_journal(path), in_use=False)
    lock.touch()
    assert finding.repair is not None
    assert finding.repair() == "it is gone, others work with the journal"
    assert lock.exists()


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("missing.journal", None, "there is no file .*missing[.]journal"),
        ("sqlite:///missing.db", None, "there is no file .*missing[.]db"),
        (".", None, "there is no file .*study[.]journal"),
        ("a.csv", b"a,b,c\n", "a[.]csv is not a journal"),
        ("a.db", b"SQLite format 3\0", "is an SQLite database; write sqlite:///.*a[.]db"),
        (":memory:", None, "there is no study in :memory:"),
    ],
)
def test_what_is_no_storage_is_a_mistake_in_one_line(
    tmp_path: Path, doctor: Doctor, name: str, content: bytes | None, error: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert doctor(name, "--fix") == (2, [])
    assert doctor.changed is False
    with pytest.raises(SystemError, match=f"^error: storage: .*{error}[^\n]*\n$"):
        raise SystemError(doctor.error)


def test_file_that_may_not_be_read_is_a_mistake_in_one_line(
    path: Path, study: optuna.Study, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("sb3_hpo.doctor.__main__.read_journal", refuse)
    assert doctor(path) == (2, [])
    assert doctor.error == f"error: storage: {path}: Permission denied\n"


def test_unknown_study_is_a_mistake_before_anything_is_repaired(
    path: Path, study: optuna.Study, doctor: Doctor
) -> None:
    with path.open("ab") as file:
        file.write(TORN)
    assert doctor(path, "--fix", "--study-name", "t") == (2, [])
    assert doctor.changed is False
    assert doctor.error == "error: unknown study 't'; Known: s\n"


def zombie_line(worker: str) -> str:
    return f"wrong: trial 2 of s: its worker {worker} is gone, but it counts as running"


def test_zombie_of_this_machine_is_told_and_then_enqueued_again(
    path: Path, study: optuna.Study, doctor: Doctor
) -> None:
    worker = f"{HERE}:0:dead"
    x = start_trial(study, worker).params["x"]
    status, lines = doctor(path)
    assert (status, doctor.changed) == (1, False)
    assert lines[-2:] == [zombie_line(worker), "1 thing to repair: run again with --fix"]

    status, lines = doctor(path, "--fix")
    assert status == 0
    assert lines[-3:] == [
        zombie_line(worker),
        "  repaired: failed; its parameters wait for another worker",
        "1 thing repaired",
    ]
    lost, retry = trials_of(study)[2:]
    assert (lost.state, lost.user_attrs["outcome"]) == (TrialState.FAIL, "lost")
    assert (retry.state, retry.user_attrs) == (TrialState.WAITING, {"n_losses": 1, "retry_of": 2})
    assert study.ask().suggest_float("x", 0, 1) == x


def test_zombie_that_was_lost_twice_is_written_off(
    path: Path, study: optuna.Study, doctor: Doctor
) -> None:
    start_trial(study, f"{HERE}:0:dead").set_user_attr("n_losses", 2)
    status, lines = doctor(path, "--fix")
    assert (status, lines[-2]) == (0, "  repaired: written off: its worker was lost 3 times")
    assert trials_of(study)[2].state is TrialState.PRUNED
    assert doctor(path)[1][-1] == "nothing to repair"


def test_zombie_without_parameters_is_only_failed(
    path: Path, study: optuna.Study, doctor: Doctor
) -> None:
    study.ask().set_user_attr("worker", f"{HERE}:0:dead")
    status, lines = doctor(path, "--fix")
    assert (status, lines[-2]) == (0, "  repaired: failed; it had no parameters yet")
    assert [trial.state.name for trial in trials_of(study)[2:]] == ["FAIL"]


def test_zombie_in_a_torn_journal_is_repaired_after_it(
    path: Path, study: optuna.Study, doctor: Doctor
) -> None:
    start_trial(study, f"{HERE}:0:dead")
    lock_of(path, 100)
    with path.open("ab") as file:
        file.write(TORN)
    assert doctor(path)[1][-1] == "3 things to repair: run again with --fix"
    assert doctor(path, "--fix")[1][-1] == "3 things repaired"
    assert doctor(path)[1][-1] == "nothing to repair"


def test_trial_whose_worker_runs_here_is_alive(
    path: Path, study: optuna.Study, doctor: Doctor, worker: str
) -> None:
    start_trial(study, worker)
    status, lines = doctor(path, "--fix")
    assert (status, doctor.changed) == (0, False)
    assert lines[-2] == f"trial 2 of s: its worker {worker} is at work on this machine"
    assert worker in living_workers()


@pytest.mark.parametrize("worker", ["far:0:beef", None])
def test_trial_of_another_machine_is_not_judged(
    path: Path, study: optuna.Study, doctor: Doctor, worker: str | None
) -> None:
    start_trial(study, worker)
    status, lines = doctor(path, "--fix")
    assert (status, doctor.changed) == (0, False)
    assert lines[-2:] == [
        "trial 2 of s: it is not on this machine; only the study's workers can tell if it is gone",
        "nothing to repair",
    ]


def test_database_is_described_and_its_zombie_repaired(tmp_path: Path, doctor: Doctor) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    study = study_in(url)
    start_trial(study, f"{HERE}:0:dead")
    status, lines = doctor(url)
    assert (status, doctor.changed) == (1, False)
    assert lines == [
        url,
        "study s: ppo on Pendulum-v1",
        "  finished: 2 of 5 (2 complete); besides: 1 running",
        "  best value: 2.5 (trial 1)",
        zombie_line(f"{HERE}:0:dead"),
        "1 thing to repair: run again with --fix",
    ]
    assert doctor(url, "--fix")[1][-1] == "1 thing repaired"
    assert [trial.state.name for trial in trials_of(study)[2:]] == ["FAIL", "WAITING"]
    assert doctor(url)[1][-1] == "nothing to repair"


def test_read_journal_sees_what_is_appended_and_writes_nothing(
    path: Path, study: optuna.Study
) -> None:
    journal = read_journal(path)
    seen = optuna.load_study(storage=journal.storage, study_name="s")
    study.ask()
    assert len(trials_of(seen)) == 3
    before = path.read_bytes()
    with pytest.raises(OSError, match="the journal has to be repaired first"):
        seen.set_user_attr("key", 1)
    assert path.read_bytes() == before


def test_help_exits_0_without_importing_torch() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "sb3_hpo.doctor", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert done.returncode == 0
    assert "--fix" in done.stdout
    assert "sb3_hpo.doctor.stuck_trials" in modules
    assert not modules & {"torch", "stable_baselines3", "gymnasium"}
