"""Advice about the search space: ranges to widen or to narrow, parameters to hold."""

from __future__ import annotations

import math
import re
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import TrialState, create_trial

from sb3_hpo.report.advice.evidence import ENDS, Advice, is_complete, rank

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna.trial import FrozenTrial

    from sb3_hpo.config.study_config import StudyConfig
    from sb3_hpo.report.advice.evidence import Dimension, End, Evidence

# Chance of a false alarm of `widen`, and of `shrink`, in a whole study: it is shared among all
# ends of all ranges, because among a dozen dimensions something always looks odd.
SIGNIFICANCE = 0.05
MIN_TRIALS = 20  # with the parameter: a tenth of fewer is hardly two
BEST_SHARE, MIN_BEST = 0.1, 3
NEAR = 0.05  # of a range's width: at the bound
WIDEN_FACTOR = 3.0  # on a log scale; a linear range grows by half its width
OUTER = 0.25  # of a range's width: what may be cut off
MIN_OUTER_TRIALS = 5
MIN_FIX_TRIALS = 30  # PED-ANOVA describes the best tenth, three trials at the very least
NEGLIGIBLE_SHARE = 0.02  # of all importances
N_BINS, MIN_IN_BIN = 4, 3  # equal parts of a range whose mean ranks `fix` compares
# "Does not matter" must be more than "is not significant": bins differ, and values correlate
# with ranks, by no more than chance makes them on average.
MAX_EXCESS, MAX_CORRELATION_SDS = 1.0, 1.0

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
    if p_value > _corrected(evidence):
        return None
    low, high = dimension.distribution.low, dimension.distribution.high
    bound, new = (low, (wider, high)) if end == "lower" else (high, (low, wider))
    return p_value, (
        f"{len(crowd)} of the best {n_best} trials have {dimension.name} within {NEAR:.0%} of "
        f"its {end} bound {plain(bound)}. Search it from {plain(new[0])} to {plain(new[1])}"
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


def shrink(evidence: Evidence) -> list[Advice]:
    """Find ends of ranges, and choices, that were tried often and never were any good.

    Args:
        evidence: What is known.

    Returns:
        The least explicable by chance first.
    """
    found = []
    for dimension in evidence.dimensions:
        n = len(dimension.trials)
        for part, outer in _parts(dimension) if n >= MIN_TRIALS else []:
            n_outer = int(outer.sum())
            if n_outer < MIN_OUTER_TRIALS or outer[: n // 2].any():
                continue
            p_value = math.comb(n - n_outer, n // 2) / math.comb(n, n // 2)
            if p_value <= _corrected(evidence):
                found.append((p_value, _cut(dimension, part, n_outer)))
    return [Advice("shrink", text) for _, text in sorted(found)]


def _parts(dimension: Dimension) -> list[tuple[Any, Any]]:
    """Return what could be cut off, each with the trials that lie there."""
    if dimension.is_numeric:
        return [(end, dimension.is_outer(end, OUTER)) for end in ENDS]
    choices = dimension.distribution.choices
    return [(choice, dimension.positions == i) for i, choice in enumerate(choices)]


def _cut(dimension: Dimension, part: Any, n_outer: int) -> str:
    """Say what to leave out of a range."""
    name, item = dimension.name, dimension.distribution
    if dimension.is_numeric:
        last = dimension.innermost(part, OUTER)
        if part == "lower":
            cut, kept = (item.low, last), (last + dimension.step, item.high)
        else:
            cut, kept = (last, item.high), (item.low, last - dimension.step)
        same = cut[0] == cut[1]
        where = f"= {plain(cut[0])}" if same else f"from {plain(cut[0])} to {plain(cut[1])}"
        values, todo = sorted(set(kept)), f"from {plain(kept[0])} to {plain(kept[1])}"
    else:
        where = f"= {plain(part)}"
        values = [choice for choice in item.choices if choice != part]
        todo = f"among {', '.join(map(plain, values))}"
    advice = f"Search it {todo} in a --space of your own."
    if len(values) == 1:
        advice = f"Hold it: --fixed.{name} {plain(values[0])}."
    return f"None of the {n_outer} trials with {name} {where} is in the better half. {advice}"


def fix(evidence: Evidence) -> list[Advice]:
    """Find parameters that do not matter.

    Args:
        evidence: What is known.

    Returns:
        The least important first.
    """
    # A parameter that only some trials had could seem idle because those were all bad.
    n = max((len(dimension.trials) for dimension in evidence.dimensions), default=0)
    if n < MIN_FIX_TRIALS:
        return []
    candidates = [dimension for dimension in evidence.dimensions if len(dimension.trials) == n]
    shares = _importance_shares(evidence)
    idle = [
        dimension
        for dimension in candidates
        if shares.get(dimension.name, 1.0) < NEGLIGIBLE_SHARE and _shows_nothing(dimension)
    ]
    return [
        Advice(
            "fix",
            f"No effect of {d.name} shows in {len(d.trials)} trials: {shares[d.name]:.1%} of all "
            "importance (PED-ANOVA), and good and bad trials at all its values. Hold it at the "
            f"best trial's value: {_hold(d)}.",
        )
        for d in sorted(idle, key=lambda d: shares[d.name])
    ]


def _importance_shares(evidence: Evidence) -> dict[str, float]:
    """Return each dimension's share of all importance."""
    trials = sorted(
        {t.number: t for d in evidence.dimensions for t in d.trials}.values(), key=rank
    )
    # PED-ANOVA asks only which trials are the best, so ranks do for values; and with ranks
    # PRUNED trials count too, without which it would see the survivors of pruning alone.
    ranked = optuna.create_study(direction="minimize")
    ranked.add_trials(
        create_trial(
            state=TrialState.COMPLETE,
            value=i,
            params=trial.params,
            distributions=trial.distributions,
        )
        for i, trial in enumerate(trials)
    )
    with warnings.catch_warnings():
        # It warns of a choice that hardly any trial took; such a dimension gets no advice.
        warnings.simplefilter("ignore", UserWarning)
        importances = PedAnovaImportanceEvaluator().evaluate(ranked)
    total = sum(importances.values())
    return {name: value / total for name, value in importances.items()} if total else {}


def _shows_nothing(dimension: Dimension) -> bool:
    """Tell whether good and bad trials have the same values, all over the range."""
    positions, n = dimension.positions, len(dimension.trials)
    bins = np.minimum(positions * N_BINS, N_BINS - 1).astype(int)
    ends = {0, N_BINS - 1}
    if not dimension.is_numeric:
        bins, ends = positions.astype(int), set(range(len(dimension.distribution.choices)))
    ranks = np.arange(n, dtype=np.float64)
    groups = {i: ranks[bins == i] for i in np.unique(bins).tolist()}
    if not ends <= set(groups) or min(map(len, groups.values())) < MIN_IN_BIN:
        return False  # the sampler has left some values: little is known about them
    between = sum(len(group) * (group.mean() - ranks.mean()) ** 2 for group in groups.values())
    excess = between / ranks.var(ddof=1) / (len(groups) - 1)  # 1 on average by chance alone
    if not dimension.is_numeric:
        return bool(excess <= MAX_EXCESS)
    correlation = np.corrcoef(positions, ranks)[0, 1]
    in_sds = abs(correlation) * math.sqrt(n - 1)
    return bool(excess <= MAX_EXCESS and in_sds <= MAX_CORRELATION_SDS)


def _hold(dimension: Dimension) -> str:
    """Return the flag that holds a parameter at the best trial's value, by SB3's name for it."""
    best, own = dimension.trials[0], _sb3_name(dimension)
    value = best.params[dimension.name]
    held = best.user_attrs.get(own)
    if not dimension.is_numeric or isinstance(held, bool) or not isinstance(held, int | float):
        return f"--fixed.{dimension.name} {plain(value)}"
    if dimension.name.startswith("one_minus_"):  # the digits that matter are those of 1 - value
        return f"--fixed.{own} {round(1 - float(f'{1 - held:.3g}'), 12):.12g}"
    return f"--fixed.{own} {plain(held)}"


def _sb3_name(dimension: Dimension) -> str:
    return dimension.name.removeprefix("one_minus_").removesuffix("_pow")


def _in_sb3(dimension: Dimension, value: float) -> str:
    """Return what a value of the dimension means, where its name is not SB3's."""
    if dimension.name.startswith("one_minus_"):
        return f" ({_sb3_name(dimension)} {1 - value:.6g})"
    if dimension.name.endswith("_pow"):
        return f" ({_sb3_name(dimension)} {2.0**value:g})"
    return ""


def plain(value: Any) -> str:
    """Return a value as one writes it on a command line, with four significant digits."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _corrected(evidence: Evidence) -> float:
    """Return the significance that one end, or one choice, must reach."""
    return SIGNIFICANCE / max(1, sum(len(_parts(d)) for d in evidence.dimensions))


def _binomial_tail(k: int, n: int, p: float) -> float:
    """Return the chance of at least k successes in n draws."""
    return sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1))
