"""Search space of PPO."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from samplers._on_policy import ACTOR_CRITIC_DEFAULT_PARAMS, sample_actor_critic_params
from samplers._shared import (
    SpaceContext,
    floor_log2,
    is_at_least,
    max_rollout_steps,
    power_of_two,
)

if TYPE_CHECKING:
    from samplers._shared import Size, TrialLike

MIN_ROLLOUT = 8
"""Smallest n_steps, in steps of the vectorised environment."""

DEFAULT_PARAMS: dict[str, float | int | str] = {
    **ACTOR_CRITIC_DEFAULT_PARAMS,
    "learning_rate": 3e-4,
    "n_steps_pow": 11,
    "n_minibatches_pow": 5,
    "n_epochs": 10,
    "one_minus_gae_lambda": 0.05,
    "clip_range": 0.2,
    "target_kl_or_none": 0.2,  # above the threshold: no limit
}
"""The point of the full space that stands for SB3's constructor defaults."""

# SB3's default, but with rollouts that a short budget has many of (1,024 samples in eight
# environments) and a rate to match; gamma is the problem's own, so once far and once near.
FIRST_POINTS: tuple[dict[str, float | int | str], ...] = tuple(
    {
        **DEFAULT_PARAMS,
        "learning_rate": 1e-3,
        "n_steps_pow": 7,
        "n_minibatches_pow": 4,
        "one_minus_gamma": one_minus_gamma,
        "activation_fn": "relu",
    }
    for one_minus_gamma in (0.01, 0.1)
)

_MIN_SAMPLES = 32  # per rollout, where the budget permits
_MIN_BATCH_SIZE = 16  # where the rollout permits
_DEFAULT_N_EPOCHS = 10
# Updates per environment step, in units of SB3's default (10 epochs of 32 minibatches every 2048
# steps). On classic control, twice as many learn as well as four times, and time is trials.
_DEFAULT_UPDATES_PER_STEP = 10 * 32 / 2048
_MAX_UPDATES: dict[Size, int] = {"small": 2, "default": 2, "full": 4}
_MAX_TARGET_KL = 0.1


def sample_ppo_params(
    trial: TrialLike, *, context: SpaceContext | None = None, size: Size = "default"
) -> dict[str, Any]:
    """Sample PPO's keyword arguments.

    The rollout is a power of two per environment (`n_steps_pow`), split into a number of
    minibatches (`n_minibatches_pow`), so that the batch size always divides the rollout. The
    number of minibatches, then of epochs, is lowered where the two would make batches below 16
    samples or more updates per step than twice SB3's default (four times where the size is
    "full"). What was used is noted as user attributes `n_steps`, `n_minibatches`, `batch_size`
    and `n_epochs`.

    Args:
        trial: The Optuna trial.
        context: The problem; without it, `SpaceContext()`.
        size: "small" has five dimensions: learning_rate, one_minus_gamma, n_steps_pow,
            n_minibatches_pow, activation_fn.

    Returns:
        Keyword arguments for `stable_baselines3.PPO`.
    """
    context = context or SpaceContext()
    # Zoo's 1e-5 to 2e-3, a little wider.
    kwargs: dict[str, Any] = {
        "learning_rate": trial.suggest_float("learning_rate", 1e-5, 3e-3, log=True)
    }
    kwargs |= _sample_updates(trial, context, size)
    if is_at_least(size, "default"):
        kwargs["clip_range"] = trial.suggest_float("clip_range", 0.1, 0.4)  # Zoo
    if is_at_least(size, "full"):
        kwargs["target_kl"] = _sample_target_kl(trial)
    return kwargs | sample_actor_critic_params(trial, context=context, size=size)


def _sample_updates(trial: TrialLike, context: SpaceContext, size: Size) -> dict[str, Any]:
    """Sample the rollout and how often it is used."""
    # Zoo's 2^5 to 2^12 at one environment; several environments share the samples.
    longest = min(12, floor_log2(max_rollout_steps(context, minimum=MIN_ROLLOUT)))
    steps_wanted = max(MIN_ROLLOUT, -(-_MIN_SAMPLES // context.n_envs))
    shortest = min(longest, (steps_wanted - 1).bit_length())
    n_steps = power_of_two(trial.suggest_int("n_steps_pow", shortest, longest))
    rollout = n_steps * context.n_envs

    longest_rollout = 2**longest * context.n_envs
    most = min(6, floor_log2(max(1, longest_rollout // _MIN_BATCH_SIZE)))
    n_minibatches = power_of_two(trial.suggest_int("n_minibatches_pow", 0, most))
    n_epochs = _DEFAULT_N_EPOCHS
    if is_at_least(size, "default"):
        n_epochs = trial.suggest_int("n_epochs", 1, 20, log=True)  # Zoo's 1, 5, 10, 20

    max_updates = max(1, int(_MAX_UPDATES[size] * _DEFAULT_UPDATES_PER_STEP * rollout))
    while n_minibatches > 1 and (
        rollout % n_minibatches != 0
        or rollout // n_minibatches < _MIN_BATCH_SIZE
        or n_epochs * n_minibatches > max_updates
    ):
        n_minibatches //= 2
    n_epochs = min(n_epochs, max_updates)

    trial.set_user_attr("n_minibatches", n_minibatches)
    kwargs = {"n_steps": n_steps, "batch_size": rollout // n_minibatches, "n_epochs": n_epochs}
    for name, value in kwargs.items():
        trial.set_user_attr(name, value)
    return kwargs


def _sample_target_kl(trial: TrialLike) -> float | None:
    """Sample the limit of the KL divergence; above 0.1 there is none (SB3's default)."""
    limit = trial.suggest_float("target_kl_or_none", 0.005, 0.2, log=True)
    target_kl = None if limit > _MAX_TARGET_KL else limit
    trial.set_user_attr("target_kl", target_kl)
    return target_kl
