from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import optuna
import pytest

from sb3_hpo.storages.existing import find_study
from sb3_hpo.storages.journal import JournalBackend, check_free_space, repair_torn_tail, torn_tail
from sb3_hpo.storages.open import open_storage
from sb3_hpo.utils.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

TORN = b'{"op_code": 6, "trial_id": 1, "val'


def study_at(path: Path) -> optuna.Study:
    return optuna.create_study(
        storage=open_storage(str(path)), study_name="s", load_if_exists=True
    )


@pytest.fixture
def torn(tmp_path: Path) -> Path:
    """A journal with three finished trials and half a line."""
    path = tmp_path / "study.journal"
    study_at(path).optimize(lambda trial: trial.suggest_float("x", 0, 1), 3)
    with path.open("ab") as file:
        file.write(TORN)
    return path


def backups(path: Path) -> list[Path]:
    return list(path.parent.glob(f"{path.name}.torn-*"))


def test_open_storage_new_file_keeps_a_study(tmp_path: Path) -> None:
    study_at(tmp_path / "a.journal").optimize(lambda _: 1.5, 2)
    again = optuna.load_study(storage=open_storage(str(tmp_path / "a.journal")), study_name="s")
    assert [trial.value for trial in again.trials] == [1.5, 1.5]
    assert backups(tmp_path / "a.journal") == []


def test_open_storage_torn_tail_keeps_all_trials_and_a_backup(torn: Path) -> None:
    whole = torn.read_bytes()[: -len(TORN)]
    states = [trial.state.name for trial in study_at(torn).trials]
    (backup,) = backups(torn)
    assert states == ["COMPLETE", "COMPLETE", "COMPLETE"]
    assert backup.read_bytes() == TORN
    assert torn.read_bytes().startswith(whole)
    assert torn.read_bytes().endswith(b"\n")


def test_open_storage_second_time_makes_no_backup(torn: Path) -> None:
    open_storage(str(torn))
    open_storage(str(torn))
    assert len(backups(torn)) == 1


def test_open_storage_torn_tail_leaves_a_usable_study(torn: Path) -> None:
    study_at(torn).optimize(lambda _: 7.0, 1)
    again = optuna.load_study(storage=open_storage(str(torn)), study_name="s")
    assert len(again.trials) == 4
    assert again.trials[-1].value == 7.0


def test_open_storage_only_a_torn_line_leaves_an_empty_journal(tmp_path: Path) -> None:
    path = tmp_path / "a.journal"
    path.write_bytes(TORN)
    assert open_storage(str(path)).get_all_studies() == []
    assert path.read_bytes() == b""


def test_open_storage_releases_its_lock(torn: Path) -> None:
    open_storage(str(torn))
    assert not list(torn.parent.glob("*.lock*"))


def test_open_storage_reads_beside_a_lock_that_was_left_behind(tmp_path: Path) -> None:
    study_at(tmp_path / "a.journal")
    (tmp_path / "a.journal.lock").touch()
    assert [s.study_name for s in open_storage(str(tmp_path / "a.journal")).get_all_studies()] == [
        "s"
    ]


def test_append_repairs_what_another_process_left(tmp_path: Path) -> None:
    study = study_at(tmp_path / "a.journal")
    with (tmp_path / "a.journal").open("ab") as file:
        file.write(TORN)
    study.set_user_attr("key", 5)
    assert backups(tmp_path / "a.journal")[0].read_bytes() == TORN
    assert study_at(tmp_path / "a.journal").user_attrs == {"key": 5}


@pytest.mark.parametrize("n_written", [0, 7])
def test_append_without_room_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_written: int
) -> None:
    path = tmp_path / "a.journal"
    backend = JournalBackend(path)
    backend.append_logs([{"op_code": 0}])

    def fill(self: JournalBackend, content: bytes) -> None:
        with path.open("ab") as file:
            file.write(content[:n_written])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(JournalBackend, "_write", fill)
        with pytest.raises(OSError, match="No space left"):
            backend.append_logs([{"op_code": 1}])
    assert path.read_bytes() == b'{"op_code":0}\n'
    backend.append_logs([{"op_code": 2}])
    assert [log["op_code"] for log in backend.read_logs(0)] == [0, 2]


