"""Parts of the report that say what the re-evaluation showed: the answer, race and test."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

from sb3_hpo.report.figures import reevaluation
from sb3_hpo.report.pages.document import Block, Facts, Picture, Section, Table, Text
from sb3_hpo.results.reevaluation_runs import BASELINE
from sb3_hpo.results.study_result import CAUTION
from sb3_hpo.results.trials import arguments_of, best_trials
from sb3_hpo.utils.formatting import count, interval, number, plural, readable

if TYPE_CHECKING:
    import optuna

    from sb3_hpo.config.study_config import StudyConfig
    from sb3_hpo.results.study_result import StudyResult, TestResult
    from sb3_hpo.scoring.statistics import Estimate


def answer_section(
    study: optuna.Study, config: StudyConfig | None, result: StudyResult
) -> Section:
    """Give the answer in words and numbers, or say why there is none yet.

    Args:
        config: Its configuration; None for a study of another tool.
        result: What is known.
    """
    counts = result.counts
    n = counts.finished if config is None else config.n_trials
    wanted = "" if config is None else f"{counts.finished} of "
    state = f"{wanted}{plural(n, 'trial')} {'is' if n == 1 else 'are'} finished"
    if counts.running or counts.waiting:
        state += f"; {counts.running} running, {counts.waiting} waiting"
    blocks: list[Block] = []
    if result.winner is not None and config is not None:
        told = f"{_sentence(config, result.winner)} {_verdict(result, result.winner)} {state}."
        blocks += [Facts(_facts(config, result, result.winner)), Text(told)]
        winner = result.winner.candidate
        blocks += _hyperparameters(f"Hyperparameters of {winner.name}", winner.kwargs)
    elif best := best_trials(study, 1):
        value = number(best[0].value or 0.0)
        fact = ("Best trial value, not re-evaluated", value, f"trial {best[0].number}")
        why = " ".join(result.what_broke) or "Not re-evaluated."
        blocks += [Facts((fact,), is_result=False), Text(f"{why} {CAUTION} {state}.")]
        blocks += _hyperparameters(
            f"Hyperparameters of trial {best[0].number}", arguments_of(best[0])
        )
    else:
        blocks.append(Text(f"There is no answer yet: no trial is COMPLETE. {state}."))
    return Section("The answer", tuple(blocks))


def _facts(
    config: StudyConfig, result: StudyResult, tested: TestResult
) -> tuple[tuple[str, str, str], ...]:
    """Return the answer's numbers, the baseline next to what is compared with it."""
    untested = "all runs broke" if BASELINE.name in result.broken else "not tested yet"
    default = ("-", untested) if result.default is None else _with_interval(result.default)
    facts = [
        (f"Re-evaluated IQM of the {config.metric or 'return'}", *_with_interval(tested)),
        (f"{BASELINE.name}, IQM", *default),
        ("Median", number(tested.median), ""),
        ("Worst seed", number(tested.worst), f"of {len(tested.runs)}"),
    ]
    if result.improvement is not None:
        facts.append(_improvement(result.improvement))
    if result.optimism is not None:
        value = result.optimism + tested.iqm.value
        facts.append(
            ("Optimism", number(result.optimism), f"trial value {number(value)} less this IQM")
        )
    return tuple(facts)


def _sentence(config: StudyConfig, tested: TestResult) -> str:
    """Say what was trained, and how it was judged."""
    n_seeds = len(tested.runs)
    sentence = (
        f"`{config.algo}` on `{config.env}` with the hyperparameters of {tested.candidate.name}, "
        f"trained again from {plural(n_seeds, 'fresh seed')} for {config.n_timesteps:,} "
        f"environment steps each; each final policy judged on {count(*tested.n_episodes)} "
        f"episode{'s' * (tested.n_episodes[1] != 1)}. No choice "
        "depended on these seeds or episodes."
    )
    if n_seeds < config.test_seeds:
        sentence += f" The test is not over: {n_seeds} of {config.test_seeds} seeds so far."
    if tested.n_cut:
        sentence += (
            f" In {tested.n_cut} of the judgements an episode did not end: it counts as far as it "
            "went."
        )
    if tested.n_broken:
        sentence += (
            f" {plural(tested.n_broken, 'run')} broke (diverged or out of memory), to count with "
            "the lowest return of any episode."
        )
    return sentence


def _improvement(improvement: Estimate) -> tuple[str, str, str]:
    detail = "of the pairs of test runs; too few for an interval"
    if improvement.interval is not None:
        low, high = (100 * end for end in improvement.interval)
        detail = f"95 % interval {low:.0f} to {high:.0f} %"
        if low == high:  # resampling cannot show what no pair of runs has shown
            detail = "of the pairs of test runs; too alike for an interval"
    return "P(a run beats one of SB3's default)", f"{100 * improvement.value:.0f} %", detail


