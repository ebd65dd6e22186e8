"""Environments with known returns, so that evaluation and step counting are checked exactly."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import gymnasium as gym
import numpy as np

from sb3_hpo.utils.processes import IN_WORKER

N_STEPS = 10


class KnownReturnEnv(gym.Env[np.ndarray, Any]):
    """Ten steps; every step pays the start state, which the reset's seed decides.

    The return of an episode is therefore `10 * start_of(seed)`, whatever the policy does.
    """

    def __init__(self, action: str = "box", obs_scale: float = 1.0) -> None:
        self.observation_space = gym.spaces.Box(-10, 10, (2,), dtype=np.float32)
        self.action_space: gym.Space[Any] = (
            gym.spaces.Box(-1, 1, (1,), dtype=np.float32)
            if action == "box"
            else gym.spaces.Discrete(2)
        )
        self._obs_scale = obs_scale
        self._t = 0
        self._start = 0.0
        self.n_resets = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self._t = 0
        self.n_resets += 1
        self._start = float(self.np_random.uniform())
        return self._observation(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self._t += 1
        done = self._t >= N_STEPS
        return self._observation(), self._start, done, False, {"is_success": self._start > 0.5}

    def _observation(self) -> np.ndarray:
        return np.array([self._start, self._t / N_STEPS], dtype=np.float32) * self._obs_scale


class TargetEnv(KnownReturnEnv):
    """Pays minus the distance of the action from 0.5 at every step: a policy can learn it."""

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        observation, _, done, truncated, info = super().step(action)
        reward = -abs(float(np.asarray(action).reshape(-1)[0]) - 0.5)
        return observation, reward, done, truncated, info


class EndlessEnv(KnownReturnEnv):
    """Never ends an episode."""

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        observation, reward, _, _, info = super().step(action)
        return observation, reward, False, False, info


class RaisingEnv(KnownReturnEnv):
    """Has a bug that shows at the fifth step."""

    def __init__(self, error: str = "ValueError", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._error = {"ValueError": ValueError, "RuntimeError": RuntimeError,
                       "MemoryError": MemoryError, "SystemExit": SystemExit}[error]  # fmt: skip

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        if self._t == 4:
            raise self._error("the gripper is gone")
        return super().step(action)


class RaisingLaterEnv(RaisingEnv):
    """Has a bug that the first episodes do not show."""

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        return super().step(action) if self.n_resets > 2 else KnownReturnEnv.step(self, action)


class NanRewardEnv(KnownReturnEnv):
    """Pays NaN at the last step of every episode."""

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        observation, reward, done, truncated, info = super().step(action)
        return observation, float("nan") if done else reward, done, truncated, info


class WideActionEnv(KnownReturnEnv):
    """Takes actions that a policy, which begins within [-1, 1], hardly reaches."""

    def __init__(self) -> None:
        super().__init__()
        self.action_space = gym.spaces.Box(0, 100, (1,), dtype=np.float32)


class OldStepEnv(KnownReturnEnv):
    """Has the interface that Gym had before Gymnasium."""

    def step(self, action: Any) -> Any:
        observation, reward, done, _, info = super().step(action)
        return observation, reward, done, info


class ExitingEnv(KnownReturnEnv):
    """Takes its process down, as a crash in a simulator's C code does."""

    def __init__(self, status: int = 3) -> None:
        super().__init__()
        self._status = status

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        os._exit(self._status)


class UnrulyEnv(TargetEnv):
    """Does in a process of ours what none there expects, and then all that others do.

    It reads the standard input to its end, starts a thread that never ends, and goes on in a copy
    of the process too.
    """

    _has_begun = False

    def __init__(self) -> None:
        super().__init__()
        if IN_WORKER in os.environ and not UnrulyEnv._has_begun:
            UnrulyEnv._has_begun = True  # in the copy too, or there would be a copy an environment
            while os.read(0, 1024):
                pass
            threading.Thread(target=time.sleep, args=(3600,)).start()
            os.fork()


class HangingEnv(KnownReturnEnv):
    """Waits for ever in its fifth step, as for a simulator that does not answer."""

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        if self._t == 4:
            time.sleep(3600)
        return super().step(action)


class DoubleReward(gym.RewardWrapper[Any, Any]):
    """A user's wrapper."""

    def reward(self, reward: Any) -> float:
        return 2.0 * float(reward)


class ImageEnv(gym.Env[np.ndarray, Any]):
    """A small image observation."""

    observation_space = gym.spaces.Box(0, 255, (36, 36, 3), dtype=np.uint8)
    action_space: gym.Space[Any] = gym.spaces.Discrete(2)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        return self.observation_space.sample(), 1.0, True, False, {}


