"""Search space of RecurrentPPO."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from samplers import ppo
from samplers._dimensions import Choice, Int, Layers, PowerOfTwo
from samplers._on_policy import SharedLayers
from samplers._shared import is_at_least
from samplers.schedules import Schedules

if TYPE_CHECKING:
    from samplers._shared import Size, SpaceContext, TrialLike

ROLLOUT = replace(
    ppo.ROLLOUT,
    min_n_steps=16,
    max_n_steps_pow=11,
    default_n_steps=128,
    default_batch_size=128,
    default_updates_per_step=10 / 128,
)

_NET_ARCHS = {"linear": [], "tiny": [64], "small": [64, 64]}
_FULL_NET_ARCHS = {**_NET_ARCHS, "wide": [256], "medium": [256, 256]}


def _net_archs(_context: SpaceContext, size: Size) -> dict[str, list[int]]:
    return _FULL_NET_ARCHS if is_at_least(size, "full") else _NET_ARCHS


SPACE = ppo.SPACE.changed(
    PowerOfTwo("n_steps_pow", ROLLOUT.shortest_pow, ROLLOUT.longest_pow, argument="n_steps",
               default=7, since="small",
               source="backpropagation through time needs sequences; Zoo YAML: 16 to 2048"),
    PowerOfTwo("n_minibatches_pow", 0, ROLLOUT.most_minibatches_pow, argument="n_minibatches",
               together=("batch_size",),
               default=0, since="small", source="as PPO"),
    Layers("net_arch", _net_archs, argument="policy_kwargs.net_arch", default="small",
           source="none is needed behind an LSTM; Zoo YAML: none, one of 64, two of 256"),
    PowerOfTwo("lstm_hidden_size_pow", 4, 8, argument="policy_kwargs.lstm_hidden_size", default=8,
               source="Zoo YAML: 32 to 128; the default is 256"),
    Int("n_lstm_layers", 1, 2, argument="policy_kwargs.n_lstm_layers", default=1, since="full"),
    Choice("enable_critic_lstm", (True, False), argument="policy_kwargs.enable_critic_lstm",
           default=True, since="full"),
    Choice("shared_lstm", (False, True), argument="policy_kwargs.shared_lstm", default=None,
           since="full", when=("enable_critic_lstm", False),
           source="SB3 refuses a critic with an LSTM of its own and the actor's as well"),
    algorithm="RecurrentPPO",
    min_rollout=ROLLOUT.min_n_steps,
    finish=(Schedules(), ROLLOUT, SharedLayers()),
    first_points=tuple({**point, "lstm_hidden_size_pow": 6} for point in ppo.FIRST_POINTS),
)  # fmt: skip


def sample_recurrent_ppo_params(
    trial: TrialLike, *, context: SpaceContext | None = None, size: Size = "default"
) -> dict[str, Any]:
    """Sample RecurrentPPO's keyword arguments: PPO's space and the LSTM.

    Rollouts are cut into equal minibatches, as in PPO's space. Here that is not a matter of
    taste: a last minibatch of one sample makes RecurrentPPO's normalised advantages NaN.

    Args:
        context: The problem; without it, `SpaceContext()`.
        size: "small" has five dimensions: learning_rate, one_minus_gamma, n_steps_pow,
            n_minibatches_pow, activation_fn.

    Returns:
        Keyword arguments for `sb3_contrib.RecurrentPPO`.
    """
    return SPACE.sample(trial, context=context, size=size)
