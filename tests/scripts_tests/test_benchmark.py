from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import FixedTrial, TrialState, create_trial

from sb3_hpo.algorithms.kwargs import serialize_kwargs
from sb3_hpo.results.trials import RUN, SEED_CURVES
from scripts import benchmark, benchmark_peers
from scripts.benchmark_cost import CASES, Measured, cost_table, markdown, ratio
from scripts.benchmark_peers import PEERS, Result, peers_table, rates, search_and_train
from scripts.benchmark_searches import Found, Settings
from scripts.benchmark_tally import (
    Effort,
    SearchProblem,
    Tally,
    our_effort,
    tally,
    tutorial_effort,
    zoo_effort,
)
from scripts.benchmark_tutorial import TRAINED_STEPS, sample

if TYPE_CHECKING:
    from pathlib import Path

    from optuna.trial import FrozenTrial

START = datetime(2026, 1, 1, 12)  # noqa: DTZ001 - Optuna's times are local and naive


def stored(
    state: TrialState, seconds: float = 60, step: int | None = None, **attrs: Any
) -> FrozenTrial:
    """Return a trial as it comes out of a study, which ended so long after the start."""
    trial = create_trial(
        state=state,
        value=-1.0 if state is TrialState.COMPLETE else None,
        params={"x": 0},
        distributions={"x": IntDistribution(0, 0)},
        user_attrs=attrs,
        intermediate_values={} if step is None else {step: -1.0},
    )
    trial.datetime_start = START
    trial.datetime_complete = START + timedelta(seconds=seconds)
    return trial


def ours(state: TrialState, n_steps: int, seconds: float = 60, **attrs: Any) -> FrozenTrial:
    return stored(state, seconds, None, **{RUN: {"n_steps": n_steps}, **attrs})


# Counting


def test_tally_adds_up_what_counts_until_the_last_end() -> None:
    trials = [
        ours(TrialState.COMPLETE, 40_960, seconds=60),
        ours(TrialState.PRUNED, 12_000, seconds=80, **{SEED_CURVES: [[1.0], [2.0]]}),
        ours(TrialState.FAIL, 5_000, seconds=100),  # interrupted
        stored(TrialState.FAIL, seconds=500),  # by an error, without a record
        stored(TrialState.PRUNED, seconds=90),  # lost
    ]
    counts = tally(trials, START.timestamp(), our_effort)
    assert counts == Tally(n_trials=3, n_runs=4, n_steps=57_960, n_unrecorded=1, seconds=100.0)


def test_tally_of_nothing_is_a_problem() -> None:
    with pytest.raises(SearchProblem, match="none of its 1 trials came to its end"):
        tally([stored(TrialState.FAIL)], START.timestamp(), our_effort)


@pytest.mark.parametrize(
    ("trial", "steps"),
    [
        # 256 steps of 4 environments: 40 rollouts reach 40,000
        (stored(TrialState.COMPLETE, step=1, n_steps=256), 40_960),
        (stored(TrialState.COMPLETE, step=1, n_steps=4096), 49_152),
        # pruned by its only evaluation, at call 10,000
        (stored(TrialState.PRUNED, step=1, n_steps=4096), 40_000),
        (stored(TrialState.PRUNED, n_steps=4096), None),  # diverged before it
    ],
)
def test_zoo_effort_derives_steps_from_what_is_stored(
    trial: FrozenTrial, steps: int | None
) -> None:
    assert zoo_effort(trial, n_envs=4, n_timesteps=40_000) == Effort(1, 1, steps)


def test_zoo_effort_counts_two_evaluations_from_200_000_steps_on() -> None:
    trial = stored(TrialState.PRUNED, step=1, n_steps=4096)
    assert zoo_effort(trial, n_envs=4, n_timesteps=200_000) == Effort(1, 1, 100_000)


