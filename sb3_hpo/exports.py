"""Recipes for people without this package: an SB3 script, and an entry for RL Zoo."""

from __future__ import annotations

import inspect
import math
import re
import shlex
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from sb3_hpo.algorithms import ALGORITHMS, find_algorithm
from sb3_hpo.references import load_reference
from sb3_hpo.source import (
    NOISE_DEFAULTS,
    NORMAL_NOISE,
    OU_NOISE,
    Call,
    Code,
    Imports,
    comment,
    find_home,
    is_plain,
    write,
)
from sb3_hpo.statistics import MIN_SEEDS
from sb3_hpo.wording import number

if TYPE_CHECKING:
    from sb3_hpo.config import TrainingConfig
    from sb3_hpo.recipes import Recipe

SCRIPT = "train_best.py"
ZOO = "zoo.yml"
_N_EPISODES = 100  # of the script's evaluation
_TAKEN = (
    "env", "eval_env", "gym", "make_env", "mean", "model", "note", "np", "runpy", "seed", "std",
    "step", "sys", "torch", "values",
)  # fmt: skip
_ENV_ID = re.compile(r"[\w./-]+-v\d+$")
_ENV_UTIL = "stable_baselines3.common.env_util"
_EVALUATION = "stable_baselines3.common.evaluation"
_VEC_ENV = "stable_baselines3.common.vec_env"
_ZOO_NOISE = {NORMAL_NOISE: "normal", OU_NOISE: "ornstein-uhlenbeck"}
_ZOO_EVALUATES = ("policy_kwargs", "replay_buffer_class", "replay_buffer_kwargs")
_ZOO_SCHEDULES = ("learning_rate", "clip_range", "clip_range_vf")


def training_script(recipe: Recipe, policy: str, device: str) -> str:
    """Write a script that trains and evaluates a recipe with Stable-Baselines3 alone.

    Args:
        recipe: The recipe.
        policy: Name of the policy class, as training chooses it (`models.choose_policy`).
        device: Torch device, likewise (`models.choose_device`).

    Returns:
        The script. It finds the user's own modules where this process finds them: in the
        current folder, in the file named, or installed. The same seed gives the same policy as
        `training.train`, unless that evaluates in its training environments.
    """
    config, imports = recipe.config, Imports(_TAKEN)
    imports.module("sys")
    imports.module("torch")
    made, definition = _environment(config, imports)
    evaluation, function = _evaluation(recipe, made, imports)
    main = "\n".join([*_training(recipe, made, imports, policy, device), "", *evaluation])
    if config.vec_env == "subproc":  # its processes import the script again
        main = f'if __name__ == "__main__":\n{textwrap.indent(main, "    ")}'
    head = comment([*_about(recipe), f"Usage: python {SCRIPT} [seed]"]) + imports.text()
    settings = (
        "seed = int(sys.argv[1]) if len(sys.argv) > 1 else 0\n"
        f"torch.set_num_threads({config.n_threads})  # results depend on it"
    )
    functions = [text for text in (definition, function) if text]
    between = "\n\n\n" if functions else "\n\n"  # as formatters have it
    return between.join([f"{head}\n\n{settings}", *functions, main]) + "\n"


def _about(recipe: Recipe) -> list[str]:
    lines = [recipe.title]
    result = recipe.reevaluated or {}
    if "iqm" in result and "n_seeds" in result:
        value, low, high = map(number, result["iqm"])
        line = f"Re-evaluated on {result['n_seeds']} fresh training seeds: IQM {value}"
        if result["n_seeds"] >= MIN_SEEDS:
            line += f", 95 % interval {low} to {high}"
        lines.append(line)
    if recipe.versions:
        versions = ", ".join(f"{name} {version}" for name, version in recipe.versions.items())
        lines.append(f"Trained with {versions}")
    return lines


def _environment(config: TrainingConfig, imports: Imports) -> tuple[Call, str]:
    """Write how environments are made.

    Returns:
        The arguments of `make_vec_env`, and the function they name, if one is needed: SB3 puts
        Monitor inside the wrappers it is given, training puts it outside.
    """
    module, colon, name = config.env.rpartition(":")
    maker: Any = name
    if colon and not _ENV_ID.fullmatch(name):
        maker = Code(imports.name(config.env))
    elif colon:
        imports.module(module, f"  # registers {name}")
    make_vec_env = imports.name(f"{_ENV_UTIL}:make_vec_env")
    if not config.wrapper:
        kwargs = {"env_kwargs": config.env_kwargs} if config.env_kwargs else {}
        return Call(make_vec_env, (maker,), kwargs), ""
    call = Call(maker, (), config.env_kwargs)
    if not isinstance(maker, Code):
        imports.module("gymnasium", " as gym")
        call = Call("gym.make", (name,), config.env_kwargs)
    lines = [f"env = {write(call, imports.name, indent=4, used=10)}"]
    lines += [f"env = {imports.name(wrapper)}(env)" for wrapper in config.wrapper]
    body = textwrap.indent("\n".join([*lines, "return env"]), "    ")
    return Call(make_vec_env, (Code("make_env"),)), f"def make_env():\n{body}"


