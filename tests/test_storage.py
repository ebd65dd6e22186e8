from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import optuna
import pytest

from sb3_hpo.errors import UserError
from sb3_hpo.storage import journal_path, open_storage

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


def test_journal_path_relative_becomes_absolute(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert journal_path("runs/../a.journal") == tmp_path.resolve() / "a.journal"


def test_journal_path_home_is_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert journal_path("~/a.journal") == tmp_path.resolve() / "a.journal"


@pytest.mark.parametrize(
    ("url", "scheme"),
    [("sqlite:///a.db", "sqlite"), ("mysql+pymysql://u@h/db", r"mysql\+pymysql")],
)
def test_journal_path_url_is_refused(url: str, scheme: str) -> None:
    with pytest.raises(UserError, match=f"^storage: {scheme}:// is not supported yet; give"):
        journal_path(url)


def test_journal_path_sqlite_file_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "a.db") as connection:
        connection.execute("create table t (x)")
    connection.close()
    with pytest.raises(UserError, match=r"a\.db is not a journal; give a new path"):
        journal_path(str(tmp_path / "a.db"))


def test_journal_path_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is a folder; give a file in it, e\.g\. study\.journal"):
        journal_path(str(tmp_path))


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
    assert backup.read_bytes() == whole + TORN
    assert torn.read_bytes().startswith(whole)
    assert torn.read_bytes().endswith(b"\n")


def test_open_storage_second_time_makes_no_backup(torn: Path) -> None:
    open_storage(str(torn))
    for backup in backups(torn):
        backup.unlink()  # a second one within the same second would have the same name
    open_storage(str(torn))
    assert backups(torn) == []


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


@pytest.mark.parametrize("content", [b"a,b\n1,2", b"\x00\x01\x02", b"{}\n"])
def test_journal_path_other_file_is_refused_and_left_as_it_is(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "results.csv").write_bytes(content)
    with pytest.raises(UserError, match=r"results\.csv is not a journal"):
        open_storage(str(tmp_path / "results.csv"))
    assert (tmp_path / "results.csv").read_bytes() == content
    assert len(list(tmp_path.iterdir())) == 1
