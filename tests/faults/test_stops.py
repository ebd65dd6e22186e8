"""Commands that are told to stop, or killed, at any moment."""

from __future__ import annotations

import random
import signal
from typing import TYPE_CHECKING

import pytest

from tests.faults.attacked_studies import sizes, wait_for
from tests.faults.faulty_envs import put_faults
from tests.faults.figures import Figures

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.attacked_studies import AttackedStudy, Command

ORPHANS_END_S = 15
TERM, INT, KILL = signal.SIGTERM, signal.SIGINT, signal.SIGKILL


@pytest.mark.parametrize("numbers", sizes([TERM, KILL], [TERM] * 30, [INT] * 30, [KILL] * 20))
def test_stopped_command_leaves_no_running_trial_and_resumes_exactly(
    numbers: list[signal.Signals],
    new_study: Callable[..., AttackedStudy],
    conclude: Callable[[Figures], None],
) -> None:
    rng = random.Random(2)
    figures = Figures(f"{'/'.join(dict.fromkeys(n.name for n in numbers))} of the command")
    left = list(numbers)
    size = {"n_trials": 20} if len(left) > 2 else {"n_trials": 4, "n_workers": 1}
    study = new_study(**size)
    while left:
        command = study.start()
        if _is_there_at_a_random_moment(study, command, rng):
            stop(command, left.pop())
            figures.injected += 1
            assert study.running() == [], command.log()
            study.note()
        else:
            assert command.wait() == 0, command.output
            study.judge(figures)
            study = new_study(**size)
    assert study.start().wait() == 0, study.commands[-1].output
    study.judge(figures)
    conclude(figures)


def _is_there_at_a_random_moment(
    study: AttackedStudy, command: Command, rng: random.Random
) -> bool:
    """Wait for a moment: now and then while it starts, mostly while trials run."""
    if rng.random() < 0.3:
        return not command.ends_within(rng.uniform(0, 8))
    study.wait_for_running(1)
    return not command.ends_within(rng.uniform(0, 3))


def stop(command: Command, number: signal.Signals) -> None:
    """Send a signal to a command only; wait until it and its workers are gone."""
    command.process.send_signal(number)
    status = command.wait(60)
    # Dead by the signal itself: before the search begins, or while the report is written.
    expected = (-number,) if number is KILL else (0, 128 + number, -number)
    assert status in expected, command.output
    if number is KILL:
        wait_for(lambda: not command.workers(), f"orphans end\n{command.log()}", ORPHANS_END_S)
    assert command.workers() == []


@pytest.mark.faults
def test_worker_that_hangs_does_not_outlive_its_killed_command(
    tmp_path: Path,
    new_study: Callable[..., AttackedStudy],
    conclude: Callable[[Figures], None],
) -> None:
    figures = Figures("kill -9 of a command whose worker hangs in a step", injected=1)
    put_faults(tmp_path / "faults", ["hang"])
    study = new_study(
        n_trials=2, n_workers=1, env="tests.faults.faulty_envs:FaultyEnv", n_eval_envs=0,
        env_kwargs={"folder": str(tmp_path / "faults")}, stale_after=60,
    )  # fmt: skip
    command = study.start()
    wait_for(lambda: list((tmp_path / "faults").iterdir()) == [], "the worker hangs")
    stop(command, KILL)
    assert study.start(stale_after=5).wait() == 0, study.commands[-1].output
    study.judge(figures)
    conclude(figures)
