"""What an algorithm's constructor takes: its names, SB3's defaults, and what people write."""

from __future__ import annotations

import inspect
import math
import re
from typing import Any

from sb3_hpo.algorithms.kwargs import LINEAR
from sb3_hpo.algorithms.registry import find_algorithm
from sb3_hpo.utils.errors import UserError, unknown_name
from sb3_hpo.utils.import_strings import load_reference

# What the trainer itself passes to the constructor.
_PLUMBING = ("self", "policy", "env", "seed", "verbose", "device", "tensorboard_log",
             "policy_kwargs", "_init_setup_model")  # fmt: skip
_POLICY_PLUMBING = ("self", "observation_space", "action_space", "lr_schedule", "use_sde")
NOISE = ("noise_type", "noise_std")  # plain values that stand for an `action_noise` object
SCHEDULES = ("learning_rate", "clip_range", "clip_range_vf", "delta_std")
# SB3 checks few of these, and none of them says so in the words of its arguments.
_LIMITS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("gamma", "gae_lambda", "tau", "exploration_fraction"), (0, 1)),
    **dict.fromkeys(("exploration_initial_eps", "exploration_final_eps"), (0, 1)),
    **dict.fromkeys(("n_steps", "n_epochs", "batch_size", "buffer_size"), (1, math.inf)),
    **dict.fromkeys(("policy_delay", "target_update_interval", "train_freq"), (1, math.inf)),
    **dict.fromkeys(("learning_rate", "learning_starts", "clip_range"), (0, math.inf)),
    **dict.fromkeys(("max_grad_norm", "target_policy_noise", "noise_std"), (0, math.inf)),
    **dict.fromkeys(("ent_coef", "vf_coef"), (0, math.inf)),
}
_ACTIVATIONS = {
    "tanh": "Tanh", "relu": "ReLU", "elu": "ELU", "gelu": "GELU", "leaky_relu": "LeakyReLU",
    "mish": "Mish", "selu": "SELU", "sigmoid": "Sigmoid", "silu": "SiLU",
}  # fmt: skip
_CLASSES = {
    "HerReplayBuffer": "stable_baselines3:HerReplayBuffer",
    "RMSpropTFLike": "stable_baselines3.common.sb2_compat.rmsprop_tf_like:RMSpropTFLike",
}
_TORCH = re.compile(r"(?:torch\.|th\.)?(nn|optim)\.([A-Z]\w*)")


def constructor_defaults(algo: str) -> dict[str, Any]:
    """Return the arguments of an algorithm that can be hyperparameters, with SB3's defaults.

    Args:
        algo: A name of the table, or `package.module:Class`.
    """
    parameters = inspect.signature(load_reference(find_algorithm(algo).reference)).parameters
    return {
        name: parameter.default
        for name, parameter in parameters.items()
        if name not in _PLUMBING and parameter.kind is not inspect.Parameter.VAR_KEYWORD
    }


def policy_arguments(algo: str, policy: str | None) -> set[str] | None:
    """Return the keys that `policy_kwargs` can have.

    Args:
        algo: A name of the table, or `package.module:Class`.
        policy: The user's policy; default: any of the algorithm's own.

    Returns:
        The keys; None for a policy that is not the algorithm's own.
    """
    aliases = getattr(load_reference(find_algorithm(algo).reference), "policy_aliases", {})
    if not aliases or (policy is not None and policy not in aliases):
        return None
    classes = aliases.values() if policy is None else [aliases[policy]]
    names = {name for item in classes for name in inspect.signature(item).parameters}
    return names - set(_POLICY_PLUMBING)


def check_name(algo: str, name: str, policy: str | None = None) -> None:
    """Refuse a name that is no hyperparameter of an algorithm.

    Args:
        algo: A name of the table, or `package.module:Class`.
        name: An argument of the constructor; or a key in one, after a dot.
        policy: The user's policy.

    Raises:
        UserError: There is no such argument; the message says which one was probably meant.
    """
    arguments = set(constructor_defaults(algo))
    if "action_noise" in arguments:
        arguments |= set(NOISE)
    group, _, key = name.partition(".")
    keys = policy_arguments(algo, policy)
    if group == "policy_kwargs" and (not key or keys is None or key.partition(".")[0] in keys):
        return
    if group in arguments and (not key or group.endswith("_kwargs")):
        return
    known = arguments | {f"policy_kwargs.{item}" for item in keys or ()}
    text = unknown_name("parameter", name, known)
    # Some thirty names are not what the reader wants to see beside the right one.
    raise UserError(text.partition(" Known:")[0] if "did you mean" in text else text)


