from __future__ import annotations

import math
from io import StringIO
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial
from rich.console import Console

from sb3_hpo.results.run_record import RunRecord
from sb3_hpo.workers.progress import Progress, describe_outcome

COMPLETE, PRUNED, FAIL = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL
RUN = RunRecord(
    seed=1, outcome="finished", reason=None, evaluations=(), n_steps=1200, n_updates=1,
    seconds=3.4, kwargs={}, n_threads=1, versions={},
).to_dict()  # fmt: skip


def trial(
    state: TrialState, value: float | None = None, step: int | None = None, **attrs: Any
) -> FrozenTrial:
    reports = {} if step is None else {step: 1.0}
    return create_trial(state=state, value=value, intermediate_values=reports, user_attrs=attrs)


FINISHED = trial(COMPLETE, 3.25, run=RUN, outcome="finished")
DROPPED = trial(PRUNED, step=4000, run=RUN, outcome="dropped")
INFEASIBLE = trial(PRUNED, run=RUN, outcome="diverged", reason="parameter b is not finite")
FAILED = trial(FAIL, outcome="error", error="ValueError: no gripper", error_site="env.py:7")
INTERRUPTED = trial(FAIL, outcome="interrupted")
LOST = trial(FAIL, outcome="lost")
SURPLUS = trial(FAIL, outcome="surplus")


def test_texts_of_others_reach_no_terminal_as_they_are() -> None:
    file = StringIO()
    study = study_of()
    with Progress(study, 2, Console(file=file, width=200)):
        study.add_trial(
            trial(FAIL, outcome="error", error="E: \x1b[2J", error_site="\x1b]0;x\x07")
        )
    assert file.getvalue() == "[0/2] trial 0 failed: E: \\x1b[2J at \\x1b]0;x\\x07\n"


