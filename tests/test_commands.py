from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import sb3_hpo
from sb3_hpo.__main__ import COMMANDS, main

if TYPE_CHECKING:
    from pathlib import Path


def test_overview_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert (main(["--help"]), main([])) == (0, 2)
    text = capsys.readouterr().out
    for name, (_, what) in COMMANDS.items():
        assert text.count(f"  {name:<12}{what}\n") == 2


def test_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"sb3-hpo {sb3_hpo.__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_its_own_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        main([name, "--help"])
    assert capsys.readouterr().out.startswith(f"usage: sb3-hpo {name} ")


def test_options_alone_are_those_of_optimize(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--algo", "ppo", "--env", "Pendulum-v1", "--print-config"]
    assert main(words) == 0
    bare = capsys.readouterr().out
    assert main(["optimize", *words]) == 0
    assert capsys.readouterr().out == bare
    assert "n_timesteps: 40000" in bare


def test_unknown_command_suggests_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["optimise"]) == 2
    assert capsys.readouterr().err.startswith(
        "error: unknown command 'optimise'; did you mean 'optimize'? Known: doctor, optimize"
    )


def test_reevaluate_lists_no_option_of_a_search_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["reevaluate", "--help"])
    text = capsys.readouterr().out
    for flag in ("--sampler", "--pruner", "--n-trials", "--enqueue", "--batch-trials"):
        assert f"\n  {flag}" not in text, flag
    places = [text.index(f"\n  {flag}") for flag in ("--n-timesteps", "--test-seeds", "--space")]
    assert places == sorted(places)


def test_help_starts_without_pydantic_and_torch() -> None:
    code = "import sys, sb3_hpo.__main__ as m; m.main(['--help']); print(len(sys.modules))"
    names = "print({'pydantic', 'torch', 'optuna', 'numpy'} & set(sys.modules))"
    command = [sys.executable, "-c", f"{code}; {names}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("set()\n")