def true_name(dimension: str) -> str:
    """Return what a dimension's name says that it holds.

    >>> true_name("one_minus_gamma"), true_name("n_steps_pow"), true_name("policy_kwargs.net_arch")
    ('gamma', 'n_steps', 'policy_kwargs.net_arch')
    """
    return dimension.removeprefix("one_minus_").removesuffix("_pow")


def true_value(dimension: str, value: Any) -> Any:
    """Return what a dimension's value stands for under its true name.

    Args:
        value: A number, or anything if the dimension's own name is the true one.

    >>> true_value("n_steps_pow", 7), true_value("one_minus_gamma", 0.25), true_value("tau", 0.1)
    (128, 0.75, 0.1)
    """
    if dimension.startswith("one_minus_"):
        return 1 - value
    if dimension.endswith("_pow"):
        return 2.0**value if value < 0 else round(2.0**value)
    return value


def check_limits(name: str, value: Any) -> None:
    """Refuse a number that no algorithm can have under a name.

    Args:
        name: An argument, also one in `policy_kwargs`.
        value: Its value; anything but a number passes.

    Raises:
        UserError: It is out of its limits.
    """
    if name not in _LIMITS or isinstance(value, bool) or not isinstance(value, int | float):
        return
    low, high = _LIMITS[name]
    if not low <= value <= high:
        limits = f"at least {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
        raise UserError(f"must be {limits}, but got {value!r}")


def parse_kwarg(name: str, value: Any) -> Any:
    """Describe what people write for SB3's objects: `relu`, `nn.ReLU`, `lin_0.001`.

    Args:
        name: The argument, perhaps after a dot.
        value: A plain value, as in a file.

    Returns:
        What `deserialize_kwargs` turns into the argument.

    Raises:
        UserError: The text stands for nothing known.

    >>> (
    ...     parse_kwarg("policy_kwargs.activation_fn", "relu"),
    ...     parse_kwarg("train_freq", [1, "episode"]),
    ... )
    ({'$import': 'torch.nn:ReLU'}, {'$tuple': [1, 'episode']})
    >>> parse_kwarg("learning_rate", "lin_3e-4")["start"]
    0.0003
    """
    key = name.rpartition(".")[2]
    if key == "train_freq" and isinstance(value, list | tuple):
        return {"$tuple": list(value)}
    if not isinstance(value, str):
        return value
    if key.endswith(("_fn", "_class")):
        return _spell_class(key, value)
    return _spell_schedule(value) if key in SCHEDULES else value


def _spell_class(key: str, text: str) -> dict[str, str]:
    if ":" in text:
        return {"$import": text}
    if text in _CLASSES:
        return {"$import": _CLASSES[text]}
    if key == "activation_fn" and text in _ACTIVATIONS:
        return {"$import": f"torch.nn:{_ACTIVATIONS[text]}"}
    if match := _TORCH.fullmatch(text):
        return {"$import": f"torch.{match[1]}:{match[2]}"}
    known = _ACTIVATIONS if key == "activation_fn" else _CLASSES
    raise UserError(
        f"{unknown_name('class', text, known)}; or torch.nn.ReLU, package.module:Class"
    )


def _spell_schedule(text: str) -> dict[str, Any]:
    match = re.fullmatch(r"lin_(.+)", text)
    try:
        start = float(match[1]) if match else math.nan
    except ValueError:
        start = math.nan
    if not math.isfinite(start):
        raise UserError(
            f"must be a number, or lin_<number> for one that falls to 0, but got {text!r}"
        )
    return {
        "$call": LINEAR,
        "start": start,
        "end": 0.0,
        "end_fraction": 1.0,
    }


def put(kwargs: dict[str, Any], name: str, value: Any) -> None:
    """Put a value under a dotted name.

    Args:
        kwargs: Nested keyword arguments, changed in place.
        name: For instance `policy_kwargs.net_arch`.

    >>> kwargs = {"policy_kwargs": {"ortho_init": False}}
    >>> put(kwargs, "policy_kwargs.net_arch.pi", [64])
    >>> kwargs
    {'policy_kwargs': {'ortho_init': False, 'net_arch': {'pi': [64]}}}
    """
    *groups, last = name.split(".")
    for group in groups:
        kwargs = kwargs.setdefault(group, {})
    kwargs[last] = value


def take_out(kwargs: dict[str, Any], name: str) -> None:
    """Take out what is under a dotted name, if it is there.

    Args:
        kwargs: Nested keyword arguments, changed in place.
        name: For instance `policy_kwargs.net_arch`.
    """
    *groups, last = name.split(".")
    for group in groups:
        kwargs = kwargs.get(group, {})
    kwargs.pop(last, None)
