"""Parameters of equal modules as the rows of one tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from sb3_hpo.training.batch.structure import CannotBatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn


class Rows:
    """The parameters of one module of each member, [members, parameters].

    The members' own parameters are views into their rows: a step on the rows is a step of every
    module, which can go on to be called, evaluated and saved by itself.

    Attributes:
        values: The parameters, a row a member.
    """

    def __init__(self, name: str, modules: Sequence[nn.Module | torch.Tensor]) -> None:
        """Move the parameters of the modules into one tensor.

        Args:
            name: What the modules are, for messages.
            modules: One a member.

        Raises:
            CannotBatch: They differ, or have state besides parameters.
        """
        self._parameters = [_named(module) for module in modules]
        first = self._parameters[0]
        self._shapes = {key: value.shape for key, value in first.items()}
        self._sizes = [value.numel() for value in first.values()]
        for module, own in zip(modules, self._parameters, strict=True):
            if {key: value.shape for key, value in own.items()} != self._shapes:
                raise CannotBatch(f"the {name} networks differ in their shapes")
            if isinstance(module, torch.nn.Module) and any(True for _ in module.buffers()):
                # Which are not in the rows: all members would use the first one's.
                raise CannotBatch(f"the {name} network has buffers, as batch normalisation does")
            if any(value.dtype is not torch.float32 for value in own.values()):
                raise CannotBatch(f"the {name} network is not in 32-bit floats")
        self.values = torch.stack([_flat(own) for own in self._parameters])
        for row in range(len(modules)):
            self._attach(row, self.values[row])

    def named(self, row: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return a row, [parameters], as a module's parameters by name."""
        parts = torch.split(row, self._sizes)
        return {
            key: part.view(shape)
            for (key, shape), part in zip(self._shapes.items(), parts, strict=True)
        }

    def members(self, row: int) -> list[torch.Tensor]:
        """Return the parameters of a member, in the order of its row."""
        return list(self._parameters[row].values())

    def release(self, row: int) -> None:
        """Give a member's module parameters of its own, with their present values."""
        self._attach(row, self.values[row].clone())

    def keep(self, rows: list[int]) -> None:
        """Keep these rows only; the others must have been released."""
        self._parameters = [self._parameters[row] for row in rows]
        self.values = self.values[rows].clone()
        for row in range(len(rows)):
            self._attach(row, self.values[row])

    def _attach(self, row: int, values: torch.Tensor) -> None:
        for key, value in self.named(values).items():
            self._parameters[row][key].data = value


def _named(module: nn.Module | torch.Tensor) -> dict[str, torch.Tensor]:
    if isinstance(module, torch.Tensor):
        return {"": module}
    return dict(module.named_parameters())


def _flat(parameters: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([value.detach().flatten() for value in parameters.values()])
