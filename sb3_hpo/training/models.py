"""Which class, policy, device and threads a model gets, and whether it fits the problem."""

from __future__ import annotations

import importlib.metadata
import inspect
import platform
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete
from stable_baselines3.common.preprocessing import is_image_space, is_image_space_channels_first

from sb3_hpo.algorithms.registry import (
    ALGORITHMS,
    find_algorithm,
    load_algorithm,
    takes_masks,
)
from sb3_hpo.training.batch.learners.learner import has_images
from sb3_hpo.utils.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import gymnasium as gym
    from stable_baselines3.common.base_class import BaseAlgorithm

    from sb3_hpo.config.training_config import TrainingConfig
    from sb3_hpo.envs.problem import Problem

_SMALLEST_IMAGE = 36  # that the three convolutions of SB3's NatureCNN leave something of
_OBSERVATIONS = (Box, Discrete, MultiBinary, MultiDiscrete)


def choose_policy(algorithm_class: type[BaseAlgorithm], observation_space: gym.Space[Any]) -> str:
    """Return the name of an algorithm's policy class for an observation space.

    Args:
        observation_space: As the agent sees it.

    Returns:
        Its Mlp, Cnn or MultiInput policy; the one with an LSTM where it has no other.

    Raises:
        UserError: It has none for such observations.
    """
    kind = "Cnn" if is_image_space(observation_space) else "Mlp"
    if type(observation_space).__name__ == "Dict":
        kind = "MultiInput"
    known = algorithm_class.policy_aliases
    for name in (f"{kind}Policy", f"{kind}LstmPolicy"):
        if name in known:
            return name
    raise UserError(
        f"algo: {algorithm_class.__name__} has no {kind}Policy, which the observations "
        f"{observation_space} need; it has {', '.join(sorted(known))}"
    )


def check_problem(config: TrainingConfig, problem: Problem) -> None:
    """Refuse an algorithm or an option that does not fit the environment.

    Args:
        problem: The environment, probed.

    Raises:
        UserError: All that does not fit.
    """
    algorithm_class = load_algorithm(config.algo)
    mistakes = [
        mistake
        for mistake in (
            _observation_mistake(config.algo, problem.observation_space),
            _action_mistake(config.algo, problem.action_space),
            _mask_mistake(config, algorithm_class, problem),
            _normalize_mistake(config, problem),
            _her_mistake(config, algorithm_class, problem),
        )
        if mistake is not None
    ]
    if mistakes:
        raise UserError("; ".join(mistakes))
    if config.policy is None:
        name = choose_policy(algorithm_class, problem.observation_space)
        _check_image_size(config, name, problem.observation_space)


def _check_image_size(config: TrainingConfig, policy: str, space: gym.Space[Any]) -> None:
    if not isinstance(space, Box) or not policy.startswith("Cnn"):
        return
    if "features_extractor_class" in config.policy_kwargs:
        return
    sides = space.shape
    height_and_width = sides[1:] if is_image_space_channels_first(space) else sides[:-1]
    if min(height_and_width) < _SMALLEST_IMAGE:
        raise UserError(
            f"policy: images of {sides} are too small for {policy}, which needs at least "
            f"{_SMALLEST_IMAGE} x {_SMALLEST_IMAGE}; pass --policy MlpPolicy"
        )


def _observation_mistake(algo: str, space: gym.Space[Any]) -> str | None:
    """Refuse what Stable-Baselines3's policies and buffers have no place for."""
    parts = space.spaces if isinstance(space, Dict) else {"": space}
    wrong = {name: part for name, part in parts.items() if not isinstance(part, _OBSERVATIONS)}
    if not wrong or ":" in algo:
        return None
    name, part = next(iter(wrong.items()))
    where = f"its part {name!r} is" if name else "it is"
    return (
        "env: observations must be Box, Discrete, MultiDiscrete, MultiBinary, or a Dict of these, "
        f"but {where} {part}; {_wrapper_hint(space)}"
    )


