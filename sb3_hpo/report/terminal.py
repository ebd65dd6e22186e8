"""The answer in words, for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from sb3_hpo.results.study_result import CAUTION
from sb3_hpo.results.trials import arguments_of, best_trials, record_of
from sb3_hpo.utils.console import echo
from sb3_hpo.utils.formatting import count, interval, number, plural, printable, readable

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial
    from rich.console import Console

    from sb3_hpo.results.study_result import StudyResult, TestResult
    from sb3_hpo.results.trials import Counts
    from sb3_hpo.scoring.statistics import Estimate


def best_table(study: optuna.Study, result: StudyResult, n: int = 5) -> Table:
    """Return a table of the best trials, for a terminal.

    Args:
        result: What is known of them.
        n: Rows at most.
    """
    raced = {candidate.trial: scores for candidate, scores in result.raced}
    table = Table(
        title=Text(printable(f"Best trials of {study.study_name}")), title_justify="left"
    )
    table.add_column("trial", justify="right")
    table.add_column("value", justify="right")
    table.add_column("race" if raced else "last evaluation", justify="right")
    table.add_column("hyperparameters", overflow="fold")
    for trial in best_trials(study, n):
        record = record_of(trial)
        last = "" if record is None else f"{record.evaluations[-1].value:.1f}"
        race = " ".join(f"{score:.1f}" for score in raced.get(trial.number, ()))
        table.add_row(
            str(trial.number),
            f"{trial.value:.1f}",
            race if raced else last,
            Text(printable(describe_trial(trial))),
        )
    return table


def describe_trial(trial: FrozenTrial) -> str:
    """Return a trial's hyperparameters on one line, rounded for reading."""
    return ", ".join(f"{key}={readable(value)}" for key, value in arguments_of(trial).items())


def summary(result: StudyResult) -> str:
    """Say in one line what the search spent and on what.

    Args:
        result: What is known.

    Returns:
        Counts by outcome, environment steps and training time.
    """
    counts: Counts = result.counts
    text = f"{plural(counts.finished, 'trial')} finished: {counts.complete} complete"
    text += f", {counts.pruned} pruned"
    if counts.infeasible:
        text += f", {counts.infeasible} infeasible"
    if counts.failed:
        text += f"; {counts.failed} failed"
    spent = result.search
    return f"{text}; {spent.n_steps:,} steps in {spent.seconds / 60:.1f} minutes of training"


def answer_lines(result: StudyResult) -> list[str]:
    """Say what the re-evaluation found, in lines for a terminal.

    Args:
        result: What is known.

    Returns:
        The lines; the caution, where nothing has been re-evaluated.
    """
    tested = result.winner
    if tested is None:
        return [*result.what_broke, CAUTION]
    lines = [f"The answer: {lines_of_test(tested)[0]}", *lines_of_test(tested)[1:]]
    default, better = result.default, result.improvement
    lines += [f"  {text}" for text in result.what_broke]
    if default is None and not result.broken:
        lines.append("  SB3's default has not been tested: what tuning brings is not known.")
    elif default is not None and better is not None:
        lines.append(
            f"  SB3's default, {default.n_steps:,} steps: IQM {number(default.iqm.value)} over "
            f"{plural(len(default.runs), 'seed')}; "
            f"P(a run of {tested.candidate.name} beats one of it) = {better.value:.2f}"
        )
    if result.optimism is not None:
        lines.append(
            f"  The search had promised {number(tested.candidate.trial_value or 0.0)}: "
            f"optimism {number(result.optimism)}"
        )
    return lines


def lines_of_test(tested: TestResult) -> list[str]:
    """Say how good a retrained configuration is, in lines for a terminal.

    Args:
        tested: Its test.
    """
    n_seeds = len(tested.runs)
    lines = [
        (
            f"{tested.candidate.name}, trained again for {tested.n_steps:,} steps from "
            f"{plural(n_seeds, 'fresh seed')} and judged by "
            f"{count(*tested.n_episodes)} other episode{'s' * (tested.n_episodes[1] != 1)} each"
        ),
        (
            f"  IQM {_estimate(tested.iqm)}, median {number(tested.median)}, "
            f"worst seed {number(tested.worst)}"
        ),
    ]
    if tested.n_broken:
        lines.append(f"  {tested.n_broken} of the {n_seeds} runs diverged or ran out of memory")
    if tested.n_cut:
        lines.append(
            f"  {tested.n_cut} of the {n_seeds} judgements had an episode that did not end and "
            "counts as far as it went"
        )
    return lines


def _estimate(estimate: Estimate) -> str:
    text = number(estimate.value)
    return text if estimate.interval is None else f"{text} (95 %: {interval(estimate.interval)})"


def print_result(console: Console, study: optuna.Study, result: StudyResult) -> None:
    """Print what is known: what it cost, the best trials, and the answer.

    Args:
        console: Where to.
        result: What is known.
    """
    echo(console, summary(result))
    if best_trials(study, 1):
        console.print(best_table(study, result))
        for line in answer_lines(result):
            echo(console, line)
