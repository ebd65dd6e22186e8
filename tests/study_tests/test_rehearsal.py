from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from sb3_hpo.config.study_config import StudyConfig, make_config
from sb3_hpo.study import rehearsal
from sb3_hpo.study.rehearsal import rehearse
from sb3_hpo.study.try_out import STAGES
from sb3_hpo.utils.errors import UserError
from tests.support.envs import TargetEnv

if TYPE_CHECKING:
    from pathlib import Path


def config(env: str = "tests.support.envs:TargetEnv", **values: Any) -> StudyConfig:
    return make_config({"algo": "ppo", "env": env, **values})


class Fatal(TargetEnv):
    """Ends its process, without a word and as if all were well, or hangs."""

    def __init__(self, at: str = "", how: str = "exit") -> None:
        super().__init__()
        self._at, self._how = at, how
        self._end("make")

    def _end(self, at: str) -> None:
        if at == self._at and self._how == "exit":
            os._exit(0)
        if at == self._at:
            time.sleep(600)

    def reset(self, **options: Any) -> Any:
        self._end("reset")
        return super().reset(**options)

    def step(self, action: Any) -> Any:
        self._end("step")
        return super().step(action)


def score_that_exits(_values: list[float]) -> float:
    os._exit(0)


def score_that_hangs(_values: list[float]) -> float:
    time.sleep(600)
    return 0.0


def fatal(at: str, how: str) -> StudyConfig:
    return config("tests.study_tests.test_rehearsal:Fatal", env_kwargs={"at": at, "how": how})


def hurry(monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    """Let a stage have a second."""
    monkeypatch.setitem(STAGES, stage, STAGES[stage]._replace(limit_s=1.0))


def test_rehearsal_left_out_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sb3_hpo.study.rehearsal.start_talking", None)
    with rehearsal.rehearsal(config("tests.support.envs:RaisingEnv", rehearse=False), print):
        pass


@pytest.mark.parametrize("n_eval_envs", [0, 1])
def test_rehearsal_speaks_after_the_block(n_eval_envs: int) -> None:
    seen, told = [], list[str]()
    wide = config("tests.support.envs:WideActionEnv", n_eval_envs=n_eval_envs)
    with rehearsal.rehearsal(wide, told.append):
        seen.append(list(told))
    assert seen == [[]]
    assert len(told) == 1


def test_rehearsal_leaves_nobody_where_the_block_fails() -> None:
    with (
        pytest.raises(UserError, match="no such policy"),
        rehearsal.rehearsal(config("tests.support.envs:HangingEnv"), print),
    ):
        raise UserError("no such policy")
    left = [" ".join(child.cmdline()) for child in psutil.Process().children(recursive=True)]
    assert [line for line in left if "sb3_hpo.study.rehearsal" in line] == []


def test_rehearse_environment_that_ends_its_process_is_told() -> None:
    with pytest.raises(
        UserError, match=r"^env: a step of .*ExitingEnv ended its process .*exit status 3"
    ):
        rehearse(config("tests.support.envs:ExitingEnv"))


def test_rehearse_says_what_went_wrong_in_the_other_process() -> None:
    with pytest.raises(UserError, match=r"^env: step 5 of .*RaisingEnv.*gripper"):
        rehearse(config("tests.support.envs:RaisingEnv"))


def test_rehearse_script_that_tunes_when_it_is_imported_shows_what_is_missing(
    tmp_path: Path,
) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from sb3_hpo import tune\n\n"
        "def sample(trial):\n    return {}\n\n"
        'tune(algo="ppo", env="CartPole-v1", space=sample)\n'
    )
    with pytest.raises(UserError, match='call it under if __name__ == "__main__":'):
        rehearse(config("CartPole-v1", space=f"{script}:sample"))


@pytest.mark.slow
def test_rehearse_step_that_never_ends_is_told() -> None:
    (warning,) = rehearse(config("tests.support.envs:HangingEnv"))
    assert warning == "env: a step of tests.support.envs:HangingEnv took longer than 10 s"


@pytest.mark.parametrize(
    ("at", "doing"), [("make", "making"), ("reset", "resetting"), ("step", "a step of")]
)
def test_rehearsal_environment_that_ends_its_process_is_told_before_ours_is_made(
    at: str, doing: str
) -> None:
    message = rf"^env: {doing} .*:Fatal ended its process \(exit status 0\)"
    entered = False
    with pytest.raises(UserError, match=message), rehearsal.rehearsal(fatal(at, "exit"), print):
        entered = True
    assert entered == (at == "step")


@pytest.mark.parametrize(("at", "doing"), [("make", "making"), ("reset", "resetting")])
def test_rehearsal_environment_that_hangs_is_told_before_ours_is_made(
    at: str, doing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch, at)
    with (
        pytest.raises(UserError, match=rf"^env: {doing} .*:Fatal took longer than 1 s; "),
        rehearsal.rehearsal(fatal(at, "hang"), print),
    ):
        pytest.fail("the command would make it now, and hang")


def test_rehearsal_tells_what_takes_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch, "reset")
    monkeypatch.setattr(rehearsal, "_PATIENCE_S", 0.3)
    told = list[str]()
    with pytest.raises(UserError), rehearsal.rehearsal(fatal("reset", "hang"), told.append):
        pass
    assert told[-1].startswith("env: resetting ")
    assert told[-1].endswith(":Fatal takes its time; waiting up to 1 s")


def test_rehearse_script_that_ends_its_process_as_it_is_imported_is_told(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import os, sys\nif 'try_out' in sys.argv[0]: os._exit(0)\n"
                      "def sample(trial):\n    return {}\n")  # fmt: skip
    message = r"^importing .*script.py:sample ended its process \(exit status 0\)"
    with pytest.raises(UserError, match=message):
        rehearse(config(space=f"{script}:sample"))


@pytest.mark.parametrize(
    ("rule", "message"),
    [("exits", r"ended its process \(exit"), ("hangs", "took longer than 1 s")],
)
def test_rehearse_score_rule_is_blamed_for_what_it_does(
    rule: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch, "score")
    name = f"tests.study_tests.test_rehearsal:score_that_{rule}"
    with pytest.raises(UserError, match=f"^score: calling {name} {message}"):
        rehearse(config(score=name))
