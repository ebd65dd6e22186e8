from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState

from sb3_hpo.config.study_config import make_config
from sb3_hpo.optimize import main
from sb3_hpo.results.trials import STOP, USED_UP, trials_of
from sb3_hpo.study.sampling.optuna_samplers import LateSeededSampler
from sb3_hpo.tuning import tune

if TYPE_CHECKING:
    from pathlib import Path

SPACE = {"a": CategoricalDistribution((1, 2, 3)), "b": CategoricalDistribution(("x", "y"))}
ALL = sorted(itertools.product((1, 2, 3), "xy"))


def sampler() -> LateSeededSampler:
    config = make_config({"algo": "ppo", "env": "Pendulum-v1", "sampler": "grid"})
    return LateSeededSampler(config, SPACE)


def ask(study: optuna.Study) -> tuple[optuna.Trial, tuple[Any, Any]]:
    trial = study.ask()
    return trial, (
        trial.suggest_categorical("a", SPACE["a"].choices),
        trial.suggest_categorical("b", SPACE["b"].choices),
    )


def test_grid_of_two_processes_tries_every_combination_once_and_ends() -> None:
    study = optuna.create_study()
    points = []
    samplers = itertools.cycle([sampler(), sampler()])
    while study.user_attrs.get(STOP) is None:
        study.sampler = next(samplers)
        trial, point = ask(study)
        points.append(point)
        study.tell(trial, state=TrialState.PRUNED)
    assert sorted(points) == ALL
    assert study.user_attrs[STOP] == USED_UP


def test_grid_enqueued_and_failed_trials_do_not_end_the_search() -> None:
    study = optuna.create_study(sampler=sampler())
    study.enqueue_trial({"a": 2})  # one that leaves something open
    points = []
    for number in range(7):
        trial, point = ask(study)
        points.append(point)
        state = TrialState.FAIL if number == 6 else TrialState.PRUNED
        study.tell(trial, state=state)
        assert study.user_attrs.get(STOP) is None
    assert sorted(points[1:]) == ALL
    study.enqueue_trial(trial.params)  # the failed one again
    study.tell(ask(study)[0], 1.0)
    assert study.user_attrs[STOP] == USED_UP


def test_main_grid_names_the_dimensions_that_are_ranges(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    flags = ["--algo", "ppo", "--env", "Pendulum-v1", "--sampler", "grid", "--fixed.gamma", "0.9"]
    assert main([*flags, "--choices.learning_rate", "[1e-3, 1e-4]"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(
        "error: sampler: grid tries every combination of lists of choices, but"
    )
    assert "ranges: n_steps_pow, " in error
    assert "gamma" not in error
    assert "learning_rate" not in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def four_points(trial: optuna.Trial) -> dict[str, Any]:
    return {
        "gamma": trial.suggest_categorical("gamma", [0.9, 0.99]),
        "n_epochs": trial.suggest_categorical("n_epochs", [1, 2]),
        "n_steps": 16,
        "batch_size": 16,
    }


@pytest.mark.slow
def test_tune_grid_of_two_workers_ends_when_all_is_tried(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = tune(
        algo="ppo", env="tests.support.envs:TargetEnv", n_timesteps=640, n_envs=2, n_workers=2,
        n_trials=20, n_eval_episodes=2, reevaluate=False, space=four_points, sampler="grid",
        run_dir=str(tmp_path),
    )  # fmt: skip
    assert result.exit_status == 0
    finished = [trial for trial in trials_of(result.study) if trial.state.is_finished()]
    points = {tuple(trial.params.values()) for trial in finished}
    assert points == set(itertools.product((0.9, 0.99), (1, 2)))
    assert len(finished) <= 6
    assert f"The search ends: {USED_UP}." in capsys.readouterr().out
