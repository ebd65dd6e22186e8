from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, cast

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from sb3_hpo.envs.factory import EnvFactory
from sb3_hpo.envs.seeded_episodes import SeededEpisodes
from sb3_hpo.training.evaluation_episodes import EpisodePlan, Episodes, run_episodes
from sb3_hpo.utils.errors import UserError
from tests.support.envs import EndlessEnv, KnownReturnEnv, start_of

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

SEEDS = (5, 9, 1, 7, 3)
RETURNS = [10 * start_of(seed) for seed in SEEDS]
KNOWN = EnvFactory("tests.support.envs:KnownReturnEnv")


class Zero:
    """A policy without weights; notes what it was asked."""

    def __init__(self) -> None:
        self.states: list[Any] = []
        self.starts: list[list[bool]] = []

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, Any]:  # fmt: skip
        self.states.append(state)
        self.starts.append([bool(start) for start in episode_start])
        return np.zeros((len(observation), 1), dtype=np.float32), (state or 0) + 1


class Maskable:
    """A policy that takes masks, like sb3-contrib's MaskablePPO."""

    def __init__(self) -> None:
        self.masks: list[Any] = []

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None,
        deterministic: bool = False, action_masks: Any = None,
    ) -> tuple[np.ndarray, Any]:  # fmt: skip
        self.masks.append(action_masks.tolist())
        return np.argmax(action_masks, axis=1), None


class MaskEnv(KnownReturnEnv):
    """Allows only the second action."""

    def __init__(self) -> None:
        super().__init__("discrete")

    def action_masks(self) -> np.ndarray:
        return np.array([False, True])


def run(venv: Any, model: Any = None, check: Any = lambda: None, **plan: Any) -> Episodes:
    made = EpisodePlan(**{"episode_seeds": SEEDS, **plan})
    return run_episodes(cast("BaseAlgorithm", model or Zero()), venv, made, check=check)


@pytest.mark.parametrize("n_envs", [1, 3, 5, 7])
def test_run_episodes_returns_are_known_and_in_the_order_of_seeds(n_envs: int) -> None:
    episodes = run(DummyVecEnv([KNOWN] * n_envs))
    assert episodes.returns == pytest.approx(RETURNS, abs=1e-6)
    assert episodes.lengths == (10, 10, 10, 10, 10)
    assert episodes.metric is None
    assert episodes.truncated is False


def test_run_episodes_twice_in_the_same_envs_is_equal() -> None:
    venv = DummyVecEnv([KNOWN] * 3)
    assert run(venv) == run(venv)


def test_run_episodes_env_without_further_episodes_rests() -> None:
    n_steps = Counter[int]()

    class Counting(KnownReturnEnv):
        def step(self, action: Any) -> Any:
            n_steps[id(self)] += 1
            return super().step(action)

    envs = [Counting(), Counting()]
    venv = DummyVecEnv([lambda env=env: Monitor(SeededEpisodes(env)) for env in envs])  # type: ignore[misc]
    for n_runs in (1, 2):
        assert run(venv, max_episode_steps=11).truncated is False
        assert [n_steps[id(env)] for env in envs] == [30 * n_runs, 20 * n_runs]


def test_run_episodes_rest_is_no_episode_that_is_too_long() -> None:
    class Short(KnownReturnEnv):
        def step(self, action: Any) -> Any:
            observation, reward, _, *others = super().step(action)
            return observation, reward, self._t == 2, *others

    made = (KnownReturnEnv, Short)
    venv = DummyVecEnv([lambda env=env: Monitor(SeededEpisodes(env())) for env in made])  # type: ignore[misc]
    episodes = run(venv, episode_seeds=SEEDS[:4], max_episode_steps=11)
    assert (episodes.lengths, episodes.truncated) == ((10, 2, 10, 2), False)


def test_run_episodes_normalised_rewards_are_undone_by_monitor() -> None:
    venv = VecNormalize(DummyVecEnv([KNOWN] * 2), norm_reward=True, clip_reward=0.01)
    assert run(venv).returns == pytest.approx(RETURNS, abs=1e-6)


def test_run_episodes_plain_envs_are_seeded_with_the_first_seed() -> None:
    venv = DummyVecEnv([KnownReturnEnv] * 2)
    episodes = run(venv, episode_seeds=(5, 100))
    assert episodes.returns == pytest.approx([10 * start_of(5), 10 * start_of(6)], abs=1e-5)


