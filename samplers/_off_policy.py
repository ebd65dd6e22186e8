"""What the off-policy spaces share: discount, updates, replay, networks, action noise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from samplers._dimensions import Choice, Float, Layers, OneMinus, activations
from samplers._replay_buffer import Replay
from samplers._shared import SpaceContext, box_action_shape, has_box_actions, is_at_least
from samplers._space import NET_ARCH, Finish

if TYPE_CHECKING:
    from samplers._dimensions import Dimension
    from samplers._shared import Size
    from samplers._space import Values

_NET_ARCHS = {"small": [64, 64], "medium": [256, 256], "big": [400, 300]}
_FULL_NET_ARCHS = {**_NET_ARCHS, "large": [256, 256, 256], "verybig": [512, 512, 512]}

# Zoo YAML has train_freq 32 and 64 and batches of 64 to 2048. Four updates per environment step
# is four times SB3's default.
CONTINUOUS_REPLAY = Replay(
    train_freq_pow=0,
    max_train_freq_pow=6,
    update_to_data_pow=0,
    min_update_to_data_pow=-2,
    max_update_to_data_pow=2,
    batch_size_pow=8,
    min_batch_size_pow=5,
    max_batch_size_pow=10,
)


def off_policy_dimensions(replay: Replay) -> tuple[Dimension, ...]:
    """Return what all off-policy algorithms have in common."""
    return (
        OneMinus(
            "one_minus_gamma", lambda context, _: 5e-3 if context.her else 1e-4, 0.1,
            argument="gamma", default=0.01, since="small",
            source="Zoo's lowest is 0.97, but it has tuned 0.95; relabelled goals: 0.95 to 0.99",
        ),
        *replay.update_dimensions(),
        *replay.buffer_dimensions(),
        Choice(
            "activation_fn", activations, argument="policy_kwargs.activation_fn", default="relu",
            since="full", source="Zoo",
        ),
    )  # fmt: skip


def net_archs(context: SpaceContext, size: Size) -> dict[str, list[int]]:
    """Return layers by Zoo's names; the deeper ones are for relabelled goals there."""
    deep = is_at_least(size, "full") or context.her
    return _FULL_NET_ARCHS if deep else _NET_ARCHS


def net_arch(default: str) -> Layers:
    """Return the dimension of the hidden layers."""
    return Layers("net_arch", net_archs, argument=NET_ARCH, default=default, source="Zoo")


def tau(since: Size) -> Float:
    """Return the dimension of the speed of the target network."""
    return Float("tau", 1e-3, 0.08, log=True, default=0.005, since=since, source="Zoo")


# What TD3 and DDPG have in common.
ACTION_NOISE = (
    Choice("noise_type", ("none", "normal", "ou"), together=("action_noise",), default="none",
           since="small", exists=has_box_actions, source="Zoo"),
    Float("noise_std", 0.01, 0.5, log=True, together=("action_noise",), default=None,
          since="small", when=("noise_type", ("normal", "ou")),
          source="Zoo: 0 to 0.5; actions are scaled to [-1, 1] where SB3 adds it"),
)  # fmt: skip
DETERMINISTIC_ACTOR = (*off_policy_dimensions(CONTINUOUS_REPLAY), net_arch("big"))


class Noise(Finish):
    """Makes SB3's action noise object of the shape of the actions."""

    def do(self, values: Values, context: SpaceContext, _size: Size) -> dict[str, Any]:
        """Make the object, or None."""
        kind, shape = values.pop("noise_type", None), box_action_shape(context)
        if kind is None or shape is None:
            return {}
        values["action_noise"] = None
        if kind != "none":
            import numpy as np
            from stable_baselines3.common.noise import (
                NormalActionNoise,
                OrnsteinUhlenbeckActionNoise,
            )

            make = OrnsteinUhlenbeckActionNoise if kind == "ou" else NormalActionNoise
            mean, sigma = np.zeros(shape), np.full(shape, values.pop("noise_std"))
            values["action_noise"] = make(mean=mean, sigma=sigma)
        return {}

    def undo(self, values: Values, _context: SpaceContext) -> None:
        """Say of which kind and how strong it is."""
        noise = values.pop("action_noise", None)
        kinds = {"NormalActionNoise": "normal", "OrnsteinUhlenbeckActionNoise": "ou"}
        values["noise_type"] = kinds.get(type(noise).__name__, "none")
        if noise is not None:
            values["noise_std"] = float(noise._sigma.flat[0])
