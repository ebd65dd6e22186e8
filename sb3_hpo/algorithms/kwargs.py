"""Keyword arguments of SB3 as plain values, and back: one codec for YAML, studies and tests.

Numbers, strings, booleans, None, lists and dicts with string keys stand for themselves.
Everything else is a mapping with one reserved key:

- `{$import: "torch.nn:Tanh"}`: a class or function, by where it is imported from;
- `{$call: "module:Class", ...}`: an object of `CALLS`, by its class and constructor arguments;
- `{$tuple: [...]}`: a tuple.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sb3_hpo.utils.errors import UserError, unknown_name
from sb3_hpo.utils.import_strings import load_reference, reference

if TYPE_CHECKING:
    from collections.abc import Mapping

NORMAL_NOISE = "stable_baselines3.common.noise:NormalActionNoise"
OU_NOISE = "stable_baselines3.common.noise:OrnsteinUhlenbeckActionNoise"
LINEAR = "stable_baselines3.common.utils:LinearSchedule"
COSINE = "samplers.schedules:CosineSchedule"
# Constructor argument -> attribute that holds it, for the objects SB3 takes as arguments: the only
# ones that are made by a call, so that no file can have anything else called.
CALLS = {
    LINEAR: {"start": "start", "end": "end", "end_fraction": "end_fraction"},
    COSINE: {"initial_value": "initial_value"},
    NORMAL_NOISE: {"mean": "_mu", "sigma": "_sigma"},
    OU_NOISE: {
        "mean": "_mu",
        "sigma": "_sigma",
        "theta": "_theta",
        "dt": "_dt",
        "initial_noise": "initial_noise",
    },
}
_RESERVED = ("$import", "$call", "$tuple")


def serialize_kwargs(value: Any) -> Any:
    """Describe keyword arguments, or one value of them, in plain values.

    Args:
        value: A dict of keyword arguments, or anything in one.

    Returns:
        Plain values that `deserialize_kwargs` turns back into equal arguments. Two sets are
        equal when their descriptions are.

    Raises:
        UserError: The value has no description; the message says what can be used instead.

    >>> serialize_kwargs({"train_freq": (1, "episode"), "device": "cpu"})
    {'train_freq': {'$tuple': [1, 'episode']}, 'device': 'cpu'}
    """
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        value = value.tolist()  # numpy scalars and arrays
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        return {_checked_key(key): serialize_kwargs(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return {"$tuple": [serialize_kwargs(item) for item in value]}
    if isinstance(value, list):
        return [serialize_kwargs(item) for item in value]
    if isinstance(value, type) or (callable(value) and hasattr(value, "__qualname__")):
        return {"$import": reference(value)}
    if (name := reference(type(value))) in CALLS:
        arguments = {
            key: serialize_kwargs(getattr(value, attribute))
            for key, attribute in CALLS[name].items()
        }
        return {"$call": name, **arguments}
    raise UserError(
        f"{value!r} cannot be written down: use numbers, text, lists, dicts, classes, "
        "top-level functions, SB3's action noise or a schedule of the search spaces"
    )


def _checked_key(key: Any) -> str:
    if not isinstance(key, str) or key in _RESERVED:
        raise UserError(f"keys must be text other than {', '.join(_RESERVED)}, but got {key!r}")
    return key


def deserialize_kwargs(description: Any) -> Any:
    """Build the keyword arguments, or one value of them, that a description stands for.

    Args:
        description: What `serialize_kwargs` returned, also after a way through YAML or JSON.

    Returns:
        New objects at every call; nothing is shared with the description.

    Raises:
        UserError: A class or function of the description cannot be imported, or is called and is
            none of `CALLS`.
    """
    if isinstance(description, list):
        return [deserialize_kwargs(item) for item in description]
    if not isinstance(description, dict):
        return description
    if "$tuple" in description:
        return tuple(deserialize_kwargs(item) for item in description["$tuple"])
    if "$import" in description:
        return load_reference(description["$import"])
    if "$call" in description:
        arguments = {
            key: deserialize_kwargs(item) for key, item in description.items() if key != "$call"
        }
        return _call(description["$call"], arguments)
    return {key: deserialize_kwargs(item) for key, item in description.items()}


def _call(name: str, arguments: dict[str, Any]) -> Any:
    if name not in CALLS:
        raise UserError(f"$call: {unknown_name('object', name, CALLS)}")
    import numpy as np  # SB3's noise wants arrays where YAML has lists

    unknown = [key for key in arguments if key not in CALLS[name]]
    if unknown:
        raise UserError(f"{name}: {unknown_name('argument', unknown[0], CALLS[name])}")
    arguments = {
        key: np.asarray(item) if isinstance(item, list) else item
        for key, item in arguments.items()
    }
    return load_reference(name)(**arguments)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two mappings; where both have a mapping under a key, merge those too.

    Args:
        base: The mapping that gives way.
        over: The mapping that wins.

    Returns:
        A new dict.

    >>> merge({"policy_kwargs": {"net_arch": [64]}}, {"policy_kwargs": {"log_std_init": -1.0}})
    {'policy_kwargs': {'net_arch': [64], 'log_std_init': -1.0}}
    """
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        both = isinstance(below, dict) and isinstance(value, dict)
        merged[key] = merge(below, value) if both else value  # type: ignore[arg-type]
    return merged
