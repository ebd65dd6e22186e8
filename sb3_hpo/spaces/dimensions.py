"""In which dimension of a search space an argument of SB3 lives, and on which scale."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from optuna.distributions import CategoricalDistribution, IntDistribution

from samplers import Choice, Dimension, Float, Int, Number, OneMinus, PowerOfTwo
from sb3_hpo.algorithms.constructor import check_limits, constructor_defaults, true_name
from sb3_hpo.utils.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from optuna.distributions import BaseDistribution

    from sb3_hpo.config.study_config import StudyConfig

    Dimensions = Mapping[str, Dimension]
    Ranges = Mapping[str, BaseDistribution]


def dimension_named(
    name: str, asked: BaseDistribution, values: Mapping[str, Any] | None = None
) -> Dimension:
    """Take a range for a dimension, by what its name says: functions and files declare no more.

    Args:
        name: `one_minus_gamma` holds gamma, `n_steps_pow` holds n_steps as a power of two.
        asked: What may be drawn.
        values: What choices stand for, where it is not themselves.
    """
    argument = true_name(name)
    if isinstance(asked, CategoricalDistribution):
        return Choice(name, values or asked.choices, default=None)
    low, high, log, step = asked.low, asked.high, asked.log, asked.step  # type: ignore[attr-defined]
    if isinstance(asked, IntDistribution):
        kind = PowerOfTwo if name.endswith("_pow") else Int
        return kind(name, low, high, log=log, step=step, argument=argument, default=None)
    if name.startswith("one_minus_"):
        return OneMinus(name, low, high, log=log, step=step, argument=argument, default=None)
    to, back = (_power, _exponent) if name.endswith("_pow") else (None, None)
    return Float(
        name, low, high, log=log, step=step, argument=argument, default=None, to=to, back=back
    )


def _power(drawn: float) -> float:
    return math.pow(2.0, drawn)


def _exponent(value: Any) -> float | None:
    return math.log2(value) if isinstance(value, int | float) and value > 0 else None


def short_name(name: str) -> str:
    """Return an argument's name without the group that it is in.

    >>> short_name("policy_kwargs.net_arch")
    'net_arch'
    """
    return name.removeprefix("policy_kwargs.")


def bears(item: Dimension, name: str) -> bool:
    """Return whether a name is the dimension's own, not that of what it decides."""
    return short_name(item.name) == short_name(name)


def find_dimension(name: str, dimensions: Dimensions) -> Dimension | None:
    """Return the dimension of a name, its own or that of what it alone decides.

    Args:
        name: A dimension, an SB3 argument, or a key of `policy_kwargs`.
        dimensions: Of the space.
    """
    own = (item for item in dimensions.values() if bears(item, name))
    deciding_alone = (
        item
        for item in dimensions.values()
        if short_name(item.decides) == short_name(name) and item.decides not in item.together
    )
    return next(own, None) or next(deciding_alone, None)


def deciding(name: str, dimensions: Dimensions) -> list[str]:
    """Return the dimensions that decide an argument together.

    Args:
        name: A constructor argument, or a key of `policy_kwargs`.
        dimensions: Of the space.
    """
    return [item.name for item in dimensions.values() if name in item.together]


def to_drawn(name: str, value: Any, item: Dimension, asked: BaseDistribution) -> Any:
    """Express a value in the dimension that holds it: `gamma` lives in `one_minus_gamma`.

    Args:
        name: The dimension, or what it decides.
        value: The value under that name.
        item: The dimension.
        asked: What may be drawn of it.

    Returns:
        What a trial would draw, in the range or not.

    Raises:
        UserError: The dimension cannot hold the value.
    """
    if isinstance(asked, CategoricalDistribution) and bears(item, name):
        if value not in asked.choices:
            raise UserError(f"must be one of {list(asked.choices)}, but got {value!r}")
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"must be a number, but got {value!r}")
    if not math.isfinite(value):
        raise UserError(f"must be finite, but got {value!r}")
    if isinstance(item, Int) and value != int(value):
        raise UserError(f"must be a whole number, but got {value!r}")
    drawn = value
    if not bears(item, name):
        if isinstance(item, OneMinus) and not 0 <= value <= 1:
            raise UserError(f"must be between 0 and 1, but got {value!r}")
        drawn = item.to_scale(value) if isinstance(item, Number) else value
    if drawn is None:
        raise UserError(f"must be positive, but got {value!r}")
    check_limits(short_name(item.decides), stands_for(item, drawn))
    return drawn


def stands_for(item: Dimension, drawn: Any) -> Any:
    """Return what a number of the trial stands for; choices are what they are."""
    return item.from_scale(drawn) if isinstance(item, Number) else drawn


def check_inside(name: str, value: Any, asked: BaseDistribution) -> None:
    """Refuse a value that the sampler could not learn from, because the space has no such point.

    Args:
        name: The dimension.
        value: The value in it.
        asked: What may be drawn of it.

    Raises:
        UserError: It is outside the range, or between two points.
    """
    if isinstance(asked, CategoricalDistribution):
        return  # checked with the choices
    low, high = asked.low, asked.high  # type: ignore[attr-defined]
    whole = not isinstance(asked, IntDistribution) or value == int(value)
    if not (whole and low <= value <= high):
        raise UserError(
            f"{name} = {value:g} is not in the space ({low:g} to {high:g}"
            f"{'' if whole else ', whole numbers'}); hold it with --fixed instead"
        )


def check_budget(argument: str, value: Any, config: StudyConfig) -> None:
    """Refuse what does not fit into the budget.

    Args:
        argument: What is decided; `update_to_data` is updates per environment step.
        value: Its value; anything but a number passes.

    Raises:
        UserError: No rollout would fit between two evaluations, or nothing would be learned.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    between = config.n_timesteps // config.n_evaluations
    # With a replay buffer n_steps is the length of n-step returns, and train_freq the rollout.
    is_off_policy = "train_freq" in constructor_defaults(config.algo)
    rollout = "train_freq" if is_off_policy else "n_steps"
    if argument == rollout and value * config.n_envs > between:
        raise UserError(
            f"`{rollout} * n_envs <= n_timesteps / n_evaluations` must hold, but got "
            f"{value * config.n_envs} > {between}; train longer, or evaluate less often"
        )
    if argument == "learning_starts" and value >= config.n_timesteps:
        raise UserError(
            f"`learning_starts < n_timesteps` must hold, but got {value} >= {config.n_timesteps}"
        )
    if argument == "update_to_data" and value * between < 1:
        raise UserError(
            "`update_to_data * n_timesteps / n_evaluations >= 1` must hold, or a rollout has less "
            f"than one gradient step, but got update_to_data={value}"
        )