class DictEnv(KnownReturnEnv):
    """The same in a Dict observation."""

    def __init__(self) -> None:
        super().__init__()
        self.observation_space = gym.spaces.Dict({"state": self.observation_space})  # type: ignore[assignment]

    def _observation(self) -> Any:
        return {"state": super()._observation()}


class StepEnv(KnownReturnEnv):
    """Shows nothing but how many steps are done, so that stacked frames are known."""

    def _observation(self) -> np.ndarray:
        return np.full(2, self._t / N_STEPS, dtype=np.float32)


class MaskedEnv(KnownReturnEnv):
    """Has four actions of which one is not valid, and raises when that one is taken."""

    def __init__(self) -> None:
        super().__init__("discrete")
        self.action_space = gym.spaces.Discrete(4)

    def action_masks(self) -> np.ndarray:
        """Return which actions are valid now."""
        return np.asarray(np.arange(4) != self._t % 4)

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        if not self.action_masks()[int(action)]:
            raise ValueError(f"action {action} is not valid at step {self._t}")
        return super().step(action)


class GoalEnv(gym.Env[dict[str, np.ndarray], Any]):
    """A point on a line that has to go near a goal; pays -1 at every step where it is not."""

    def __init__(self) -> None:
        part = gym.spaces.Box(-1, 1, (1,), dtype=np.float32)
        names = ("observation", "achieved_goal", "desired_goal")
        self.observation_space: gym.Space[Any] = gym.spaces.Dict(dict.fromkeys(names, part))
        self.action_space: gym.Space[Any] = gym.spaces.Box(-1, 1, (1,), dtype=np.float32)
        self._position, self._goal = np.zeros(1, np.float32), np.zeros(1, np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        super().reset(seed=seed)
        self._position = np.zeros(1, np.float32)
        self._goal = self.np_random.uniform(-1, 1, 1).astype(np.float32)
        return self._observe(), {}

    def step(self, action: Any) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        moved = self._position + 0.3 * np.asarray(action, np.float32)
        self._position = np.clip(moved, -1, 1).astype(np.float32)
        reward = float(self.compute_reward(self._position, self._goal, {}))
        return self._observe(), reward, False, False, {"is_success": reward == 0}

    def compute_reward(self, achieved: np.ndarray, desired: np.ndarray, _info: Any) -> np.ndarray:
        """Return the rewards of one or many pairs of goals, as HER asks for them."""
        far = np.abs(achieved - desired)[..., 0] > 0.15
        return np.asarray(-far.astype(np.float32))

    def _observe(self) -> dict[str, np.ndarray]:
        names = ("observation", "achieved_goal", "desired_goal")
        return dict(zip(names, (self._position, self._position, self._goal), strict=True))


def make_goal_env(n_steps: int = N_STEPS) -> gym.Env[Any, Any]:
    """A goal environment whose episodes have so many steps."""
    return gym.wrappers.TimeLimit(GoalEnv(), n_steps)


def start_of(seed: int) -> float:
    """Return the start state that a seed leads to."""
    return float(np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed))).uniform())


def make_discrete_env() -> gym.Env[Any, Any]:
    """The same returns with two discrete actions."""
    return KnownReturnEnv("discrete")


def make_failing() -> gym.Env[Any, Any]:
    """A factory with a bug."""
    raise RuntimeError("no licence server")


def make_nothing() -> Any:
    """A factory that forgot its `return`."""
    gym.make("Pendulum-v1")


def make_exit() -> gym.Env[Any, Any]:
    """A factory that takes its process down in Python's own way."""
    raise SystemExit(0)


class TupleEnv(KnownReturnEnv):
    """The same in a Tuple observation."""

    def __init__(self) -> None:
        super().__init__()
        self.observation_space = gym.spaces.Tuple([self.observation_space])  # type: ignore[assignment]


def sample_upside_down_params(trial: Any) -> dict[str, Any]:
    """A search space with a range from high to low."""
    return {"learning_rate": trial.suggest_float("learning_rate", 1e-2, 1e-4)}


def sample_target_params(trial: Any) -> dict[str, Any]:
    """A user's search space for PPO."""
    return {
        "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True),
        "n_steps": 16,
        "batch_size": 16,
        "n_epochs": 1,
    }


class UnclosableEnv(TargetEnv):
    """Raises when it is closed."""

    def close(self) -> None:
        raise RuntimeError("the gripper cannot be opened")