@pytest.mark.parametrize("n_envs", [1, 3])
def test_run_episodes_metric_is_read_at_each_end(n_envs: int) -> None:
    episodes = run(DummyVecEnv([KNOWN] * n_envs), metric="is_success")
    assert episodes.metric == tuple(float(start_of(seed) > 0.5) for seed in SEEDS)
    assert set(episodes.metric) == {0.0, 1.0}


def test_run_episodes_missing_metric_names_what_there_is() -> None:
    message = r"unknown metric 'succes'; did you mean 'is_success'\? Known: .*episode, is_success"
    with pytest.raises(UserError, match=message):
        run(DummyVecEnv([KNOWN]), metric="succes")


def test_run_episodes_endless_env_is_cut_by_steps_and_flagged() -> None:
    factory = EnvFactory("tests.support.envs:EndlessEnv", max_episode_steps=20)
    episodes = run(DummyVecEnv([factory] * 2), max_episode_steps=20)
    assert episodes.returns == pytest.approx([2 * value for value in RETURNS], abs=1e-5)
    assert episodes.lengths == (20, 20, 20, 20, 20)
    assert episodes.truncated is True


def clock_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one second pass per environment step."""
    seconds = iter(range(10**6))
    monkeypatch.setattr(
        "sb3_hpo.training.evaluation_episodes.time.monotonic", lambda: float(next(seconds))
    )


def test_run_episodes_over_time_scores_as_far_as_it_went(monkeypatch: pytest.MonkeyPatch) -> None:
    clock_by_step(monkeypatch)
    episodes = run(DummyVecEnv([KNOWN] * 2), max_seconds=14.5)
    assert episodes.lengths == (10, 10, 5, 5)
    expected = [10 * start_of(5), 10 * start_of(9), 5 * start_of(1), 5 * start_of(7)]
    assert episodes.returns == pytest.approx(expected, abs=1e-5)
    assert episodes.truncated is True


def test_run_episodes_over_time_resting_envs_have_no_episode_to_score(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock_by_step(monkeypatch)
    episodes = run(DummyVecEnv([KNOWN] * 2), max_seconds=24.5)
    assert (episodes.lengths, episodes.truncated) == ((10, 10, 10, 10, 5), True)


def test_run_episodes_over_time_between_episodes_scores_no_unbegun_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock_by_step(monkeypatch)
    episodes = run(DummyVecEnv([KNOWN]), max_seconds=9.5)
    assert episodes.lengths == (10,)
    assert episodes.truncated is True


def test_run_episodes_over_time_leaves_no_seeds_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    clock_by_step(monkeypatch)
    venv = DummyVecEnv([KNOWN])
    run(venv, max_seconds=4.5)
    venv.seed(100)
    assert np.asarray(venv.reset())[0, 0] == pytest.approx(start_of(100))


def test_run_episodes_over_time_gives_up_an_episode_without_metric_yet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class LateMetric(KnownReturnEnv):
        def step(self, action: Any) -> Any:
            *rest, done, truncated, _ = super().step(action)
            return *rest, done, truncated, {"score": 1.0} if done else {}

    clock_by_step(monkeypatch)
    venv = DummyVecEnv([lambda: Monitor(SeededEpisodes(LateMetric()))])
    episodes = run(venv, metric="score", max_seconds=14.5)
    assert (episodes.lengths, episodes.metric, episodes.truncated) == ((10,), (1.0,), True)


def test_run_episodes_check_is_called_each_step_and_may_end_it() -> None:
    calls: list[int] = []

    def check() -> None:
        calls.append(1)
        if len(calls) == 15:
            raise TimeoutError("enough")

    with pytest.raises(TimeoutError, match="enough"):
        run(DummyVecEnv([KNOWN]), check=check)
    assert len(calls) == 15


def test_run_episodes_policy_state_goes_round_with_episode_starts() -> None:
    model = Zero()
    run(DummyVecEnv([KNOWN] * 2), model, episode_seeds=SEEDS[:4])
    assert model.states == [None, *range(1, 20)]
    first = [step for step, starts in enumerate(model.starts) if starts[0]]
    assert first == [0, 10]


@pytest.mark.parametrize("n_envs", [1, 3])
def test_run_episodes_action_masks_reach_the_policy(n_envs: int) -> None:
    model = Maskable()
    venv = DummyVecEnv([lambda: Monitor(SeededEpisodes(MaskEnv()))] * n_envs)
    episodes = run(venv, model, episode_seeds=SEEDS[:3])
    assert episodes.returns == pytest.approx(RETURNS[:3], abs=1e-6)
    assert model.masks[0] == [[False, True]] * n_envs


def test_run_episodes_dict_observations_are_understood() -> None:
    venv = DummyVecEnv([EnvFactory("tests.support.envs:DictEnv")] * 2)
    model = PPO("MultiInputPolicy", venv, n_steps=16, batch_size=16, device="cpu")
    assert run(venv, model).returns == pytest.approx(RETURNS, abs=1e-6)


def test_run_episodes_images_are_understood() -> None:
    venv = DummyVecEnv([EnvFactory("tests.support.envs:ImageEnv")] * 2)
    model = PPO("CnnPolicy", venv, n_steps=16, batch_size=16, device="cpu")
    assert run(venv, model).returns == (1.0, 1.0, 1.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def pendulum_model() -> PPO:
    return PPO("MlpPolicy", gym.make("Pendulum-v1"), seed=0, device="cpu")


def test_run_episodes_deterministic_returns_do_not_depend_on_the_envs(
    pendulum_model: PPO,
) -> None:
    seeds = tuple(range(32))
    one, seven, all_ = (
        run(DummyVecEnv([EnvFactory("Pendulum-v1")] * n), pendulum_model, episode_seeds=seeds)
        for n in (1, 7, 32)
    )
    assert one.returns == seven.returns == all_.returns
    assert len(set(one.returns)) == 32


def test_run_episodes_stochastic_has_its_own_random_stream(pendulum_model: PPO) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    venv = DummyVecEnv([EnvFactory("Pendulum-v1")])
    first = run(venv, pendulum_model, deterministic=False, episode_seeds=(1,))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(4)
    assert run(venv, pendulum_model, deterministic=False, episode_seeds=(1,)) == first
    assert run(venv, pendulum_model, episode_seeds=(1,)).returns != first.returns


def test_run_episodes_endless_env_without_a_cap_of_its_own_is_cut_at_ours() -> None:
    venv = make_vec_env(EndlessEnv, n_envs=2)
    plan = EpisodePlan(episode_seeds=(1, 2, 3, 4), max_episode_steps=50)
    episodes = run_episodes(PPO("MlpPolicy", venv, device="cpu"), venv, plan)
    assert episodes.truncated
    assert episodes.lengths == (50, 50)  # one in each environment; no other could begin


def test_run_episodes_stochastic_dqn_leaves_all_random_streams_alone() -> None:
    venv = make_vec_env(lambda: KnownReturnEnv("discrete"))
    model = DQN("MlpPolicy", venv, device="cpu", buffer_size=100, seed=0)
    model.exploration_rate = 0.5
    before = np.random.get_state()[1].tolist()  # type: ignore[index]  # noqa: NPY002
    of_actions = model.action_space.np_random.bit_generator.state
    plan = EpisodePlan(episode_seeds=(1, 2), deterministic=False)
    run_episodes(model, venv, plan)
    assert np.random.get_state()[1].tolist() == before  # type: ignore[index]  # noqa: NPY002
    assert model.action_space.np_random.bit_generator.state == of_actions


class TwoLives(gym.Wrapper[Any, Any, Any, Any]):
    """Ends twice an episode, as Atari's EpisodicLife does, outside of Monitor."""

    t = 0

    def reset(self, **kwargs: Any) -> Any:
        if self.t % 10 == 5:  # a life was lost: the game goes on
            return self.env.step(self.action_space.sample())[0], {}
        self.t = 0
        return super().reset(**kwargs)

    def step(self, action: Any) -> Any:
        observation, reward, done, truncated, info = super().step(action)
        self.t += 1
        return observation, reward, done or self.t == 5, truncated, info


def test_run_episodes_lost_life_outside_of_monitor_is_not_an_episode() -> None:
    venv = DummyVecEnv([lambda: TwoLives(Monitor(KnownReturnEnv()))])
    model = PPO("MlpPolicy", venv, device="cpu")
    episodes = run_episodes(model, venv, EpisodePlan(episode_seeds=(5,)))
    assert episodes.lengths == (10,)
    assert episodes.returns == pytest.approx((10 * start_of(5),), abs=1e-6)
