"""The user's fixed values: a trial proxy answers for them, whatever the search space is."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from optuna.distributions import CategoricalDistribution, IntDistribution

from sb3_hpo.algorithms import find_algorithm
from sb3_hpo.codec import build
from sb3_hpo.errors import UserError, unknown_name
from sb3_hpo.references import load_reference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna.distributions import BaseDistribution

    from samplers import TrialLike
    from sb3_hpo.config import StudyConfig

# What the trainer itself passes to the constructor.
_PLUMBING = ("self", "policy", "env", "seed", "verbose", "device", "tensorboard_log",
             "policy_kwargs", "_init_setup_model")  # fmt: skip
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
}

Sample = Callable[[Any], dict[str, Any]]


@dataclass(frozen=True)
class Fixed:
    """The user's fixed values, sorted by where they take effect.

    Attributes:
        dimensions: Answers to `suggest_*`, by dimension.
        kwargs: Descriptions of keyword arguments that replace what was sampled.
        exact: The user's names and values; a space may round a dimension's value (a tiny
            `ent_coef` means 0), but not what the user has fixed.
        lows: Higher lower bounds, where a fixed value leaves the rest of a range without effect.
    """

    dimensions: dict[str, Any]
    kwargs: dict[str, Any]
    exact: dict[str, Any]
    lows: dict[str, int] = field(default_factory=dict)

    def apply(self, sample: Sample, trial: TrialLike) -> dict[str, Any]:
        """Sample with the fixed values held.

        Args:
            sample: The search space.
            trial: The trial to ask for everything else.

        Returns:
            Keyword arguments of the algorithm.
        """
        kwargs = sample(_OverriddenTrial(trial, self))
        exact = {name: value for name, value in self.exact.items() if name in kwargs}
        return {**kwargs, **exact, **build(self.kwargs)}


class _OverriddenTrial:
    """A trial that answers for fixed dimensions itself and asks the real one for the others."""

    def __init__(self, trial: TrialLike, fixed: Fixed) -> None:
        self._trial, self._dimensions = trial, fixed.dimensions
        self._attrs, self._lows = fixed.exact, fixed.lows

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        if name in self._dimensions:
            return float(self._dimensions[name])
        return self._trial.suggest_float(name, low, high, step=step, log=log)

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        if name in self._dimensions:
            return self._dimensions[name]  # type: ignore[no-any-return]  # log2(100) may be a float
        low = max(low, self._lows.get(name, low))
        return self._trial.suggest_int(name, low, high, step=step, log=log)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        if name in self._dimensions:
            return self._dimensions[name]
        return self._trial.suggest_categorical(name, choices)

    def set_user_attr(self, key: str, value: Any) -> None:
        self._trial.set_user_attr(key, self._attrs.get(key, value))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trial, name)  # a user's space may use more of the trial


def sort_fixed(
    config: StudyConfig, dimensions: dict[str, BaseDistribution], defaults: dict[str, Any]
) -> Fixed:
    """Find what each name of `--fixed` and `--policy-kwargs` means.

    Args:
        config: The study's configuration.
        dimensions: The space, by name.
        defaults: The point of the space next to SB3's defaults.

    Returns:
        The fixed values.

    Raises:
        UserError: All unknown names and impossible values.
    """
    by_dimension: dict[str, Any] = {}
    by_kwarg: dict[str, Any] = {}
    idle_values: dict[str, Any] = {}
    mistakes = []
    for name, value in config.fixed.items():
        try:
            dimension = to_dimension(name, value, dimensions)
            if dimension is not None:
                _check_rollout(*dimension, dimensions, config)
                by_dimension.update([dimension])
                continue
            _check_constructor_has(config.algo, name, dimensions)
            by_kwarg[name] = value
            # Dimensions that decided this argument would have no effect any more.
            idle = (key for key, names in _HOLDS.items() if name in names and key in defaults)
            idle_values.update({key: defaults[key] for key in idle})
        except UserError as error:
            mistakes.append(f"fixed.{name}: {error}")
    if mistakes:
        raise UserError("; ".join(mistakes))
    for name in config.policy_kwargs:  # the user's wins, so sampling it would have no effect
        if name in dimensions and name in defaults:
            by_dimension.setdefault(name, defaults[name])
    coded = {
        name for name, item in dimensions.items() if isinstance(item, CategoricalDistribution)
    }
    exact = {name: value for name, value in config.fixed.items() if name not in coded}
    lows = _lower_bounds(by_dimension, dimensions, config.n_envs)
    return Fixed({**idle_values, **by_dimension}, by_kwarg, exact, lows)


def _check_rollout(
    name: str, value: Any, dimensions: dict[str, BaseDistribution], config: StudyConfig
) -> None:
    """Refuse a rollout that does not fit between two evaluations."""
    sb3_name = name.removesuffix("_pow")
    # In off-policy spaces n_steps is the length of n-step returns, and train_freq the rollout.
    if sb3_name != ("train_freq" if "train_freq_pow" in dimensions else "n_steps"):
        return
    if isinstance(dimensions[name], CategoricalDistribution):
        return  # a choice by name, in a space of the user's
    rollout = round(value if sb3_name == name else 2**value) * config.n_envs
    if rollout > config.n_timesteps // config.n_evaluations:
        raise UserError(
            f"`{sb3_name} * n_envs <= n_timesteps / n_evaluations` must hold, but got "
            f"{rollout} > {config.n_timesteps // config.n_evaluations}; train longer, or evaluate "
            "less often"
        )


def _lower_bounds(
    fixed: dict[str, Any], dimensions: dict[str, BaseDistribution], n_envs: int
) -> dict[str, int]:
    """With `train_freq` held, a rollout must still have room for one gradient step."""
    ratio = "update_to_data_pow"
    if "train_freq_pow" not in fixed or ratio not in dimensions:
        return {}
    low = math.ceil(-fixed["train_freq_pow"] - math.log2(n_envs))
    if fixed.get(ratio, low) < low:
        raise UserError(
            f"fixed.{ratio}: must be at least {low} with this train_freq and n_envs, or a "
            f"rollout has less than one gradient step, but got {fixed[ratio]}"
        )
    return {ratio: low}


def to_dimension(
    name: str, value: Any, dimensions: dict[str, BaseDistribution]
) -> tuple[str, Any] | None:
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
    if name in dimensions:
        _check_value(value, dimensions[name])
        return name, value
    for dimension, transform in (
        (f"one_minus_{name}", lambda x: 1 - x),
        (f"{name}_pow", lambda x: math.log2(x) if x > 0 else math.nan),
    ):
        if dimension in dimensions:
            _check_value(value, dimensions[dimension])
            transformed = transform(value)
            if not math.isfinite(transformed):
                raise UserError(f"must be positive, but got {value!r}")
            if dimension.startswith("one_minus_") and not 0 <= transformed <= 1:
                raise UserError(f"must be between 0 and 1, but got {value!r}")
            return dimension, _whole(transformed)
    return None


def names_held_by(dimension: str) -> tuple[str, ...]:
    """Return the SB3 names whose values a dimension decides.

    Args:
        dimension: Its name.

    Returns:
        Constructor arguments or keys of `policy_kwargs`.

    >>> names_held_by("one_minus_gamma"), names_held_by("n_minibatches_pow")
    (('gamma',), ('batch_size',))
    """
    own = dimension.removeprefix("one_minus_").removesuffix("_pow")
    return _HOLDS.get(dimension, (own,))


def _whole(value: float) -> float:
    return int(value) if value == int(value) else value


def _check_value(value: Any, distribution: BaseDistribution) -> None:
    if isinstance(distribution, CategoricalDistribution):
        if value not in distribution.choices:
            raise UserError(f"must be one of {list(distribution.choices)}, but got {value!r}")
    elif isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"must be a number, but got {value!r}")
    elif not math.isfinite(value):
        raise UserError(f"must be finite, but got {value!r}")
    elif isinstance(distribution, IntDistribution) and value != int(value):
        raise UserError(f"must be a whole number, but got {value!r}")


def check_inside(name: str, value: Any, dimensions: dict[str, BaseDistribution]) -> None:
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


def _check_constructor_has(algo: str, name: str, dimensions: dict[str, BaseDistribution]) -> None:
    constructor = load_reference(find_algorithm(algo).reference)
    arguments = [key for key in inspect.signature(constructor).parameters if key not in _PLUMBING]
    if name == "policy_kwargs":
        raise UserError("use --policy-kwargs, which merges with the sampled ones")
    if name not in arguments:
        raise UserError(unknown_name("parameter", name, {*arguments, *dimensions}))
