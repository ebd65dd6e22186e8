"""A recipe as an entry for RL Zoo's `--conf-file`."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from sb3_hpo.algorithms.kwargs import NORMAL_NOISE, OU_NOISE
from sb3_hpo.algorithms.registry import ALGORITHMS, ALIASES, find_algorithm
from sb3_hpo.export.python_source import Names, comment, expression
from sb3_hpo.export.script import about
from sb3_hpo.utils.import_strings import ENV_ID

if TYPE_CHECKING:
    from sb3_hpo.config.training_config import TrainingConfig
    from sb3_hpo.export.recipe import Recipe

ZOO = "zoo.yml"
_ALGOS = {name: alias for alias, name in ALIASES.items()}
_NOISE = {NORMAL_NOISE: "normal", OU_NOISE: "ornstein-uhlenbeck"}
_NOISE_DEFAULTS = {"theta": 0.15, "dt": 0.01, "initial_noise": None}  # SB3's


def zoo_yaml(recipe: Recipe, policy: str, device: str) -> str:
    """Write an entry for RL Zoo's `--conf-file`.

    Args:
        policy: Name of the policy class, as training chooses it.
        device: Torch device, likewise.

    Returns:
        YAML; in comments above it the command that trains it, and what RL Zoo cannot do.
    """
    config = recipe.config
    entry = _Entry({"n_timesteps": config.n_timesteps, "n_envs": config.n_envs, "policy": policy})
    env = entry.add_environment(config)
    for name, arguments in (pair for item in config.callbacks for pair in item.items()):
        entry.add_callback(name, arguments)
    for key, value in recipe.kwargs.items():
        entry.add_argument(key, value)
    if config.algo not in ALGORITHMS or find_algorithm(config.algo).needs_action_masks:
        entry.missing.append(f"train {config.algo}; these would be its arguments")
    if config.metric is not None:
        entry.missing.append(f"evaluate {config.metric!r}; what it prints are returns")
    if config.stochastic_eval:
        entry.missing.append("be told to evaluate sampled actions, as the study did")
    algo = _ALGOS.get(config.algo, config.algo)
    words = ["--algo", algo, "--env", env, "--conf-file", ZOO, "--seed", "0"]
    options = ["--num-threads", str(config.n_threads), "--device", device, *entry.flags]
    command = shlex.join(["python", "-m", "rl_zoo3.train", *words, *options])
    if entry.names.folders:
        command = f"PYTHONPATH={shlex.quote(':'.join(entry.names.folders))} {command}"
    lines = [*about(recipe), *(f"RL Zoo cannot {text}" for text in entry.missing)]
    text = yaml.safe_dump({env: entry.values}, sort_keys=False, width=math.inf, allow_unicode=True)
    return f"{comment(lines)}# {command}\n{text}"


@dataclass
class _Entry:
    """An entry, with the flags that RL Zoo needs beside it and what neither of them can say."""

    values: dict[str, Any]
    flags: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    names: Names = field(default_factory=Names)

    def add_environment(self, config: TrainingConfig) -> str:
        """Add the environment's arguments and wrappers; return its name for RL Zoo."""
        if config.normalize:
            self.values["normalize"] = True  # RL Zoo puts the algorithm's gamma in by itself
        if config.frame_stack > 1:
            self.values["frame_stack"] = config.frame_stack
        module, colon, name = config.env.rpartition(":")
        if colon and not ENV_ID.fullmatch(name):
            name = f"{name}-v0"
            self.missing.append(
                f"train unregistered environments; register {config.env} as {name} in a module "
                "and name that in place of YOUR_MODULE"
            )
            self.flags += ["--gym-packages", "YOUR_MODULE"]
        elif colon:
            self.flags += ["--gym-packages", self.names.module(module)]
        if not _is_plain(config.env_kwargs):
            self.missing.append(f"read env_kwargs {config.env_kwargs}")
        elif config.env_kwargs:
            self.values["env_kwargs"] = config.env_kwargs
            # The entry's are for training only.
            pairs = [f"{key}:{value!r}" for key, value in config.env_kwargs.items()]
            self.flags += ["--eval-env-kwargs", *pairs]
        if config.wrapper:
            wrappers = [wrapper.rpartition(":") for wrapper in config.wrapper]
            self.values["env_wrapper"] = [
                f"{self.names.module(module)}.{path}" for module, _, path in wrappers
            ]
            self.missing.append(
                "put Monitor around wrappers; what it prints are returns and lengths without them"
            )
        if config.vec_env != "dummy":
            self.flags += ["--vec-env", config.vec_env]
        return name

    def add_callback(self, name: str, arguments: dict[str, Any]) -> None:
        """Add a callback, or say that its arguments cannot be written down there."""
        if not _is_plain(arguments):
            self.missing.append(f"read the callback {name} {arguments}; it is left out here")
            return
        module, _, path = name.rpartition(":")
        dotted = f"{self.names.module(module)}.{path}"
        self.values.setdefault("callback", []).append({dotted: arguments} if arguments else dotted)

    def add_argument(self, key: str, value: Any) -> None:
        """Add an argument of the algorithm in RL Zoo's words, or say that it has none for it."""
        match key, value:
            case "action_noise", {
                "$call": kind,
                "mean": [*mean],
                "sigma": [sigma, *others],
                **rest,
            } if (
                not any(mean)
                and all(other == sigma for other in others)
                and _NOISE_DEFAULTS | rest == _NOISE_DEFAULTS
            ):
                self.values |= {"noise_type": _NOISE[kind], "noise_std": sigma}
            case (("policy_kwargs" | "replay_buffer_class" | "replay_buffer_kwargs"), dict()):
                self.values[key] = expression(value, self._name)
            case "train_freq", {"$tuple": steps}:
                self.values[key] = steps
            case _, {"$call": _, "start": start, "end": 0.0, "end_fraction": 1.0}:
                self.values[key] = f"lin_{start}"
            case "clip_range_vf", None:
                pass  # it refuses None, SB3's default
            case _ if _is_plain(value):
                self.values[key] = value
            case _:
                self.missing.append(f"read {key}={value}; it is left out here")

    def _name(self, reference: str) -> str:
        """Name an object in the expressions that RL Zoo evaluates."""
        module, _, path = reference.rpartition(":")
        if module.startswith("torch.nn.modules."):
            return f"nn.{path}"
        return f'__import__("importlib").import_module("{self.names.module(module)}").{path}'


def _is_plain(description: Any) -> bool:
    """Tell whether a description holds nothing but numbers, text, lists and mappings."""
    if isinstance(description, dict):
        plain_keys = not any(key.startswith("$") for key in description)
        return plain_keys and all(map(_is_plain, description.values()))
    return not isinstance(description, list) or all(map(_is_plain, description))