@pytest.mark.parametrize(
    "garbage", [b"\0\0\n", b'{"op_code":6,"tr\n', b'{"op_code":\xff}\n', b"[]\n", b"\n",
                b'{"op_code":4}\n', b'{"op_code":99}\n']
)  # fmt: skip
def test_damaged_line_is_named_with_who_repairs_it(tmp_path: Path, garbage: bytes) -> None:
    path = tmp_path / "my study.journal"
    study = study_at(path)
    study.set_user_attr("key", 5)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:1], garbage, *lines[1:]]))
    message = (
        f"storage: line 2 of {path} is damaged, so that nothing after it can be read; "
        f"`python -m sb3_hpo.doctor '{path}'` says what can be kept"
    )
    for find in (study_at, lambda path: find_study(str(path))):
        with pytest.raises(UserError) as caught:
            find(path)
        assert str(caught.value) == message


def test_line_damaged_while_a_study_runs_stops_every_further_call(tmp_path: Path) -> None:
    study = study_at(tmp_path / "a.journal")
    with (tmp_path / "a.journal").open("ab") as file:
        file.write(b'{"op_code":6}\n')
    for _ in range(2):
        with pytest.raises(UserError, match=r"^storage: line 2 of .* is damaged"):
            study.ask()


def test_answers_of_a_journal_are_no_damage(tmp_path: Path) -> None:
    study = study_at(tmp_path / "a.journal")
    with pytest.raises(optuna.exceptions.DuplicatedStudyError):
        optuna.create_study(storage=study._storage, study_name="s")
    with pytest.raises(KeyError):
        study._storage.set_trial_user_attr(7, "key", 1)


def test_journal_whose_first_line_is_damaged_is_still_one(tmp_path: Path) -> None:
    path = tmp_path / "a.journal"
    study_at(path).set_user_attr("key", 5)
    path.write_bytes(b"\0" + path.read_bytes()[1:])
    with pytest.raises(UserError, match=r"^storage: line 1 of .*a\.journal is damaged"):
        study_at(path)


def test_lock_that_may_not_be_removed_is_told_instead_of_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of another user's dead process, in a folder where each may remove but one's own files."""
    backend = JournalBackend(tmp_path / "a.journal")
    (tmp_path / "a.journal.lock").touch()

    def refuse(*_names: str) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "rename", refuse)
    backend._lock.grace_period = 0
    with pytest.raises(
        UserError, match=r"^storage: .*a\.journal\.lock was left behind .* owner must remove it$"
    ):
        backend.append_logs([{"op_code": 0}])


def test_append_after_its_lock_was_broken_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = JournalBackend(tmp_path / "a.journal")
    write = backend._write

    def lose_the_lock(content: bytes) -> None:
        write(content)
        (tmp_path / "a.journal.lock").unlink()

    monkeypatch.setattr(backend, "_write", lose_the_lock)
    backend.append_logs([{"op_code": 0}])
    assert "another process broke our lock" in caplog.text
    assert list(backend.read_logs(0)) == [{"op_code": 0}]


@pytest.mark.parametrize(
    ("content", "tail"),
    [
        (b"", b""),
        (b"a\n", b""),
        (b"a\nbc", b"bc"),
        (b"abc", b"abc"),
        (b"a\n" + b"x" * 200_000, b"x" * 200_000),
    ],
)
def test_torn_tail(tmp_path: Path, content: bytes, tail: bytes) -> None:
    (tmp_path / "f").write_bytes(content)
    assert torn_tail(tmp_path / "f") == tail
    backup = repair_torn_tail(tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == content.removesuffix(tail)
    assert (b"" if backup is None else backup.read_bytes()) == tail


def test_check_free_space_counts_the_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 23_000_000})())
    check_free_space(tmp_path / "not" / "yet", 100)
    with pytest.raises(
        UserError, match=r"101 trials need about 23 MB, but only 23\.0 MB are free"
    ):
        check_free_space(tmp_path / "not" / "yet", 101)