def _with_interval(tested: TestResult) -> tuple[str, str]:
    """Return the IQM and what is said beside it."""
    seeds = f"{plural(len(tested.runs), 'seed')} of {tested.n_steps:,} steps"
    iqm = tested.iqm
    if iqm.interval is None:
        return number(iqm.value), f"{seeds}, too few for an interval"
    return number(iqm.value), f"95 % interval {interval(iqm.interval)}, {seeds}"


def _verdict(result: StudyResult, tested: TestResult) -> str:
    if result.broken:
        return " ".join(result.what_broke)
    if result.gain is None or result.default is None:
        return "SB3's default has not been tested yet: how much tuning brings is not known."
    gain, default = result.gain, result.default
    size = number(gain.value)
    if gain.interval is not None:
        size += f" (95 % interval {interval(gain.interval)})"
        if result.beats_default:
            return f"It beats SB3's default by {size} in IQM."
        if gain.interval[1] < 0:
            return f"It is worse than SB3's default, by {size} in IQM: use the default."
    elif result.beats_default:
        return (
            f"It beats SB3's default: each of its {len(tested.runs)} runs is better than all "
            f"{len(default.runs)} of the default, and the IQMs differ by {size}."
        )
    return f"It is not shown to beat SB3's default: the IQMs differ by {size}."


def _hyperparameters(title: str, kwargs: dict[str, Any]) -> list[Block]:
    if not kwargs:
        return [Text(f"{title}: SB3's own defaults, all of them.")]
    return [Text(f"{title}:"), Table(("argument", "value"), tuple(flat(kwargs)))]


def flat(kwargs: dict[str, Any]) -> list[tuple[str, str]]:
    """Return names and readable values, those within `policy_kwargs` by dotted names.

    Args:
        kwargs: Description of an algorithm's arguments.
    """
    rows = []
    for name, value in kwargs.items():
        if isinstance(value, dict) and value and not any(key.startswith("$") for key in value):
            rows += [(f"{name}.{key}", readable(item)) for key, item in value.items()]
        else:
            rows.append((name, readable(value)))
    return rows


def scores_section(study: optuna.Study, result: StudyResult, quantity: str) -> Section:
    """Show every run of race and test.

    Args:
        result: What is known.
        quantity: What is maximised.
    """
    tests = [tested for tested in (result.winner, result.default) if tested is not None]
    values: dict[int | None, float] = {t.number: t.value or 0.0 for t in best_trials(study)}
    blocks: list[Block] = []
    if tests:
        blocks.append(_test_table(tests))
    if result.raced:
        blocks.append(_race_table(result, values))
    if tests or result.raced:
        explanation = (
            "A dot is one training seed; a diamond is the IQM (test) or the mean (race), its bar "
            "the IQM's 95 % interval, from five seeds on; the upright line is the trial value, "
            "from one seed of the search. The race chose the winner, by fresh training seeds; "
            "nothing was chosen by the test's."
        )
        draw = partial(reevaluation.scores, result, values, quantity)
        blocks.append(Picture("Every seed of test and race", draw, explanation))
    if tests:
        explanation = (
            "Thick: IQM over seeds. Shaded: the middle half of the seeds. Thin: each seed."
        )
        draw = partial(reevaluation.curves, result, quantity)
        blocks.append(Picture("Learning curves of the test runs", draw, explanation))
    return Section("Race and test", tuple(blocks) or (Text("Nothing has been re-evaluated yet."),))


def _race_table(result: StudyResult, values: dict[int | None, float]) -> Table:
    header = ("race", "trial value", "mean", "seeds", "each seed")
    rows = [
        (
            candidate.name,
            _number_or_dash(values.get(candidate.trial, math.nan)),
            _number_or_dash(sum(runs) / len(runs)),
            str(len(runs)),
            ", ".join(map(_number_or_dash, runs)),
        )
        for candidate, runs in result.raced
    ]
    return Table(header, tuple(rows))


def _test_table(tests: list[TestResult]) -> Table:
    intervals = [tested.iqm.interval for tested in tests]
    columns = {
        "test": [tested.candidate.name for tested in tests],
        "IQM": [number(tested.iqm.value) for tested in tests],
        "95 % interval": ["-" if ends is None else interval(ends) for ends in intervals],
        "mean": [number(tested.mean) for tested in tests],
        "median": [number(tested.median) for tested in tests],
        "worst seed": [number(tested.worst) for tested in tests],
        "seeds": [str(len(tested.runs)) for tested in tests],
        "broken": [str(tested.n_broken) for tested in tests],
    }
    if columns["mean"] == columns["IQM"]:  # of up to three seeds they are the same
        del columns["mean"]
    return Table(tuple(columns), tuple(zip(*columns.values(), strict=True)))


def _number_or_dash(value: float) -> str:
    return number(value) if math.isfinite(value) else "-"
