from __future__ import annotations

import time
from typing import Any

import pytest

from sb3_hpo.config import StudyConfig, make_config
from sb3_hpo.errors import UserError
from sb3_hpo.rehearsal import rehearsal, rehearse


def config(env: str = "KnownReturnEnv", **values: Any) -> StudyConfig:
    return make_config({"algo": "ppo", "env": f"tests.envs:{env}", **values})


@pytest.mark.parametrize("env", ["KnownReturnEnv", "DictEnv", "GoalEnv", "ImageEnv", "MaskedEnv"])
def test_rehearse_a_sound_environment_has_nothing_to_tell(env: str) -> None:
    assert rehearse(config(env)) == []


def test_rehearse_tells_what_costs_returns() -> None:
    (text,) = rehearse(config("WideActionEnv"))
    assert "symmetric and normalized Box action space" in text


def test_rehearse_tells_what_sb3_objects_to() -> None:
    (text,) = rehearse(config(env_kwargs={"obs_scale": 1000.0}))
    assert text.startswith("SB3's check_env objects: ")
    assert "\n" not in text


@pytest.mark.parametrize(
    ("env", "kwargs", "message"),
    [
        ("RaisingEnv", {}, r"in step 5 with [^\n]* ValueError: the gripper is gone at .*:\d+$"),
        ("RaisingEnv", {"error": "SystemExit"}, r"in step 5 [^\n]* SystemExit: the gripper is"),
        ("NanRewardEnv", {}, r"the reward of step 10 must be finite, but is nan: nothing can be"),
        ("KnownReturnEnv", {"obs_scale": float("1e39")}, r"the first observation must be finite"),
        ("OldStepEnv", {}, r"step must return observation, .*, but returned tuple of 4$"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy's, of infinite numbers
def test_rehearse_mistakes(env: str, kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=rf"^env: tests\.envs:{env}:? .*{message}"):
        rehearse(config(env, env_kwargs=kwargs))


def test_rehearse_metric_that_no_episode_ends_with() -> None:
    assert rehearse(config(metric="is_success")) == []
    message = r"^metric: the info of an episode's last step has no 'success'; it has 'is_success'$"
    with pytest.raises(UserError, match=message):
        rehearse(config(metric="success"))


def test_rehearse_endless_episode_is_left_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sb3_hpo.rehearsal._MOST_STEPS", 50)
    assert rehearse(config("EndlessEnv", metric="success")) == []


def test_rehearsal_left_out_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sb3_hpo.rehearsal.start_module", None)
    with rehearsal(config("RaisingEnv", rehearse=False), print):
        pass


@pytest.mark.slow
@pytest.mark.parametrize("n_eval_envs", [0, 1])
def test_rehearsal_contains_an_environment_that_ends_its_process(n_eval_envs: int) -> None:
    exiting = config("ExitingEnv", env_kwargs={"status": 0}, n_eval_envs=n_eval_envs)
    seen = []
    with (
        pytest.raises(UserError, match=r"has ended the process that tried it, with exit status 0"),
        rehearsal(exiting, print),
    ):
        seen.append("the block")
    assert seen == ["the block"]


@pytest.mark.slow
def test_rehearsal_does_not_wait_for_an_environment_that_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sb3_hpo.rehearsal._PATIENCE_S", 4.0)
    told: list[str] = []
    start = time.monotonic()
    with rehearsal(config("HangingEnv"), told.append):
        pass
    assert time.monotonic() - start < 15
    text = "env: tests.envs:HangingEnv has not made its first steps within 4 s"
    assert told == [f"{text}; going on without having tried it"]
