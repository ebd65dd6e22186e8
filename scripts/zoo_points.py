"""From a tuned entry of RL Zoo to the point of a search space that stands for it.

Used by `scripts/check_reachability.py`; the entries are those that
`scripts/extract_zoo_values.py` writes.
"""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gymnasium.spaces import Box, Dict, Discrete

from samplers import SpaceContext
from sb3_hpo.algorithms.registry import load_algorithm

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import gymnasium as gym

_REPLAY = ("crossq", "ddpg", "dqn", "qrdqn", "sac", "td3", "tqc")
_CONTINUOUS = ("crossq", "ddpg", "sac", "td3", "tqc")
# What only continuous actions have.
_BOX_ONLY = ("use_sde", "sde_sample_freq", "log_std_init", "use_expln")
_NET_ARCHS = {
    (): "linear", (64,): "tiny", (64, 64): "small", (256,): "wide", (256, 256): "medium",
    (400, 300): "big", (256, 256, 256): "large", (512, 512, 512): "verybig",
}  # fmt: skip
_ARS_NET_ARCHS = {(): "linear", (16,): "tiny", (16, 16): "narrow", (64,): "wide",
                  (64, 64): "small"}  # fmt: skip
_ZOO_NOISE = {"normal": "normal", "ornstein-uhlenbeck": "ou"}


@dataclass
class NearestTrial:
    """A trial that answers with the wanted value, or with the nearest one in the range.

    Attributes:
        wanted: Values by dimension.
        otherwise: Values of the dimensions that are not wanted.
        user_attrs: As in Optuna's trials.
    """

    wanted: Mapping[str, Any]
    otherwise: Mapping[str, Any]
    user_attrs: dict[str, Any] = field(default_factory=dict)

    def suggest_float(self, name: str, low: float, high: float, **_: Any) -> float:
        """Return the nearest float."""
        return min(max(float(self._number(name, low)), low), high)

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, **_: Any) -> int:
        """Return the nearest of the range's integers."""
        nearest = low + step * round((self._number(name, low) - low) / step)
        return min(max(nearest, low), high)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Return the choice, or the first one."""
        answer = self._answer(name, choices[0])
        return answer if answer in choices else choices[0]

    def set_user_attr(self, key: str, value: Any) -> None:
        """Note a value beside the parameters."""
        self.user_attrs[key] = value

    def _number(self, name: str, fallback: float) -> float:
        answer = self._answer(name, fallback)  # train_freq may be one episode
        return answer if isinstance(answer, int | float) else fallback

    def _answer(self, name: str, fallback: Any) -> Any:
        return self.wanted.get(name, self.otherwise.get(name, fallback))


def make_context(entry: Mapping[str, Any]) -> SpaceContext:
    """Return the problem that an entry was tuned for.

    Args:
        entry: One entry of the values file.

    Returns:
        Its budget and environments; its actions as far as the values tell.
    """
    box = entry["algo"] in _CONTINUOUS or any(name in entry["values"] for name in _BOX_ONLY)
    part = Box(-1.0, 1.0, (3,))
    goals = Dict({"observation": part, "achieved_goal": part, "desired_goal": part})
    observations: gym.Space[Any] = goals if entry["her"] else part
    return SpaceContext(
        n_envs=entry["n_envs"],
        n_timesteps=entry["n_timesteps"],
        action_space=Box(-1.0, 1.0, (1,)) if box else Discrete(2),
        observation_space=observations,
        goal_env=entry["her"],
        her=entry["her"],
        longest_episode=entry["longest_episode"],
    )


def to_point(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Express an entry's values in the dimensions of the search spaces.

    Args:
        entry: One entry of the values file.

    Returns:
        Wanted values by dimension, those of RL Zoo's search spaces included.
    """
    values, point = entry["values"], dict(entry["values"])
    for name in ("learning_rate", "clip_range"):
        if str(values.get(name, "")).startswith("lin_"):
            point[name] = float(values[name].removeprefix("lin_"))
            point[f"{name}_schedule"] = "linear"
    for name in ("gamma", "gae_lambda"):
        if name in values:
            # Exactly 1 is at the low end of 1 - lambda.
            point[f"one_minus_{name}"] = 1.0 - values[name] or 0.0
    if "ent_coef" in values:
        point["ent_coef_mode"] = "auto" if values["ent_coef"] == "auto" else "fixed"
        point["ent_coef_fixed"] = values["ent_coef"]
    if "noise_type" in values:
        point["noise_type"] = _ZOO_NOISE[values["noise_type"]]
    if "target_kl" in values:
        point["target_kl_or_none"] = values["target_kl"]
    return point | _network_dimensions(entry) | _update_dimensions(entry)


