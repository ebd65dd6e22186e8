"""Commands that join a study at the same moment, and one that is complete."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from sb3_hpo.results.trials import SOURCE, outcome_of
from tests.faults.attacked_studies import sizes
from tests.faults.figures import Figures

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.attacked_studies import AttackedStudy


@pytest.mark.parametrize("n_commands", sizes(2, 8))
def test_commands_that_start_at_once_share_a_study_and_later_ones_add_nothing(
    n_commands: int,
    tmp_path: Path,
    new_study: Callable[..., AttackedStudy],
    conclude: Callable[[Figures], None],
) -> None:
    figures = Figures("commands that start and join at once")
    first = tmp_path / "first.yaml"
    first.write_text("learning_rate: 0.002\n")
    # A shipped space, as its first points must not be enqueued by everyone.
    study = new_study(n_trials=4 * n_commands, n_workers=1, space=None, enqueue=str(first),
                      n_timesteps=384, stale_after=120)  # fmt: skip
    # Half of them in one folder, as in several terminals; the others on machines of their own.
    names = [f"machine-{max(0, index - n_commands // 2)}" for index in range(n_commands)]
    commands = [study.start(name, step_s=0) for name in names]
    assert [command.wait() for command in commands] == [0] * n_commands, commands[0].output
    figures.injected += n_commands
    study.note()
    study.judge(figures)
    trials = study.trials()
    failed = [outcome_of(trial) for trial in trials if trial.state.name == "FAIL"]
    assert set(failed) <= {"surplus"}
    sources = Counter(trial.user_attrs.get(SOURCE) for trial in trials)
    assert (sources["default_point"], sources["first_point"], sources["first.yaml"]) == (1, 2, 1)
    joining = [study.start(name, step_s=0) for name in names]
    assert [command.wait() for command in joining] == [0] * n_commands, joining[0].output
    figures.injected += n_commands
    assert all("It is complete." in command.output for command in joining)
    assert study.trials() == trials
    conclude(figures)
