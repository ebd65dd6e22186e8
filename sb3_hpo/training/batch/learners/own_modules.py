"""Users' own parts of a model: whether a graph of them computes what they compute."""

from __future__ import annotations

import copy
import logging
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import cloudpickle
import torch
from torch.utils import _pytree as pytree

from sb3_hpo.training.batch.structure import CannotBatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.policies import BasePolicy

_logger = logging.getLogger(__name__)
_KNOWN = ("torch", "stable_baselines3", "sb3_contrib")
_OF_TORCH = set(vars(torch.nn.Module()))


def check_classes(model: BaseAlgorithm) -> None:
    """Refuse policies and buffers of classes that are not SB3's: parts of them are used directly.

    Args:
        model: One of the models.

    Raises:
        CannotBatch: It has one of such a class.
    """
    for name in ("policy", "rollout_buffer", "replay_buffer"):
        part = getattr(model, name, None)
        if part is not None and _is_foreign(part):
            what = name.replace("_", " ")
            raise CannotBatch(f"the {what} {type(part).__name__} is not one of SB3's")


def check_modules(policy: BasePolicy) -> None:
    """Refuse users' modules that do other things than to compute from weights and inputs.

    A graph goes on to compute what its trace has seen: one value of what a module counts, and the
    mode that the trace was in.

    Args:
        policy: Of one of the models; it is copied.

    Raises:
        CannotBatch: It has such modules.
    """
    if not any(_is_foreign(part) for part in policy.modules()):
        return
    try:
        policy, space = copy.deepcopy((policy, policy.observation_space))
        parts = [part for part in policy.modules() if _is_foreign(part)]
        space.seed(0)
        observation = policy.obs_to_tensor(space.sample())[0]
        policy.set_training_mode(False)
        before = [_state(part) for part in parts]
        acting = _outputs(policy, parts, observation)
        policy.set_training_mode(True)
        learning = _outputs(policy, parts, observation)
        policy.set_training_mode(False)
        after = [_state(part) for part in parts]
    except Exception as error:
        _logger.debug("a policy could not be tried", exc_info=True)
        raise CannotBatch(f"a copy of the policy cannot be tried ({_short(error)})") from error
    for part, state, later in zip(parts, before, after, strict=True):
        if state != later:
            raise CannotBatch(f"{type(part).__name__} changes its attributes when it is called")
    for one, other in zip_longest(acting, learning, fillvalue=("",)):
        if not _same(one, other):
            name = one[0] or other[0]
            raise CannotBatch(f"{name} computes random values, or others in training mode")


def _is_foreign(part: object) -> bool:
    return type(part).__module__.split(".")[0] not in _KNOWN


def _state(part: torch.nn.Module) -> bytes:
    own = {key: value for key, value in vars(part).items() if key not in _OF_TORCH}
    pickled: bytes = cloudpickle.dumps(own)
    return pickled


def _outputs(
    policy: BasePolicy, parts: Sequence[torch.nn.Module], observation: Any
) -> list[tuple[str, Any]]:
    """Return the names of the parts and what they say, in the order in which they are called."""
    outputs: list[tuple[str, Any]] = []

    def note(part: torch.nn.Module, _: Any, output: Any) -> None:
        outputs.append((type(part).__name__, copy.deepcopy(output)))

    hooks = [part.register_forward_hook(note) for part in parts]
    try:
        with torch.no_grad():
            policy._predict(observation, deterministic=True)
    finally:
        for hook in hooks:
            hook.remove()
    return outputs


def _same(one: Any, other: Any) -> bool:
    (ours, structure), (theirs, other_structure) = map(pytree.tree_flatten, (one, other))
    return structure == other_structure and all(map(_equal, ours, theirs))


def _equal(one: Any, other: Any) -> bool:
    if not isinstance(one, torch.Tensor):
        return bool(one == other)
    return one.shape == other.shape and torch.allclose(one, other, 0, 0, equal_nan=True)


def _short(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
