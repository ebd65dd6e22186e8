"""Names and scales: in which dimension of a search space an argument of SB3 lives."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from optuna.distributions import CategoricalDistribution, IntDistribution

from sb3_hpo.algorithms.constructor import (
    check_limits,
    constructor_defaults,
    true_name,
    true_value,
)
from sb3_hpo.utils.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from optuna.distributions import BaseDistribution

    from sb3_hpo.config.study_config import StudyConfig

    Dimensions = Mapping[str, BaseDistribution]

# Dimension -> the SB3 names that it decides, where its own name does not say so.
_HOLDS = {
    "n_minibatches_pow": ("batch_size",),
    "update_to_data_pow": ("gradient_steps", "train_freq"),
    "noise_type": ("action_noise",),
    "noise_std": ("action_noise",),
    "target_kl_or_none": ("target_kl",),
    "ent_coef_mode": ("ent_coef",),
    "ent_coef_fixed": ("ent_coef",),
    "target_entropy_scale": ("target_entropy", "ent_coef"),
    "learning_rate_schedule": ("learning_rate",),
    "clip_range_schedule": ("clip_range",),
    "top_fraction": ("n_top",),
    "alive_bonus": ("alive_bonus_offset",),
    "critic_width_pow": ("net_arch",),
    "n_sampled_goal": ("replay_buffer_kwargs",),
    "goal_selection_strategy": ("replay_buffer_kwargs",),
}


def names_held_by(dimension: str) -> tuple[str, ...]:
    """Return the SB3 names whose values a dimension decides.

    Returns:
        Constructor arguments or keys of `policy_kwargs`.

    >>> names_held_by("one_minus_gamma"), names_held_by("n_minibatches_pow")
    (('gamma',), ('batch_size',))
    """
    return _HOLDS.get(dimension, (short_name(dimension),))


def is_shared(dimension: str) -> bool:
    """Tell whether a dimension decides an argument with others, or in words of its own."""
    return dimension in _HOLDS


def short_name(dimension: str) -> str:
    """Return what a dimension's name says that it holds, without the group it is in.

    >>> short_name("policy_kwargs.lstm_hidden_size_pow")
    'lstm_hidden_size'
    """
    return true_name(dimension.removeprefix("policy_kwargs."))


def deciding(name: str, dimensions: Collection[str]) -> list[str]:
    """Return the dimensions that decide an argument without bearing its name.

    Args:
        name: A constructor argument.
        dimensions: Of the space.
    """
    return [key for key in dimensions if name in _HOLDS.get(key, ())]


def find_dimension(name: str, dimensions: Collection[str]) -> str | None:
    """Return the dimension that bears a name, its own or what it holds.

    Args:
        name: A dimension, an SB3 argument, or a key of `policy_kwargs`.
        dimensions: Of the space.

    >>> find_dimension("gamma", ["learning_rate", "one_minus_gamma"])
    'one_minus_gamma'
    """
    short = name.removeprefix("policy_kwargs.")
    tries = (name, short, f"policy_kwargs.{name}", f"one_minus_{short}", f"{short}_pow")
    return next((key for key in tries if key in dimensions), None)


def to_dimension(name: str, value: Any, dimensions: Dimensions) -> tuple[str, Any] | None:
    """Express a value in the dimension that holds it: `gamma` lives in `one_minus_gamma`.

    Args:
        name: A dimension, or an SB3 name whose dimension is `one_minus_<name>` or `<name>_pow`.
        value: The value under that name.
        dimensions: The space.

    Returns:
        The dimension and the value in it, or None if there is no such dimension.

    Raises:
        UserError: The dimension cannot hold the value.
    """
    dimension = find_dimension(name, dimensions)
    if dimension is None:
        return None
    distribution = dimensions[dimension]
    if isinstance(distribution, CategoricalDistribution) and _bears(dimension, name):
        if value not in distribution.choices:
            raise UserError(f"must be one of {list(distribution.choices)}, but got {value!r}")
        return dimension, value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"must be a number, but got {value!r}")
    if not math.isfinite(value):
        raise UserError(f"must be finite, but got {value!r}")
    if isinstance(distribution, IntDistribution) and value != int(value):
        raise UserError(f"must be a whole number, but got {value!r}")
    scaled = _to_scale(name, dimension, value)
    check_limits(short_name(dimension), true_value(dimension, scaled))
    return dimension, scaled


def _bears(dimension: str, name: str) -> bool:
    return dimension.removeprefix("policy_kwargs.") == name.removeprefix("policy_kwargs.")


def _to_scale(name: str, dimension: str, value: float) -> float:
    if _bears(dimension, name):
        return value
    if dimension.startswith("one_minus_"):
        if not 0 <= value <= 1:
            raise UserError(f"must be between 0 and 1, but got {value!r}")
        scaled: float = 1 - value
    else:
        if value <= 0:
            raise UserError(f"must be positive, but got {value!r}")
        scaled = math.log2(value)
    return int(scaled) if scaled == int(scaled) else scaled


def check_inside(name: str, value: Any, dimensions: Dimensions) -> None:
    """Refuse a value that the sampler could not learn from, because the space has no such point.

    Args:
        name: The dimension.
        value: The value in it.
        dimensions: The space.

    Raises:
        UserError: It is outside the range, or between two points.
    """
    distribution = dimensions[name]
    if isinstance(distribution, CategoricalDistribution):
        return  # checked with the choices
    low, high = distribution.low, distribution.high  # type: ignore[attr-defined]
    whole = not isinstance(distribution, IntDistribution) or value == int(value)
    if not (whole and low <= value <= high):
        raise UserError(
            f"{name} = {value:g} is not in the space ({low:g} to {high:g}"
            f"{'' if whole else ', whole numbers'}); hold it with --fixed instead"
        )


def check_budget(name: str, value: Any, config: StudyConfig) -> None:
    """Refuse what does not fit into the budget.

    Args:
        name: The dimension, or an argument that the space does not search.
        value: The value in it; anything but a number passes.

    Raises:
        UserError: No rollout would fit between two evaluations, or nothing would be learned.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    true, actual = short_name(name), true_value(name, value)
    between = config.n_timesteps // config.n_evaluations
    # With a replay buffer n_steps is the length of n-step returns, and train_freq the rollout.
    is_off_policy = "train_freq" in constructor_defaults(config.algo)
    if true == ("train_freq" if is_off_policy else "n_steps") and (
        actual * config.n_envs > between
    ):
        raise UserError(
            f"`{true} * n_envs <= n_timesteps / n_evaluations` must hold, but got "
            f"{actual * config.n_envs} > {between}; train longer, or evaluate less often"
        )
    if true == "learning_starts" and actual >= config.n_timesteps:
        raise UserError(
            f"`learning_starts < n_timesteps` must hold, but got {actual} >= {config.n_timesteps}"
        )
    if name == "update_to_data_pow" and 2**value * between < 1:
        raise UserError(
            "`2 ** update_to_data_pow * n_timesteps / n_evaluations >= 1` must hold, or a rollout "
            f"has less than one gradient step, but got update_to_data_pow={value}"
        )
