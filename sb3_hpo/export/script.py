"""A recipe for people without this package: a script that trains it with SB3 alone."""

from __future__ import annotations

import inspect
from string import Template
from typing import TYPE_CHECKING, Any

from sb3_hpo.algorithms.kwargs import COSINE
from sb3_hpo.algorithms.registry import default_gamma, find_algorithm, load_algorithm
from sb3_hpo.export.python_source import Names, comment, expression
from sb3_hpo.utils.formatting import interval, number
from sb3_hpo.utils.import_strings import ENV_ID, load_reference

if TYPE_CHECKING:
    from sb3_hpo.config.training_config import TrainingConfig
    from sb3_hpo.export.recipe import Recipe

SCRIPT = "train_best.py"
_SCRIPT = Template("""\
${about}import sys

import gymnasium as gym
import torch
$imports

seed = int(sys.argv[1]) if len(sys.argv) > 1 else 0
torch.set_num_threads($n_threads)  # results depend on it

$schedule
def make_env():
    return $made_env


if __name__ == "__main__":
    $envs
    model = $algorithm(
        $arguments,
    )
    model.learn($n_timesteps$callbacks)
    model.save("trained_model")

    $evaluation
    print(f"seed {seed}:", $measured, f"{mean:.2f} +- {std:.2f} over 100 episodes")
""")
_SCHEDULE = """
import math
from dataclasses import dataclass


{source}
"""
_OWN_NAMES = (
    "CosineSchedule", "dataclass", "env", "eval_env", "gym", "make_env", "math", "mean", "model",
    "note", "seed", "std", "sys", "torch", "values",
)  # fmt: skip
_VEC_ENV = "stable_baselines3.common.vec_env"


def training_script(recipe: Recipe, policy: str, device: str) -> str:
    """Write a script that trains and evaluates a recipe with Stable-Baselines3 alone.

    Args:
        policy: Name of the policy class, as training chooses it (`models.choose_policy`).
        device: Torch device, likewise (`models.choose_device`).

    Returns:
        The script. It finds the user's own modules where this process finds them: in the
        current folder, in the file named, or installed. The same seed gives the policy that
        `training.train` gives with `exact`, which differs from a run in traced graphs or in a
        batch by the rounding of sums, unless that evaluates in its training environments.
    """
    config, names = recipe.config, Names(_OWN_NAMES)
    kwargs = _keywords(recipe.kwargs, names)
    arguments = [f'"{policy}"', "env", *kwargs, "seed=seed", f'device="{device}"']
    # The search spaces' own schedule: the script must run without them.
    source = inspect.getsource(load_reference(COSINE)) if COSINE in str(recipe.kwargs) else ""
    parts = {
        "about": comment([*about(recipe), f"Usage: python {SCRIPT} [seed]"]),
        "n_threads": config.n_threads,
        "schedule": _SCHEDULE.format(source=source) if source else "",
        "made_env": _made_env(config, names),
        "envs": "\n    ".join(_training_envs(recipe, names)),
        "algorithm": names.name(find_algorithm(config.algo).reference),
        "arguments": ",\n        ".join(arguments),
        "n_timesteps": config.n_timesteps,
        "callbacks": _callbacks(config, names),
        "evaluation": "\n    ".join(_evaluation(config, names)),
        "measured": expression(config.metric or "return", names.name),
    }
    return _SCRIPT.substitute(parts, imports=names.imports())


def about(recipe: Recipe) -> list[str]:
    """Return what a reader should know of a recipe, a line each."""
    lines = [recipe.title]
    if recipe.reevaluated is not None:
        n_seeds, iqm, ends = (recipe.reevaluated[k] for k in ("n_seeds", "iqm", "iqm_interval"))
        certainty = f", 95 % interval {interval(tuple(ends))}" if ends is not None else ""
        lines.append(
            f"Re-evaluated on {n_seeds} fresh training seeds: IQM {number(iqm)}{certainty}"
        )
    if recipe.versions:
        versions = ", ".join(f"{name} {version}" for name, version in recipe.versions.items())
        lines.append(f"Trained with {versions}")
    return lines


