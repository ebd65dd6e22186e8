"""RL Zoo's hyperparameter files: one entry as SB3's keyword arguments, nothing evaluated."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sb3_hpo.algorithms.constructor import SCHEDULES, check_limits, check_name, parse_kwarg
from sb3_hpo.algorithms.kwargs import deserialize_kwargs
from sb3_hpo.algorithms.trust import check_trusted, named_modules
from sb3_hpo.spaces.file_space import action_noise
from sb3_hpo.utils.errors import UserError, unknown_name

if TYPE_CHECKING:
    import gymnasium as gym

    from sb3_hpo.config.study_config import StudyConfig

# Text that RL Zoo evaluates as Python.
_EXPRESSIONS = ("policy_kwargs", "replay_buffer_class", "replay_buffer_kwargs",
                "rollout_buffer_class", "rollout_buffer_kwargs", "normalize", "env_kwargs",
                "monitor_kwargs")  # fmt: skip
# About the environment and the run, not about the algorithm.
_ABOUT_THE_RUN = ("n_envs", "n_timesteps", "normalize", "frame_stack", "env_kwargs",
                  "env_wrapper", "policy", "vec_env_wrapper", "callback", "monitor_kwargs",
                  "n_eval_envs")  # fmt: skip
_OWN_POLICIES = re.compile(r"(Mlp|Cnn|MultiInput)(Lstm)?Policy")
_ATARI = re.compile(r"ALE/|.*NoFrameskip-v\d+$")
_CONSTANTS = (bool, int, float, str, type(None))


@dataclass(frozen=True)
class ZooEntry:
    """One entry of a file.

    Attributes:
        name: Its key: an environment's id, or `atari`.
        kwargs: Description of the algorithm's keyword arguments.
        differences: What it says of the run and the study does otherwise.
    """

    name: str
    kwargs: dict[str, Any]
    differences: tuple[str, ...]


def is_zoo_file(values: Mapping[str, Any], env: str) -> bool:
    """Tell whether a file has entries by environment, as RL Zoo's have.

    Args:
        values: The file's contents.
        env: The study's environment; entries of others are known by what they say of the run.
    """
    return bool(values) and all(
        isinstance(entry, Mapping)
        and (name == env or not {"n_timesteps", "policy"}.isdisjoint(entry))
        for name, entry in values.items()
    )


def read_zoo_entry(
    values: Mapping[str, Any], where: str, config: StudyConfig, action_space: gym.Space[Any]
) -> ZooEntry:
    """Read the entry for the study's environment.

    Args:
        values: The file's contents.
        where: The file, for messages.
        action_space: Of the environment; action noise has its shape.

    Raises:
        UserError: There is no entry for the environment, or all that is wrong with it: unknown
            keys, expressions that would have to be evaluated, values that SB3 does not take.
    """
    env = config.env.rpartition(":")[2]
    name = "atari" if env not in values and _ATARI.match(env) else env
    if name not in values:
        raise UserError(f"{where}: {unknown_name('entry', env, map(str, values))}")
    kwargs: dict[str, Any] = {}
    run: dict[str, Any] = {}
    mistakes = []
    for key, value in values[name].items():
        try:
            if key in _ABOUT_THE_RUN:
                run[key] = _read_value(key, value)
                continue
            check_name(config.algo, key, config.policy)
            kwargs[key] = _read_value(key, value)
            check_limits(key, kwargs[key])
            check_trusted(kwargs[key], named_modules(config.plain()), "not trusted")
            deserialize_kwargs(kwargs[key])  # what it imports must be there
        except UserError as error:
            mistakes.append(f"{where}: {name}.{key}: {error}")
    try:
        _add_noise(kwargs, action_space)
    except UserError as error:
        mistakes.append(f"{where}: {name}.noise_type: {error}")
    if mistakes:
        raise UserError("; ".join(mistakes))
    return ZooEntry(name, kwargs, tuple(_differences(run, config)))


def _read_value(key: str, value: Any) -> Any:
    if key in _EXPRESSIONS and isinstance(value, str):
        return _Expression(value).read()
    if key in SCHEDULES and isinstance(value, str):
        value = re.sub(r"^linear_", "lin_", value)
    return parse_kwarg(key, value)


def _add_noise(kwargs: dict[str, Any], action_space: gym.Space[Any]) -> None:
    """Replace the noise's kind and size by the noise."""
    kind, std = kwargs.pop("noise_type", None), kwargs.pop("noise_std", None)
    if kind is None:
        return
    if std is None:
        raise UserError("must have a noise_std beside it")
    kwargs["action_noise"] = action_noise(str(kind).strip(), std, action_space)