@pytest.mark.parametrize("state", [TrialState.RUNNING, TrialState.FAIL])
def test_zoo_effort_leaves_out_what_was_interrupted(state: TrialState) -> None:
    trial = stored(TrialState.COMPLETE, step=1, n_steps=256)
    trial.state = state
    assert zoo_effort(trial, n_envs=4, n_timesteps=40_000) is None


def test_tutorial_effort_counts_diverged_trials_too() -> None:
    steps = {TRAINED_STEPS: 20_000}
    assert tutorial_effort(stored(TrialState.FAIL, **steps)) == Effort(1, 1, 20_000)
    assert tutorial_effort(stored(TrialState.PRUNED, **steps)) == Effort(1, 1, 20_000)
    assert tutorial_effort(stored(TrialState.FAIL)) is None


def test_our_effort_of_a_waiting_trial_is_none() -> None:
    trial = stored(TrialState.COMPLETE)
    trial.state = TrialState.WAITING
    assert our_effort(trial) is None


# The tutorial's search space


def test_tutorial_sample_replays_and_can_be_described() -> None:
    params = {
        "gamma": 0.05, "max_grad_norm": 0.5, "gae_lambda": 0.1, "exponent_n_steps": 8,
        "learning_rate": 1e-3, "ent_coef": 1e-4, "net_arch": "tiny", "activation_fn": "relu",
    }  # fmt: skip
    assert serialize_kwargs(sample(FixedTrial(params))) == {
        "n_steps": 256, "gamma": 0.95, "gae_lambda": 0.9, "learning_rate": 1e-3,
        "ent_coef": 1e-4, "max_grad_norm": 0.5,
        "policy_kwargs": {
            "net_arch": {"pi": [64], "vf": [64]},
            "activation_fn": {"$import": "torch.nn.modules.activation:ReLU"},
        },
    }  # fmt: skip


def test_tutorial_space_has_the_tutorials_bounds() -> None:
    study = optuna.create_study()
    trial = study.ask()
    sample(trial)
    bounds = {
        name: (d.low, d.high)
        for name, d in trial.distributions.items()
        if isinstance(d, IntDistribution | FloatDistribution)
    }
    assert bounds == {
        "gamma": (1e-4, 0.1), "max_grad_norm": (0.3, 5.0), "gae_lambda": (1e-3, 0.2),
        "exponent_n_steps": (3, 10), "learning_rate": (1e-5, 1.0), "ent_coef": (1e-8, 0.1),
    }  # fmt: skip


# Tables


def test_markdown_puts_numbers_on_the_right() -> None:
    assert markdown(["a", "b"], [["x", "1"]]) == "| a | b |\n| --- | ---: |\n| x | 1 |"


def measured(cpu_s: float, wall_s: float = 1.0, alone: str | None = None) -> Measured:
    return Measured(cpu_s, wall_s, peak_mb=300 + cpu_s, n_steps=1, alone=alone)


def test_cost_table_is_of_medians() -> None:
    of_case = {
        0: [measured(1.0, 2.0), measured(2.0, 2.0), measured(9.0, 2.0)],
        1: [measured(1.0, 1.0)],
        8: [measured(4.0, 5.0), measured(5.0, 5.0), measured(3.0, 5.0)],
    }
    assert ratio(of_case, 8, "cpu_s") == 2.0
    head, _, row = cost_table({"ppo": of_case}).splitlines()
    assert head == "| case | SB3 | 1 member | 8 members | goal for 8 | peak MB of SB3, 1, 8 |"
    assert row == (
        "| ppo | 2.0 CPU s | 0.50 (wall 0.50) | 2.00 (wall 2.50) | ≤ 2.3 | 302, 301, 304 |"
    )


def test_cost_table_says_who_was_trained_alone() -> None:
    table = cost_table({"dqn": {0: [measured(1.0)], 4: [measured(4.0, alone="they differ")] * 2}})
    assert table.splitlines()[-1] == (
        "dqn, 4 members, were trained one after the other: they differ"
    )


