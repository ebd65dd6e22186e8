from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from rich.console import Console

from sb3_hpo.utils.console import echo, quiet_optuna, relative_path, run_command
from sb3_hpo.utils.errors import UserError


def said(text: str, *, terminal: bool = True) -> str:
    stream = io.StringIO()
    echo(Console(file=stream, force_terminal=terminal, width=20), text)
    return stream.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        "a line that is much longer than the terminal is wide",
        "[red]not markup[/red] [1/40] 3.5 'text' /a/path",
        "my_env.py:100: ValueError :warning:",
    ],
)
@pytest.mark.parametrize("terminal", [True, False])
def test_say_prints_the_line_as_it_is(text: str, *, terminal: bool) -> None:
    assert said(text, terminal=terminal) == f"{text}\n"


@pytest.mark.parametrize("status", [0, 1, 130])
def test_run_command_returns_the_command_s_status(status: int) -> None:
    assert run_command(lambda: status) == status


@pytest.mark.parametrize(("verbose", "level"), [(False, "WARNING"), (True, "INFO")])
def test_quiet_optuna_lets_it_tell_of_problems_only(verbose: bool, level: str) -> None:
    before = optuna.logging.get_verbosity()
    try:
        quiet_optuna(verbose=verbose)
        assert optuna.logging.get_verbosity() == getattr(optuna.logging, level)
    finally:
        optuna.logging.set_verbosity(before)


def test_run_command_mistake_of_the_user_is_one_line_and_exit_2(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def command() -> int:
        raise UserError("top: must be positive, but got 0")

    assert run_command(command) == 2
    assert capsys.readouterr() == ("", "error: top: must be positive, but got 0\n")


def test_run_command_bug_keeps_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> int:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        run_command(command)
    assert capsys.readouterr() == ("", "")


def test_run_command_modules_of_the_current_folder_can_be_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with `python -m`: `--env my_script.py:make_env` works with the console script too."""
    (tmp_path / "module_of_this_folder.py").write_text("ANSWER = 42\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])

    def command() -> int:
        from module_of_this_folder import ANSWER  # type: ignore[import-not-found]

        return int(ANSWER)

    assert run_command(command) == 42
    assert sys.path[0] == str(tmp_path)


@pytest.mark.parametrize("present", ["", "."])
def test_run_command_does_not_add_the_current_folder_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, present: str
) -> None:
    monkeypatch.chdir(tmp_path)
    before = ["/usr/lib", present and str(tmp_path)]
    monkeypatch.setattr(sys, "path", [*before])
    run_command(lambda: 0)
    assert sys.path == before


def test_near_below_here_is_relative_and_elsewhere_is_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert relative_path(tmp_path / "here" / "runs" / "best.yaml") == Path("runs/best.yaml")
    assert relative_path(tmp_path / "best.yaml") == tmp_path / "best.yaml"


def test_say_prints_no_sign_that_a_terminal_obeys() -> None:
    shown = said("study \x1b]0;owned\x07 \x9b31m \u202egnp.exe")
    assert shown == "study \\x1b]0;owned\\x07 \\x9b31m \\u202egnp.exe\n"


def test_run_command_mistake_with_control_characters_is_shown_as_text(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def mistaken() -> int:
        raise UserError("study '\x1b[2J'")

    assert run_command(mistaken) == 2
    assert capsys.readouterr().err == "error: study '\\x1b[2J'\n"


def test_run_command_full_disk_is_one_line_and_exit_2(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fill_the_disk() -> int:
        raise OSError(28, "No space left on device", "runs/x/report.html")

    assert run_command(fill_the_disk) == 2
    assert capsys.readouterr().err == (
        "error: runs/x/report.html: No space left on device; what was finished is kept, and once "
        "this is repaired the same command goes on from there\n"
    )


def test_run_command_ctrl_c_is_one_line_and_exit_130(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt() -> int:
        raise KeyboardInterrupt

    assert run_command(interrupt) == 130
    assert capsys.readouterr().err == "Interrupted.\n"


def test_run_command_other_errors_of_files_are_bugs() -> None:
    def lose_a_file() -> int:
        raise FileNotFoundError(2, "No such file or directory", "x")

    with pytest.raises(FileNotFoundError):
        run_command(lose_a_file)


def test_command_reads_no_input_and_so_waits_for_none() -> None:
    code = (
        "import sys; from sb3_hpo.utils.console import run_command\n"
        "sys.exit(run_command(lambda: print(repr(sys.stdin.read())) or 0))"
    )
    reads, writes = os.pipe()  # which nobody writes to or closes meanwhile
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], stdin=reads, capture_output=True, text=True, check=True,
            timeout=60,
        )  # fmt: skip
    finally:
        os.close(reads)
        os.close(writes)
    assert done.stdout == "''\n"
