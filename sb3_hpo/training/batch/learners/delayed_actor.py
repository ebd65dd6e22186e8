"""TD3 and DDPG, many models at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from sb3_hpo.training.batch.learners.off_policy import (
    Change,
    OffPolicyLearner,
    squared_errors,
    targets,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np


class TD3Learner(OffPolicyLearner):
    """TD3, and DDPG, which is TD3 without its three tricks."""

    acting = "actor"
    structure = (*OffPolicyLearner.structure, "policy_delay")
    cost_ratio = 0.76  # of nets of 256, mostly arithmetic, which nothing saves

    def __init__(self, models: Sequence[Any], streams: Sequence[np.random.RandomState]) -> None:
        """Take the models' networks over."""
        super().__init__(models, streams)
        self._take_over("actor", "actor.optimizer")
        self._take_over("critic", "critic.optimizer")
        self._take_over("actor_target")
        self._take_over("critic_target")

    def _is_for_all(self, model: Any, index: int) -> bool:  # noqa: ARG002 - over all rollouts
        return bool(model._n_updates % model.policy_delay == 0)

    def _payload(self, model: Any, data: Any) -> dict[str, Any]:
        noise = torch.empty_like(data.actions).normal_(0, model.target_policy_noise)
        noise = noise.clamp(-model.target_noise_clip, model.target_noise_clip)
        return super()._payload(model, data) | {"noise": noise}

    def _scalars(self) -> dict[str, torch.Tensor]:
        return super()._scalars() | {"tau": self.scalar(lambda model: model.tau)}

    def _update(self, change: Change, data: Any, *, changes_all: bool) -> None:
        networks = change.before
        critic_loss = self._critic_loss(networks, data)
        change.step("critic", torch.func.grad(critic_loss)(networks["critic"]))
        if not changes_all:
            return

        def actor_loss(row: torch.Tensor) -> torch.Tensor:
            actions = self._call("actor", row, lambda actor: actor(data["observations"]))
            value: torch.Tensor = self._call(
                "critic",
                change.networks["critic"],
                lambda critic: critic.q1_forward(data["observations"], actions),
            )
            return -value.mean()

        change.step("actor", torch.func.grad(actor_loss)(networks["actor"]))
        change.follow("critic")
        change.follow("actor")

    def _critic_loss(self, networks: Any, data: Any) -> Callable[[torch.Tensor], torch.Tensor]:
        actions = self._call(
            "actor_target",
            networks["actor_target"],
            lambda actor: actor(data["next_observations"]),
        )
        actions = (actions + data["noise"]).clamp(-1, 1)
        following = self._call(
            "critic_target",
            networks["critic_target"],
            lambda critic: torch.cat(critic(data["next_observations"], actions), dim=1),
        )
        wanted = targets(data, torch.min(following, dim=1, keepdim=True)[0])
        return lambda row: squared_errors(self._critics(row, data), wanted)