class Clock:
    """Seconds that pass when told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def study_of(*trials: FrozenTrial) -> optuna.Study:
    study = optuna.create_study(direction="maximize", study_name="s")
    study.add_trials(trials)
    return study


def plain() -> tuple[Console, StringIO]:
    file = StringIO()
    return Console(file=file, width=200, force_terminal=False), file


def terminal() -> tuple[Console, StringIO]:
    file = StringIO()
    return Console(file=file, width=200, force_terminal=True, color_system=None), file


@pytest.mark.parametrize(
    ("frozen", "text"),
    [
        (FINISHED, "trial -1: value 3.2, 1,200 steps in 3 s"),
        (
            trial(COMPLETE, 3.25, source="default_point"),
            "trial -1 (the space's default point): value 3.2",
        ),
        (
            trial(
                COMPLETE, 3.25, run={**RUN, "reason": "a callback ended the training at step 9"}
            ),
            "trial -1: value 3.2, 1,200 steps in 3 s; a callback ended the training at step 9",
        ),
        (DROPPED, "trial -1: pruned at step 4,000, 1,200 steps in 3 s"),
        (INFEASIBLE, "trial -1: diverged (parameter b is not finite), 1,200 steps in 3 s"),
        (FAILED, "trial -1 failed: ValueError: no gripper at env.py:7"),
        (INTERRUPTED, "trial -1 interrupted; to be repeated"),
        (LOST, "trial -1 lost; to be repeated"),
        (SURPLUS, ""),
    ],
)
def test_describe_outcome_says_what_became_of_it(frozen: FrozenTrial, text: str) -> None:
    assert describe_outcome(frozen) == text


@pytest.mark.parametrize(
    ("frozen", "line"),
    [
        (FINISHED, "[1/5] trial 0: value 3.2, 1,200 steps in 3 s; best 3.2 (trial 0)\n"),
        (DROPPED, "[1/5] trial 0: pruned at step 4,000, 1,200 steps in 3 s\n"),
        (INFEASIBLE, "[1/5] trial 0: diverged (parameter b is not finite), 1,200 steps in 3 s\n"),
        (FAILED, "[0/5] trial 0 failed: ValueError: no gripper at env.py:7\n"),
        (INTERRUPTED, "[0/5] trial 0 interrupted; to be repeated\n"),
        (SURPLUS, ""),
    ],
)
def test_progress_without_terminal_prints_a_line(frozen: FrozenTrial, line: str) -> None:
    study, (console, file) = study_of(), plain()
    with Progress(study, 5, console) as progress:
        study.add_trial(frozen)
        progress.tick()
    assert file.getvalue() == line


def test_progress_without_terminal_tells_each_trial_once_and_no_old_one() -> None:
    study, (console, file) = study_of(FINISHED, FAILED), plain()
    with Progress(study, 5, console) as progress:
        study.add_trial(DROPPED)
        progress.tick()
        progress.tick()
        study.ask()
    assert file.getvalue() == (
        "[2/5] trial 2: pruned at step 4,000, 1,200 steps in 3 s; best 3.2 (trial 0)\n"
    )


def test_progress_without_terminal_tells_what_ended_after_the_last_tick() -> None:
    study, (console, file) = study_of(), plain()
    with Progress(study, 5, console):
        study.add_trial(FINISHED)
    assert file.getvalue().startswith("[1/5] trial 0: value 3.2")


def test_progress_message_with_brackets_is_printed_as_it_is() -> None:
    study, (console, file) = study_of(), plain()
    with Progress(study, 5, console):
        study.add_trial(trial(FAIL, outcome="error", error="KeyError: [red]", error_site="a.py:1"))
    assert file.getvalue() == "[0/5] trial 0 failed: KeyError: [red] at a.py:1\n"


def live_view(progress: Progress, file: StringIO) -> str:
    """Return what stands on the terminal at the end."""
    with progress:
        progress.tick()
    return file.getvalue()


def test_progress_on_terminal_shows_counts_best_and_running_trials() -> None:
    study, (console, file) = study_of(FINISHED, DROPPED, INFEASIBLE, FAILED), terminal()
    for values in ({100: 1.0, 200: 2.5}, {}):
        running = study.ask()
        running.set_user_attr("worker", "host:3:77")
        for step, value in values.items():
            running.report(value, step)
    text = live_view(Progress(study, 5, console), file)
    assert "3/5 trials" in text
    assert "1 pruned  1 infeasible  1 failed  best 3.2 (trial 0)" in text
    assert "worker 3: 2.5 at step 200" in text
    assert "worker 3: before its first evaluation" in text
    assert "time left unknown" in text


def test_progress_on_terminal_before_any_trial_has_no_best() -> None:
    study, (console, file) = study_of(), terminal()
    text = live_view(Progress(study, 5, console), file)
    assert "0/5 trials" in text
    assert "best -" in text


@pytest.mark.parametrize(("n_trials", "left"), [(5, "1:00 left"), (125, "1:01:00 left")])
def test_progress_on_terminal_time_left_is_from_this_sessions_rate(
    n_trials: int, left: str
) -> None:
    study, (console, file), clock = study_of(FINISHED), terminal(), Clock()
    progress = Progress(study, n_trials, console, clock)
    study.add_trials([FINISHED, DROPPED])
    clock.now = 60.0  # for two trials of 1200 steps
    text = live_view(progress, file)
    assert f"1:00 elapsed  {left}" in text
    assert "40 steps/s" in text


def test_progress_on_terminal_running_trials_count_in_the_rate() -> None:
    study, (console, file), clock = study_of(), terminal(), Clock()
    progress = Progress(study, 5, console, clock)
    study.ask().report(1.0, 600)
    clock.now = 60.0
    assert "10 steps/s" in live_view(progress, file)


def test_progress_on_terminal_prints_lines_for_failures_only() -> None:
    study, (console, file) = study_of(), terminal()
    progress = Progress(study, 5, console)
    study.add_trials([FINISHED, FAILED, SURPLUS])
    text = live_view(progress, file)
    assert "trial 1 failed: ValueError: no gripper at env.py:7" in text
    assert "trial 0: value" not in text
    assert "trial 2" not in text


def test_progress_on_terminal_shows_its_view_before_the_first_tick() -> None:
    study, (console, file) = study_of(FINISHED), terminal()
    with Progress(study, 5, console):
        assert "1/5 trials" in file.getvalue()
        assert "0:00 elapsed  time left unknown" in file.getvalue()


def test_progress_on_terminal_that_became_narrower_goes_up_over_the_broken_lines() -> None:
    study, (console, file) = study_of(FINISHED), terminal()
    with Progress(study, 5, console) as progress:
        progress.tick()
        head, bar, running = file.getvalue().rpartition("\x1b[2K")[2].split("\n")
        assert running == ""
        assert len(bar) == 60 < len(head)
        file.seek(0)
        file.truncate()
        console.width = len(bar)  # at which a terminal breaks the head
        progress.tick()
        n_rows = math.ceil(len(head) / 60) + 2
        assert file.getvalue().count("\x1b[1A") == n_rows - 1
        shown = file.getvalue().rpartition("\x1b[2K")[2].count("\n") + 1
        file.seek(0)
        file.truncate()
        progress.tick()
        assert file.getvalue().count("\x1b[1A") == shown - 1
