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
    # CrossQ's networks have batch normalisation between the layers.
    return {type(layer) for layer in network} & {nn.ReLU, nn.Tanh, nn.GELU, nn.ELU}


def hidden_networks(model: Any) -> list[nn.Sequential]:
    """Return the network of the policy and of (one) critic."""
    if hasattr(model.policy, "mlp_extractor"):
        return [model.policy.mlp_extractor.policy_net, model.policy.mlp_extractor.value_net]
    if hasattr(model, "q_net"):
        return [model.q_net.q_net, model.q_net_target.q_net]
    if hasattr(model, "quantile_net"):
        return [model.quantile_net.quantile_net, model.quantile_net_target.quantile_net]
    # TD3's actor ends in an output layer and a tanh of its own.
    actor = model.actor
    actor_net = actor.latent_pi if hasattr(actor, "latent_pi") else actor.mu[:-2]
    return [actor_net, getattr(model.critic, "qf0", None) or model.critic.q_networks[0]]


def hidden_widths(model: Any) -> list[list[int]]:
    return [widths(network)[:2] for network in hidden_networks(model)]


def hidden_activations(model: Any) -> set[type[nn.Module]]:
    return set().union(*(activations(network) for network in hidden_networks(model)))


def learning_rates(model: Any) -> tuple[float, float]:
    module = model.actor if hasattr(model, "actor") else model.policy
    return model.lr_schedule(1.0), module.optimizer.param_groups[0]["lr"]


LEARNING_RATE = [
    Arrival("learning_rate", 0.000323, learning_rates, (0.000323, 0.000323)),
    Arrival(
        "learning_rate_schedule",
        "cosine",
        lambda m: (m.lr_schedule(0.5) / m.lr_schedule(1.0), m.lr_schedule(0.0)),
        (approx(0.5), 0.0),
    ),
]

COMMON = [
    *LEARNING_RATE,
    Arrival("one_minus_gamma", 0.0123, lambda m: m.gamma, approx(0.9877)),
]

SDE = {"use_sde": True, "sde_sample_freq": -1, "use_expln": False}

NETWORKS = [
    Arrival("net_arch", "medium", hidden_widths, [[256, 256], [256, 256]]),
    Arrival("activation_fn", "relu", hidden_activations, {nn.ReLU}),
    Arrival("ortho_init", False, lambda m: m.policy.ortho_init, False),
]

BOX_ACTIONS = [
    Arrival(
        "use_sde",
        True,
        lambda m: type(m.policy.action_dist),
        StateDependentNoiseDistribution,
        SDE,
    ),
    Arrival("sde_sample_freq", 16, lambda m: m.sde_sample_freq, 16, SDE),
    Arrival("use_expln", True, lambda m: m.policy.action_dist.use_expln, True, SDE),
    Arrival("log_std_init", -1.23, lambda m: m.policy.log_std[0].item(), approx(-1.23)),
]

GAE = [
    Arrival("one_minus_gae_lambda", 0.0321, lambda m: m.rollout_buffer.gae_lambda, approx(0.9679))
]

ACTOR_CRITIC = [
    *COMMON,
    *NETWORKS,
    *GAE,
    Arrival("ent_coef", 0.0123, lambda m: m.ent_coef, 0.0123),
    Arrival("max_grad_norm", 0.77, lambda m: m.max_grad_norm, 0.77),
    Arrival("vf_coef", 0.37, lambda m: m.vf_coef, 0.37),
]

CLIPPED = [
    *ACTOR_CRITIC,
    Arrival("n_steps_pow", 8, lambda m: m.rollout_buffer.buffer_size, 256),
    Arrival("n_epochs", 7, lambda m: m.n_epochs, 7),
    Arrival("clip_range", 0.23, lambda m: m.clip_range(1.0), 0.23),
    Arrival(
        "clip_range_schedule",
        "linear",
        lambda m: (m.clip_range(1.0), m.clip_range(0.25), m.clip_range(0.0)),
        (0.2, approx(0.05), 0.0),
    ),
    Arrival("target_kl_or_none", 0.033, lambda m: m.target_kl, 0.033),
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
]

TARGET = [
    Arrival("net_arch", "small", hidden_widths, [[64, 64], [64, 64]]),
    Arrival("tau", 0.0321, lambda m: m.tau, 0.0321),
]

NOISY = [
    *CONTINUOUS,
    *TARGET,
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

SOFT_SDE = {**SDE, "log_std_init": -3.0}

SOFT = [
    *CONTINUOUS,
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
        "use_sde", True, lambda m: (m.actor.use_sde, m.use_sde_at_warmup), (True, True), SOFT_SDE
    ),
    Arrival("use_expln", True, lambda m: m.actor.action_dist.use_expln, True, SOFT_SDE),
    Arrival("sde_sample_freq", 8, lambda m: m.sde_sample_freq, 8, SOFT_SDE),
    Arrival("log_std_init", -2.5, lambda m: m.actor.log_std[0, 0].item(), approx(-2.5), SOFT_SDE),
]

