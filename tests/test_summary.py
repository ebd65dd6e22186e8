from __future__ import annotations

import json
import subprocess
import sys
from io import StringIO
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from rich.console import Console

from sb3_hpo.config import StudyConfig, make_config
from sb3_hpo.files import parse_yaml
from sb3_hpo.records import Evaluation, RunRecord
from sb3_hpo.report import (
    CAUTION,
    _short,
    best_table,
    best_trials,
    describe_trial,
    record_of,
    summary,
    write_best,
)

if TYPE_CHECKING:
    from pathlib import Path

COMPLETE, PRUNED, FAIL = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL


def record(
    n_steps: int = 600, seconds: float = 90.0, kwargs: dict[str, Any] | None = None
) -> RunRecord:
    return RunRecord(
        seed=17,
        outcome="finished",
        reason=None,
        evaluations=(
            Evaluation(nominal_step=1, actual_step=1, returns=(2.0, 3.0), lengths=(1, 1)),
        ),
        n_steps=n_steps,
        n_updates=1,
        seconds=seconds,
        kwargs=kwargs or {"gamma": 0.95},
        n_threads=1,
        versions={"torch": "2.0"},
    )


def trial(
    state: TrialState, value: float | None = None, run: RunRecord | None = None, **attrs: Any
) -> FrozenTrial:
    if run is not None:
        attrs["run"] = json.loads(json.dumps(run.to_dict()))
    return create_trial(
        state=state,
        value=value,
        params={"x": 0.12345678},
        distributions={"x": FloatDistribution(0, 1)},
        user_attrs=attrs,
    )


def study_of(*trials: FrozenTrial) -> optuna.Study:
    study = optuna.create_study(direction="maximize", study_name="s")
    study.add_trials(trials)
    return study


def config() -> StudyConfig:
    policy_kwargs = {"ortho_init": False}
    return make_config({"algo": "ppo", "env": "Pendulum-v1", "policy_kwargs": policy_kwargs})


def test_best_trials_ignores_pruned_even_if_larger() -> None:
    study = study_of(trial(COMPLETE, 1.0), trial(PRUNED, 9.0), trial(FAIL), trial(COMPLETE, 3.0))
    assert [(best.number, best.value) for best in best_trials(study, 5)] == [(3, 3.0), (0, 1.0)]


def test_best_trials_of_equals_the_earlier_is_first() -> None:
    study = study_of(*(trial(COMPLETE, value) for value in (-1.0, 0.0, 0.0, -5.0)))
    assert [best.number for best in best_trials(study, 3)] == [1, 2, 0]


def test_best_table_shows_value_last_evaluation_and_hyperparameters() -> None:
    study = study_of(trial(COMPLETE, 3.25, record()), trial(COMPLETE, 4.0))
    file = StringIO()
    Console(file=file, width=100).print(best_table(study))
    lines = [line for line in file.getvalue().splitlines() if "│" in line]
    cells = [[cell.strip() for cell in line.strip("│ ").split("│")] for line in lines]
    assert cells == [["1", "4.0", "", "x=0.1235"], ["0", "3.2", "2.5", "gamma=0.95"]]
    assert "Best trials of s" in file.getvalue()


def test_describe_trial_of_defaults_says_so() -> None:
    described = describe_trial(trial(COMPLETE, 1.0, record(), source="sb3_default"))
    assert described == "SB3's defaults"


def test_describe_trial_without_record_lists_the_params() -> None:
    assert describe_trial(trial(COMPLETE, 1.0)) == "x=0.1235"