def test_cases_have_the_goals() -> None:
    assert {name: case.goal for name, case in CASES.items()} == {
        "ppo": 2.3, "a2c": 2.3, "dqn": 3.0, "sac-64": 4.0, "td3-64": 4.0, "sac-256": 7.5,
        "td3-256": 7.5,
    }  # fmt: skip


def found(n_trials: int, *, n_unrecorded: int = 0, value: float = -200.0) -> Found:
    counts = Tally(n_trials, n_trials, 1000 * n_trials, n_unrecorded, seconds=120.0)
    return Found(counts, cpu_s=180.0, value=value, n_envs=8, kwargs={})


def test_rates_are_of_the_time_that_counts() -> None:
    assert rates(Tally(6, 12, 2400, 0, seconds=120.0)) == (3.0, 6.0, 20.0)


def test_peers_table_has_rates_ratios_claims_and_what_they_are_worth() -> None:
    returns = tuple((float(value), float(value)) for value in (-900, -300, -200, -100, 0))
    table = peers_table({
        "tutorial": Result(found(12), returns=returns),
        "zoo": Result(found(24)),
        "ours-8": Result(found(48, value=-150.4), returns=returns),
    })  # fmt: skip
    lines = table.splitlines()
    assert lines[0].startswith("| search | trials/min (over tutorial, zoo) | runs/min")
    assert lines[2].startswith("| tutorial | 6.0 (1.00, 0.50) | 6.0 (1.00, 0.50) | 100 (1.00, ")
    assert lines[3].endswith("| 1.5 | -200 | diverged |")
    ours = [cell.strip() for cell in lines[4].strip("|").split("|")]
    assert ours[:6] == [
        "ours-8", "24.0 (4.00, 2.00)", "24.0 (4.00, 2.00)", "400 (4.00, 2.00)", "1.5", "-150",
    ]  # fmt: skip
    assert ours[6].startswith("-200 (-")  # the IQM of five leaves out the lowest and the highest
    assert len(lines) == 5


def test_peers_table_has_no_interval_of_few_seeds() -> None:
    table = peers_table({"ours-1": Result(found(1), returns=((-1.0,), (-3.0,)))})
    assert table.splitlines()[-1].endswith("| -2 |")
    assert "over" not in table  # there is nobody to compare with


def test_peers_table_names_what_is_missing() -> None:
    table = peers_table({
        "tutorial": Result(found(1, n_unrecorded=2), returns=((1.0,), None)),
        "zoo": Result(None, "it could not be installed: no network"),
    })  # fmt: skip
    assert [line for line in table.splitlines()[3:] if line] == [
        "tutorial: 2 trials left no step count",
        "tutorial: 1 of 2 retrained runs diverged",
        "zoo: not measured: it could not be installed: no network",
    ]


def test_diverged_runs_count_as_the_worst_return_seen() -> None:
    scores = Result(found(1), returns=((1.0, -5.0), None)).scores
    assert scores is not None
    assert np.array_equal(scores, [[1.0, -5.0], [-5.0, -5.0]])
    assert Result(found(1), returns=(None, None)).scores is None


# The command


def test_a_search_that_cannot_be_run_has_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(settings: Settings, folder: Path) -> Found:
        raise SearchProblem(f"no {folder.name} for {settings.n_timesteps} steps")

    monkeypatch.setitem(PEERS, "zoo", fail)
    settings = Settings(n_timesteps=7, seconds=1.0, seed=0, folder=tmp_path)
    result = search_and_train("zoo", settings, n_seeds=1, n_episodes=1)
    assert result == Result(None, "no zoo for 7 steps")


def test_peers_exits_with_1_and_writes_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        benchmark_peers, "search_and_train", lambda *_: Result(None, "it does not start")
    )
    monkeypatch.chdir(tmp_path)
    assert benchmark.main(["peers", "--peers", "ours-4", "--out", "out.json"]) == 1
    assert "ours-4: not measured: it does not start" in capsys.readouterr().out
    assert '"problem": "it does not start"' in (tmp_path / "out.json").read_text()
