"""Adam and RMSprop as functions of one member's parameters, step by step as torch has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike

from sb3_hpo.training.batch.structure import CannotBatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sb3_hpo.training.batch.rows import Rows

State = dict[str, torch.Tensor]
_IGNORED = ("params", "lr", "foreach", "fused", "capturable", "differentiable", "maximize",
            "decoupled_weight_decay", "amsgrad", "momentum", "centered")  # fmt: skip


class Optimizer:
    """The optimizers of one network of each member.

    Attributes:
        optimizers: Those of the members, by row.
        state: Their state: moments, [members, parameters], and `step`, [members], the number of
            steps made so far.
    """

    def __init__(self, rows: Rows, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        """Take over fresh optimizers.

        Args:
            rows: What they optimise.
            optimizers: One a member.

        Raises:
            CannotBatch: They are of other kinds, differ in more than their learning rates, have
                made steps, or do not optimise all of the parameters.
        """
        kind, *others = dict.fromkeys(type(item) for item in optimizers)
        if others:
            raise CannotBatch(f"the optimizers differ: {kind.__name__} and {others[0].__name__}")
        if kind not in _SLOTS:
            raise CannotBatch(f"the optimizer {kind.__name__} has no batched form")
        settings = [_settings(item) for item in optimizers]
        if any(item != settings[0] for item in settings):
            raise CannotBatch("the optimizers differ in more than their learning rates")
        if any(item.state for item in optimizers):
            raise CannotBatch("the optimizers have made steps already")
        for row, item in enumerate(optimizers):
            _check_parameters(rows.members(row), item.param_groups[0]["params"])
        self._rows, self.optimizers = rows, list(optimizers)
        self._kind, self._settings = kind, settings[0]
        self.state: State = {
            name: torch.full_like(rows.values, value) for name, value in _SLOTS[kind].items()
        }
        self._rates: tuple[list[float], torch.Tensor] = ([], torch.empty(0))
        self.state["step"] = torch.zeros(len(optimizers), dtype=torch.float64)

    def rates(self) -> torch.Tensor:
        """Return the present learning rates, [members], as SB3's schedules have set them."""
        rates = [item.param_groups[0]["lr"] for item in self.optimizers]
        if rates != self._rates[0]:
            self._rates = rates, torch.tensor(rates, dtype=torch.float64)
        return self._rates[1]

    def update(
        self, row: torch.Tensor, gradient: torch.Tensor, state: State, rate: torch.Tensor
    ) -> tuple[torch.Tensor, State]:
        """Make one step of one member.

        Args:
            row: Its parameters, [parameters].
            gradient: Of the same shape.
            state: Its part of `state`.
            rate: Its learning rate, a number in 64 bits, as torch computes with it.

        Returns:
            The new parameters and state.
        """
        if self._settings["weight_decay"]:
            gradient = gradient + self._settings["weight_decay"] * row
        make = _adam if self._kind is torch.optim.Adam else self._rmsprop
        return make(row, gradient, state, rate, self._settings)

    def _rmsprop(
        self, row: torch.Tensor, gradient: torch.Tensor, state: State, rate: torch.Tensor,
        settings: dict[str, Any],
    ) -> tuple[torch.Tensor, State]:  # fmt: skip
        alpha, eps = settings["alpha"], settings["eps"]
        square = state["square_avg"] * alpha + (1 - alpha) * gradient * gradient
        # TensorFlow's adds epsilon before the root.
        tf_like = self._kind is RMSpropTFLike
        root = (square + eps).sqrt() if tf_like else square.sqrt() + eps
        new = row - rate.to(row.dtype) * (gradient / root)
        return new, {"square_avg": square, "step": state["step"] + 1}

    def write_back(self, row: int) -> None:
        """Give a member's own optimizer its state, so that it can go on by itself."""
        steps = self.state["step"][row]
        if not steps:
            return
        for name in _SLOTS[self._kind]:
            parts = self._rows.named(self.state[name][row].clone()).values()
            for parameter, part in zip(self._rows.members(row), parts, strict=True):
                self.optimizers[row].state[parameter][name] = part
        for parameter in self._rows.members(row):
            own = self.optimizers[row].state[parameter]
            own["step"] = int(steps) if self._kind is RMSpropTFLike else steps.to(torch.float32)

    def keep(self, rows: list[int]) -> None:
        """Keep these rows only."""
        self.optimizers = [self.optimizers[row] for row in rows]
        self.state = {name: value[rows].clone() for name, value in self.state.items()}


_SLOTS: dict[type[torch.optim.Optimizer], dict[str, float]] = {
    torch.optim.Adam: {"exp_avg": 0.0, "exp_avg_sq": 0.0},
    torch.optim.RMSprop: {"square_avg": 0.0},
    RMSpropTFLike: {"square_avg": 1.0},
}


def _check_parameters(members: list[torch.Tensor], optimised: list[torch.Tensor]) -> None:
    if {id(item) for item in members} != {id(item) for item in optimised}:
        raise CannotBatch("the optimizer does not have exactly the parameters of its network")


def _settings(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    if len(optimizer.param_groups) != 1:
        raise CannotBatch("the optimizer has several groups of parameters")
    group = optimizer.param_groups[0]
    for name in ("amsgrad", "maximize", "momentum", "centered", "decoupled_weight_decay"):
        if group.get(name):
            raise CannotBatch(f"the optimizer's {name}={group[name]} has no batched form")
    return {name: value for name, value in group.items() if name not in _IGNORED}


def _adam(
    row: torch.Tensor, gradient: torch.Tensor, state: State, rate: torch.Tensor,
    settings: dict[str, Any],
) -> tuple[torch.Tensor, State]:  # fmt: skip
    beta1, beta2 = settings["betas"]
    step = state["step"] + 1
    first = torch.lerp(state["exp_avg"], gradient, 1 - beta1)
    second = state["exp_avg_sq"] * beta2 + (1 - beta2) * gradient * gradient
    size = (rate / (1 - beta1**step)).to(row.dtype)
    root = second.sqrt() / (1 - beta2**step).sqrt().to(row.dtype) + settings["eps"]
    return row - size * (first / root), {"exp_avg": first, "exp_avg_sq": second, "step": step}
