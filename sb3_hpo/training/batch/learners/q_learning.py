"""DQN and QR-DQN, many models at once. Their target networks are updated by SB3 itself."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from sb3_hpo.training.batch.learners.learner import clipped
from sb3_hpo.training.batch.learners.off_policy import Change, OffPolicyLearner, targets

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np


class _QLearner(OffPolicyLearner):
    """Models whose networks give values of actions."""

    cost_ratio = 0.33

    def __init__(self, models: Sequence[Any], streams: Sequence[np.random.RandomState]) -> None:
        super().__init__(models, streams)
        self._take_over(self.acting, "policy.optimizer")
        self._take_over(f"{self.acting}_target")

    def _scalars(self) -> dict[str, torch.Tensor]:
        never = float("inf")
        return super()._scalars() | {
            "max_grad_norm": self.scalar(
                lambda model: never if model.max_grad_norm is None else model.max_grad_norm
            ),
        }

    def _update(self, change: Change, data: Any, *, changes_all: bool) -> None:  # noqa: ARG002
        loss = self._loss(change.before, data)
        gradient = torch.func.grad(loss)(change.before[self.acting])
        change.step(self.acting, clipped(gradient, change.scalars["max_grad_norm"]))

    @abc.abstractmethod
    def _loss(self, networks: Any, data: Any) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return the loss of a sample as a function of the network that acts."""


class DQNLearner(_QLearner):
    """DQN."""

    acting = "q_net"

    def _loss(self, networks: Any, data: Any) -> Callable[[torch.Tensor], torch.Tensor]:
        following = self._call(
            "q_net_target",
            networks["q_net_target"],
            lambda net: net(data["next_observations"]).max(dim=1)[0].reshape(-1, 1),
        )
        wanted = targets(data, following)

        def loss(row: torch.Tensor) -> torch.Tensor:
            values = self._call("q_net", row, lambda net: net(data["observations"]))
            chosen = torch.gather(values, dim=1, index=data["actions"].long())
            return functional.smooth_l1_loss(chosen, wanted)

        return loss


class QRDQNLearner(_QLearner):
    """QR-DQN: quantiles of returns in place of their means."""

    acting = "quantile_net"
    structure = (*_QLearner.structure, "n_quantiles")

    def _loss(self, networks: Any, data: Any) -> Callable[[torch.Tensor], torch.Tensor]:
        from sb3_contrib.common.utils import quantile_huber_loss

        n, n_quantiles = len(data["rewards"]), self.models[0].n_quantiles

        def best(net: Any) -> torch.Tensor:
            quantiles = net(data["next_observations"])
            greedy = quantiles.mean(dim=1, keepdim=True).argmax(dim=2, keepdim=True)
            chosen = greedy.expand(n, n_quantiles, 1)
            return torch.gather(quantiles, dim=2, index=chosen).squeeze(dim=2)

        target = "quantile_net_target"
        wanted = targets(data, self._call(target, networks[target], best))
        actions = data["actions"][..., None].long().expand(n, n_quantiles, 1)

        def loss(row: torch.Tensor) -> torch.Tensor:
            quantiles = self._call("quantile_net", row, lambda net: net(data["observations"]))
            chosen = torch.gather(quantiles, dim=2, index=actions).squeeze(dim=2)
            return quantile_huber_loss(chosen, wanted, sum_over_quantiles=True)

        return loss