@pytest.mark.parametrize(
    ("kwargs", "text"),
    [
        ({"learning_rate": 0.000123456, "n_steps": 128}, "learning_rate=0.0001235, n_steps=128"),
        ({"buffer_class": {"$import": "a.b:C"}}, "buffer_class=C"),
        ({"train_freq": {"$tuple": [1, "episode"]}}, "train_freq=(1, episode)"),
        (
            {"policy_kwargs": {"net_arch": [64], "activation_fn": {"$import": "torch.nn:Tanh"}}},
            "policy_kwargs=(net_arch=[64], activation_fn=Tanh)",
        ),
        (
            {"policy_kwargs": {"log_std_init": -2.0, "ortho_init": False}},
            "policy_kwargs=(log_std_init=-2, ortho_init=False)",
        ),
        (
            {"action_noise": {"$call": "a:NormalActionNoise", "mean": [0.0], "sigma": [0.1]}},
            "action_noise=NormalActionNoise(mean=[0.0], sigma=[0.1])",
        ),
        ({"policy_kwargs": {}}, "policy_kwargs=()"),
    ],
)
def test_describe_trial_with_record_lists_the_arguments(kwargs: dict[str, Any], text: str) -> None:
    assert describe_trial(trial(COMPLETE, 1.0, record(kwargs=kwargs))) == text


def test_record_of_trial_is_the_record() -> None:
    assert record_of(trial(COMPLETE, 1.0, record())) == record()
    assert record_of(trial(COMPLETE, 1.0)) is None


def test_summary_counts_each_kind_and_adds_up_the_cost() -> None:
    study = study_of(
        trial(COMPLETE, 1.0, record(600, 90.0)),
        trial(PRUNED, None, record(1000, 60.0), outcome="dropped"),
        trial(PRUNED, None, record(5, 0.0), outcome="diverged"),
        trial(FAIL, None, outcome="error"),
    )
    assert summary(study) == (
        "3 trials finished: 1 complete, 1 pruned, 1 infeasible; 1 failed; "
        "1,605 steps in 2.5 minutes of training"
    )


def test_summary_without_trouble_does_not_mention_it() -> None:
    assert summary(study_of(trial(COMPLETE, 1.0, record()))) == (
        "1 trials finished: 1 complete, 0 pruned; 600 steps in 1.5 minutes of training"
    )


def test_write_best_holds_what_retraining_needs(tmp_path: Path) -> None:
    study = study_of(trial(COMPLETE, 1.0), trial(COMPLETE, 3.5, record()))
    best = write_best(tmp_path / "best.yaml", study, config())
    content = parse_yaml((tmp_path / "best.yaml").read_text())
    training = content.pop("training")
    assert best is not None
    assert best.number == 1
    assert content == {
        "study": "s",
        "trial": 1,
        "trial_value": 3.5,
        "kwargs": {"gamma": 0.95},
        "seed": 17,
        "params": {"x": 0.12345678},
        "versions": {"torch": "2.0"},
    }
    assert (training["algo"], training["env"], training["n_envs"]) == ("ppo", "Pendulum-v1", 8)
    assert training["policy_kwargs"] == {"ortho_init": False}
    assert "n_trials" not in training


def test_write_best_training_part_makes_the_same_training(tmp_path: Path) -> None:
    write_best(tmp_path / "best.yaml", study_of(trial(COMPLETE, 3.5, record())), config())
    training = parse_yaml((tmp_path / "best.yaml").read_text())["training"]
    assert make_config(training) == config()


def test_write_best_begins_with_the_caution(tmp_path: Path) -> None:
    write_best(tmp_path / "best.yaml", study_of(trial(COMPLETE, 3.5, record())), config())
    assert (tmp_path / "best.yaml").read_text().splitlines()[0] == f"# {CAUTION}"


def test_write_best_without_complete_trial_writes_nothing(tmp_path: Path) -> None:
    assert write_best(tmp_path / "best.yaml", study_of(trial(PRUNED, 1.0)), config()) is None
    assert list(tmp_path.iterdir()) == []


def test_report_import_does_not_import_the_training_stack() -> None:
    stack = "{'torch', 'stable_baselines3', 'gymnasium'}"
    code = f"import sys, sb3_hpo.report; print(sorted({stack} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.000123456, 0.0001235), (-98765.4, -98770.0), (0.0, 0.0), (float("inf"), float("inf"))],
)
def test_short_keeps_four_significant_digits(value: float, expected: float) -> None:
    assert float(_short(value)) == expected
