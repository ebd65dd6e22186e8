from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.noise import (
    ActionNoise,
    NormalActionNoise,
    OrnsteinUhlenbeckActionNoise,
    VectorizedActionNoise,
)

from sb3_hpo.algorithms.kwargs import deserialize_kwargs, merge, serialize_kwargs
from sb3_hpo.utils.errors import UserError
from sb3_hpo.utils.files import format_yaml, parse_yaml

KWARGS: dict[str, Any] = {
    "learning_rate": 3e-4,
    "n_steps": 128,
    "ent_coef": "auto",
    "target_kl": None,
    "use_sde": False,
    "train_freq": (1, "episode"),
    "policy_kwargs": {
        "net_arch": {"pi": [64, 64], "qf": [256]},
        "activation_fn": torch.nn.Tanh,
        "optimizer_class": torch.optim.AdamW,
        "optimizer_kwargs": {"betas": (0.9, 0.95)},
    },
}


def noises() -> list[ActionNoise]:
    mean, sigma = np.array([0.0, 0.5]), np.array([0.1, 0.2])
    return [
        NormalActionNoise(mean=mean, sigma=sigma),
        OrnsteinUhlenbeckActionNoise(mean, sigma, theta=0.3, dt=0.05),
        OrnsteinUhlenbeckActionNoise(mean, sigma, initial_noise=np.array([1.0, 2.0])),
    ]


def through_yaml(values: Any) -> Any:
    return parse_yaml(format_yaml(values))


def through_json(values: Any) -> Any:
    return json.loads(json.dumps(values))


@pytest.mark.parametrize("way", [through_yaml, through_json])
def test_build_of_describe_gives_equal_kwargs(way: Any) -> None:
    built = deserialize_kwargs(way(serialize_kwargs(KWARGS)))
    assert built == KWARGS
    assert type(built["train_freq"]) is tuple


@pytest.mark.parametrize("way", [through_yaml, through_json])
@pytest.mark.parametrize("i", [0, 1, 2])
def test_build_of_described_noise_draws_the_same(way: Any, i: int) -> None:
    noise = noises()[i]
    built = deserialize_kwargs(way(serialize_kwargs({"action_noise": noise})))["action_noise"]
    draws = []
    for each in (noise, built):
        np.random.seed(0)  # noqa: NPY002 - SB3's noise draws from the global stream
        draws.append([each().tolist() for _ in range(3)])
    assert type(built) is type(noise)
    assert draws[0] == draws[1]


def test_describe_noise_names_class_and_arguments() -> None:
    assert serialize_kwargs(noises()[0]) == {
        "$call": "stable_baselines3.common.noise:NormalActionNoise",
        "mean": [0.0, 0.5],
        "sigma": [0.1, 0.2],
    }


def test_describe_numpy_values_gives_plain_ones() -> None:
    described = serialize_kwargs(
        {"a": np.float32(0.5), "b": np.int64(3), "c": np.array([1.0, 2.0])}
    )
    assert described == {"a": 0.5, "b": 3, "c": [1.0, 2.0]}
    assert [type(value) for value in described.values()] == [float, int, list]


@pytest.mark.parametrize(
    "value",
    [object(), {1, 2}, VectorizedActionNoise(NormalActionNoise(np.zeros(1), np.ones(1)), 2)],
)
def test_describe_unknown_object_is_refused(value: Any) -> None:
    with pytest.raises(UserError, match="cannot be written down: use numbers, text"):
        serialize_kwargs({"policy_kwargs": [value]})


def test_describe_local_function_is_refused() -> None:
    with pytest.raises(UserError, match="cannot be imported by a worker process"):
        serialize_kwargs({"learning_rate": lambda progress: progress * 1e-3})


@pytest.mark.parametrize("key", [1, "$import"])
def test_describe_key_that_means_something_else_is_refused(key: Any) -> None:
    with pytest.raises(UserError, match=r"keys must be text other than \$import, \$call, \$tuple"):
        serialize_kwargs({"net_arch": {key: [64]}})


def test_build_twice_shares_nothing() -> None:
    description = serialize_kwargs({**KWARGS, "action_noise": noises()[0]})
    first, second = deserialize_kwargs(description), deserialize_kwargs(description)
    first["policy_kwargs"]["net_arch"]["pi"].append(1)
    assert second["policy_kwargs"]["net_arch"]["pi"] == [64, 64]
    assert description["policy_kwargs"]["net_arch"]["pi"] == [64, 64]
    assert first["action_noise"] is not second["action_noise"]


def test_build_unknown_class_is_a_user_error() -> None:
    with pytest.raises(UserError, match="unknown name 'Tan'"):
        deserialize_kwargs({"activation_fn": {"$import": "torch.nn:Tan"}})


@pytest.mark.parametrize(
    ("description", "message"),
    [
        (
            {"$call": "subprocess:getoutput", "cmd": "true"},
            "unknown object 'subprocess:getoutput'",
        ),
        ({"$call": "fractions:Fraction", "numerator": 1}, "unknown object 'fractions:Fraction'"),
        ({"$call": "samplers.schedules:CosineSchedule", "start": 1}, "unknown argument 'start'"),
    ],
)
def test_build_calls_nothing_but_schedules_and_noises(
    description: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        deserialize_kwargs(description)


def test_merge_nested_mappings_keeps_both_and_the_second_wins() -> None:
    base = {"a": {"x": 1, "y": 2}, "b": [1], "c": {"z": 1}}
    over = {"a": {"y": 3}, "b": [2], "c": 4, "d": {"w": 5}}
    assert merge(base, over) == {"a": {"x": 1, "y": 3}, "b": [2], "c": 4, "d": {"w": 5}}
    assert base == {"a": {"x": 1, "y": 2}, "b": [1], "c": {"z": 1}}
