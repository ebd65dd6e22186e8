"""Processes that stand still for longer than others wait for them."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.attacked_studies import kill, sizes
from tests.faults.figures import Figures

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.attacked_studies import AttackedStudy, Command

GRACE_S = 30  # after which others break a journal's lock


def pause(command: Command) -> None:
    """Stop a command and its workers where they are, as when a laptop's lid is closed."""
    kill([command.process.pid, *command.workers()], signal.SIGSTOP)


def resume(command: Command) -> None:
    kill([*command.workers(), command.process.pid], signal.SIGCONT)


@pytest.mark.parametrize("n_pauses", sizes(1, 8))
def test_machine_paused_past_stale_after_drops_its_trial_and_goes_on(
    n_pauses: int,
    new_study: Callable[..., AttackedStudy],
    conclude: Callable[[Figures], None],
) -> None:
    rng = random.Random(3)
    figures = Figures("SIGSTOP of a machine past --stale-after, then SIGCONT")
    for _ in range(n_pauses):
        study = new_study(n_trials=2, n_workers=1, beat_interval=1, stale_after=6)
        paused = study.start("paused", step_s=0.5)
        study.wait_for_running(1)
        paused.ends_within(rng.uniform(0, 2))
        pause(paused)
        (held,) = study.running()
        figures.injected += 1
        other = study.start("other")
        study.wait_for_end_of(held)
        resume(paused)
        assert (paused.wait(), other.wait()) == (0, 0), paused.output + other.output
        text = f"trial {held.number} was given to another worker; dropped here"
        assert text in paused.log()
        assert paused.log().count("ends: the study is complete") == 1  # the same process
        study.judge(figures)
    conclude(figures)


@pytest.mark.faults  # every one takes as long as the journal's grace period
@pytest.mark.parametrize("then", [signal.SIGCONT, signal.SIGKILL])
def test_machine_paused_inside_a_write_stops_nobody_and_harms_nothing(
    then: signal.Signals,
    new_study: Callable[..., AttackedStudy],
    conclude: Callable[[Figures], None],
) -> None:
    figures = Figures(f"SIGSTOP of a machine that holds the journal's lock, then {then.name}")
    for _ in range(5):
        study = new_study(n_trials=60, n_workers=1,
                          beat_interval=1, stale_after=GRACE_S + 30)  # fmt: skip
        paused = study.start("paused", step_s=0)
        study.wait_for_running(1)
        _pause_inside_a_write(paused, Path(f"{study.storage}.lock"))
        figures.injected += 1
        study.note()
        start = time.monotonic()
        other = study.start("other")
        study.wait_for_running(2)
        assert GRACE_S < time.monotonic() - start < 2 * GRACE_S
        if then is signal.SIGKILL:
            paused.kill_all()
        else:
            resume(paused)
            assert paused.wait() == 0, paused.output
        assert other.wait() == 0, other.output
        study.judge(figures)
    conclude(figures)


def _pause_inside_a_write(command: Command, lock: Path) -> None:
    rng = random.Random(4)
    kill([command.process.pid], signal.SIGSTOP)
    while True:
        kill(command.workers(), signal.SIGSTOP)
        time.sleep(0.01)  # until it stands
        if lock.exists():
            return
        kill(command.workers(), signal.SIGCONT)
        time.sleep(rng.uniform(0, 0.05))
        assert command.workers(), "the study was complete before the pause"
