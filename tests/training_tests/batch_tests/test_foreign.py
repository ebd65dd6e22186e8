from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from stable_baselines3 import A2C, SAC

from sb3_hpo.training.batch.learners.own_modules import check_modules
from sb3_hpo.training.batch.structure import CannotBatch
from tests.training_tests.batch_tests.members import (
    NETS,
    Case,
    TwoLayers,
    WithDropout,
    equal,
    weights,
)

if TYPE_CHECKING:
    import gymnasium as gym


class Counting(TwoLayers):
    """Counts its calls, in Python."""

    def __init__(self, observation_space: gym.Space[Any]) -> None:
        super().__init__(observation_space)
        self.seen = {"calls": 0}

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        self.seen["calls"] += 1
        return super().forward(observations)


class CountingSteps(Counting):
    """Counts in training mode only."""

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return super().forward(observations) if self.training else self.second(self.norm.bias)


class Scaling(TwoLayers):
    """Scales a little in training mode."""

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return super().forward(observations) * (1.001 if self.training else 1.0)


class Branching(TwoLayers):
    """Calls a part of its own in training mode only."""

    def __init__(self, observation_space: gym.Space[Any]) -> None:
        super().__init__(observation_space)
        self.extra = Identity()

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = super().forward(observations)
        return self.extra(result) if self.training else result


class Identity(torch.nn.Module):
    def forward(self, given: torch.Tensor) -> torch.Tensor:
        return given


class Noisy(TwoLayers):
    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return super().forward(observations + 0.01 * torch.randn_like(observations))


class Uncopied(TwoLayers):
    def __init__(self, observation_space: gym.Space[Any]) -> None:
        super().__init__(observation_space)
        self.stream = (i for i in range(3))


class Activation(torch.nn.Tanh):
    """A user's activation, which counts its calls."""

    calls = 0

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return super().forward(given)


def model_with(algo: Any = A2C, **kwargs: Any) -> Any:
    return Case(algo, 64, {"policy_kwargs": {**NETS, **kwargs}}, ({},)).make(0)


@pytest.mark.parametrize(
    ("extractor", "reason"),
    [
        (Counting, "Counting changes its attributes when it is called"),
        (CountingSteps, "CountingSteps changes its attributes"),
        (Scaling, "Scaling computes random values, or others in training mode"),
        (Branching, "Branching computes random values"),
        (Noisy, "Noisy computes random values"),
        (WithDropout, "WithDropout computes random values"),
        (Uncopied, "a copy of the policy cannot be tried .TypeError"),
    ],
)
@pytest.mark.parametrize("algo", [A2C, SAC])
def test_modules_that_a_graph_would_freeze_are_refused(
    algo: Any, extractor: Any, reason: str
) -> None:
    with pytest.raises(CannotBatch, match=reason):
        check_modules(model_with(algo, features_extractor_class=extractor).policy)


def test_activations_are_modules_too() -> None:
    with pytest.raises(CannotBatch, match="Activation changes its attributes"):
        check_modules(model_with(activation_fn=Activation).policy)


@pytest.mark.parametrize("extractor", [TwoLayers, Counting])
def test_trial_has_no_effects(extractor: Any) -> None:
    model = model_with(features_extractor_class=extractor)
    policy = model.policy
    policy.observation_space.seed(3)
    before, state, streams = weights(model), vars(policy).copy(), _streams()
    try:
        check_modules(policy)
    except CannotBatch:
        assert policy.features_extractor.seen == {"calls": 0}
    assert equal(weights(model), before)
    assert vars(policy) == state
    assert _streams() == streams
    drawn = policy.observation_space.sample()
    policy.observation_space.seed(3)
    assert (drawn == policy.observation_space.sample()).all()


def _streams() -> list[str]:
    states = np.random.get_state(), random.getstate(), torch.get_rng_state().tolist()  # noqa: NPY002
    return [str(state) for state in states]