Q_NETWORK = [
    *OFF_POLICY,
    Arrival("update_to_data_pow", 0, lambda m: m.gradient_steps, 4),
    Arrival("net_arch", "big", hidden_widths, [[400, 300], [400, 300]]),
    Arrival("target_update_interval", 777, lambda m: m.target_update_interval, 777),
    Arrival("exploration_fraction", 0.123, lambda m: m.exploration_fraction, 0.123),
    Arrival("exploration_final_eps", 0.0123, lambda m: m.exploration_schedule(0.0), 0.0123),
    Arrival("exploration_initial_eps", 0.77, lambda m: m.exploration_schedule(1.0), 0.77),
]

ARRIVALS = {
    "a2c": [
        *ACTOR_CRITIC,
        *BOX_ACTIONS,
        Arrival("n_steps", 13, lambda m: m.rollout_buffer.buffer_size, 13),
        Arrival("use_rms_prop", False, lambda m: type(m.policy.optimizer), optim.Adam),
        Arrival("normalize_advantage", True, lambda m: m.normalize_advantage, True),
    ],
    "ars": [
        Arrival("learning_rate", 0.0123, lambda m: m.lr_schedule(1.0), 0.0123),
        LEARNING_RATE[1],
        Arrival("delta_std", 0.0123, lambda m: m.delta_std_schedule(1.0), 0.0123),
        Arrival("n_delta", 13, lambda m: m.n_delta, 13),
        Arrival("top_fraction", 0.5, lambda m: m.n_top, 4),
        Arrival(
            "net_arch",
            "linear",
            lambda m: [(type(layer), layer.bias) for layer in m.policy.action_net],
            [(nn.Linear, None)],
        ),
        Arrival("zero_policy", False, lambda m: bool(m.weights.any()), True),
        Arrival("alive_bonus", 0.7, lambda m: m.alive_bonus_offset, -0.7),
    ],
    "crossq": [
        *SOFT,
        Arrival("policy_delay", 2, lambda m: m.policy_delay, 2),
        Arrival("net_arch", "small", lambda m: hidden_widths(m)[0], [64, 64]),
        Arrival("critic_width_pow", 7, lambda m: hidden_widths(m)[1], [128, 128]),
        Arrival(
            "batch_norm_momentum",
            0.0321,
            lambda m: {
                layer.momentum for layer in m.actor.latent_pi if hasattr(layer, "momentum")
            },
            {0.0321},
        ),
    ],
    "ddpg": NOISY,
    "dqn": Q_NETWORK,
    "maskable_ppo": [
        *CLIPPED,
        Arrival("n_minibatches_pow", 3, lambda m: m.batch_size, 256),
    ],
    "ppo": [
        *CLIPPED,
        *BOX_ACTIONS,
        Arrival("n_minibatches_pow", 3, lambda m: m.batch_size, 256),
    ],
    "qrdqn": [
        *Q_NETWORK,
        Arrival("n_quantiles", 37, lambda m: m.quantile_net.n_quantiles, 37),
    ],
    "recurrent_ppo": [
        *CLIPPED,
        *BOX_ACTIONS,
        Arrival("n_minibatches_pow", 1, lambda m: m.batch_size, 64),
        Arrival("lstm_hidden_size_pow", 5, lambda m: m.policy.lstm_actor.hidden_size, 32),
        Arrival("n_lstm_layers", 2, lambda m: m.policy.lstm_actor.num_layers, 2),
        Arrival(
            "enable_critic_lstm",
            False,
            lambda m: (m.policy.lstm_critic, type(m.policy.critic)),
            (None, nn.Linear),
            {"shared_lstm": False},
        ),
        Arrival(
            "shared_lstm",
            True,
            lambda m: (m.policy.lstm_critic, m.policy.critic),
            (None, None),
            {"enable_critic_lstm": False},
        ),
    ],
    "sac": [
        *SOFT,
        *TARGET,
        Arrival("n_critics", 1, lambda m: len(m.critic.q_networks), 1),
    ],
    "td3": [
        *NOISY,
        Arrival("policy_delay", 3, lambda m: m.policy_delay, 3),
        Arrival("target_policy_noise", 0.123, lambda m: m.target_policy_noise, 0.123),
    ],
    "tqc": [
        *SOFT,
        *TARGET,
        Arrival("n_critics", 3, lambda m: len(m.critic.q_networks), 3),
        Arrival("n_quantiles", 37, lambda m: m.critic.n_quantiles, 37),
        Arrival("top_quantiles_to_drop_per_net", 4, lambda m: m.top_quantiles_to_drop_per_net, 4),
    ],
    "trpo": [
        *COMMON,
        *NETWORKS,
        *BOX_ACTIONS,
        *GAE,
        Arrival("n_steps_pow", 8, lambda m: m.rollout_buffer.buffer_size, 256),
        Arrival("n_minibatches_pow", 3, lambda m: m.batch_size, 256),
        Arrival("n_critic_updates", 7, lambda m: m.n_critic_updates, 7),
        Arrival("target_kl", 0.033, lambda m: m.target_kl, 0.033),
        Arrival("cg_max_steps", 7, lambda m: m.cg_max_steps, 7),
        Arrival("cg_damping", 0.033, lambda m: m.cg_damping, 0.033),
        Arrival(
            "line_search_shrinking_factor", 0.7, lambda m: m.line_search_shrinking_factor, 0.7
        ),
    ],
}
