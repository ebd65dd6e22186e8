"""What a person sees while a study runs: a live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from optuna.trial import TrialState
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sb3_hpo.results.trials import (
    DEFAULT_POINT,
    ERROR,
    ERROR_SITE,
    FINISHED,
    REASON,
    RUN,
    SOURCE,
    WORKER,
    best_trials,
    count_trials,
    outcome_of,
    record_of,
    trials_of,
)
from sb3_hpo.utils.console import echo
from sb3_hpo.utils.formatting import plural, printable
from sb3_hpo.workers.notebook_view import NotebookView

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    import optuna
    from optuna.trial import FrozenTrial


class Progress:
    """Shows a study's progress; a context manager whose `tick` is called a few times a second."""

    def __init__(
        self,
        study: optuna.Study,
        n_trials: int,
        console: Console,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare.

        Args:
            n_trials: Finished trials wanted.
            console: Where to write; whether it is a terminal decides how.
            clock: Seconds; tests pass their own.
        """
        self._study, self._n_trials = study, n_trials
        self._console, self._clock = console, clock
        self._start = clock()
        trials = trials_of(study)
        self._told = {trial.number for trial in trials if trial.state.is_finished()}
        self._n_before = self._n_finished = count_trials(trials).finished
        self._steps_before = _steps(trials)
        self._live: Live | NotebookView | None = None
        if console.is_jupyter:
            self._live = NotebookView(self._view(trials))
        elif console.is_terminal:  # it shows something from its first moment on
            self._live = Live(self._view(trials), console=console, auto_refresh=False)
        self._width = console.width

    def __enter__(self) -> Progress:
        if self._live is not None:
            self._live.start(refresh=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.tick()
        if self._live is not None:
            self._live.stop()

    def tick(self) -> None:
        """Show what is new."""
        trials = trials_of(self._study)
        if isinstance(self._live, Live):
            self._follow_resize(self._live)
        for trial in trials:
            if trial.state.is_finished() and trial.number not in self._told:
                self._told.add(trial.number)
                self._n_finished += trial.state in FINISHED
                self._tell(trial)
        if self._live is not None:
            self._live.update(self._view(trials), refresh=True)

    def _follow_resize(self, live: Live) -> None:
        """Tell rich how many rows its view takes since the terminal became narrower.

        Terminals break lines that are too long by then. Rich would go up as many rows as it has
        written, and leave the first line standing above the view.
        """
        before, self._width = self._width, self._console.width
        if self._width >= before:
            return
        options = self._console.options.update(width=before)
        lines = self._console.render_lines(live.renderable, options, pad=False)
        lengths = [sum(segment.cell_length for segment in line) for line in lines]
        n_rows = sum(max(1, -(-length // self._width)) for length in lengths)
        live._live_render._shape = (self._width, n_rows)

    def _tell(self, trial: FrozenTrial) -> None:
        """Print a line about a finished trial; on a terminal only if it failed."""
        line = describe_outcome(trial)
        if outcome_of(trial) == "error" or (self._live is None and line):
            done = f"[{self._n_finished}/{self._n_trials}] "
            best = best_trials(self._study, 1)
            end = f"; best {best[0].value:.1f} (trial {best[0].number})" if best else ""
            echo(self._console, f"{done}{line}{end}")

    def _view(self, trials: list[FrozenTrial]) -> Group:
        counts = count_trials(trials)
        best = best_trials(self._study, 1)
        head = Text.assemble(
            (f"{counts.finished}/{plural(self._n_trials, 'trial')}", "bold"),
            f"  {counts.pruned} pruned  {counts.infeasible} infeasible  {counts.failed} failed",
            (
                "  best " + (f"{best[0].value:.1f} (trial {best[0].number})" if best else "-"),
                "green",
            ),
            f"  {self._rate(trials)}",
        )
        bar = Table.grid()  # a bar alone does not end its line
        bar.add_row(ProgressBar(total=self._n_trials, completed=counts.finished, width=60))
        running = Table(box=None, show_header=False, padding=(0, 2))
        for trial in trials:
            if trial.state is TrialState.RUNNING:
                running.add_row(f"trial {trial.number}", _position(trial))
        return Group(head, bar, running)

    def _rate(self, trials: list[FrozenTrial]) -> str:
        elapsed = max(self._clock() - self._start, 1e-9)
        steps_per_s = (_steps(trials) - self._steps_before) / elapsed
        n_new = count_trials(trials).finished - self._n_before
        n_left = self._n_trials - self._n_before - n_new
        left = (
            f"{_clock_time(elapsed / n_new * n_left)} left" if n_new > 0 else "time left unknown"
        )
        rate = f"{max(steps_per_s, 0):,.0f} steps/s"
        return f"{rate}  {_clock_time(elapsed)} elapsed  {left}"


def describe_outcome(trial: FrozenTrial) -> str:
    """Say what became of a finished trial, in one line; empty for what is nobody's concern.

    Args:
        trial: A finished trial.
    """
    outcome = outcome_of(trial)
    if outcome == "surplus":
        return ""
    text = f"trial {trial.number}"
    if trial.user_attrs.get(SOURCE) == DEFAULT_POINT:
        text += " (the space's default point)"
    record = record_of(trial)
    if outcome == "error":
        attrs = trial.user_attrs
        return f"{text} failed: {attrs.get(ERROR)} at {attrs.get(ERROR_SITE)}"
    if trial.state is TrialState.FAIL:
        return f"{text} {outcome}; to be repeated"
    if trial.state is TrialState.COMPLETE:
        text += f": value {trial.value:.1f}"
    elif outcome == "dropped":
        text += f": pruned at step {trial.last_step:,}" if trial.last_step else ": pruned"
    else:
        text += f": {outcome} ({trial.user_attrs.get(REASON)})"
    if record is None:
        return text
    why = f"; {record.reason}" if record.outcome == "finished" and record.reason else ""
    return f"{text}, {record.n_steps:,} steps in {record.seconds:.0f} s{why}"


def _position(trial: FrozenTrial) -> str:
    worker = printable(str(trial.user_attrs.get(WORKER, "::"))).split(":")[1]
    if trial.last_step is None:
        return f"worker {worker}: before its first evaluation"
    value = trial.intermediate_values[trial.last_step]
    return f"worker {worker}: {value:.1f} at step {trial.last_step:,}"


def _steps(trials: list[FrozenTrial]) -> int:
    """Environment steps trained so far: as recorded, or as last reported by running trials."""
    total = 0
    for trial in trials:
        record = trial.user_attrs.get(RUN)
        total += record["n_steps"] if record is not None else (trial.last_step or 0)
    return total


def _clock_time(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