def _training(recipe: Recipe, made: Call, imports: Imports, policy: str, device: str) -> list[str]:
    config = recipe.config
    counts: dict[str, Any] = {"n_envs": config.n_envs}
    if config.vec_env == "subproc":
        counts["vec_env_cls"] = Code(imports.name(f"{_VEC_ENV}:SubprocVecEnv"))
    venv = Call(made.name, made.args, {**counts, **made.kwargs})
    lines = [f"env = {write(venv, imports.name, used=6)}"]
    if config.normalize:
        kwargs = _normalize_kwargs(recipe)
        name = imports.name(f"{_VEC_ENV}:VecNormalize")
        lines.append(f"env = {write(Call(name, (Code('env'),), kwargs), imports.name)}")
    model = Call(
        imports.name(find_algorithm(config.algo).reference),
        (policy, Code("env")),
        {**recipe.kwargs, "seed": Code("seed"), "device": device},
    )
    lines += [
        f"model = {write(model, imports.name, used=8)}",
        f"model.learn({write(config.n_timesteps, imports.name)})",
        'model.save("trained_model")',
    ]
    return lines + (['env.save("trained_vecnormalize.pkl")'] if config.normalize else [])


def _normalize_kwargs(recipe: Recipe) -> dict[str, Any]:
    """Return the discount for VecNormalize; SB3's algorithms and VecNormalize share a default."""
    if "gamma" in recipe.kwargs:
        return {"gamma": recipe.kwargs["gamma"]}
    if recipe.config.algo in ALGORITHMS:
        return {}
    parameter = inspect.signature(load_reference(recipe.config.algo)).parameters.get("gamma")
    return {} if parameter is None else {"gamma": float(parameter.default)}


def _evaluation(recipe: Recipe, made: Call, imports: Imports) -> tuple[list[str], str]:
    """Write the evaluation, and the function it needs if it is of something else than returns."""
    config = recipe.config
    lines = ["eval_env = env"]  # where only one environment can exist
    if config.n_eval_envs > 0:
        counts = {"n_envs": config.n_eval_envs, "seed": Code("1000 * (seed + 1)")}
        venv: Any = Call(made.name, made.args, {**counts, **made.kwargs})
        lines = [f"eval_env = {write(venv, imports.name, used=11)}"]
        if config.normalize:
            load = f"{imports.name(f'{_VEC_ENV}:VecNormalize')}.load"
            lines.append(f'eval_env = {load}("trained_vecnormalize.pkl", eval_env)')
    if config.normalize:
        lines += ["eval_env.training = False", "eval_env.norm_reward = False"]
    options: dict[str, Any] = {"n_eval_episodes": _N_EPISODES}
    if config.stochastic_eval:
        options["deterministic"] = False
    if config.metric is not None:
        options["callback"] = Code("note")
    evaluate = imports.name(f"{_EVALUATION}:evaluate_policy")
    call = Call(evaluate, (Code("model"), Code("eval_env")), options)
    text = f"{{mean:.2f}} +- {{std:.2f}} over {_N_EPISODES} episodes"
    if config.metric is None:
        lines.append(f"mean, std = {write(call, imports.name, used=12)}")
        return [*lines, f'print(f"seed {{seed}}: return {text}")'], ""
    metric = write(config.metric, imports.name)
    mean, std = imports.name("numpy:mean"), imports.name("numpy:std")
    lines += ["values = []", write(call, imports.name)]
    lines.append(f"mean, std = {mean}(values), {std}(values)")
    function = (
        "def note(step, _):\n"
        '    if "episode" in step["info"]:\n'
        f'        values.append(float(step["info"][{metric}]))'
    )
    return [*lines, f'print(f"seed {{seed}}:", {metric}, f"{text}")'], function


def zoo_yaml(recipe: Recipe, policy: str, device: str) -> str:
    """Write an entry for RL Zoo's `--conf-file`.

    Args:
        recipe: The recipe.
        policy: Name of the policy class, as training chooses it.
        device: Torch device, likewise.

    Returns:
        YAML; in comments above it the command that trains it, and what RL Zoo cannot do.
    """
    return _Zoo(recipe).text(policy, device)


