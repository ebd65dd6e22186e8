"""The user's SB3 callbacks in training runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from sb3_hpo.envs.factory import make_evaluation_envs
from sb3_hpo.training.callbacks import make_callbacks
from sb3_hpo.training.evaluation_episodes import EpisodePlan, run_episodes
from sb3_hpo.training.hooks import Hooks, RunRequest
from sb3_hpo.training.train import train
from sb3_hpo.utils.errors import UserError
from tests.support.callbacks import HERE, Counts, Raises, Sets, Stops, make_counts
from tests.training_tests.test_train import PPO, SEEDS, config, run


@pytest.fixture(autouse=True)
def none_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Counts, "started", [])


def test_callbacks_are_made_anew_for_each_run_with_their_arguments() -> None:
    callbacks = [Counts, {Counts: {"every": 10, "net_class": torch.nn.ReLU}}, make_counts]
    for seed in (1, 2):
        run(config(callbacks=callbacks), seed=seed)
    assert [item.every for item in Counts.started] == [1, 10, 7] * 2
    assert [item.n_counted for item in Counts.started] == [320, 32, 45] * 2  # of 640 steps in two
    assert [item.n_ends for item in Counts.started] == [1] * 6
    assert Counts.started[1].net_class is torch.nn.ReLU
    assert len({id(item) for item in Counts.started}) == 6


def test_callbacks_change_nothing_of_a_run_that_they_only_watch() -> None:
    plain = run(config("TargetEnv", exact=True)).record
    watched = run(config("TargetEnv", callbacks=[Counts])).record
    assert [e.returns for e in watched.evaluations] == [e.returns for e in plain.evaluations]
    assert watched.n_together == 0


def test_runs_with_callbacks_are_trained_one_after_the_other_and_it_is_said_once() -> None:
    reasons: list[str] = []
    requests = [RunRequest(PPO, seed) for seed in (1, 2, 3)]
    config_ = config("TargetEnv", callbacks=[Counts])
    runs = list(train(config_, requests, SEEDS, Hooks(on_alone=reasons.append)))
    assert reasons == ["callbacks of yours are for one run at a time"]
    assert [(item.record.seed, item.record.n_together) for item in runs] == [
        (1, 0),
        (2, 0),
        (3, 0),
    ]
    assert [item.n_counted for item in Counts.started] == [320] * 3


def test_evaluation_sees_the_policy_as_callbacks_leave_it() -> None:
    record = run(config("TargetEnv", callbacks=[Sets]), {**PPO, "learning_rate": 1e-12}).record
    # Ten steps at a distance of 0 from the target; at the end of 0.25.
    values = [evaluation.value for evaluation in record.evaluations]
    assert values == pytest.approx([0.0] * 9 + [-2.5], abs=1e-4)


def test_callback_that_stops_leaves_the_policy_as_it_ended_for_the_rest() -> None:
    config_ = config("TargetEnv", callbacks=[{Stops: {"at": 100}}, Counts])
    trained = run(config_)
    record = trained.record
    assert (record.outcome, record.n_steps) == ("finished", 100)
    assert record.reason == "a callback ended the training at step 100"
    assert [e.nominal_step for e in record.evaluations] == [64 * k for k in range(1, 11)]
    assert [e.actual_step for e in record.evaluations] == [64] + [100] * 9
    assert trained.model is not None
    venv = make_evaluation_envs(config_, 100)
    final = run_episodes(trained.model, venv, EpisodePlan(episode_seeds=SEEDS))
    assert {e.returns for e in record.evaluations[1:]} == {final.returns}
    assert [item.n_ends for item in Counts.started] == [1, 1]


def test_run_that_a_callback_has_ended_is_not_pruned_afterwards() -> None:
    hooks = Hooks(on_evaluation=lambda _, evaluation: (0,) * (evaluation.nominal_step > 64))
    record = run(config(callbacks=[{Stops: {"at": 100}}]), hooks=hooks).record
    assert (record.outcome, len(record.evaluations)) == ("finished", 10)


def test_run_that_is_trained_to_its_end_has_no_reason() -> None:
    record = run(config(callbacks=[{Stops: {"at": 10_000}}])).record
    assert (record.outcome, record.reason, record.n_steps) == ("finished", None, 640)


def test_callback_that_raises_is_a_bug_at_its_place() -> None:
    with pytest.raises(KeyError, match="no such layer") as caught:
        run(config(callbacks=[Raises]))
    assert Path(caught.traceback[-1].path).name == "callbacks.py"


@pytest.mark.parametrize(
    ("values", "hooks", "outcome"),
    [
        ({"callbacks": [Counts]}, Hooks(on_evaluation=lambda *_: (0,)), "dropped"),
        ({"callbacks": [Counts, f"{HERE}:Poisons"]}, Hooks(), "diverged"),
    ],
)
def test_callbacks_come_to_their_end_once_however_a_run_ends(
    values: dict[str, Any], hooks: Hooks, outcome: str
) -> None:
    assert run(config(**values), hooks=hooks).record.outcome == outcome
    assert [item.n_ends for item in Counts.started] == [1]


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (f"{HERE}:Cuonts", f"callbacks: {HERE}:Cuonts: unknown name 'Cuonts'; did you mean 'Coun"),
        ("no_module:Log", "callbacks: no module named 'no_module': is it installed"),
        ({Counts: {"evry": 3}}, f"callbacks: making {HERE}:Counts failed: TypeError: "),
        (f"{HERE}:fail", f"callbacks: making {HERE}:fail failed: OSError: no tracking server ("),
        (f"{HERE}:make_nothing", f"callbacks: {HERE}:make_nothing must be a subclass of SB3's B"),
    ],
)  # fmt: skip
def test_callback_that_is_none_is_refused(callback: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        make_callbacks(config(callbacks=[callback]))
    assert str(caught.value).startswith(message)
