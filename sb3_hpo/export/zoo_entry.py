"""A recipe as an entry for RL Zoo's `--conf-file`."""

from __future__ import annotations

import math
import shlex
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from sb3_hpo.algorithms.kwargs import LINEAR, NORMAL_NOISE, OU_NOISE
from sb3_hpo.algorithms.registry import ALGORITHMS, ALIASES, find_algorithm
from sb3_hpo.export.python_source import NOISE_DEFAULTS, comment, find_home, is_plain, write
from sb3_hpo.export.script import about, is_call
from sb3_hpo.utils.import_strings import ENV_ID

if TYPE_CHECKING:
    from sb3_hpo.config.training_config import TrainingConfig
    from sb3_hpo.export.recipe import Recipe

ZOO = "zoo.yml"
_ALGOS = {name: alias for alias, name in ALIASES.items()}
_NOISE = {NORMAL_NOISE: "normal", OU_NOISE: "ornstein-uhlenbeck"}
_EVALUATED = ("policy_kwargs", "replay_buffer_class", "replay_buffer_kwargs")
_SCHEDULES = ("learning_rate", "clip_range", "clip_range_vf")


def zoo_yaml(recipe: Recipe, policy: str, device: str) -> str:
    """Write an entry for RL Zoo's `--conf-file`.

    Args:
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
        if config.frame_stack > 1:
            self._entry["frame_stack"] = config.frame_stack
        name = self._add_environment(config)
        for key, value in self._recipe.kwargs.items():
            self._add_argument(key, value)
        if config.algo not in ALGORITHMS or find_algorithm(config.algo).needs_action_masks:
            self._missing.append(f"train {config.algo}; these would be its arguments")
        if config.metric is not None:
            self._missing.append(f"evaluate {config.metric!r}; what it prints are returns")
        if config.stochastic_eval:
            self._missing.append("be told to evaluate sampled actions, as the study did")
        if config.vec_env != "dummy":
            self._flags += ["--vec-env", config.vec_env]
        options = ["--num-threads", str(config.n_threads), "--device", device, *self._flags]
        algo = _ALGOS.get(config.algo, config.algo)
        words = ["--algo", algo, "--env", name, "--conf-file", ZOO, "--seed", "0"]
        command = shlex.join(["python", "-m", "rl_zoo3.train", *words, *options])
        if self._folders:
            command = f"PYTHONPATH={shlex.quote(':'.join(self._folders))} {command}"
        lines = [*about(self._recipe), *(f"RL Zoo cannot {text}" for text in self._missing)]
        entry = yaml.safe_dump(
            {name: self._entry}, sort_keys=False, width=math.inf, allow_unicode=True
        )
        return f"{comment(lines)}# {command}\n{entry}"

    def _add_environment(self, config: TrainingConfig) -> str:
        """Add the environment's arguments and wrappers; return its name for RL Zoo."""
        module, colon, name = config.env.rpartition(":")
        if colon and not ENV_ID.fullmatch(name):
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
        elif key in _EVALUATED and value is not None:
            self._entry[key] = write(value, self._expression, used=-math.inf)
        elif key == "train_freq" and isinstance(value, dict) and "$tuple" in value:
            self._entry[key] = value["$tuple"]
        elif key in _SCHEDULES and _falls_to_zero(value):
            self._entry[key] = f"lin_{value['start']}"
        elif key in _SCHEDULES and value is None:
            pass  # it refuses None, SB3's default for clip_range_vf
        elif is_plain(value) and not (key in _SCHEDULES and isinstance(value, str)):
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


def _falls_to_zero(value: Any) -> bool:
    """Tell whether a value is the linear schedule that RL Zoo has a word for."""
    return (
        is_call(value)
        and value["$call"] == LINEAR
        and (value["end"], value["end_fraction"]) == (0.0, 1.0)
    )


def _zoo_noise(value: Any) -> dict[str, Any]:
    """Return noise in RL Zoo's words: mean zero and one sigma for all actions; else nothing."""
    if value is None or value["$call"] not in _NOISE:
        return {}
    mean, sigma = np.asarray(value["mean"]), np.asarray(value["sigma"])
    usual = all(value.get(key, default) == default for key, default in NOISE_DEFAULTS.items())
    if mean.ndim != 1 or mean.any() or (sigma != sigma.flat[0]).any() or not usual:
        return {}
    return {"noise_type": _NOISE[value["$call"]], "noise_std": sigma.flat[0].item()}
