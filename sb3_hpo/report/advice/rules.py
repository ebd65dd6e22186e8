"""What to do next, from a study's own data: plain sentences with the flag to change.

A sentence of advice costs its reader a study, so every rule asks for evidence before it speaks.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from sb3_hpo.report.advice.evidence import Advice, gather, is_complete
from sb3_hpo.report.advice.range_rules import widen
from sb3_hpo.results.trials import record_of
from sb3_hpo.scoring.statistics import seed_means
from sb3_hpo.utils.formatting import plural

if TYPE_CHECKING:
    from collections.abc import Callable

    import optuna

    from sb3_hpo.config.study_config import StudyConfig
    from sb3_hpo.report.advice.evidence import Evidence
    from sb3_hpo.results.run_record import RunRecord
    from sb3_hpo.results.study_result import StudyResult, TestResult

MIN_RUNS = 5  # of one configuration or one kind, to tell a difference between runs from chance
MIN_TESTED = 3  # seeds: the interval says the rest
N_TOP = 5  # trials whose values are compared with each other, or whose curves are looked at
# Of what there was to gain: less is not worth advice, however significant.
MATERIAL = 0.05
TRIALS_PER_DIMENSION = 10
MAX_TRIALS_ASKED = 80  # above, whether the study still improves tells more than its size
MIN_TRIALS_TO_IMPROVE = 20
# Of the lead that the best trial of the first three quarters has over the median one. In studies
# of noise alone, the last quarter adds more in 7 % of those with 80 trials, in 4 % with 200.
MARKED_LEAD = 0.3
RISING_T = 2.5  # of the rise, paired within at least MIN_RUNS runs: p < 0.034, one-sided
EARLIER, LATE = (0.65, 0.8), (0.85, 1.0)  # the parts of the budget that `longer` compares
UNBIASED_SCORES = ("last_half", "auc")  # the others choose trials for their luck at the end
# Below the mean of the good seeds. With ten seeds from one normal distribution, whose mean is
# three standard deviations above SB3's default, the worst is so far below in 4 % of tests.
FAR_SDS = 4.0
MIN_GOOD = 3  # seeds, to have a spread


def advise(study: optuna.Study, config: StudyConfig, result: StudyResult) -> list[Advice]:
    """Say what would make the next study, or this one's answer, better.

    Args:
        study: The study, also a running one.
        result: What is known of it.

    Returns:
        The most useful first; empty where the data say nothing for sure.
    """
    evidence = gather(study, config, result)
    advice: list[Advice] = []
    for rule in _RULES:
        said = rule(evidence)
        advice += [said] if isinstance(said, Advice) else said or []
    return advice


def endless(evidence: Evidence) -> Advice | None:
    """Say so if evaluations were cut: what they measured depends on where."""
    winner = evidence.result.winner
    records = [record for t in evidence.complete if (record := record_of(t)) is not None]
    evaluations = [evaluation for record in records for evaluation in record.evaluations]
    if winner is not None:
        evaluations += [run.final for run in winner.runs if run.final is not None]
    n_cut = sum(evaluation.truncated for evaluation in evaluations)
    if not n_cut:
        return None
    return Advice(
        "endless",
        f"{n_cut} of {len(evaluations)} evaluations had an episode that did not end, in steps or "
        "in time, and counts as far as it went. End episodes in the environment: register it with "
        "max_episode_steps, or wrap it in gymnasium.wrappers.TimeLimit.",
    )


def default_not_beaten(evidence: Evidence) -> Advice | None:
    """Say so if tuning has brought nothing, or nothing that is sure."""
    winner, gain = evidence.result.winner, evidence.result.gain
    if winner is None or len(winner.runs) < MIN_TESTED:
        return None
    n_trials = _n_trials(evidence, 2)
    if gain is None or evidence.result.beats_default:
        return None
    ends = ""
    if gain.interval is not None:
        ends = f", 95 % interval {gain.low:.1f} to {gain.high:.1f}"
    seen = (
        f"{winner.candidate.name} is not surely better than SB3's default: gain "
        f"{gain.value:.1f}{ends}."
    )
    if gain.value > 0:
        more = f"--test-seeds {2 * evidence.config.test_seeds}"
        return Advice("default_not_beaten", f"{seen} Test both on more seeds: {more}.")
    longer = f"--n-timesteps {2 * evidence.config.n_timesteps}"
    todo = f"Search on with {n_trials}, or give each run a larger budget: {longer}."
    return Advice("default_not_beaten", f"{seen} {todo}")


def unstable(evidence: Evidence) -> list[Advice]:
    """Say so if some seeds of the winner break, or end far below the others."""
    winner = evidence.result.winner
    if winner is None:
        return []
    found = [_fallen_seeds(evidence, winner)]
    if winner.n_broken:
        outcomes = sorted({run.record.outcome for run in winner.runs if run.final is None})
        found = [(winner.n_broken, f"broke ({', '.join(outcomes)})"), *found]
    return [
        Advice(
            "unstable",
            f"{n} of {len(winner.runs)} test seeds of {winner.candidate.name} {text}. Do not rely "
            "on one run: python -m sb3_hpo.train best.yaml --seeds 3.",
        )
        for n, text in found
        if n
    ]


def _fallen_seeds(evidence: Evidence, winner: TestResult) -> tuple[int, str]:
    """Count the finished seeds that fail, and say how."""
    whole = np.asarray([run.final is not None for run in winner.runs])
    means, (name, score) = seed_means(winner.scores)[whole], _untuned(evidence, winner)
    good = means[means >= (score + winner.iqm.value) / 2]
    n_fallen = len(means) - len(good)
    if not n_fallen or len(good) < MIN_GOOD:
        return 0, ""
    if means.min() >= good.mean() - FAR_SDS * good.std(ddof=1):
        return 0, ""
    return n_fallen, (
        f"ended nearer to {name} ({score:.1f}) than to the winner's IQM "
        f"({winner.iqm.value:.1f}), the worst at {means.min():.1f}"
    )


def _untuned(evidence: Evidence, winner: TestResult) -> tuple[str, float]:
    """Return the name and the score of what the winner is surely better than; -inf: nothing."""
    result = evidence.result
    if result.default is not None and result.beats_default:
        return "SB3's default", result.default.iqm.value
    values = [trial.value or 0.0 for trial in evidence.complete]
    median = float(np.median(values)) if len(values) >= MIN_RUNS else math.inf
    low = -math.inf if winner.iqm.interval is None else winner.iqm.interval[0]
    return "the median trial", median if median < low else -math.inf


def longer(evidence: Evidence) -> Advice | None:
    """Say so if runs were still getting better when their budget ended."""
    winner, config = evidence.result.winner, evidence.config
    runs = [] if winner is None else [run.record for run in winner.runs if run.final is not None]
    whose = f"the {len(runs)} test runs of the winner"
    if len(runs) < MIN_RUNS:
        if config.score not in UNBIASED_SCORES:
            return None
        records = (record_of(trial) for trial in evidence.complete[:N_TOP])
        runs = [record for record in records if record is not None]
        whose = f"the best {len(runs)} trials"
    rises = np.asarray([r for run in runs if (r := _rise(run, config.n_timesteps)) is not None])
    if len(rises) < MIN_RUNS:
        return None
    curves = [run.evaluations for run in runs if run.evaluations]
    learned = np.mean([curve[-1].value - curve[0].value for curve in curves])
    rise, error = rises.mean(), rises.std(ddof=1) / math.sqrt(len(rises))
    if rise <= max(MATERIAL * abs(learned), RISING_T * error):
        return None
    return Advice(
        "longer",
        f"Learning curves of {whose} still rise at the end: by {rise:.1f} (standard error "
        f"{error:.1f}) from {EARLIER[0]:.0%} to {EARLIER[1]:.0%} of the budget to its last part. "
        f"Give each run more: --n-timesteps {2 * config.n_timesteps}.",
    )


def _rise(run: RunRecord, n_timesteps: int) -> float | None:
    """Return how much a curve rises from the earlier to the late part of the budget."""
    parts = []
    for low, high in (EARLIER, LATE):
        values = [e.value for e in run.evaluations if low < e.nominal_step / n_timesteps <= high]
        if not values:
            return None
        parts.append(float(np.mean(values)))
    return parts[1] - parts[0]


def more_seeds(evidence: Evidence) -> Advice | None:
    """Say so if the best trials differ by less than one configuration's seeds do."""
    values = [trial.value or 0.0 for trial in evidence.complete]
    noise = _noise(evidence.result)
    if len(values) < 2 * N_TOP or noise is None:
        return None
    spread = values[0] - values[N_TOP - 1]
    if noise <= max(spread, MATERIAL * (values[0] - float(np.median(values)))):
        return None
    config = evidence.config
    top = min(len(values), 2 * (config.top or max(N_TOP, len(evidence.result.raced))))
    return Advice(
        "more_seeds",
        f"The best {N_TOP} trial values lie within {spread:.1f}, but scores of one configuration "
        f"differ by {noise:.1f} (standard deviation) from seed to seed. More seeds will tell them "
        f"apart, more trials will not: --top {top} --test-seeds {2 * config.test_seeds}.",
    )


