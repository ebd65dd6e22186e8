from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from sb3_hpo.config.study_config import StudyConfig, make_config
from sb3_hpo.envs.factory import (
    EnvFactory,
    env_factory,
    find_vec_normalize,
    make_evaluation_envs,
    make_training_envs,
)
from sb3_hpo.envs.problem import probe_env
from sb3_hpo.envs.seeded_episodes import SeededEpisodes
from sb3_hpo.utils.errors import UserError
from tests.support.envs import N_STEPS, KnownReturnEnv, start_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KNOWN = "tests.support.envs:KnownReturnEnv"
MODULE = """
import gymnasium
from tests.support.envs import KnownReturnEnv

gymnasium.register("KnownForTests-v0", entry_point=KnownReturnEnv, kwargs={"obs_scale": 2.0})

class PlusOne(gymnasium.RewardWrapper):
    def reward(self, reward):
        return reward + 1.0

class FailingReset(KnownReturnEnv):
    def reset(self, **kwargs):
        raise ConnectionError("simulator is\\n down")
"""


def config(env: str = KNOWN, **values: Any) -> StudyConfig:
    return make_config({"algo": "ppo", "env": env, **values})


@pytest.fixture
def module(tmp_path: Path) -> Iterator[str]:
    """A user's file that registers an environment."""
    path = tmp_path / "my_tasks.py"
    path.write_text(MODULE)
    yield str(path)
    gym.registry.pop("KnownForTests-v0", None)


def test_env_factory_gymnasium_id_makes_it_with_its_kwargs() -> None:
    env = EnvFactory("Pendulum-v1", {"g": 2.5})()
    assert (env.unwrapped.g, env.spec.id) == (2.5, "Pendulum-v1")  # type: ignore[attr-defined,union-attr]


def test_env_factory_module_and_id_imports_the_module_first(module: str) -> None:
    env = EnvFactory(f"{module}:KnownForTests-v0")()
    assert isinstance(env.unwrapped, KnownReturnEnv)
    assert env.unwrapped._obs_scale == 2.0


def test_env_factory_module_and_class_makes_it_with_its_kwargs() -> None:
    env = EnvFactory(KNOWN, {"obs_scale": 3.0})()
    assert isinstance(env.unwrapped, KnownReturnEnv)
    assert env.unwrapped._obs_scale == 3.0


@pytest.mark.parametrize("plus_one_first", [True, False])
def test_env_factory_wrappers_apply_the_first_innermost(module: str, plus_one_first: bool) -> None:
    wrappers = (f"{module}:PlusOne", "tests.support.envs:DoubleReward")
    env = EnvFactory(KNOWN, {}, wrappers if plus_one_first else wrappers[::-1])()
    env.reset(seed=3)
    start = start_of(3)
    expected = 2 * (start + 1) if plus_one_first else 2 * start + 1
    assert env.step(np.zeros(1))[1] == expected


def test_env_factory_monitor_is_outermost_and_sees_the_wrapped_reward() -> None:
    env = EnvFactory(KNOWN, {}, ("tests.support.envs:DoubleReward",))()
    env.reset(seed=3)
    for _ in range(N_STEPS):
        info = env.step(np.zeros(1))[4]
    assert isinstance(env, Monitor)
    assert info["episode"]["r"] == pytest.approx(20 * start_of(3), abs=1e-6)


def test_env_factory_max_episode_steps_truncates_there() -> None:
    env = EnvFactory("tests.support.envs:EndlessEnv", max_episode_steps=4)()
    env.reset(seed=0)
    assert [env.step(np.zeros(1))[3] for _ in range(4)] == [False, False, False, True]


def test_env_factory_bare_has_the_users_wrappers_only() -> None:
    bare = EnvFactory(KNOWN, {}, ("tests.support.envs:DoubleReward",), 4).bare()
    assert type(bare).__name__ == "DoubleReward"
    assert isinstance(bare, gym.Wrapper)
    assert type(bare.env) is KnownReturnEnv


def test_env_factory_of_config_takes_its_fields() -> None:
    made = env_factory(
        config(env_kwargs={"obs_scale": 2.0}, wrapper=["tests.support.envs:DoubleReward"])
    )
    assert made == EnvFactory(KNOWN, {"obs_scale": 2.0}, ("tests.support.envs:DoubleReward",))


def test_seeded_episodes_planned_seeds_decide_the_starts() -> None:
    env = SeededEpisodes(KnownReturnEnv())
    env.plan_episodes((5, 4))
    starts = [float(env.reset()[0][0]) for _ in range(2)]
    assert starts == pytest.approx([start_of(5), start_of(4)])


def test_seeded_episodes_after_the_plan_obeys_the_caller() -> None:
    env = SeededEpisodes(KnownReturnEnv())
    env.plan_episodes([5])
    starts = [float(env.reset(seed=seed)[0][0]) for seed in (1, 2)]
    assert starts == pytest.approx([start_of(5), start_of(2)])


