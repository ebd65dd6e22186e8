from __future__ import annotations

import json
import re
from io import StringIO
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from rich.console import Console

from sb3_hpo.config.study_config import make_config
from sb3_hpo.report.terminal import answer_lines, best_table, describe_trial, summary
from sb3_hpo.results.run_record import Evaluation, RunRecord
from sb3_hpo.results.study_result import StudyResult, read_result
from tests.support.reevaluations import candidate, default_trial, made_runs, small_config

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


def answer_of(study: optuna.Study) -> StudyResult:
    config = make_config({"algo": "ppo", "env": "Pendulum-v1"})
    return read_result(study, config, [], None)


def test_best_table_shows_value_last_evaluation_and_hyperparameters() -> None:
    study = study_of(trial(COMPLETE, 3.25, record()), trial(COMPLETE, 4.0))
    file = StringIO()
    Console(file=file, width=100).print(best_table(study, answer_of(study)))
    lines = [line for line in file.getvalue().splitlines() if "│" in line]
    cells = [[cell.strip() for cell in line.strip("│ ").split("│")] for line in lines]
    assert cells == [["1", "4.0", "", "x=0.1235"], ["0", "3.2", "2.5", "gamma=0.95"]]
    assert "Best trials of s" in file.getvalue()


def test_describe_trial_without_record_lists_the_params() -> None:
    assert describe_trial(trial(COMPLETE, 1.0)) == "x=0.1235"
    foreign = trial(COMPLETE, 1.0)
    foreign.user_attrs["run"] = "an id of another tool"
    assert describe_trial(foreign) == "x=0.1235"


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


def test_summary_counts_each_kind_and_adds_up_the_cost() -> None:
    study = study_of(
        trial(COMPLETE, 1.0, record(600, 90.0)),
        trial(PRUNED, None, record(1000, 60.0), outcome="dropped"),
        trial(PRUNED, None, record(5, 0.0), outcome="diverged"),
        trial(FAIL, None, outcome="error"),
    )
    assert summary(answer_of(study)) == (
        "3 trials finished: 1 complete, 1 pruned, 1 infeasible; 1 failed; "
        "1,605 steps in 2.5 minutes of training"
    )


def test_summary_without_trouble_does_not_mention_it() -> None:
    assert summary(answer_of(study_of(trial(COMPLETE, 1.0, record())))) == (
        "1 trial finished: 1 complete, 0 pruned; 600 steps in 1.5 minutes of training"
    )


def test_answer_lines_give_iqm_median_and_worst_seed() -> None:
    config, who = small_config(), candidate(1, -150.0)
    runs = made_runs(config, "test", who, [-100.0, -160.0, -161.0, -200.0, -900.0])
    study = study_of(default_trial(-900.0), trial(COMPLETE, -150.0, record()))
    result = read_result(study, config, runs, who)
    (line,) = [text for text in answer_lines(result) if "IQM" in text]
    assert re.fullmatch(
        r"  IQM -173\.7( \(95 %: -[\d.]+ to -[\d.]+\))?, median -161\.0, worst seed -900\.0", line
    )


def test_answer_lines_say_that_the_default_is_untested() -> None:
    config, who = small_config(), candidate(1, -150.0)
    study = study_of(default_trial(-900.0), trial(COMPLETE, -150.0, record()))
    result = read_result(study, config, made_runs(config, "test", who, [-160.0, -161.0]), who)
    (line,) = [text for text in answer_lines(result) if "SB3's default" in text]
    assert line == "  SB3's default has not been tested: what tuning brings is not known."