def _network_dimensions(entry: Mapping[str, Any]) -> dict[str, Any]:
    values = entry["values"]
    point: dict[str, Any] = {}
    if "net_arch" in values:
        actor, critic = _both_networks(values["net_arch"])
        names = _ARS_NET_ARCHS if entry["algo"] == "ars" else _NET_ARCHS
        point["net_arch"] = names.get(tuple(actor), "none of these")
        point["critic_width_pow"] = math.log2(critic[0]) if critic else 0
    if "lstm_hidden_size" in values:
        point["lstm_hidden_size_pow"] = math.log2(values["lstm_hidden_size"])
    if "activation_fn" in values:
        point["activation_fn"] = values["activation_fn"].lower()
    return point


def _update_dimensions(entry: Mapping[str, Any]) -> dict[str, Any]:
    values, algo, n_envs = entry["values"], entry["algo"], entry["n_envs"]
    point: dict[str, Any] = {}
    if algo in _REPLAY:
        train_freq = values.get("train_freq", _default(algo, "train_freq"))
        steps = values.get("gradient_steps", _default(algo, "gradient_steps"))
        if isinstance(train_freq, int):
            point["train_freq_pow"] = math.log2(train_freq)
            per_rollout = train_freq * n_envs
            point["update_to_data_pow"] = math.log2(
                (steps if steps > 0 else per_rollout) / per_rollout
            )
            point["subsample_steps"] = max(1, per_rollout // steps) if steps > 0 else 1
    if "batch_size" in values:
        point["batch_size_pow"] = math.log2(values["batch_size"])
    if algo not in (*_REPLAY, "a2c", "ars"):
        n_steps = values.get("n_steps", _default(algo, "n_steps"))
        batch_size = values.get("batch_size", _default(algo, "batch_size"))
        point["n_steps_pow"] = math.log2(n_steps)
        point["n_minibatches_pow"] = math.log2(n_steps * n_envs / batch_size)
    if algo == "ars":
        n_delta = values["n_delta"]
        point["n_delta_pow"] = math.log2(n_delta)
        point["top_fraction"] = point["top_frac_size"] = values.get("n_top", n_delta) / n_delta
        point["alive_bonus"] = -values.get("alive_bonus_offset", 0)
    return point


def _both_networks(net_arch: Any) -> tuple[list[int], list[int]]:
    """Return the hidden layers of actor and critic."""
    if isinstance(net_arch, dict):
        return net_arch["pi"], net_arch["vf"] if "vf" in net_arch else net_arch["qf"]
    return net_arch, net_arch


def _default(algo: str, name: str) -> Any:
    parameters = inspect.signature(load_algorithm(algo)).parameters
    return parameters[name].default if name in parameters else None


def is_never_full(entry: Mapping[str, Any], name: str, kwargs: Mapping[str, Any]) -> bool:
    """Tell whether both an entry and keyword arguments have a replay buffer that is never full.

    Args:
        entry: One entry of the values file.
        name: The value's name.
        kwargs: What a search space returned.

    Returns:
        Whether the two buffers, different as they may be, train the same agent.
    """
    n_timesteps = entry["n_timesteps"]
    wanted, found = entry["values"][name], kwargs.get(name, 0)
    return name == "buffer_size" and min(wanted, found) >= n_timesteps


def is_reached(entry: Mapping[str, Any], name: str, kwargs: Mapping[str, Any]) -> bool:
    """Tell whether keyword arguments hold a value of an entry.

    Args:
        entry: One entry of the values file.
        name: The value's name.
        kwargs: What a search space returned.

    Returns:
        Whether the algorithm would get this value.
    """
    wanted = entry["values"][name]
    flat = {**kwargs, **kwargs.get("policy_kwargs", {}), **kwargs.get("replay_buffer_kwargs", {})}
    if name in ("noise_type", "noise_std"):
        noise = kwargs.get("action_noise")
        kind = "normal" if type(noise).__name__ == "NormalActionNoise" else "ornstein-uhlenbeck"
        found = kind if name == "noise_type" else getattr(noise, "_sigma", [None])[0]
        return noise is not None and _same(wanted, found)
    if name == "net_arch" and name in flat:
        return _both_networks(wanted) == _both_networks(flat[name])
    if name == "gradient_steps" and wanted == -1:
        wanted = flat["train_freq"] * entry["n_envs"]  # as many as steps
    return _same(wanted, flat.get(name, _default(entry["algo"], name)))


def _same(wanted: Any, found: Any) -> bool:
    if type(found).__name__ == "LinearSchedule":
        return str(wanted).startswith("lin_") and math.isclose(
            float(wanted.removeprefix("lin_")), found.start, rel_tol=1e-6
        )
    if isinstance(found, type):
        found = found.__name__
    numbers = isinstance(wanted, int | float) and isinstance(found, int | float)
    # RL Zoo's lowest ent_coef of 1e-8 is as good as 0.
    return math.isclose(wanted, found, rel_tol=1e-6, abs_tol=1e-8) if numbers else wanted == found
