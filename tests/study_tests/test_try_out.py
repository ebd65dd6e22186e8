from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from sb3_hpo.config.study_config import StudyConfig, make_config
from sb3_hpo.envs.factory import EnvFactory
from sb3_hpo.study import try_out as try_out_module
from sb3_hpo.study.try_out import try_out
from sb3_hpo.utils.errors import UserError
from tests.support.envs import KnownReturnEnv

if TYPE_CHECKING:
    from collections.abc import Sequence


def config(env: str = "tests.support.envs:TargetEnv", **values: Any) -> StudyConfig:
    return make_config({"algo": "ppo", "env": env, **values})


class Liar(KnownReturnEnv):
    """Gives one thing that is not as its spaces or the API say."""

    def __init__(self, lie: str = "") -> None:
        super().__init__()
        self._lie = lie

    def reset(self, **options: Any) -> Any:
        observation, info = super().reset(**options)
        return observation if self._lie == "old reset" else (observation, info)

    def step(self, action: Any) -> Any:
        observation, reward, done, truncated, info = super().step(action)
        if self._lie == "old step":
            return observation, reward, done, info
        if self._lie == "shape":
            observation = np.zeros(3, np.float32)
        if self._lie == "nan":
            observation = np.full(2, np.nan, np.float32)
        if self._lie == "exit":
            raise SystemExit(0)
        return observation, None if self._lie == "reward" else reward, done, truncated, info


def score_of_nothing(values: Sequence[float]) -> None:
    """Forget to return."""
    sum(values)


def score_of_spread(values: Sequence[float]) -> float:
    """Divide by what a flat curve has not."""
    return values[-1] / (max(values) - min(values))


def score_of_logs(values: Sequence[float]) -> float:
    """Count on values that are positive."""
    return sum(math.log(value) for value in values)


def score_of_nan(_values: Sequence[float]) -> float:
    """Say nothing."""
    return float("nan")


def score_of_two(first: float, last: float) -> float:
    """Take other arguments."""
    return last - first


def test_try_out_a_sound_study_says_nothing() -> None:
    assert try_out(config()) == []
    assert try_out(config(score="tests.study_tests.test_try_out:score_of_logs",
                          env="tests.support.envs:KnownReturnEnv")) == []  # fmt: skip


@pytest.mark.parametrize("env", ["CartPole-v1", "tests.support.envs:DictEnv",
"tests.support.envs:make_goal_env",
                                 "tests.support.envs:ImageEnv", "FrozenLake-v1"])  # fmt: skip
def test_try_out_takes_every_kind_of_observation(env: str) -> None:
    assert try_out(config(env)) == []


def test_try_out_takes_only_valid_actions_where_the_algorithm_does() -> None:
    env = "tests.support.envs:MaskedEnv"  # raises at one that is not
    assert try_out(config(env, algo="maskable_ppo")) == []
    with pytest.raises(UserError, match=r"^env: step \d of .* failed: ValueError: .* not valid"):
        try_out(config(env))


