from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import optuna
import pytest

from sb3_hpo.config.study_config import make_config
from sb3_hpo.storages.address import StorageAddress
from sb3_hpo.storages.existing import check_maximises, find_run_dir, find_study
from sb3_hpo.storages.open import open_storage
from sb3_hpo.storages.study_location import StudyLocation
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


def journal_with(path: Path, *names: str) -> str:
    for name in names:
        optuna.create_study(storage=open_storage(str(path)), study_name=name)
    return str(path)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An Optuna database, which takes a while to make; tests leave it as it is."""
    path = tmp_path_factory.mktemp("database") / "a.db"
    for name in ("sac-b", "ppo-a"):
        optuna.create_study(storage=f"sqlite:///{path}", study_name=name)
    return path


@pytest.fixture(params=["journal", "database"])
def storage(request: pytest.FixtureRequest, tmp_path: Path, database: Path) -> str:
    """Two studies in a file of one kind or the other."""
    if request.param == "database":
        return f"sqlite:///{database}"
    return journal_with(tmp_path / "a.journal", "sac-b", "ppo-a")


def test_find_study_only_one_needs_no_name(tmp_path: Path) -> None:
    assert find_study(journal_with(tmp_path / "a.journal", "only")).study_name == "only"


def test_find_study_several_are_found_by_name(storage: str) -> None:
    assert find_study(storage, "sac-b").study_name == "sac-b"


def test_find_study_several_without_a_name_are_listed(storage: str) -> None:
    with pytest.raises(UserError) as caught:
        find_study(storage)
    text = f"study_name: say which study of {storage}; it has: ppo-a, sac-b"
    assert str(caught.value) == text


def test_find_study_unknown_name_suggests_the_nearest(tmp_path: Path) -> None:
    storage = journal_with(tmp_path / "studies", "ppo-Pendulum", "sac-b")
    text = "^unknown study 'ppo-pendulm'; did you mean 'ppo-Pendulum'[?] Known: ppo-Pen.*, sac-b$"
    with pytest.raises(UserError, match=text):
        find_study(storage, "ppo-pendulm")


def test_find_study_has_the_trials(tmp_path: Path) -> None:
    study_at(tmp_path / "a.journal").optimize(lambda _: 1.5, 2)
    values = [trial.value for trial in find_study(str(tmp_path / "a.journal")).trials]
    assert values == [1.5, 1.5]


def test_find_study_run_folder_stands_for_its_journal(tmp_path: Path) -> None:
    journal_with(tmp_path / "study.journal", "mine")
    assert find_study(str(tmp_path)).study_name == "mine"


@pytest.mark.parametrize("storage", ["mistyped.journal", "sqlite:///mistyped.db", "."])
def test_find_study_missing_file_is_refused_and_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, storage: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"^storage: there is no file .*(mistyped|study)\.\w+$"):
        find_study(storage, "s")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("storage", [400 * "x", "redi:" + 400 * "y" + "@h"])
def test_find_study_name_that_no_file_can_have_is_refused(storage: str) -> None:
    with pytest.raises(UserError, match=r"^storage: [^\n]+ cannot be a file: File name too long$"):
        find_study(storage)


def test_find_study_missing_database_named_with_its_driver_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^storage: there is no file .*/mistyped\.db$"):
        find_study(f"sqlite+pysqlite:///{tmp_path}/mistyped.db?timeout=5")
    assert list(tmp_path.iterdir()) == []


def test_find_study_database_with_options_is_found(database: Path) -> None:
    assert find_study(f"sqlite:///{database}?timeout=5", "ppo-a").study_name == "ppo-a"


@pytest.mark.parametrize("name", [None, "s"])
def test_find_study_empty_journal_has_none(tmp_path: Path, name: str | None) -> None:
    (tmp_path / "a.journal").touch()
    with pytest.raises(UserError, match=r"^storage: there is no study in .*a\.journal$"):
        find_study(str(tmp_path / "a.journal"), name)
    assert (tmp_path / "a.journal").read_bytes() == b""


def test_find_study_somebody_s_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        connection.execute("create table t (x)")
        connection.commit()
    before = (tmp_path / "a.db").read_bytes()
    with pytest.raises(UserError, match=r"^storage: there is no study in sqlite:///.*a\.db$"):
        find_study(f"sqlite:///{tmp_path}/a.db")
    assert (tmp_path / "a.db").read_bytes() == before


def test_find_study_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(b"a,b,c\n" * 999)
    with pytest.raises(UserError, match=r"^storage: cannot open sqlite.*file is not a database"):
        find_study(f"sqlite:///{tmp_path}/a.db")


def test_find_study_database_of_an_old_optuna_says_what_to_do(
    tmp_path: Path, database: Path
) -> None:
    shutil.copyfile(database, tmp_path / "a.db")
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        connection.execute("update alembic_version set version_num = 'v0.9.0.a'")
        connection.commit()
    with pytest.raises(UserError, match=r"no longer compatible .* `[$] optuna storage upgrade"):
        find_study(f"sqlite:///{tmp_path}/a.db")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("nonsense://a", "unknown scheme 'nonsense'; Known: grpc, journal, mariadb, mysql"),
        ("mysql://h:port/db", "mysql://h:port/db is no URL of a database"),
        ("redis://localhost:1", "redis://localhost:1 cannot be used"),
        ("sqlite:///no/such/folder/a.db", "there is no file /.*no/such/folder/a.db"),
        ("sqlite://", "sqlite:/// needs a file"),
    ],
)
def test_find_study_bad_url_is_a_mistake_in_one_line(url: str, why: str) -> None:
    with pytest.raises(UserError, match=f"^storage: .*{why}") as caught:
        find_study(url, "s")
    assert "\n" not in str(caught.value)


def test_find_study_broken_journal_is_a_mistake_in_one_line(tmp_path: Path) -> None:
    """A line broken in the middle of the file, where no crash of ours leaves one."""
    (tmp_path / "a.journal").write_bytes(TORN + b"\n" + b'{"op_code": 0}\n')
    with pytest.raises(UserError, match=r"^storage: line 1 of .*a\.journal is damaged, "):
        find_study(str(tmp_path / "a.journal"))


def test_find_study_torn_tail_is_repaired(torn: Path) -> None:
    assert len(find_study(str(torn)).trials) == 3
    assert len(list(torn.parent.glob("*.torn-*"))) == 1


@pytest.mark.parametrize(
    ("storage", "run_dir", "home"),
    [
        ("elsewhere/study.journal", "mine", "mine"),
        ("sqlite:///a.db", "mine", "mine"),
        ("folder", None, "folder"),
        ("folder/study.journal", None, "folder"),
        ("folder/all.journal", None, "runs/s"),
        ("sqlite:///a.db", None, "runs/s"),
        ("postgresql://u@h/db", None, "runs/s"),
    ],
)
def test_home_of_study(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    storage: str,
    run_dir: str | None,
    home: str,
) -> None:
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    study = optuna.create_study(study_name="s")
    assert find_run_dir(storage, study, run_dir) == tmp_path.resolve() / home
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize(
    ("storage", "noted", "home"),
    [
        ("all/study.journal", {"storage": "all/study.journal", "run_dir": "mine"}, "mine"),
        ("all/study.journal", {"storage": "all/study.journal"}, "runs/s"),
        ("all/study.journal", {"run_dir": "gone"}, "all"),
        ("all", {"run_dir": "mine"}, "all"),
        ("all/study.journal", {"run_dir": "another's"}, "all"),
        ("all/study.journal", {"run_dir": "another tool's"}, "all"),
        ("all/study.journal", {"run_dir": "/etc"}, "all"),
    ],
)
def test_home_of_study_that_notes_where_its_files_are(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    storage: str,
    noted: dict[str, Any],
    home: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("all", "mine", "another's", "another tool's", "runs/s"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "another tool's" / "config.yaml").write_text("version: 2\nservices: [x]\n")
    for name, study_name in (("mine", "s"), ("another's", "t")):
        text = f"{{algo: ppo, env: x, study_name: {study_name}}}"
        (tmp_path / name / "config.yaml").write_text(text)
    study = optuna.create_study(study_name="s")
    study.set_user_attr("config", noted)
    assert find_run_dir(storage, study) == tmp_path.resolve() / home


@pytest.mark.parametrize(
    ("name", "folder"),
    [("../../x", "_.._.._x"), ("..", "_.."), ("/etc", "_etc"), ("a\x1b[2Jb", "a_[2Jb"),
     (300 * "n", 200 * "n"), ("", "_"), ("my study=1", "my study=1")],
)  # fmt: skip
def test_folder_of_a_strangers_study_is_below_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, folder: str
) -> None:
    monkeypatch.chdir(tmp_path)
    study = optuna.create_study(study_name=name)
    assert find_run_dir("sqlite:///x.db", study) == tmp_path.resolve() / "runs" / folder


@pytest.mark.parametrize("name", ["../../x", "..", "/etc/x", 300 * "n", ".hidden", ""])
def test_place_refuses_a_name_that_is_no_folder(name: str) -> None:
    with pytest.raises(UserError, match=r"^study_name: without --run-dir it is the name of"):
        StudyLocation.of(make_config({"algo": "ppo", "env": "x", "study_name": name}))


def test_place_takes_any_name_where_the_folder_is_given(tmp_path: Path) -> None:
    values = {"algo": "ppo", "env": "x", "study_name": "lab/arm", "run_dir": str(tmp_path)}
    assert StudyLocation.of(make_config(values)).name == "lab/arm"


def test_check_maximises_refuses_several_objectives() -> None:
    study = optuna.create_study(study_name="two", directions=["maximize", "maximize"])
    with pytest.raises(UserError, match=r"^study .two. has 2 objectives"):
        check_maximises(study)


@pytest.mark.parametrize(
    ("values", "run_dir", "journal"),
    [
        ({}, "runs/s", "runs/s/study.journal"),
        ({"run_dir": "mine"}, "mine", "mine/study.journal"),
        ({"storage": "all.journal"}, "runs/s", "all.journal"),
        ({"storage": "all.journal", "run_dir": "mine"}, "mine", "all.journal"),
    ],
)
def test_place_of_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: Any, run_dir: str, journal: str
) -> None:
    monkeypatch.chdir(tmp_path)
    config = make_config({"algo": "ppo", "env": "Pendulum-v1", "study_name": "s", **values})
    here = tmp_path.resolve()
    assert StudyLocation.of(config) == StudyLocation(
        "s", here / run_dir, StorageAddress("journal", str(here / journal)), 300.0
    )
    assert list(tmp_path.iterdir()) == []


def test_place_of_study_without_a_name_is_the_identity_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = make_config({"algo": "ppo", "env": "Pendulum-v1"})
    location = StudyLocation.of(config)
    assert location.name == config.name()
    assert location.run_dir == tmp_path.resolve() / "runs" / config.name()


@pytest.mark.parametrize("name", ["file", "file/run"])
def test_place_of_study_run_dir_that_is_a_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("mine")
    message = r"^run_dir: must be a folder, but .*/file is a file; name another one"
    with pytest.raises(UserError, match=message):
        place_of(run_dir=str(tmp_path / name))
    assert (tmp_path / "file").read_text() == "mine"


def test_place_of_study_storage_that_is_no_file_is_refused(tmp_path: Path) -> None:
    config = make_config({"algo": "ppo", "env": "Pendulum-v1", "storage": str(tmp_path)})
    with pytest.raises(UserError, match=r"^storage: .* is a folder; give a file in it"):
        StudyLocation.of(config)


def place_of(**values: Any) -> StudyLocation:
    return StudyLocation.of(
        make_config({"algo": "ppo", "env": "Pendulum-v1", "study_name": "s", **values})
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"storage": ":memory:"}, "^storage: :memory: is seen by one process only"),
        (
            {"storage": "sqlite:///a.db", "n_workers": 2},
            "^n_workers: sqlite:/// gives one trial .* it holds one, but got 2; a journal file",
        ),
    ],
)
def test_place_that_workers_cannot_share_is_refused(values: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        place_of(**values)


def test_place_of_sqlite_is_reserved_by_one_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    location = place_of(storage="sqlite:///a.db")
    assert location.file == tmp_path.resolve() / "a.db"
    with (
        location.reserved(),
        pytest.raises(UserError, match=r"^storage: sqlite:///.*a\.db holds one worker, and an"),
        place_of(storage="sqlite:///a.db").reserved(),
    ):
        pytest.fail("it was reserved twice")
    with place_of(storage="sqlite:///a.db").reserved():
        pass


def test_place_of_a_journal_holds_many_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with place_of().reserved(), place_of().reserved():
        assert list(tmp_path.iterdir()) == []
