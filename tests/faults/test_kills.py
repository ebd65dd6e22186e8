"""Workers and whole machines that die without a word."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.faults.attacked_studies import kill, sizes, wait_for
from tests.faults.figures import Figures

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.attacked_studies import AttackedStudy


@pytest.mark.parametrize("n_kills", sizes(2, 60))
def test_kill_9_of_random_workers_loses_nothing(
    n_kills: int,
    new_study: Callable[..., AttackedStudy],
    conclude: Callable[[Figures], None],
) -> None:
    rng = random.Random(0)
    figures = Figures("kill -9 of workers")
    while figures.injected < n_kills:
        n_workers, n_trials = (4, 60) if n_kills > 2 else (3, 8)
        study = new_study(n_trials=n_trials, n_workers=n_workers)
        command = study.start(step_s=0.01)
        study.wait_for_running(2)
        while figures.injected < n_kills and command.runs:
            study.note()
            n_finished = len(study.finished())
            victims = rng.sample(
                workers := command.workers(), min(len(workers), rng.choice([1, 1, 2]))
            )
            figures.injected += kill(victims)
            # A worker that dies three times without a trial finished in between is given up.
            study.wait_for_finished(n_finished + 1)
            command.ends_within(rng.uniform(0, 3))
        assert command.wait() == 0, command.output
        study.judge(figures)
    conclude(figures)


@pytest.mark.parametrize("n_deaths", sizes(1, 8))
def test_machine_that_dies_with_the_last_trials_is_replaced_by_those_that_wait(
    n_deaths: int,
    new_study: Callable[..., AttackedStudy],
    conclude: Callable[[Figures], None],
) -> None:
    rng = random.Random(1)
    figures = Figures("death of the last workers' machine while others wait")
    for n_workers in [1 + n % 2 for n in range(n_deaths)]:
        study = new_study(n_trials=n_workers, beat_interval=1, stale_after=6)
        dying = study.start("dying", step_s=1, n_workers=n_workers)
        study.wait_for_running(n_workers)
        waiting = study.start("waiting", n_workers=1)
        wait_for(waiting.workers, "a worker that waits")
        waiting.ends_within(rng.uniform(0, 5))
        assert study.finished() == []
        dying.kill_all()
        figures.injected += 1
        assert waiting.wait() == 0, waiting.output
        study.judge(figures)
    conclude(figures)
