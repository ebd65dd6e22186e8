"""For every dimension of every algorithm: an odd value, and where a model must hold it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from stable_baselines3.common.distributions import StateDependentNoiseDistribution
from stable_baselines3.common.noise import OrnsteinUhlenbeckActionNoise
from torch import nn, optim

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True)
class Arrival:
    """What reading a model must give after sampling one dimension at `value`.

    Attributes:
        dimension: The dimension under test.
        value: Not its default.
        read: From the model to what it holds.
        expected: What `read` must return.
        given: Other dimensions without which this one would not be sampled.
    """

    dimension: str
    value: Any
    read: Callable[[Any], Any]
    expected: Any
    given: Mapping[str, Any] = field(default_factory=dict)


def approx(value: float) -> Any:
    return pytest.approx(value, rel=1e-6)


def widths(network: nn.Sequential) -> list[int]:
    return [layer.out_features for layer in network if isinstance(layer, nn.Linear)]


def activations(network: nn.Sequential) -> set[type[nn.Module]]:
    return {type(layer) for layer in network if not isinstance(layer, nn.Linear)}


def hidden_networks(model: Any) -> list[nn.Sequential]:
    """Return the network of the policy and of (one) critic."""
    name = type(model).__name__
    if name in ("A2C", "PPO"):
        return [model.policy.mlp_extractor.policy_net, model.policy.mlp_extractor.value_net]
    if name == "DQN":
        return [model.q_net.q_net, model.q_net_target.q_net]
    # TD3's actor ends in an output layer and a tanh of its own.
    actor = model.actor.latent_pi if name == "SAC" else model.actor.mu[:-2]
    return [actor, model.critic.qf0]


def hidden_widths(model: Any) -> list[list[int]]:
    return [widths(network)[:2] for network in hidden_networks(model)]


def hidden_activations(model: Any) -> set[type[nn.Module]]:
    return set().union(*(activations(network) for network in hidden_networks(model)))


def learning_rates(model: Any) -> tuple[float, float]:
    module = model.actor if hasattr(model, "actor") else model.policy
    return model.lr_schedule(1.0), module.optimizer.param_groups[0]["lr"]


COMMON = [
    Arrival("learning_rate", 0.000123, learning_rates, (0.000123, 0.000123)),
    Arrival("one_minus_gamma", 0.0123, lambda m: m.gamma, approx(0.9877)),
]

ON_POLICY = [
    *COMMON,
    Arrival("one_minus_gae_lambda", 0.0321, lambda m: m.rollout_buffer.gae_lambda, approx(0.9679)),
    Arrival("ent_coef", 0.0123, lambda m: m.ent_coef, 0.0123),
    Arrival("max_grad_norm", 0.77, lambda m: m.max_grad_norm, 0.77),
    Arrival("net_arch", "medium", hidden_widths, [[256, 256], [256, 256]]),
    Arrival("activation_fn", "relu", hidden_activations, {nn.ReLU}),
    Arrival("vf_coef", 0.37, lambda m: m.vf_coef, 0.37),
    Arrival(
        "use_sde",
        True,
        lambda m: type(m.policy.action_dist),
        StateDependentNoiseDistribution,
        {"sde_sample_freq": -1},
    ),
    Arrival("sde_sample_freq", 16, lambda m: m.sde_sample_freq, 16, {"use_sde": True}),
    Arrival("ortho_init", False, lambda m: m.policy.ortho_init, False),
    Arrival("log_std_init", -1.23, lambda m: m.policy.log_std[0].item(), approx(-1.23)),
]

OFF_POLICY = [
    *COMMON,
    Arrival("train_freq_pow", 5, lambda m: m.train_freq.frequency, 32),
    Arrival("batch_size_pow", 7, lambda m: m.batch_size, 128),
    Arrival("buffer_size", 23_456, lambda m: m.replay_buffer.buffer_size, 23_456),
    Arrival("learning_starts", 456, lambda m: m.learning_starts, 456),
    Arrival("n_steps", 3, lambda m: m.replay_buffer.n_steps, 3),
    Arrival("activation_fn", "tanh", hidden_activations, {nn.Tanh}),
]

CONTINUOUS = [
    *OFF_POLICY,
    Arrival("update_to_data_pow", 1, lambda m: m.gradient_steps, 2),
    Arrival("net_arch", "small", hidden_widths, [[64, 64], [64, 64]]),
    Arrival("tau", 0.0321, lambda m: m.tau, 0.0321),
]

NOISY = [
    *CONTINUOUS,
    Arrival(
        "noise_type",
        "ou",
        lambda m: type(m.action_noise),
        OrnsteinUhlenbeckActionNoise,
        {"noise_std": 0.1},
    ),
    Arrival(
        "noise_std",
        0.123,
        lambda m: m.action_noise._sigma.tolist(),
        [0.123],
        {"noise_type": "normal"},
    ),
]

# State-dependent exploration of SAC needs a value for each of its dimensions.
SAC_SDE = {"use_sde": True, "sde_sample_freq": -1, "log_std_init": -3.0}

ARRIVALS = {
    "a2c": [
        *ON_POLICY,
        Arrival("n_steps", 13, lambda m: m.rollout_buffer.buffer_size, 13),
        Arrival("use_rms_prop", False, lambda m: type(m.policy.optimizer), optim.Adam),
        Arrival("normalize_advantage", True, lambda m: m.normalize_advantage, True),
    ],
    "ddpg": NOISY,
    "dqn": [
        *OFF_POLICY,
        Arrival("update_to_data_pow", 0, lambda m: m.gradient_steps, 4),
        Arrival("net_arch", "big", hidden_widths, [[400, 300], [400, 300]]),
        Arrival("target_update_interval", 777, lambda m: m.target_update_interval, 777),
        Arrival("exploration_fraction", 0.123, lambda m: m.exploration_fraction, 0.123),
        Arrival("exploration_final_eps", 0.0123, lambda m: m.exploration_schedule(0.0), 0.0123),
    ],
    "ppo": [
        *ON_POLICY,
        Arrival("n_steps_pow", 7, lambda m: m.rollout_buffer.buffer_size, 128),
        Arrival("n_minibatches_pow", 3, lambda m: m.batch_size, 256),
        Arrival("n_epochs", 7, lambda m: m.n_epochs, 7),
        Arrival("clip_range", 0.23, lambda m: m.clip_range(1.0), 0.23),
        Arrival("target_kl_or_none", 0.033, lambda m: m.target_kl, 0.033),
    ],
    "sac": [
        *CONTINUOUS,
        Arrival("n_critics", 1, lambda m: len(m.critic.q_networks), 1),
        Arrival(
            "ent_coef_mode",
            "fixed",
            lambda m: m.ent_coef_optimizer,
            None,
            {"ent_coef_fixed": 0.1},
        ),
        Arrival(
            "ent_coef_fixed",
            0.0321,
            lambda m: m.ent_coef_tensor.item(),
            approx(0.0321),
            {"ent_coef_mode": "fixed"},
        ),
        Arrival("target_entropy_scale", 0.77, lambda m: m.target_entropy, -0.77),
        Arrival(
            "use_sde",
            True,
            lambda m: (m.actor.use_sde, m.use_sde_at_warmup, m.actor.action_dist.use_expln),
            (True, True, True),
            SAC_SDE,
        ),
        Arrival("sde_sample_freq", 8, lambda m: m.sde_sample_freq, 8, SAC_SDE),
        Arrival(
            "log_std_init", -2.5, lambda m: m.actor.log_std[0, 0].item(), approx(-2.5), SAC_SDE
        ),
    ],
    "td3": [
        *NOISY,
        Arrival("policy_delay", 3, lambda m: m.policy_delay, 3),
        Arrival("target_policy_noise", 0.123, lambda m: m.target_policy_noise, 0.123),
    ],
}
