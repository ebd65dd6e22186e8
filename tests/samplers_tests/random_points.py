"""Models at random points of the full spaces: built, updated once, still finite.

By hand, with as many points as there is time for (on one core a thousand take one minute for
A2C and MaskablePPO, ten for CrossQ and RecurrentPPO, half an hour for TRPO):

    python -W error -m tests.samplers_tests.random_points --n-points 1000 --algo ppo

The Dict observations have an image in them, on which nine tenths of the time go; `--problem`
leaves them out.
"""

from __future__ import annotations

import argparse
import functools
import sys
import time
import warnings
from typing import TYPE_CHECKING, Any

import optuna
import torch
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.envs import BitFlippingEnv, FakeImageEnv, SimpleMultiObsEnv

from samplers import Size, SpaceContext
from tests.samplers_tests.support import (
    ALGORITHMS,
    LONGEST_EPISODE,
    MOST_UPDATES,
    PROBLEMS,
    MaskedEnv,
    algorithm_class,
    draw,
    has_discrete_actions,
    updates_per_step,
    vec_steps_per_rollout,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stable_baselines3.common.vec_env import VecEnv

# No policy of the algorithm takes such observations, or no small environment has them.
WITHOUT_MODEL = {
    ("ars", "dict"), ("ars", "image"), ("crossq", "dict"), ("crossq", "image"),
    ("maskable_ppo", "dict"), ("maskable_ppo", "image"),
}  # fmt: skip
MODEL_PROBLEMS = [problem for problem in PROBLEMS if problem not in WITHOUT_MODEL]
N_ENVS = (1, 4, 8, 16)


@functools.cache
def vec_env(algo: str, kind: str, n_envs: int) -> VecEnv:
    if algo == "maskable_ppo":
        return make_vec_env(MaskedEnv, n_envs=n_envs)
    discrete = has_discrete_actions(algo, kind)
    if kind in ("box", "discrete"):
        return make_vec_env("CartPole-v1" if discrete else "Pendulum-v1", n_envs=n_envs)
    makers: dict[str, tuple[Any, dict[str, Any]]] = {
        "dict": (SimpleMultiObsEnv, {"discrete_actions": discrete, "channel_last": False}),
        "image": (FakeImageEnv, {"discrete": discrete, "screen_height": 40, "screen_width": 40}),
        "goal": (BitFlippingEnv, {"n_bits": 4, "continuous": not discrete,
                                  "max_steps": LONGEST_EPISODE}),
    }  # fmt: skip
    maker, arguments = makers[kind]
    return make_vec_env(maker, n_envs=n_envs, env_kwargs=arguments)


def context_of(algo: str, kind: str, n_envs: int, n_timesteps: int) -> SpaceContext:
    venv = vec_env(algo, kind, n_envs)
    known = LONGEST_EPISODE if kind == "goal" or algo == "ars" else None
    return SpaceContext(
        n_envs=n_envs,
        n_timesteps=n_timesteps,
        action_space=venv.action_space,
        observation_space=venv.observation_space,
        goal_env=kind == "goal",
        her=kind == "goal",
        longest_episode=known,
    )


def build(algo: str, kwargs: dict[str, Any], *, kind: str, n_envs: int = 1) -> Any:
    known = algorithm_class(algo).policy_aliases
    prefix = {"dict": "MultiInput", "goal": "MultiInput", "image": "Cnn"}.get(kind, "Mlp")
    policy = next(name for name in (f"{prefix}Policy", f"{prefix}LstmPolicy") if name in known)
    venv = vec_env(algo, kind, n_envs)
    return algorithm_class(algo)(policy, venv, device="cpu", seed=0, **kwargs)


def check_point(algo: str, kind: str, kwargs: dict[str, Any], n_envs: int) -> None:
    """Build the model and update it once, over as few steps as that takes."""
    if algo != "ars":
        assert updates_per_step(algo, kwargs, n_envs) <= MOST_UPDATES[algo]
    model = build(algo, kwargs, kind=kind, n_envs=n_envs)
    # Which passes are made, and how many, makes no difference to whether one can be made.
    for name in ("n_epochs", "n_critic_updates", "gradient_steps"):
        if hasattr(model, name):
            setattr(model, name, 1)
    if algo == "crossq":
        model.policy_delay = 1
    steps = 1 if algo == "ars" else vec_steps_per_rollout(algo, kwargs)
    model.learn(kwargs.get("learning_starts", 0) + steps * n_envs)
    assert model._n_updates > 0
    assert all(torch.isfinite(value).all() for value in model.policy.parameters())


def check_points(
    algo: str, kind: str, n_points: int, *, size: Size = "full", n_timesteps: int = 2_560
) -> int:
    """Check points for each number of environments; return how many."""
    for seed, n_envs in enumerate(N_ENVS):
        context = context_of(algo, kind, n_envs, n_timesteps)
        for point in draw(algo, context, size, n_points, seed):
            check_point(algo, kind, point.kwargs, n_envs)
    return n_points * len(N_ENVS)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--algo", choices=ALGORITHMS, nargs="*", default=ALGORITHMS)
    parser.add_argument("--n-points", type=int, default=1000, help="for each algorithm")
    problems = sorted({kind for _, kind in MODEL_PROBLEMS} - {"image"})
    parser.add_argument("--problem", choices=problems, nargs="*", default=problems)
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("error")
    for algo in arguments.algo:
        start, done = time.monotonic(), 0
        kinds = [k for name, k in MODEL_PROBLEMS if name == algo and k in arguments.problem]
        for kind in kinds:
            n_points = -(-arguments.n_points // (len(kinds) * len(N_ENVS)))
            done += check_points(algo, kind, n_points)
        print(f"{algo}: {done} points, {time.monotonic() - start:.0f} s", flush=True)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
