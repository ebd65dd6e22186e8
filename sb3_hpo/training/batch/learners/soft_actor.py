"""SAC and TQC, many models at once."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any

import torch

from sb3_hpo.training.batch.acting import draw_noise, sampling
from sb3_hpo.training.batch.learners.off_policy import (
    Change,
    OffPolicyLearner,
    squared_errors,
    targets,
)
from sb3_hpo.training.batch.structure import CannotBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

_ALPHA = "log_ent_coef"


class _SoftActorLearner(OffPolicyLearner):
    """Models that maximise the entropy of their actions too."""

    acting = "actor"
    structure = (*OffPolicyLearner.structure, "target_update_interval")
    cost_ratio = 0.79  # of nets of 256, mostly arithmetic, which nothing saves

    def __init__(self, models: Sequence[Any], streams: Sequence[np.random.RandomState]) -> None:
        super().__init__(models, streams)
        tuned = {model.ent_coef_optimizer is not None for model in models}
        if len(tuned) > 1:
            raise CannotBatch("ent_coef is tuned in some of the models only")
        self._tunes_alpha = tuned.pop()
        self._take_over("actor", "actor.optimizer")
        self._take_over("critic", "critic.optimizer")
        self._take_over("critic_target")
        if self._tunes_alpha:
            self._take_over(_ALPHA, "ent_coef_optimizer")

    def _is_for_all(self, model: Any, index: int) -> bool:
        return bool(index % model.target_update_interval == 0)

    def _payload(self, model: Any, data: Any) -> dict[str, Any]:
        n, distribution = len(data.rewards), model.actor.action_dist
        noises = (draw_noise(distribution, n), draw_noise(distribution, n))
        return super()._payload(model, data) | {"noises": noises}

    def _scalars(self) -> dict[str, torch.Tensor]:
        alpha = (
            {"target_entropy": self.scalar(lambda model: model.target_entropy)}
            if self._tunes_alpha
            else {"alpha": self.scalar(lambda model: float(model.ent_coef_tensor))}
        )
        return super()._scalars() | alpha | {"tau": self.scalar(lambda model: model.tau)}

    def _update(self, change: Change, data: Any, *, changes_all: bool) -> None:
        networks, scalars = change.before, change.scalars
        now, later = data["noises"]
        _, log_prob = self._act(networks["actor"], data["observations"], now)
        if self._tunes_alpha:
            alpha = torch.exp(networks[_ALPHA])
            change.step(_ALPHA, -(log_prob + scalars["target_entropy"]).mean().reshape(1))
        else:
            alpha = scalars["alpha"]
        next_actions, next_log_prob = self._act(
            networks["actor"], data["next_observations"], later
        )
        critic_loss = self._critic_loss(networks, data, next_actions, alpha * next_log_prob)
        change.step("critic", torch.func.grad(critic_loss)(networks["critic"]))

        def actor_loss(row: torch.Tensor) -> torch.Tensor:
            actions, log_prob = self._act(row, data["observations"], now)
            value = self._call(
                "critic",
                change.networks["critic"],
                lambda critic: self._value(critic(data["observations"], actions)),
            )
            loss: torch.Tensor = (alpha * log_prob - value).mean()
            return loss

        change.step("actor", torch.func.grad(actor_loss)(networks["actor"]))
        if changes_all:
            change.follow("critic")

    def _act(self, row: torch.Tensor, observations: Any, noise: Any) -> tuple[Any, Any]:
        """Return a member's actions and their log probabilities, [batch, 1]."""

        def call(actor: Any) -> tuple[Any, Any]:
            with sampling(actor.action_dist, noise):
                actions, log_prob = actor.action_log_prob(observations)
            return actions, log_prob.reshape(-1, 1)

        result: tuple[Any, Any] = self._call("actor", row, call)
        return result

    @abc.abstractmethod
    def _critic_loss(
        self, networks: Any, data: Any, next_actions: torch.Tensor, entropy_cost: torch.Tensor
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return the loss of a sample as a function of the critics."""

    @staticmethod
    @abc.abstractmethod
    def _value(outputs: Any) -> torch.Tensor:
        """Return the value of actions, [batch, 1], from what the critics say."""


class SACLearner(_SoftActorLearner):
    """SAC."""

    def _critic_loss(
        self, networks: Any, data: Any, next_actions: torch.Tensor, entropy_cost: torch.Tensor
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        following = self._call(
            "critic_target",
            networks["critic_target"],
            lambda critic: self._value(critic(data["next_observations"], next_actions)),
        )
        wanted = targets(data, following - entropy_cost)
        return lambda row: 0.5 * squared_errors(self._critics(row, data), wanted)

    @staticmethod
    def _value(outputs: Any) -> torch.Tensor:
        return torch.min(torch.cat(outputs, dim=1), dim=1, keepdim=True)[0]


class TQCLearner(_SoftActorLearner):
    """TQC: quantiles of returns, the highest of which are dropped."""

    structure = (*_SoftActorLearner.structure, "top_quantiles_to_drop_per_net")

    def _critic_loss(
        self, networks: Any, data: Any, next_actions: torch.Tensor, entropy_cost: torch.Tensor
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        from sb3_contrib.common.utils import quantile_huber_loss

        model = self.models[0]
        n_dropped = model.top_quantiles_to_drop_per_net * model.critic.n_critics
        n_kept = model.critic.quantiles_total - n_dropped
        following = self._call(
            "critic_target",
            networks["critic_target"],
            lambda critic: critic(data["next_observations"], next_actions),
        )
        lowest = torch.sort(following.reshape(len(data["rewards"]), -1))[0][:, :n_kept]
        wanted = targets(data, lowest - entropy_cost).unsqueeze(dim=1)

        def loss(row: torch.Tensor) -> torch.Tensor:
            quantiles = self._critics(row, data)
            return quantile_huber_loss(quantiles, wanted, sum_over_quantiles=False)

        return loss

    @staticmethod
    def _value(outputs: Any) -> torch.Tensor:
        value: torch.Tensor = outputs.mean(dim=2).mean(dim=1, keepdim=True)
        return value
