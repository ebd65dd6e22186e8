"""What RL Zoo's authors have tuned by hand must be points of the search spaces."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from optuna.trial import FixedTrial

from samplers import SEARCH_SPACES
from sb3_hpo.algorithms.kwargs import serialize_kwargs
from scripts.check_reachability import (
    VALUES,
    Reach,
    main,
    reach_of_zoo,
    reach_ours,
    read_by_algorithm,
    share,
)
from scripts.extract_zoo_values import read_dict
from scripts.zoo_points import NearestTrial, make_context, to_point

if TYPE_CHECKING:
    from pathlib import Path

BY_ALGORITHM = read_by_algorithm(VALUES)


def entry_of(algo: str, name: str) -> dict[str, Any]:
    return next(entry for entry in BY_ALGORITHM[algo] if entry["entry"] == name)


def test_values_of_every_file_are_there() -> None:
    # All of RL Zoo's 2.9.2; it has no file for MaskablePPO.
    assert {algo: len(entries) for algo, entries in BY_ALGORITHM.items()} == {
        "a2c": 22,
        "ars": 23,
        "crossq": 16,
        "ddpg": 20,
        "dqn": 6,
        "ppo": 44,
        "qrdqn": 6,
        "recurrent_ppo": 32,
        "sac": 29,
        "td3": 21,
        "tqc": 38,
        "trpo": 26,
    }


@pytest.mark.parametrize("algo", BY_ALGORITHM)
def test_nearly_all_tuned_values_are_reached(algo: str) -> None:
    reaches = [reach_ours(entry) for entry in BY_ALGORITHM[algo]]
    assert share(reach.effective for reach in reaches) >= 97.0
    assert share(reach.literal for reach in reaches) >= 96.0


@pytest.mark.parametrize("algo", BY_ALGORITHM)
def test_point_next_to_every_entry_is_found_again_from_its_arguments(algo: str) -> None:
    space = SEARCH_SPACES[algo]
    for entry in BY_ALGORITHM[algo]:
        context = make_context(entry)
        nearest = NearestTrial(to_point(entry), space.default_params)
        kwargs = space.sample(nearest, context=context, size="full")
        found = FixedTrial(space.params_of(kwargs, context=context))
        again = space.sample(found, context=context, size="full")
        assert serialize_kwargs(again) == serialize_kwargs(kwargs), entry["entry"]


def test_rl_zoo_s_own_space_reaches_less() -> None:
    pytest.importorskip("rl_zoo3")
    reaches = [reach_of_zoo(entry) for entry in BY_ALGORITHM["ars"]]
    assert share(reach.literal for reach in reaches if reach) < 50


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", 0.5),
        ("learning_rate", "lin_0.5"),
        ("batch_size", 96),
        ("n_epochs", 40),
        ("gamma", 0.5),
        ("clip_range", "lin_0.9"),
        ("net_arch", {"pi": [64, 32], "vf": [64, 32]}),
        ("activation_fn", "Sigmoid"),
        ("vf_coef", 7.0),
    ],
)
def test_value_outside_of_the_space_is_not_reached(name: str, value: Any) -> None:
    entry = entry_of("ppo", "CartPole-v1")
    assert all(reach_ours(entry).literal.values())
    entry = {**entry, "values": {**entry["values"], name: value}}
    reached: Reach = reach_ours(entry)
    assert reached.literal[name] is False
    assert reached.effective[name] is False


def test_larger_buffer_counts_as_reached_only_above_the_budget() -> None:
    entry = entry_of("dqn", "CartPole-v1")  # 50,000 steps
    for buffer_size, literal, effective in (
        (50_000, True, True),
        (100_000, False, True),
        (5_000, False, False),
    ):
        changed = {**entry, "values": {"buffer_size": buffer_size}}
        reached = reach_ours(changed)
        assert (reached.literal, reached.effective) == (
            {"buffer_size": literal},
            {"buffer_size": effective},
        )


def test_nearest_trial_stays_in_the_range() -> None:
    trial = NearestTrial({"a": 9.7, "b": 3.4, "c": "z"}, {})
    assert trial.suggest_float("a", 0.0, 1.0) == 1.0
    assert trial.suggest_int("a", 1, 7, step=3) == 7
    assert trial.suggest_int("b", 1, 7, step=3) == 4
    assert trial.suggest_categorical("c", ["x", "y"]) == "x"
    assert trial.suggest_float("d", 0.25, 1.0) == 0.25


def test_table_has_a_row_for_each_algorithm(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "values.json"
    entry = entry_of("ppo", "CartPole-v1")
    entry = {**entry, "values": {**entry["values"], "n_epochs": 40}}
    path.write_text(json.dumps([entry]))
    assert main(["--values", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    n_values = len(entry["values"])
    assert lines[1].split()[:4] == ["ppo", "1", str(n_values), f"{100 - 100 / n_values:.1f}"]
    assert lines[-1] == "  ppo CartPole-v1 (T=100000, n_envs=8): n_epochs = 40; not searched"


@pytest.mark.parametrize("text", ["dict(a=__import__('os').getcwd())", "dict(a=open('x'))"])
def test_code_in_a_zoo_file_is_not_run(text: str) -> None:
    with pytest.raises(ValueError, match="malformed node"):
        read_dict(text)
