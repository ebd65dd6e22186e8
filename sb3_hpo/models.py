"""Which class, policy, device and threads a model gets."""

from __future__ import annotations

import importlib.metadata
import inspect
import platform
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from stable_baselines3.common.preprocessing import is_image_space

from sb3_hpo.algorithms import find_algorithm
from sb3_hpo.references import load_reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    import gymnasium as gym
    from stable_baselines3.common.base_class import BaseAlgorithm


def load_algorithm(algo: str) -> type[BaseAlgorithm]:
    """Import the class of an algorithm.

    Args:
        algo: A name of the table, or `package.module:Class`.

    Returns:
        The class.
    """
    algorithm: type[BaseAlgorithm] = load_reference(find_algorithm(algo).reference)
    return algorithm


def default_gamma(algorithm_class: type[BaseAlgorithm]) -> float:
    """Return the discount that an algorithm has when none is given."""
    parameter = inspect.signature(algorithm_class).parameters.get("gamma")
    return 0.99 if parameter is None else float(parameter.default)


def choose_policy(observation_space: gym.Space[Any]) -> str:
    """Return the name of the policy class for an observation space."""
    if type(observation_space).__name__ == "Dict":
        return "MultiInputPolicy"
    return "CnnPolicy" if is_image_space(observation_space) else "MlpPolicy"


def choose_device(observation_space: gym.Space[Any]) -> str:
    """Return `cpu` for vectors, where a GPU only costs, and `auto` for images."""
    spaces = getattr(observation_space, "spaces", {"": observation_space}).values()
    return "auto" if any(is_image_space(space) for space in spaces) else "cpu"


@contextmanager
def torch_threads(n_threads: int) -> Iterator[None]:
    """Run with a number of torch threads, then restore the caller's."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def versions() -> dict[str, str]:
    """Return the versions of Python and the packages that a result depends on."""
    packages = ("sb3-hpo", "stable-baselines3", "torch", "gymnasium", "numpy", "optuna")
    found = {name: importlib.metadata.version(name) for name in packages}
    return {"python": platform.python_version(), **found}