def _differences(run: Mapping[str, Any], config: StudyConfig) -> list[str]:
    """Say what the entry wants of the run that the study does not do."""
    ours: dict[str, Any] = {
        "n_envs": config.n_envs,
        "n_timesteps": config.n_timesteps,
        "normalize": config.normalize,
        "frame_stack": config.frame_stack,
        "env_kwargs": config.env_kwargs,
    }
    theirs = {"n_envs": 1, "normalize": False, "frame_stack": 1, "env_kwargs": {}, **run}
    differences = [
        f"{key} {_short(value)} here, {_short(theirs[key])} there"
        for key, value in ours.items()
        if key in theirs and theirs[key] != value
    ]
    policy = run.get("policy", "MlpPolicy")
    is_chosen = config.policy is None and _OWN_POLICIES.fullmatch(str(policy))
    if not is_chosen and config.policy != policy:
        differences.append(f"policy {config.policy or 'by observations'} here, {policy} there")
    wrappers = [name.replace(":", ".") for name in config.wrapper]
    if (wanted := _names(run.get("env_wrapper"))) != wrappers:
        differences.append(f"wrapper {_short(wrappers)} here, {_short(wanted)} there")
    callbacks = [
        {name.replace(":", "."): kwargs} if kwargs else name.replace(":", ".")
        for entry in config.callbacks
        for name, kwargs in entry.items()
    ]
    if (wanted := _names(run.get("callback"))) != (ours_named := _names(callbacks)):
        differences.append(f"callback {_short(ours_named)} here, {_short(wanted)} there")
    for key in ("vec_env_wrapper", "monitor_kwargs"):
        if run.get(key):
            differences.append(f"no {key} here, {_short(_names(run[key]))} there")
    return differences


def _names(wrappers: Any) -> list[str]:
    """Return the names of wrappers, which may stand alone, in a list, or above arguments."""
    if wrappers is None:
        return []
    items = wrappers if isinstance(wrappers, list) else [wrappers]
    return [
        f"{next(iter(item))}({item[next(iter(item))]})" if isinstance(item, Mapping) else str(item)
        for item in items
    ]


def _short(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"{value:,.0f}" if float(value).is_integer() else f"{value:g}"
    if isinstance(value, list):
        return ", ".join(value) if value else "none"
    return str(value) if value else "none"


class _Expression:
    """Text that RL Zoo would evaluate: only data and classes of torch and SB3 are read of it."""

    def __init__(self, text: str) -> None:
        self._text = text

    def read(self) -> Any:
        """Return the description of what the text stands for."""
        try:
            tree = ast.parse(self._text.strip(), mode="eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise UserError(f"{self._text!r} is not an expression of Python") from error
        return self._describe(tree.body, "")

    def _describe(self, node: ast.expr, key: str) -> Any:
        if isinstance(node, ast.Constant) and isinstance(node.value, _CONSTANTS):
            return parse_kwarg(key, node.value)
        if isinstance(node, ast.List):
            return [self._describe(item, key) for item in node.elts]
        if isinstance(node, ast.Tuple):
            return {"$tuple": [self._describe(item, key) for item in node.elts]}
        if isinstance(node, ast.Call | ast.Dict):
            return self._describe_dict(node)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            value = self._describe(node.operand, key)
            if isinstance(value, int | float):
                return -value if isinstance(node.op, ast.USub) else value
        if isinstance(node, ast.Name | ast.Attribute):
            # Names of classes, as a table knows them: what comes of it is text, not an object.
            try:
                return parse_kwarg(f"{key}_class", ast.unparse(node))
            except UserError:
                pass
        raise self._refuse(node)

    def _describe_dict(self, node: ast.Call | ast.Dict) -> dict[str, Any]:
        if isinstance(node, ast.Dict):
            keys = [item.value if isinstance(item, ast.Constant) else None for item in node.keys]
            pairs = list(zip(keys, node.values, strict=True))
        elif isinstance(node.func, ast.Name) and node.func.id == "dict" and not node.args:
            pairs = [(item.arg, item.value) for item in node.keywords]
        else:
            raise self._refuse(node)
        if not all(isinstance(key, str) for key, _ in pairs):
            raise self._refuse(node)
        return {str(key): self._describe(value, str(key)) for key, value in pairs}

    def _refuse(self, node: ast.expr) -> UserError:
        return UserError(
            f"{ast.unparse(node)!r} would have to be evaluated, which is not safe: write it with "
            "dict(...), lists, numbers, text and classes such as nn.ReLU"
        )