class _Zoo:
    """One entry for RL Zoo, with the flags it needs and what the entry cannot say."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._entry: dict[str, Any] = {}
        self._flags: list[str] = []
        self._missing: list[str] = []
        self._folders: dict[str, None] = {}

    def text(self, policy: str, device: str) -> str:
        config = self._recipe.config
        self._entry = {"n_timesteps": config.n_timesteps, "n_envs": config.n_envs}
        self._entry["policy"] = policy
        if config.normalize:
            self._entry["normalize"] = True  # RL Zoo puts the algorithm's gamma in by itself
        name = self._add_environment(config)
        for key, value in self._recipe.kwargs.items():
            self._add_argument(key, value)
        if config.algo not in ALGORITHMS:
            self._missing.append(f"train {config.algo}; these would be its arguments")
        if config.metric is not None:
            self._missing.append(f"evaluate {config.metric!r}; what it prints are returns")
        if config.stochastic_eval:
            self._missing.append("be told to evaluate sampled actions, as the study did")
        if config.vec_env != "dummy":
            self._flags += ["--vec-env", config.vec_env]
        options = ["--num-threads", str(config.n_threads), "--device", device, *self._flags]
        words = ["--algo", config.algo, "--env", name, "--conf-file", ZOO, "--seed", "0"]
        command = shlex.join(["python", "-m", "rl_zoo3.train", *words, *options])
        if self._folders:
            command = f"PYTHONPATH={shlex.quote(':'.join(self._folders))} {command}"
        lines = [*_about(self._recipe), *(f"RL Zoo cannot {text}" for text in self._missing)]
        entry = yaml.safe_dump(
            {name: self._entry}, sort_keys=False, width=math.inf, allow_unicode=True
        )
        return f"{comment(lines)}# {command}\n{entry}"

    def _add_environment(self, config: TrainingConfig) -> str:
        """Add the environment's arguments and wrappers; return its name for RL Zoo."""
        module, colon, name = config.env.rpartition(":")
        if colon and not _ENV_ID.fullmatch(name):
            name = f"{name}-v0"
            self._missing.append(
                f"train unregistered environments; register {config.env} as {name} in a module "
                "and name that in place of YOUR_MODULE"
            )
            self._flags += ["--gym-packages", "YOUR_MODULE"]
        elif colon:
            self._flags += ["--gym-packages", self._importable(module)]
        if not is_plain(config.env_kwargs):
            self._missing.append(f"read env_kwargs {config.env_kwargs}")
        elif config.env_kwargs:
            self._entry["env_kwargs"] = config.env_kwargs
            # The entry's are for training only.
            pairs = [f"{key}:{value!r}" for key, value in config.env_kwargs.items()]
            self._flags += ["--eval-env-kwargs", *pairs]
        wrappers = [wrapper.rpartition(":") for wrapper in config.wrapper]
        if any("." in name for _, _, name in wrappers):
            self._missing.append(f"find wrappers inside of classes: {', '.join(config.wrapper)}")
        elif wrappers:
            names = [f"{self._importable(module)}.{name}" for module, _, name in wrappers]
            self._entry["env_wrapper"] = names
            self._missing.append(
                "put Monitor around wrappers; what it prints are returns and lengths without them"
            )
        return name

    def _add_argument(self, key: str, value: Any) -> None:
        if key == "action_noise" and (noise := _zoo_noise(value)):
            self._entry |= noise
        elif key in _ZOO_EVALUATES and value is not None:
            self._entry[key] = write(value, self._expression, used=-math.inf)
        elif key == "train_freq" and isinstance(value, dict) and "$tuple" in value:
            self._entry[key] = value["$tuple"]
        elif key in _ZOO_SCHEDULES and value is None:
            pass  # it refuses None, SB3's default for clip_range_vf
        elif is_plain(value) and not (key in _ZOO_SCHEDULES and isinstance(value, str)):
            self._entry[key] = value
        else:
            self._missing.append(f"read {key}={value}; it is left out here")

    def _expression(self, reference: str) -> str:
        """Name an object in the expressions that RL Zoo evaluates."""
        module, _, path = reference.rpartition(":")
        if module.startswith("torch.nn.modules."):
            return f"nn.{path}"
        if module.split(".")[0] == "torch":
            return f"th{module.removeprefix('torch')}.{path}"
        return f'__import__("importlib").import_module("{self._importable(module)}").{path}'

    def _importable(self, module: str) -> str:
        folder, name = find_home(module)
        if folder is not None:
            self._folders[folder] = None
        return name


def _zoo_noise(value: Any) -> dict[str, Any]:
    """Return noise in RL Zoo's words: mean zero and one sigma for all actions; else nothing."""
    if value is None or value["$call"] not in _ZOO_NOISE:
        return {}
    mean, sigma = np.asarray(value["mean"]), np.asarray(value["sigma"])
    usual = all(value.get(key, default) == default for key, default in NOISE_DEFAULTS.items())
    if mean.ndim != 1 or mean.any() or (sigma != sigma.flat[0]).any() or not usual:
        return {}
    return {"noise_type": _ZOO_NOISE[value["$call"]], "noise_std": sigma.flat[0].item()}
