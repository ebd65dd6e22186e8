"""The contract of search spaces, for the shipped ones and for your own.

In a test of yours:

    from sb3_hpo.testing import check_search_space

    def test_my_space():
        check_search_space(sample_my_params, "ppo", env="CartPole-v1")
"""

from __future__ import annotations

import inspect
import json
import math
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FixedTrial

from samplers import SpaceContext
from sb3_hpo.algorithms.kwargs import serialize_kwargs
from sb3_hpo.algorithms.registry import load_algorithm
from sb3_hpo.config.training_config import TrainingConfig
from sb3_hpo.envs.problem import probe_env
from sb3_hpo.spaces.bind import context_of
from sb3_hpo.training.hooks import RunRequest
from sb3_hpo.training.train import train
from sb3_hpo.utils.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from optuna.trial import FrozenTrial

_TRAINERS_OWN = ("policy", "env", "seed", "verbose", "device", "tensorboard_log")


def check_search_space(
    sample: Callable[..., dict[str, Any]],
    algo: str,
    *,
    context: SpaceContext | None = None,
    env: str | None = None,
    n_points: int = 100,
    n_models: int = 3,
) -> None:
    """Draw random points of a search space and check what a study relies on.

    Every point returns a dict of constructor arguments, the same again when it is replayed, and
    can be written down; the bounds of a dimension never change; one rollout fits between two
    evaluations. With an environment, the first points are also trained, for one evaluation
    interval: without a warning, with at least one update, to finite weights.

    Args:
        sample: From a trial to keyword arguments; may take `context`.
        algo: The algorithm's name, or `package.module:Class`.
        context: The problem; default: `SpaceContext()`, or what the environment is.
        env: What `--env` takes.
        n_points: How many points are drawn.
        n_models: How many of them are trained.

    Raises:
        AssertionError: All that does not hold, a line each, each with a point where it does not.
        UserError: The algorithm or the environment is not there.
    """
    if context is None:
        context = SpaceContext() if env is None else _context_of(algo, env)
    if "context" in inspect.signature(sample).parameters:
        sample = partial(sample, context=context)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    found: dict[str, str] = {}  # mistake -> where it was first seen
    bounds: dict[str, BaseDistribution] = {}
    points = []
    for _ in range(n_points):
        trial = study.ask()
        kwargs = sample(trial)
        frozen = study.trials[trial.number]
        for mistake in _mistakes(sample, algo, kwargs, frozen, bounds, context):
            found.setdefault(mistake, f"{mistake} (at {frozen.params})")
        points.append(kwargs)
    if env is not None and not found:
        for kwargs in points[:n_models]:
            for mistake in _training_mistakes(algo, env, kwargs, context):
                found.setdefault(mistake, f"{mistake} (with {serialize_kwargs(kwargs)})")
    if found:
        raise AssertionError("\n".join(found.values()))


def _context_of(algo: str, env: str) -> SpaceContext:
    config = TrainingConfig.model_validate({"algo": algo, "env": env})
    return context_of(config, probe_env(config))


def _mistakes(
    sample: Callable[..., dict[str, Any]],
    algo: str,
    kwargs: Any,
    trial: FrozenTrial,
    bounds: dict[str, BaseDistribution],
    context: SpaceContext,
) -> Iterator[str]:
    if not isinstance(kwargs, dict):
        yield f"returns {type(kwargs).__name__} instead of a dict of keyword arguments"
        return
    known = inspect.signature(load_algorithm(algo)).parameters
    for name in kwargs:
        if name in _TRAINERS_OWN:
            yield f"returns {name!r}, which is an option of the study"
        elif name not in known:
            yield f"returns {name!r}, which {algo} does not take"
    yield from _dimension_mistakes(trial, bounds)
    try:
        description = serialize_kwargs(kwargs)
    except UserError as error:
        yield str(error)
    else:
        json.dumps(description, allow_nan=False)
        again = FixedTrial(trial.params)
        if serialize_kwargs(sample(again)) != description:
            yield "gives other arguments when the same parameters are replayed"
        elif again.user_attrs != trial.user_attrs:
            yield "notes other user attributes when the same parameters are replayed"
    yield from _rollout_mistakes(kwargs, known, context)


def _dimension_mistakes(trial: FrozenTrial, bounds: dict[str, BaseDistribution]) -> Iterator[str]:
    for name, distribution in trial.distributions.items():
        if bounds.setdefault(name, distribution) != distribution:
            # Dimensions with dynamic bounds drop out of TPE's joint model.
            yield f"changes the bounds of {name!r} from point to point"
        if isinstance(distribution, CategoricalDistribution) and not all(
            choice is None or isinstance(choice, bool | int | float | str)
            for choice in distribution.choices
        ):
            yield f"has choices of {name!r} that a storage cannot hold; choose by name"


def _rollout_mistakes(
    kwargs: Mapping[str, Any], known: Mapping[str, inspect.Parameter], context: SpaceContext
) -> Iterator[str]:
    # In off-policy algorithms n_steps is the length of n-step returns.
    name = "train_freq" if "train_freq" in known else "n_steps"
    if name not in known:
        return
    steps = kwargs.get(name, known[name].default)
    interval = context.n_timesteps // context.n_evaluations
    if isinstance(steps, int) and steps * context.n_envs > interval:
        yield (
            f"makes a rollout that is longer than {interval} steps, the interval between two "
            f"evaluations: {name} times {context.n_envs} environments"
        )
    batch_size = kwargs.get("batch_size")
    if name == "n_steps" and batch_size is not None and (steps * context.n_envs) % batch_size == 1:
        yield "leaves one sample for the last minibatch, whose normalised advantage is NaN"


def _training_mistakes(
    algo: str, env: str, kwargs: Mapping[str, Any], context: SpaceContext
) -> Iterator[str]:
    n_timesteps = math.ceil(context.n_timesteps / context.n_evaluations)
    n_timesteps = max(n_timesteps, 2 * int(kwargs.get("learning_starts", 0)))
    config = TrainingConfig.model_validate({
        "algo": algo, "env": env, "n_envs": context.n_envs, "n_timesteps": n_timesteps,
        "n_evaluations": 1, "n_eval_episodes": 1, "her": context.her,
    })  # fmt: skip
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        (run,) = train(config, [RunRequest(kwargs, seed=0)], episode_seeds=(0,))
    for warning in caught:
        yield f"makes SB3 warn: {' '.join(str(warning.message).split())}"
    if run.record.outcome != "finished":
        yield f"ends {run.record.outcome}: {run.record.reason}"
    elif run.record.n_updates == 0:
        yield "makes no update"