@pytest.mark.parametrize(
    ("lie", "message"),
    [
        ("old reset", r"`reset` of .* must return \(observation, info\), but .* ndarray; "),
        (
            "old step",
            r"step 1 of .* must return \(observation, reward, terminated, truncated, inf",
        ),
        ("shape", r"step 1 .* an observation of the shape \(2,\), as its .* but gave \(3,\)$"),
        ("nan", r"step 1 of .* must give a finite observation, but gave \[nan nan\]$"),
        ("reward", r"step 1 of .* must pay a finite number, but got None$"),
        (
            "exit",
            r"step 1 of .* failed: SystemExit: 0 \(.*/tests/study_tests/test_try_out.py:\d+\)$",
        ),
    ],
)
def test_try_out_environment_that_breaks_its_promise_is_told(lie: str, message: str) -> None:
    with pytest.raises(UserError, match=f"^env: {message}"):
        try_out(config("tests.study_tests.test_try_out:Liar", env_kwargs={"lie": lie}))


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (
            "RaisingEnv",
            r"step 5 of .* failed: ValueError: the gripper is gone \(.*/envs.py:\d+\)$",
        ),
        ("NanRewardEnv", "step 10 of .* must pay a finite number, but got nan$"),
    ],
)
def test_try_out_environment_that_fails_later_is_told(env: str, message: str) -> None:
    with pytest.raises(UserError, match=f"^env: {message}"):
        try_out(config(f"tests.support.envs:{env}"))


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("nothing", "for instance of .*, but got None$"),
        ("nan", "for instance of .*, but got nan$"),
        ("spread", r"but of \[-.* failed: ZeroDivisionError: .* \(.*/test_try_out.py:\d+\)$"),
        (
            "two",
            "failed: TypeError: score_of_two.. missing 1 required positional argument: 'last'",
        ),
        ("logs", "failed: ValueError: math domain error"),  # TargetEnv's returns are negative
    ],
)
def test_try_out_score_rule_that_gives_no_number_is_told(rule: str, message: str) -> None:
    name = f"tests.study_tests.test_try_out:score_of_{rule}"
    with pytest.raises(UserError, match=f"^score: {name} must make a finite .*{message}"):
        try_out(config(score=name))


def test_try_out_metric_is_looked_for_where_an_episode_ends() -> None:
    with pytest.raises(UserError, match="unknown metric 'is_sucess'; did you mean 'is_success'"):
        try_out(config(metric="is_sucess"))


def test_try_out_metric_of_an_empty_info_is_told() -> None:
    with pytest.raises(
        UserError, match=r"^metric: the last info of an episode is empty, so it has"
    ):
        try_out(config("CartPole-v1", metric="is_success"))


def test_try_out_endless_episode_leaves_the_metric_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(try_out_module, "_MAX_STEPS", 50)
    (warning,) = try_out(config("tests.support.envs:EndlessEnv", metric="nothing"))
    assert warning == (
        "metric: it is not known yet whether the last info has 'nothing', as no episode ended "
        "within 50 random steps"
    )


def test_try_out_endless_episode_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(try_out_module, "_MAX_STEPS", 50)
    (warning,) = try_out(config("tests.support.envs:EndlessEnv"))
    assert warning.startswith(
        "env: evaluations will be cut if a trained policy is not faster: no "
    )


def test_try_out_slow_environment_costs_seconds_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(try_out_module, "_WALK_S", 0.05)
    start = time.monotonic()
    assert try_out(config("tests.support.envs:EndlessEnv")) == []
    assert time.monotonic() - start < 1


def test_try_out_environment_that_exists_once_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_self: EnvFactory) -> None:
        raise ConnectionError("port in use")

    monkeypatch.setattr(EnvFactory, "bare", refuse)
    with pytest.raises(
        UserError, match="could be made once, but not again: ConnectionError: port"
    ):
        try_out(config())


def test_try_out_tells_what_costs_returns() -> None:
    (text,) = try_out(config("tests.support.envs:WideActionEnv"))
    assert text.startswith("env: ")
    assert "symmetric and normalized Box action space" in text


def test_try_out_tells_what_sb3_objects_to() -> None:
    (text,) = try_out(
        config("tests.support.envs:KnownReturnEnv", env_kwargs={"obs_scale": 1000.0})
    )
    assert text.startswith("env: SB3's check_env objects: ")
    assert "\n" not in text


def score_of_text(_values: list[float]) -> Any:
    return "1.5"


def test_score_that_is_text_is_refused() -> None:
    with pytest.raises(UserError, match=r"^score: .*but got '1.5'"):
        try_out(config(score="tests.study_tests.test_try_out:score_of_text"))


def tunes_when_made() -> Any:
    raise UserError("a worker came upon tune() while it imported this script")


def test_script_that_tunes_as_it_is_imported_is_told_so_and_nothing_else() -> None:
    with pytest.raises(UserError, match=r"^a worker came upon tune\(\)"):
        try_out(config("tests.study_tests.test_try_out:tunes_when_made"))