def _noise(result: StudyResult) -> float | None:
    """Return the standard deviation of a score over training seeds, if enough runs tell it."""
    groups = [np.asarray(scores) for _, scores in result.raced]
    if result.winner is not None and sum(map(len, groups)) - len(groups) < MIN_RUNS - 1:
        groups = [seed_means(result.winner.scores)]
    groups = [group[np.isfinite(group)] for group in groups]
    groups = [group for group in groups if len(group) > 1]
    freedom = sum(len(group) - 1 for group in groups)
    if freedom < MIN_RUNS - 1:
        return None
    return math.sqrt(sum((len(group) - 1) * group.var(ddof=1) for group in groups) / freedom)


def more_trials(evidence: Evidence) -> Advice | None:
    """Say so if the search was too short, or was ended while it still improved."""
    n, n_free = evidence.result.counts.finished, len(evidence.dimensions)
    if not n or evidence.result.counts.running or more_seeds(evidence) is not None:
        return None
    enough = min(TRIALS_PER_DIMENSION * n_free, MAX_TRIALS_ASKED)
    if n < enough:
        flag = f"--n-trials {max(enough, evidence.config.n_trials)}"
        few = f"{plural(n, 'trial')} {'is' if n == 1 else 'are'} few"
        text = f"{few} for {plural(n_free, 'dimension')}. Go on with this study: {flag}."
        return Advice("more_trials", text)
    step = _late_step(evidence)
    if step is None:
        return None
    text = f"The best trial value rose by {step:.1f} in the last quarter of {n} trials."
    return Advice("more_trials", f"{text} Go on with this study: {_n_trials(evidence, 1.5)}.")


def _n_trials(evidence: Evidence, factor: float) -> str:
    """Return the flag for so many times as many trials, or for as many as were wanted anyway."""
    more = math.ceil(factor * evidence.result.counts.finished)
    return f"--n-trials {max(more, evidence.config.n_trials)}"


def _late_step(evidence: Evidence) -> float | None:
    """Return by how much the last quarter of the trials raised the best value, if markedly."""
    n = len(evidence.trials)
    first = evidence.trials[: n - n // 4]
    values = [trial.value or 0.0 for trial in first if is_complete(trial)]
    if n < MIN_TRIALS_TO_IMPROVE or len(values) < MIN_RUNS:
        return None
    # Pruned trials have no such value; all that is known is that they are among the lower ones.
    filled = values + [min(values)] * (len(first) - len(values))
    lead = max(values) - float(np.median(filled))
    step = (evidence.complete[0].value or 0.0) - max(values)
    noise = _noise(evidence.result) or 0.0
    return step if step > max(MARKED_LEAD * lead, noise) else None


_RULES: tuple[Callable[[Evidence], Advice | list[Advice] | None], ...] = (
    endless,
    default_not_beaten,
    unstable,
    longer,
    widen,
    more_seeds,
    more_trials,
)
