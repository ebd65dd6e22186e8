from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from sb3_contrib import ARS, RecurrentPPO
from stable_baselines3 import PPO

from sb3_hpo.config.study_config import StudyConfig, make_config
from sb3_hpo.envs.problem import Problem, probe_env
from sb3_hpo.training.models import check_problem, choose_policy
from sb3_hpo.utils.errors import UserError
from tests.support.envs import UnclosableEnv

VECTOR, IMAGE = gym.spaces.Box(-1, 1, (2,)), gym.spaces.Box(0, 255, (36, 36, 3), np.uint8)
TWO = gym.spaces.Discrete(2)
GOALS = gym.spaces.Dict(dict.fromkeys(("observation", "achieved_goal", "desired_goal"), VECTOR))

TUPLE = gym.spaces.Tuple([VECTOR, TWO])
TINY = gym.spaces.Box(0, 255, (7, 7, 3), np.uint8)
MISSION = gym.spaces.Dict({"image": IMAGE, "mission": gym.spaces.Text(9)})


def config(algo: str, **values: Any) -> StudyConfig:
    return make_config({"algo": algo, "env": "tests.support.envs:TargetEnv", **values})


@pytest.mark.parametrize(
    ("algo", "values", "problem", "message"),
    [
        ("maskable_ppo", {}, (VECTOR, TWO), "needs an environment with a method `action_masks"),
        ("dqn", {}, (VECTOR, VECTOR), "dqn acts in Discrete spaces, .*use one of a2c, ars, "),
        ("sac", {}, (VECTOR, GOALS), "sac acts in Box spaces, .* no algorithm here can use it"),
        ("sac", {}, (VECTOR, TWO), "acts in Box spaces, but .* Discrete.2.; use one of .*qrdqn"),
        (
            "ppo",
            {},
            (TUPLE, TWO),
            "^env: observations must be Box, .* but it is Tuple.* --wrapper",
        ),
        (
            "ppo",
            {},
            (MISSION, TWO),
            "its part 'mission' is Text.*pass --wrapper minigrid.wrappers:I",
        ),
        (
            "ppo",
            {},
            (TINY, TWO),
            r"^policy: images of \(7, 7, 3\) are too small.*--policy MlpPolicy",
        ),
        ("crossq", {}, (IMAGE, VECTOR), "CrossQ has no CnnPolicy, which .* need; it has Mlp"),
        ("ppo", {"normalize": True}, (IMAGE, VECTOR), "normalize: does not go with images"),
        ("ppo", {"her": True}, (GOALS, VECTOR), "her: ppo cannot use it; ddpg, dqn, "),
        ("sac", {"her": True}, (GOALS, VECTOR, 10_000), "her: .*got 10000 . 1 = 10000 >= 10000"),
        ("sac", {"her": True}, (VECTOR, VECTOR), "her: needs observations with `observation`"),
        ("sac", {"her": True}, (GOALS, VECTOR), "her: needs to know the longest .*TimeLimit"),
    ],
)
def test_check_problem_says_what_does_not_fit(
    algo: str, values: dict[str, Any], problem: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        check_problem(config(algo, **values), Problem(*problem))


def test_check_problem_passes_what_fits() -> None:
    check_problem(config("sac"), Problem(VECTOR, VECTOR))
    check_problem(config("sac", her=True), Problem(GOALS, VECTOR, longest_episode=50))
    check_problem(config("maskable_ppo"), Problem(VECTOR, TWO, has_action_masks=True))


def test_check_problem_takes_small_images_with_another_policy() -> None:
    check_problem(config("ppo", policy="MlpPolicy"), Problem(TINY, TWO))
    check_problem(config("ppo"), Problem(IMAGE, TWO))


def test_choose_policy_takes_the_one_with_memory_where_there_is_no_other() -> None:
    names = [choose_policy(RecurrentPPO, space) for space in (VECTOR, IMAGE, GOALS)]
    assert names == ["MlpLstmPolicy", "CnnLstmPolicy", "MultiInputLstmPolicy"]
    assert choose_policy(ARS, VECTOR) == "MlpPolicy"


def test_choose_policy_by_observations() -> None:
    names = [choose_policy(PPO, space) for space in (VECTOR, IMAGE, GOALS)]
    assert names == ["MlpPolicy", "CnnPolicy", "MultiInputPolicy"]


def test_environment_that_cannot_be_closed_is_told_before_any_trial() -> None:
    made = make_config({"algo": "ppo", "env": "tests.support.envs:UnclosableEnv"})
    with pytest.raises(UserError, match=r"^env: closing .* failed: RuntimeError: the gripper"):
        probe_env(made)


def test_environment_that_cannot_be_reset_is_closed_and_its_first_error_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_env: Any, **_options: Any) -> Any:
        raise OSError("no licence")

    closed = []
    monkeypatch.setattr(UnclosableEnv, "reset", refuse)
    monkeypatch.setattr(UnclosableEnv, "close", lambda _env: closed.append(True))
    made = make_config({"algo": "ppo", "env": "tests.support.envs:UnclosableEnv"})
    with pytest.raises(UserError, match=r"^env: resetting .* failed: OSError: no licence"):
        probe_env(made)
    assert closed == [True]
