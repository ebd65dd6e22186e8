"""Actions of all members at once."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gymnasium.spaces import Dict, Space
from stable_baselines3.common.distributions import (
    CategoricalDistribution,
    DiagGaussianDistribution,
    MultiCategoricalDistribution,
    SquashedDiagGaussianDistribution,
)

from sb3_hpo.training.batch.structure import CannotBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stable_baselines3.common.distributions import Distribution

Noise = tuple[torch.Tensor, ...]


def draw_noise(distribution: Distribution, n: int) -> Noise:
    """Draw from torch's global stream what SB3 would draw to sample n actions.

    Args:
        distribution: The distribution of a policy.
        n: How many actions.

    Returns:
        Standard normal numbers, [n, dimensions], or for each discrete dimension exponential ones,
        [n, actions]: the smallest of exponential numbers divided by probabilities is how
        `torch.multinomial` draws one sample.

    Raises:
        CannotBatch: SB3 samples this distribution in another way.
    """
    kind = type(distribution)
    sizes: Any = distribution  # its sizes are named by its kind
    if kind in (DiagGaussianDistribution, SquashedDiagGaussianDistribution):
        return (torch.randn(n, sizes.action_dim),)
    if kind is CategoricalDistribution:
        return (torch.empty(n, sizes.action_dim).exponential_(),)
    if kind is MultiCategoricalDistribution:
        return tuple(torch.empty(n, int(size)).exponential_() for size in sizes.action_dims)
    raise CannotBatch(f"actions with a {kind.__name__} have no batched form")


@contextmanager
def sampling(distribution: Distribution, *noises: Noise) -> Iterator[None]:
    """Let a distribution's samples be made of given noise.

    Args:
        distribution: The distribution of a policy.
        *noises: One for each sample that will be drawn.
    """
    rest = list(noises)

    def sample() -> torch.Tensor:
        noise = rest.pop(0)
        inner: Any = distribution.distribution
        if isinstance(distribution, DiagGaussianDistribution):
            gaussian: torch.Tensor = inner.mean + inner.stddev * noise[0]
            if not isinstance(distribution, SquashedDiagGaussianDistribution):
                return gaussian
            distribution.gaussian_actions = gaussian
            return torch.tanh(gaussian)
        if isinstance(distribution, CategoricalDistribution):
            return torch.argmax(inner.probs / noise[0], dim=-1)
        parts = zip(inner, noise, strict=True)
        return torch.stack([torch.argmax(p.probs / n, dim=-1) for p, n in parts], dim=1)

    vars(distribution)["sample"] = sample
    try:
        yield
    finally:
        del vars(distribution)["sample"]


def with_parameters(
    module: torch.nn.Module, parameters: dict[str, torch.Tensor], call: Callable[..., Any]
) -> Any:
    """Call something while a module has other parameters.

    Args:
        parameters: By name.
        call: What to call; it uses the module.

    Returns:
        What it returned.
    """
    # `torch.func.functional_call` leaves the new parameters behind in a part that has two names,
    # as a features extractor shared by actor and critic has.
    new = {id(old): parameters[name] for name, old in module.named_parameters()}
    slots: list[tuple[dict[str, Any], str, Any]] = [
        (part._parameters, name, old)
        for part in module.modules()
        for name, old in part._parameters.items()
        if old is not None
    ]
    distribution = vars(getattr(module, "action_dist", None) or torch.nn.Module())
    kept = dict(distribution)  # else it goes on to hold tensors of this call
    for slot, name, old in slots:
        slot[name] = new[id(old)]
    try:
        return call()
    finally:
        distribution.clear()
        distribution.update(kept)
        for slot, name, old in slots:
            slot[name] = old


def example(space: Space[Any], n: int) -> Any:
    """Return n observations of zeros.

    Args:
        n: How many.
    """
    if isinstance(space, Dict):
        return {key: example(part, n) for key, part in space.spaces.items()}
    return np.zeros((n, *(space.shape or ())), dtype=space.dtype)