def test_seeded_episodes_at_rest_is_where_it_started_until_it_is_reset() -> None:
    known = KnownReturnEnv()
    env = SeededEpisodes(known)
    start, _ = env.reset(seed=5)
    env.step(None)
    env.rest()
    observation, *others = env.step(None)
    assert (list(observation), *others) == (list(start), 0.0, False, False, {})
    env.reset(seed=4)
    assert env.step(None)[1] == pytest.approx(start_of(4))


def test_seeded_episodes_vector_env_resets_by_the_plan() -> None:
    venv = DummyVecEnv([EnvFactory(KNOWN)])
    venv.env_method("plan_episodes", [5, 4])
    starts = [np.asarray(venv.reset())[0, 0]]
    for _ in range(N_STEPS):
        observations = np.asarray(venv.step(np.zeros((1, 1)))[0])
    starts.append(observations[0, 0])
    assert starts == pytest.approx([start_of(5), start_of(4)])


def test_make_training_envs_normalize_has_the_given_gamma() -> None:
    venv = make_training_envs(config(n_envs=3, normalize=True), 0.75)
    assert isinstance(venv, VecNormalize)
    assert (venv.num_envs, venv.gamma, venv.training, venv.norm_reward) == (3, 0.75, True, True)
    assert find_vec_normalize(venv) is venv


def test_make_training_envs_plain_has_no_vec_normalize() -> None:
    venv = make_training_envs(config(n_envs=3), 0.75)
    assert (venv.num_envs, find_vec_normalize(venv), find_vec_normalize(None)) == (3, None, None)


def test_make_training_envs_subproc_runs_in_other_processes() -> None:
    venv = make_training_envs(config(n_envs=2, vec_env="subproc"), 0.9)
    venv.env_method("plan_episodes", [5], indices=[0])
    venv.env_method("plan_episodes", [4], indices=[1])
    observations = np.asarray(venv.reset())
    venv.close()
    assert type(venv).__name__ == "SubprocVecEnv"
    assert list(observations[:, 0]) == pytest.approx([start_of(5), start_of(4)])


def test_make_evaluation_envs_normalize_is_frozen_and_keeps_rewards() -> None:
    venv = make_evaluation_envs(config(n_eval_envs=4, normalize=True), 100)
    assert isinstance(venv, VecNormalize)
    assert (venv.num_envs, venv.training, venv.norm_reward) == (4, False, False)


def test_make_evaluation_envs_cuts_endless_episodes() -> None:
    venv = make_evaluation_envs(config("tests.support.envs:EndlessEnv", n_eval_envs=1), 3)
    venv.reset()
    assert [bool(venv.step(np.zeros((1, 1)))[2][0]) for _ in range(3)] == [False, False, True]


def test_probe_gives_the_wrapped_envs_spaces() -> None:
    problem = probe_env(config("CartPole-v1", wrapper=["gymnasium.wrappers:FlattenObservation"]))
    assert problem.observation_space.shape == (4,)
    assert problem.action_space == gym.spaces.Discrete(2)
    assert problem.longest_episode == 500


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (
            "Pendulm-v1",
            r"^env: unknown environment 'Pendulm-v1'; did you mean 'Pendulum-v1'\?; or pass pack",
        ),
        ("ALE/Pang-v5", "^env: 'ALE/Pang-v5' is there once its .*: write ale_py:ALE/Pang-v5$"),
        ("MiniGrid-No-v0", "^env: 'MiniGrid-No-v0' is .*: write minigrid:MiniGrid-No-v0$"),
        ("Pendulum-v77", r"^env: unknown environment 'Pendulum-v77'; did you mean 'Pendulum-v1'"),
        ("tests.support.envs:KnownReturnsEnv", "^env: .*did you mean 'KnownReturnEnv'"),
        ("no_such_module:make", "^env: no module named 'no_such_module'"),
        (
            "tests.support.envs:make_failing",
            r"^env: making .*:make_failing' failed: RuntimeError: no licence .*/envs.py:\d+\)$",
        ),
        (
            "tests.support.envs:make_nothing",
            "^env: .*:make_nothing must make a gymnasium.Env, but made None; is its `return` mis",
        ),
        (
            "tests.support.envs:start_of",
            "^env: making 'tests.support.envs:start_of' failed: TypeError",
        ),
        (
            "tests.support.envs:make_exit",
            "^env: making 'tests.support.envs:make_exit' failed: SystemExit: 0 ",
        ),
    ],
)
def test_probe_env_that_cannot_be_made_says_why(env: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        probe_env(config(env))


def test_probe_wrong_env_kwargs_says_why() -> None:
    with pytest.raises(UserError, match=r"^env: making .* failed: TypeError: .*'obs_scael'"):
        probe_env(config(env_kwargs={"obs_scael": 2.0}))


def test_probe_failing_reset_says_why_in_one_line(module: str) -> None:
    message = "^env: resetting '.*FailingReset' failed: ConnectionError: simulator is down "
    with pytest.raises(UserError, match=message):
        probe_env(config(f"{module}:FailingReset"))


def test_probe_wrapper_that_makes_no_env_is_named() -> None:
    message = (
        "^wrapper: builtins:str must make a gymnasium.Env, but made an object of builtins:str"
    )
    with pytest.raises(UserError, match=message):
        probe_env(config(wrapper=["builtins:str"]))
