from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import (
    BernoulliDistribution,
    CategoricalDistribution,
    DiagGaussianDistribution,
    MultiCategoricalDistribution,
    SquashedDiagGaussianDistribution,
    StateDependentNoiseDistribution,
)

from sb3_hpo.training.batch.acting import draw_noise, example, sampling, with_parameters
from sb3_hpo.training.batch.structure import CannotBatch

# Torch draws up to 15 and from 16 normal numbers in different ways.
SIZES = (1, 3, 7, 8, 40)


def gaussian(kind: Any, n: int) -> Any:
    mean, log_std = torch.linspace(-1, 1, 2 * n).reshape(n, 2), torch.tensor([-0.5, 0.3])
    return kind(2).proba_distribution(mean, log_std)


def categorical(n: int) -> Any:
    return CategoricalDistribution(5).proba_distribution(
        torch.linspace(-2, 2, 5 * n).reshape(n, 5)
    )


def multi_categorical(n: int) -> Any:
    logits = torch.linspace(-2, 2, 7 * n).reshape(n, 7)
    return MultiCategoricalDistribution([4, 3]).proba_distribution(logits)


MAKERS = {
    "gaussian": lambda n: gaussian(DiagGaussianDistribution, n),
    "squashed": lambda n: gaussian(SquashedDiagGaussianDistribution, n),
    "categorical": categorical,
    "multi categorical": multi_categorical,
}


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("name", MAKERS)
def test_noise_gives_the_actions_that_torch_draws(name: str, n: int) -> None:
    distribution = MAKERS[name](n)
    for seed in range(20):
        torch.manual_seed(seed)
        theirs, after = distribution.sample(), torch.get_rng_state()
        torch.manual_seed(seed)
        noise = draw_noise(distribution, n)
        assert torch.equal(torch.get_rng_state(), after)
        with sampling(distribution, noise):
            ours = distribution.sample()
        assert ours.dtype == theirs.dtype
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


def test_sampling_takes_one_noise_a_sample_and_leaves_the_distribution_as_it_was() -> None:
    distribution = MAKERS["gaussian"](2)
    before = dict(vars(distribution))
    noises = [(torch.full((2, 2), value),) for value in (0.0, 1.0)]
    with sampling(distribution, *noises):
        first, second = distribution.sample(), distribution.sample()
    inner = distribution.distribution
    assert torch.equal(first, inner.mean)
    assert torch.equal(second, inner.mean + inner.stddev)
    assert vars(distribution) == before


@pytest.mark.parametrize("kind", [BernoulliDistribution, StateDependentNoiseDistribution])
def test_noise_of_other_distributions_is_refused(kind: Any) -> None:
    with pytest.raises(CannotBatch, match=f"actions with a {kind.__name__} have"):
        draw_noise(kind(2), 1)


class Tied(torch.nn.Module):
    """The same part by two names."""

    def __init__(self) -> None:
        super().__init__()
        self.one = self.other = torch.nn.Linear(2, 2, bias=False)
        self.own = torch.nn.Linear(2, 2, bias=False)

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.own(self.other(self.one(given)))
        return result


def test_with_parameters_reaches_parts_with_two_names_and_puts_all_back() -> None:
    module, given = Tied(), torch.ones(1, 2)
    before = module(given)
    own = {name: (id(p), p.clone()) for name, p in module.named_parameters()}
    new = {"one.weight": 2 * torch.eye(2), "own.weight": 3 * torch.eye(2)}
    assert with_parameters(module, new, lambda: module(given)).tolist() == [[12.0, 12.0]]
    assert torch.equal(module(given), before)
    with pytest.raises(ZeroDivisionError):
        with_parameters(module, new, lambda: 1 // 0)
    assert all(own[n][0] == id(p) and own[n][1].equal(p) for n, p in module.named_parameters())
    assert isinstance(module.other.weight, torch.nn.Parameter)


def test_example_has_the_shapes_and_types_of_the_space() -> None:
    image = spaces.Box(0, 255, (4, 4, 3), dtype=np.uint8)
    space = spaces.Dict({"image": image, "goal": spaces.Discrete(3)})
    made = example(space, 2)
    assert made["image"].shape == (2, 4, 4, 3)
    assert made["image"].dtype == np.uint8
    assert made["goal"].shape == (2,)
    assert made["goal"].dtype == np.int64
    assert not made["image"].any()
