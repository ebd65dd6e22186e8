"""What the on-policy spaces (A2C, TRPO and the three PPOs) share.

Ranges are those of RL Zoo's samplers, widened where its tuned configurations lie outside them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from samplers._dimensions import Choice, Float, Layers, OneMinus, activations
from samplers._shared import SpaceContext, has_box_actions, has_images, is_at_least
from samplers._space import NET_ARCH, Finish

if TYPE_CHECKING:
    from samplers._shared import Size
    from samplers._space import Values

_NET_ARCHS = {"tiny": [64], "small": [64, 64], "medium": [256, 256]}
_FULL_NET_ARCHS = {**_NET_ARCHS, "wide": [256]}


def _net_archs(context: SpaceContext, size: Size) -> dict[str, list[int]]:
    net_archs = _FULL_NET_ARCHS if is_at_least(size, "full") else _NET_ARCHS
    # SB3's own choice behind its CNN is no hidden layer at all.
    return {"linear": [], **net_archs} if has_images(context) else net_archs


ONE_MINUS_GAE_LAMBDA = OneMinus(
    "one_minus_gae_lambda", 5e-4, 0.25, argument="gae_lambda", one_below=1e-3, default=0.05,
    source="Zoo's tuned 0.8 to 1.0, both outside its range; below 1e-3: exactly 1 (Monte Carlo)",
)  # fmt: skip

POLICY = (
    Choice(
        "activation_fn", activations, argument="policy_kwargs.activation_fn", default="tanh",
        since="small", source="Zoo; the full space has ELU and GELU of its tuned configurations",
    ),
    Layers(
        "net_arch", _net_archs, argument=NET_ARCH, default="small",
        source="Zoo; one or two layers of 64 or 256",
    ),
    Choice(
        "ortho_init", (True, False), argument="policy_kwargs.ortho_init", default=True,
        since="full", source="Zoo",
    ),
    Float(
        "log_std_init", -4.0, 0.5, argument="policy_kwargs.log_std_init", default=0.0,
        since="full", exists=has_box_actions, source="Zoo YAML: -3.3 to -1; SB3's default is 0",
    ),
    Choice("use_sde", (False, True), default=False, since="full", exists=has_box_actions,
           source="SB3 accepts it for Box actions only"),
    Choice(
        "sde_sample_freq", (-1, 4, 8, 16, 64), default=None, since="full",
        when=("use_sde", True), source="-1: at the start of a rollout only; the others: Zoo YAML",
    ),
    Choice(
        "use_expln", (False, True), argument="policy_kwargs.use_expln", default=None,
        since="full", when=("use_sde", True),
    ),
)  # fmt: skip
"""Networks of actor and critic, and how the actor explores."""

ACTOR_CRITIC = (
    OneMinus(
        "one_minus_gamma", 1e-4, 0.2, argument="gamma", default=0.01, since="small",
        source="Zoo's lowest gamma is 0.97, but it has a tuned 0.9; ARLBench goes to 0.8",
    ),
    ONE_MINUS_GAE_LAMBDA,
    Float(
        "ent_coef", 1e-8, 0.1, log=True, to=lambda drawn: 0.0 if drawn < 1e-7 else drawn,
        default=1e-8, source="Zoo; below 1e-7: exactly 0, as most of its tuned configurations",
    ),
    Float(
        "max_grad_norm", 0.3, 5.0, log=True, default=0.5,
        source="Optuna's example; Zoo stops at 2 and misses a tuned 5",
    ),
    Float("vf_coef", 0.1, 1.0, default=0.5, since="full", source="Zoo YAML, ARLBench"),
    *POLICY,
)  # fmt: skip
"""What A2C and the PPOs have in common."""


class SharedLayers(Finish):
    """Gives actor and critic layers of the same sizes."""

    def do(self, values: Values, _context: SpaceContext, _size: Size) -> dict[str, Any]:
        """Give both the same."""
        if NET_ARCH in values:
            values[NET_ARCH] = {"pi": values[NET_ARCH], "vf": list(values[NET_ARCH])}
        return {}
