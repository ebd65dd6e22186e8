"""Commands that join a study at the same moment, and one that is complete."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import optuna
import pytest

from sb3_hpo.loop import claim
from sb3_hpo.places import Place
from sb3_hpo.spaces import EnqueuedPoint
from sb3_hpo.study import create_or_resume, prepare
from sb3_hpo.trials import SOURCE, outcome_of, trials_of
from tests.faults.figures import Figures
from tests.faults.studies import sizes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.studies import AttackedStudy


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
    assert (sources["sb3_default"], sources["first_point"], sources["first.yaml"]) == (1, 2, 1)
    joining = [study.start(name, step_s=0) for name in names]
    assert [command.wait() for command in joining] == [0] * n_commands, joining[0].output
    figures.injected += n_commands
    assert all("It is complete." in command.output for command in joining)
    assert study.trials() == trials
    conclude(figures)


@pytest.mark.xfail(reason="a waiting point that `claim` finds surplus is failed and never tried")
@pytest.mark.slow
def test_enqueued_point_that_is_surplus_now_is_tried_when_more_trials_are_asked_for(
    new_study: Callable[..., AttackedStudy],
) -> None:
    config = new_study(n_trials=1).config()
    study = create_or_resume(config, Place.of(config), prepare(config))
    for rate in (0.001, 0.002):
        study.enqueue_trial({"learning_rate": rate})
    assert claim(study, 1, "first") is not None
    assert claim(study, 1, "second, at the same moment") is None
    more = claim(study, 2, "later, when two are asked for")
    assert more is not None
    assert more.suggest_float("learning_rate", 1e-4, 1e-2, log=True) == 0.002


@pytest.mark.xfail(reason="commands look for the points of --enqueue, then add them: not at once")
@pytest.mark.slow
def test_point_that_two_commands_enqueue_at_the_same_moment_is_there_once(
    new_study: Callable[..., AttackedStudy], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = new_study(n_trials=2).config()
    place, space = Place.of(config), prepare(config)
    points = [EnqueuedPoint("first.yaml", {"learning_rate": 0.002}, None)]
    create_or_resume(config, place, space)
    enqueue = optuna.Study.enqueue_trial

    def enqueue_after_the_other(study: optuna.Study, *args: Any, **kwargs: Any) -> None:
        monkeypatch.setattr(optuna.Study, "enqueue_trial", enqueue)
        create_or_resume(config, place, space, points)
        enqueue(study, *args, **kwargs)

    monkeypatch.setattr(optuna.Study, "enqueue_trial", enqueue_after_the_other)
    study = create_or_resume(config, place, space, points)
    assert [trial.user_attrs[SOURCE] for trial in trials_of(study)] == ["first.yaml"]
