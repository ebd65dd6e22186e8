"""Advice about the search space: ranges to widen."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from sb3_hpo.report.advice.evidence import ENDS, Advice, is_complete

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna.trial import FrozenTrial

    from sb3_hpo.config.study_config import StudyConfig
    from sb3_hpo.report.advice.evidence import Dimension, End, Evidence

# Chance of a false alarm in a whole study: it is shared among all ends of all ranges, because
# among a dozen dimensions something always looks odd.
SIGNIFICANCE = 0.05
MIN_TRIALS = 20  # with the parameter: a tenth of fewer is hardly two
BEST_SHARE, MIN_BEST = 0.1, 3
NEAR = 0.05  # of a range's width: at the bound
WIDEN_FACTOR = 3.0  # on a log scale; a linear range grows by half its width

# Names whose values lie between 0 and 1 by what they mean.
_UNIT = re.compile(
    r"^one_minus_|(^|_)(gamma|lambda|tau|momentum|polyak|dropout|prob|probability|fraction|eps)$"
)
_ROLLOUTS = ("n_steps", "n_steps_pow", "train_freq", "train_freq_pow")


def widen(evidence: Evidence) -> list[Advice]:
    """Find ranges at whose bounds the best trials crowd.

    Args:
        evidence: What is known.

    Returns:
        The least explicable by chance first.
    """
    found = [
        item
        for dimension in evidence.dimensions
        if dimension.is_numeric and len(dimension.trials) >= MIN_TRIALS
        for end in ENDS
        if (item := _crowd(evidence, dimension, end)) is not None
    ]
    return [Advice("widen", text) for _, text in sorted(found)]


def _crowd(evidence: Evidence, dimension: Dimension, end: End) -> tuple[float, str] | None:
    """Return how surprising the crowd at that bound is, and what to say about it."""
    n_best = max(MIN_BEST, round(BEST_SHARE * len(dimension.trials)))
    near = dimension.is_outer(end, NEAR)
    crowd = [dimension.trials[i] for i in np.flatnonzero(near[:n_best])]
    wider = _wider(dimension, end, evidence.config)
    if 2 * len(crowd) <= n_best or wider is None or _makes_no_difference(dimension, crowd):
        return None
    if not all(map(is_complete, dimension.trials[:n_best])):
        return None
    # A sampler that has taken to this bound fills it with good and bad trials alike.
    visited = float(near[len(near) // 2 :].mean())
    p_value = _binomial_tail(len(crowd), n_best, max(dimension.mass(end, NEAR), visited))
    n_ends = len(ENDS) * sum(item.is_numeric for item in evidence.dimensions)
    if p_value > SIGNIFICANCE / n_ends:
        return None
    low, high = dimension.distribution.low, dimension.distribution.high
    bound, new = (low, (wider, high)) if end == "lower" else (high, (low, wider))
    return p_value, (
        f"{len(crowd)} of the best {n_best} trials have {dimension.name} within {NEAR:.0%} of "
        f"its {end} bound {_short(bound)}. Search it from {_short(new[0])} to {_short(new[1])}"
        f"{_in_sb3(dimension, wider)} in a --space of your own."
    )


def _makes_no_difference(dimension: Dimension, crowd: Sequence[FrozenTrial]) -> bool:
    """Tell whether the space turns all values at the bound into one, as tiny ent_coef into 0."""
    own = _sb3_name(dimension)
    held = {str(trial.user_attrs.get(own, trial.number)) for trial in crowd}
    return len(held) == 1 < len({trial.params[dimension.name] for trial in crowd})


def _wider(dimension: Dimension, end: End, config: StudyConfig) -> Any:
    """Return the bound that the range should get, or None where it cannot go any farther."""
    low, high, step = dimension.distribution.low, dimension.distribution.high, dimension.step
    least, most = _natural_limits(dimension, config)
    if dimension.distribution.log:
        wanted = low / WIDEN_FACTOR if end == "lower" else high * WIDEN_FACTOR
    else:
        by = max(1, round((high - low) / 2 / step)) * step if step else (high - low) / 2
        wanted = low - by if end == "lower" else high + by
    wanted = min(max(wanted, least), most)
    if isinstance(low, int):
        wanted = round(wanted)
    goes_farther = wanted < low if end == "lower" else wanted > high
    return wanted if goes_farther else None


def _natural_limits(dimension: Dimension, config: StudyConfig) -> tuple[float, float]:
    """Return between what a parameter can lie at all."""
    name, low = dimension.name, dimension.distribution.low
    is_count = isinstance(low, int) and low >= 1 and not name.endswith("_pow")
    least = 1.0 if is_count else 0.0 if low >= 0 else -math.inf
    most = 1.0 if _UNIT.search(name) else math.inf
    if name in _ROLLOUTS:  # must fit between two evaluations
        longest = max(1, config.n_timesteps // config.n_evaluations // config.n_envs)
        most = longest.bit_length() - 1 if name.endswith("_pow") else longest
    return least, most


def _sb3_name(dimension: Dimension) -> str:
    return dimension.name.removeprefix("one_minus_").removesuffix("_pow")


def _in_sb3(dimension: Dimension, value: float) -> str:
    """Return what a value of the dimension means, where its name is not SB3's."""
    if dimension.name.startswith("one_minus_"):
        return f" ({_sb3_name(dimension)} {1 - value:.6g})"
    if dimension.name.endswith("_pow"):
        return f" ({_sb3_name(dimension)} {2.0**value:g})"
    return ""


def _short(value: Any) -> str:
    """Return a number as one writes it on a command line, with four significant digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _binomial_tail(k: int, n: int, p: float) -> float:
    """Return the chance of at least k successes in n draws."""
    return sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1))