def _keywords(values: dict[str, Any], names: Names) -> list[str]:
    def name_of(reference: str) -> str:
        return "CosineSchedule" if reference == COSINE else names.name(reference)

    return [f"{key}={expression(value, name_of)}" for key, value in values.items()]


def _made_env(config: TrainingConfig, names: Names) -> str:
    """Write an expression for one environment in its wrappers, which Monitor is put around."""
    module, colon, name = config.env.rpartition(":")
    arguments = _keywords(config.env_kwargs, names)
    if colon and not ENV_ID.fullmatch(name):
        made = names.name(config.env)
    else:
        made = "gym.make"  # it imports the module that registers the environment
        env_id = f"{names.module(module)}:{name}" if colon else name
        arguments.insert(0, expression(env_id, str))
    made = f"{made}({', '.join(arguments)})"
    for wrapper in config.wrapper:
        made = f"{names.name(wrapper)}({made})"
    return made


def _callbacks(config: TrainingConfig, names: Names) -> str:
    made = [
        f"{names.name(name)}({', '.join(_keywords(kwargs, names))})"
        for entry in config.callbacks
        for name, kwargs in entry.items()
    ]
    return f", callback=[{', '.join(made)}]" if made else ""


def _training_envs(recipe: Recipe, names: Names) -> list[str]:
    config, arguments = recipe.config, f"n_envs={recipe.config.n_envs}"
    if config.vec_env == "subproc":
        arguments += f", vec_env_cls={names.name(f'{_VEC_ENV}:SubprocVecEnv')}"
    lines = _stacked_envs("env", arguments, config, names)
    if config.normalize:
        gamma = recipe.kwargs.get("gamma", default_gamma(load_algorithm(config.algo)))
        lines.append(f"env = {names.name(f'{_VEC_ENV}:VecNormalize')}(env, gamma={gamma})")
    return lines


def _stacked_envs(
    variable: str, arguments: str, config: TrainingConfig, names: Names
) -> list[str]:
    make_vec_env = names.name("stable_baselines3.common.env_util:make_vec_env")
    lines = [f"{variable} = {make_vec_env}(make_env, {arguments})"]
    if config.frame_stack > 1:
        stack = names.name(f"{_VEC_ENV}:VecFrameStack")
        lines.append(f"{variable} = {stack}({variable}, {config.frame_stack})")
    return lines


def _evaluation(config: TrainingConfig, names: Names) -> list[str]:
    lines = ["eval_env = env"]  # where only one environment can exist
    if config.n_eval_envs > 0:
        arguments = f"n_envs={config.n_eval_envs}, seed=1000 * (seed + 1)"
        lines = _stacked_envs("eval_env", arguments, config, names)
        if config.normalize:
            load = f"{names.name(f'{_VEC_ENV}:VecNormalize')}.load"
            lines.append(f'eval_env = {load}("trained_vecnormalize.pkl", eval_env)')
    if config.normalize:
        lines.insert(0, 'env.save("trained_vecnormalize.pkl")')
        lines += ["eval_env.training = False", "eval_env.norm_reward = False"]
    masked = find_algorithm(config.algo).needs_action_masks
    module = "sb3_contrib.common.maskable" if masked else "stable_baselines3.common"
    evaluate = names.name(f"{module}.evaluation:evaluate_policy")
    arguments = f"model, eval_env, n_eval_episodes=100, deterministic={not config.stochastic_eval}"
    if config.metric is None:
        return [*lines, f"mean, std = {evaluate}({arguments})"]
    mean, std = names.name("statistics:fmean"), names.name("statistics:pstdev")
    return [
        *lines,
        "values = []",
        "def note(step, _):",
        '    if "episode" in step["info"]:',
        f'        values.append(float(step["info"][{expression(config.metric, names.name)}]))',
        f"{evaluate}({arguments}, callback=note)",
        f"mean, std = {mean}(values), {std}(values)",
    ]
