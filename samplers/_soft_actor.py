"""What SAC, TQC and CrossQ share: an actor that is rewarded for its entropy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from samplers._dimensions import Choice, Float, is_number
from samplers._shared import SpaceContext, box_action_shape, has_box_actions
from samplers._space import Finish

if TYPE_CHECKING:
    from samplers._shared import Size
    from samplers._space import Values

SOFT_ACTOR = (
    Choice("ent_coef_mode", ("auto", "fixed"), together=("ent_coef",), default="auto",
           since="full", source="a fixed coefficient, or a target for which SAC learns it"),
    Float("ent_coef_fixed", 1e-3, 0.5, log=True, together=("ent_coef",), default=None,
          since="full", when=("ent_coef_mode", "fixed"), source="Zoo YAML"),
    Float("target_entropy_scale", 0.25, 2.0, log=True,
          together=("target_entropy", "ent_coef"), default=1.0, since="full",
          exists=has_box_actions, when=("ent_coef_mode", "auto"),
          source="a multiple of SB3's own, minus the number of action dimensions"),
    Choice("use_sde", (False, True), default=False, since="full", exists=has_box_actions),
    Choice("sde_sample_freq", (-1, 8, 64), default=None, since="full", when=("use_sde", True)),
    # Without state-dependent exploration, the standard deviation is a network output.
    Float("log_std_init", -4.0, -1.0, argument="policy_kwargs.log_std_init", default=None,
          since="full", when=("use_sde", True)),
    Choice("use_expln", (False, True), argument="policy_kwargs.use_expln", default=None,
           since="full", when=("use_sde", True)),
)  # fmt: skip
"""Entropy and state-dependent exploration."""


class Entropy(Finish):
    """Fixes the entropy coefficient or gives it a target, and explores from the start."""

    def do(self, values: Values, context: SpaceContext, _size: Size) -> dict[str, Any]:
        """Say what SB3 calls it."""
        if values.get("use_sde"):
            values["use_sde_at_warmup"] = True  # Zoo YAML
        mode = values.pop("ent_coef_mode", None)
        if mode is None:
            return {}
        values["ent_coef"] = values.pop("ent_coef_fixed") if mode == "fixed" else "auto"
        notes = {"ent_coef": values["ent_coef"]}
        shape, scale = box_action_shape(context), values.pop("target_entropy_scale", None)
        if shape is not None and scale is not None:
            notes["target_entropy"] = target = -scale * math.prod(shape)
            # A scale of one is what SB3 calls "auto".
            values["target_entropy"] = "auto" if scale == 1.0 else target
        return notes

    def undo(self, values: Values, context: SpaceContext) -> None:
        """Tell a fixed coefficient from one that is learned, and which part of SB3's target."""
        coefficient = values.pop("ent_coef", "auto")
        values["ent_coef_mode"] = "auto" if isinstance(coefficient, str) else "fixed"
        values["ent_coef_fixed"] = coefficient
        target, shape = values.pop("target_entropy", "auto"), box_action_shape(context)
        values["target_entropy_scale"] = 1.0
        if is_number(target) and shape is not None:
            values["target_entropy_scale"] = -target / math.prod(shape)
