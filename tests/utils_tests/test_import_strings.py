from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sb3_hpo.utils.errors import UserError
from sb3_hpo.utils.import_strings import import_module, load_reference, reference
from tests.support.envs import KnownReturnEnv, make_failing


@pytest.fixture(autouse=True)
def own_import_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading files adds folders to `sys.path`: not for other tests."""
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.mark.parametrize("target", [KnownReturnEnv, make_failing, Path, Path.cwd])
def test_reference_top_level_object_loads_again(target: Any) -> None:
    assert load_reference(reference(target)) == target


def test_reference_class_names_its_module() -> None:
    assert reference(KnownReturnEnv) == "tests.support.envs:KnownReturnEnv"


def test_reference_text_stands_for_itself() -> None:
    assert reference("a.b:c") == "a.b:c"


def test_reference_lambda_is_refused() -> None:
    with pytest.raises(UserError, match=r"<lambda>.* cannot be imported by a worker process"):
        reference(lambda: None)


def test_reference_local_class_is_refused() -> None:
    class Local:
        pass

    with pytest.raises(UserError, match="define it at the top level of a module or script"):
        reference(Local)


@pytest.mark.parametrize("target", [3, None, [KnownReturnEnv], KnownReturnEnv()])
def test_reference_instance_is_refused(target: Any) -> None:
    with pytest.raises(UserError, match="cannot be imported by a worker process"):
        reference(target)


@pytest.mark.parametrize(
    ("target", "advice"),
    [
        (
            partial(KnownReturnEnv, "discrete"),
            "^functools.partial.*: define a function at the top",
        ),
        (KnownReturnEnv(), "^an object of KnownReturnEnv cannot .*: pass its class .*env_kwargs"),
        (lambda: None, "define it at the top level of a module or script and pass that$"),
    ],
)
def test_reference_that_is_refused_has_its_own_advice(target: Any, advice: str) -> None:
    with pytest.raises(UserError, match=advice):
        reference(target)


def test_reference_class_of_a_file_names_the_file(tmp_path: Path) -> None:
    """Another process has not loaded it: it must find it by its path."""
    path = tmp_path / "my space.py"
    path.write_text("class Extractor: ...\n")
    loaded = load_reference(f"{path}:Extractor")
    assert reference(loaded) == f"{path.resolve()}:Extractor"


def in_main(monkeypatch: pytest.MonkeyPatch, file: Path | None) -> type:
    """Return a class as a script, or an interactive session, defines it."""
    main = ModuleType("__main__")
    if file is not None:
        main.__file__ = str(file)
    main.Task = type("Task", (), {"__module__": "__main__"})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "__main__", main)
    task: type = main.Task
    return task


def test_reference_running_script_is_its_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    task = in_main(monkeypatch, tmp_path / "script.py")
    assert reference(task) == f"{tmp_path.resolve()}/script.py:Task"


def test_load_reference_running_script_is_not_run_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "script.py").write_text("raise RuntimeError('ran twice')")
    task = in_main(monkeypatch, tmp_path / "script.py")
    assert load_reference(f"{tmp_path}/script.py:Task") is task


def test_load_reference_file_gives_its_object_and_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "neighbour_of_tasks.py").write_text("GRAVITY = 9.81")
    (tmp_path / "tasks.py").write_text("from neighbour_of_tasks import GRAVITY\nclass A:\n  g = 1")
    assert load_reference(f"{tmp_path}/tasks.py:GRAVITY") == 9.81
    assert load_reference(f"{tmp_path}/tasks.py:A.g") == 1


def test_load_reference_file_twice_runs_it_once(tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text("class Task: pass")
    text = f"{tmp_path}/tasks.py:Task"
    assert load_reference(text) is load_reference(text)


def test_load_reference_same_file_name_elsewhere_is_another_module(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tasks.py").write_text(f"NAME = {name!r}")
    loaded = [load_reference(f"{tmp_path}/{name}/tasks.py:NAME") for name in ("a", "b")]
    assert loaded == ["a", "b"]


@pytest.mark.parametrize("text", ["pathlib", "pathlib:", ":Path", ""])
def test_load_reference_without_both_parts_says_the_form(text: str) -> None:
    with pytest.raises(UserError, match=r"must have the form package\.module:name or file\.py"):
        load_reference(text)


def test_load_reference_unknown_name_suggests() -> None:
    with pytest.raises(UserError, match=r"unknown name 'KnownReturnsEnv'; did you mean 'KnownRe"):
        load_reference("tests.support.envs:KnownReturnsEnv")


@pytest.mark.parametrize(
    ("module", "missing"), [("no_such", "no_such"), ("tests.no_such.deep", "tests.no_such")]
)
def test_import_module_missing_module_is_named(module: str, missing: str) -> None:
    with pytest.raises(UserError, match=f"no module named '{missing}': is it installed"):
        import_module(module)


def test_import_module_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no file /.*/tasks\.py"):
        import_module(f"{tmp_path}/tasks.py")


def test_import_module_missing_import_inside_module_is_told_with_its_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "needs_a_simulator.py").write_text("import a_simulator_nobody_has")
    monkeypatch.syspath_prepend(tmp_path)
    message = (
        r"^importing needs_a_simulator failed: ModuleNotFoundError: No module named "
        r"'a_simulator_nobody_has' \(.*/needs_a_simulator.py:1\)$"
    )
    with pytest.raises(UserError, match=message):
        import_module("needs_a_simulator")


def test_import_module_error_inside_file_is_told_each_time(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("\n1 / 0")
    for _ in range(2):  # no half-made module is kept
        with pytest.raises(UserError, match=r"failed: ZeroDivisionError: .*/broken.py:2\)$"):
            import_module(f"{tmp_path}/broken.py")


@pytest.mark.parametrize("is_file", [True, False])
def test_module_that_ends_the_process_as_it_is_imported_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_file: bool
) -> None:
    (tmp_path / "ending.py").write_text("import sys\nsys.exit(0)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    name = str(tmp_path / "ending.py") if is_file else "ending"
    with pytest.raises(UserError, match=r"^importing \S+ ended with SystemExit: 0 \("):
        load_reference(f"{name}:x")
