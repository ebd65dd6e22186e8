from __future__ import annotations

from typing import Any

import pytest

from samplers import SpaceContext, sample_ppo_params, sample_sac_params
from sb3_hpo.testing import check_search_space

TARGET = "tests.support.envs:TargetEnv"


def sample_good(trial: Any) -> dict[str, Any]:
    return {"learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-2), "n_steps": 64}


def test_good_spaces_pass() -> None:
    check_search_space(sample_good, "ppo")
    check_search_space(sample_ppo_params, "ppo", env=TARGET, n_points=20, n_models=1)
    check_search_space(sample_sac_params, "sac", context=SpaceContext(n_envs=4), n_points=20)


class Forgetful:
    """Gives other arguments at every call."""

    n_calls = 0

    def __call__(self, _trial: Any) -> dict[str, Any]:
        self.n_calls += 1
        return {"learning_rate": float(self.n_calls), "n_steps": 64}


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (lambda _: [1], "returns list instead of a dict of keyword arguments"),
        (lambda _: {"n_steps": 64, "seed": 3}, "returns 'seed', which is an option of the study"),
        (lambda _: {"n_steps": 64, "gama": 3}, "returns 'gama', which ppo does not take"),
        (lambda _: {"n_steps": 64, "gamma": object()}, "cannot be written down"),
        (Forgetful(), "gives other arguments when the same parameters are replayed"),
        (lambda _: {"n_steps": 20_000}, "a rollout that is longer than 10000 steps"),
        (lambda _: {"n_steps": 65, "batch_size": 64}, "one sample for the last minibatch"),
        (
            lambda t: {
                "n_steps": t.suggest_int("n", 1, 64),
                "n_epochs": t.suggest_int("e", 1, t.params["n"]),
            },
            "changes the bounds of 'e' from point to point",
        ),
    ],
)
def test_each_mistake_is_found(sample: Any, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_search_space(sample, "ppo")


@pytest.mark.filterwarnings("ignore:Choices for a categorical distribution:UserWarning")
def test_choices_that_a_storage_cannot_hold_are_found() -> None:
    def sample(trial: Any) -> dict[str, Any]:
        layers = trial.suggest_categorical("net_arch", [(64,), (64, 64)])
        return {"n_steps": 64, "policy_kwargs": {"net_arch": list(layers)}}

    with pytest.raises(AssertionError, match="choices of 'net_arch' that a storage cannot hold"):
        check_search_space(sample, "ppo")


@pytest.mark.parametrize(
    ("algo", "kwargs", "message"),
    [
        ("sac", {"gradient_steps": 0}, "makes no update"),
        ("ppo", {"n_steps": 40, "batch_size": 64}, "makes SB3 warn: You have specified a mini-"),
        ("sac", {"learning_rate": 1e30}, "ends diverged: .*invalid values"),
    ],
)
def test_mistakes_of_training_are_found(algo: str, kwargs: dict[str, Any], message: str) -> None:
    context = SpaceContext(n_timesteps=2_000)
    with pytest.raises(AssertionError, match=message):
        check_search_space(lambda _: kwargs, algo, context=context, env=TARGET, n_points=1)


def test_all_mistakes_are_told_with_a_point_each() -> None:
    def sample(trial: Any) -> dict[str, Any]:
        return {"gama": trial.suggest_float("gama", 0, 1), "n_steps": 20_000}

    with pytest.raises(AssertionError) as caught:
        check_search_space(sample, "ppo")
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert all("(at {'gama': 0." in line for line in lines)
