"""Search space of RecurrentPPO."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from samplers._clipped import (
    CLIPPED_DEFAULT_PARAMS,
    RECURRENT_RANGES,
    first_points,
    sample_clipped_params,
)
from samplers._shared import SpaceContext, is_at_least, power_of_two, refuse_her

if TYPE_CHECKING:
    from samplers._shared import Size, TrialLike

MIN_ROLLOUT = RECURRENT_RANGES.min_n_steps
"""Smallest n_steps, in steps of the vectorised environment."""

DEFAULT_PARAMS: dict[str, float | int | str] = {
    **CLIPPED_DEFAULT_PARAMS,
    "n_steps_pow": 7,
    "n_minibatches_pow": 0,
    "lstm_hidden_size_pow": 8,
    "n_lstm_layers": 1,
    "enable_critic_lstm": True,
}
"""The point of the full space that stands for sb3-contrib's constructor defaults."""

FIRST_POINTS = first_points({**DEFAULT_PARAMS, "lstm_hidden_size_pow": 6})

# Behind an LSTM no hidden layer may be needed: Zoo YAML has none, one of 64 and two of 256.
_NET_ARCHS = {"linear": [], "tiny": [64], "small": [64, 64]}
_FULL_NET_ARCHS = {**_NET_ARCHS, "wide": [256], "medium": [256, 256]}


def sample_recurrent_ppo_params(
    trial: TrialLike, *, context: SpaceContext | None = None, size: Size = "default"
) -> dict[str, Any]:
    """Sample RecurrentPPO's keyword arguments: PPO's space and the LSTM.

    Rollouts are cut into equal minibatches, as in PPO's space. Here that is not a matter of
    taste: a last minibatch of one sample makes RecurrentPPO's normalised advantages NaN.

    Args:
        context: The problem; without it, `SpaceContext()`.
        size: "small" has five dimensions: learning_rate, one_minus_gamma, n_steps_pow,
            n_minibatches_pow, activation_fn.

    Returns:
        Keyword arguments for `sb3_contrib.RecurrentPPO`.
    """
    context = context or SpaceContext()
    refuse_her(context, "RecurrentPPO")
    kwargs = sample_clipped_params(
        trial,
        context=context,
        size=size,
        ranges=RECURRENT_RANGES,
        net_archs=_FULL_NET_ARCHS if is_at_least(size, "full") else _NET_ARCHS,
    )
    kwargs["policy_kwargs"] |= _sample_lstm(trial, size)
    return kwargs


def _sample_lstm(trial: TrialLike, size: Size) -> dict[str, Any]:
    """Sample the recurrent layers and what the critic has of them."""
    policy_kwargs: dict[str, Any] = {}
    if is_at_least(size, "default"):
        # Zoo YAML has 32 to 128, the default is 256.
        hidden_size = power_of_two(trial.suggest_int("lstm_hidden_size_pow", 4, 8))
        trial.set_user_attr("lstm_hidden_size", hidden_size)
        policy_kwargs["lstm_hidden_size"] = hidden_size
    if is_at_least(size, "full"):
        policy_kwargs["n_lstm_layers"] = trial.suggest_int("n_lstm_layers", 1, 2)
        own = trial.suggest_categorical("enable_critic_lstm", [True, False])
        policy_kwargs["enable_critic_lstm"] = own
        if not own:  # SB3 refuses a critic with an LSTM of its own and the actor's as well
            policy_kwargs["shared_lstm"] = trial.suggest_categorical("shared_lstm", [False, True])
    return policy_kwargs