def _wrapper_hint(space: gym.Space[Any]) -> str:
    """Say which wrapper makes observations of a space that SB3 knows."""
    if isinstance(space, Dict) and {"image", "mission"} <= set(space.spaces):  # MiniGrid
        return "pass --wrapper minigrid.wrappers:ImgObsWrapper --policy MlpPolicy"
    return "put a wrapper around it that changes them: --wrapper package.module:Wrapper"


def _action_mistake(algo: str, space: gym.Space[Any]) -> str | None:
    kind, allowed = type(space).__name__, find_algorithm(algo).action_spaces
    if not allowed or kind in allowed:
        return None
    fitting = [name for name, item in ALGORITHMS.items() if kind in item.action_spaces]
    return (
        f"algo: {algo} acts in {' or '.join(allowed)} spaces, but the environment's action "
        f"space is {space}; "
        + (f"use one of {', '.join(fitting)}" if fitting else "no algorithm here can use it")
    )


def _mask_mistake(
    config: TrainingConfig, algorithm_class: type[BaseAlgorithm], problem: Problem
) -> str | None:
    if problem.has_action_masks or not takes_masks(algorithm_class):
        return None
    return (
        f"algo: {config.algo} needs an environment with a method `action_masks()` that returns "
        "which actions are valid, but this one has none; wrap it in sb3_contrib's ActionMasker "
        "with --wrapper, or use ppo"
    )


def _normalize_mistake(config: TrainingConfig, problem: Problem) -> str | None:
    space = problem.observation_space
    if not config.normalize:
        return None
    if type(space).__name__ not in ("Box", "Dict"):
        return f"normalize: needs Box or Dict observations, but the space is {space}"
    if has_images(space):
        return "normalize: does not go with images, which the policy scales itself"
    return None


def _her_mistake(
    config: TrainingConfig, algorithm_class: type[BaseAlgorithm], problem: Problem
) -> str | None:
    if not config.her:
        return None
    takes_buffers = "replay_buffer_class" in inspect.signature(algorithm_class).parameters
    if not (find_algorithm(config.algo).supports_her and takes_buffers):
        fitting = [name for name, item in ALGORITHMS.items() if item.supports_her]
        return f"her: {config.algo} cannot use it; {', '.join(fitting)} can"
    if not problem.has_goals:
        return (
            "her: needs observations with `observation`, `achieved_goal` and `desired_goal`, but "
            f"the space is {problem.observation_space}"
        )
    if problem.longest_episode is None:
        return (
            "her: needs to know the longest episode, because learning starts after one, but the "
            "environment has no time limit; wrap it in gymnasium.wrappers.TimeLimit, or register "
            "it with max_episode_steps"
        )
    first_end = problem.longest_episode * config.n_envs
    if first_end >= config.n_timesteps:
        return (
            "her: `longest episode * n_envs < n_timesteps` must hold, or nothing is learned, but "
            f"got {problem.longest_episode} * {config.n_envs} = {first_end} >= "
            f"{config.n_timesteps}; train longer or use fewer environments"
        )
    return None


def check_device(device: str | None) -> None:
    """Refuse a CUDA device that is not there: Stable-Baselines3 would silently take the CPU.

    Args:
        device: What `--device` says.

    Raises:
        UserError: It is no device, or this machine or this torch has none, or not so many.
    """
    if device in (None, "auto"):
        return
    import torch

    try:
        wanted = torch.device(device)
    except RuntimeError as error:
        text = str(error).splitlines()[0]
        raise UserError(f"device: {device!r} is none: {text}") from error
    n_there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted.type == "cuda" and (wanted.index or 0) >= n_there:
        raise UserError(
            f"device: {device} is not there: torch {torch.__version__} sees {n_there} of them; "
            "leave --device out, or install the torch build for your GPU"
        )


def choose_device(observation_space: gym.Space[Any]) -> str:
    """Return `cpu` for vectors, where a GPU only costs, and `auto` for images."""
    return "auto" if has_images(observation_space) else "cpu"


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
