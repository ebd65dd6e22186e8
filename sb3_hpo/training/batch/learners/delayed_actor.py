"""TD3 and DDPG, many models at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from sb3_hpo.training.batch.learners.off_policy import Change, OffPolicyLearner, targets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np


class TD3Learner(OffPolicyLearner):
    """TD3, and DDPG, which is TD3 without its three tricks."""

    acting = "actor"
    structure = (*OffPolicyLearner.structure, "policy_delay")
    cost_ratio = 0.76  # of nets of 256, mostly arithmetic, which nothing saves

    def __init__(self, models: Sequence[Any], streams: Sequence[np.random.RandomState]) -> None:
        """Take the models' networks over.

        Args:
            streams: Not used: SB3 draws for itself.
        """
        super().__init__(models, streams)
        self._take_over("actor", lambda m: m.actor, lambda m: m.actor.optimizer)
        self._take_over("critic", lambda m: m.critic, lambda m: m.critic.optimizer)
        self._take_over("actor_target", lambda m: m.actor_target)
        self._take_over("critic_target", lambda m: m.critic_target)

    def _steps(self) -> Mapping[str, Callable[..., Any]]:
        def critic_and_actor(*given: Any) -> Any:
            return self._one(*given, updates_actor=True)

        def critic(*given: Any) -> Any:
            return self._one(*given, updates_actor=False)

        if self.models[0].policy_delay == 1:
            return {"critic and actor": critic_and_actor}
        return {"critic and actor": critic_and_actor, "critic": critic}

    def _step_name(self, model: Any) -> str:
        return "critic" if model._n_updates % model.policy_delay else "critic and actor"

    def _optimizers_of(self, model: Any) -> Any:
        return [model.actor.optimizer, model.critic.optimizer]

    def _before_step(self, model: Any, index: int) -> None:  # noqa: ARG002
        model._n_updates += 1

    def _after_steps(self, model: Any, n_steps: int) -> None:
        pass  # counted before each step

    def _payload(self, model: Any, data: Any) -> dict[str, Any]:
        noise = torch.empty_like(data.actions).normal_(0, model.target_policy_noise)
        noise = noise.clamp(-model.target_noise_clip, model.target_noise_clip)
        return super()._payload(model, data) | {"noise": noise}

    def _scalars(self) -> dict[str, torch.Tensor]:
        rates = {f"rate/{name}": item.rates() for name, item in self.optimizers.items()}
        return rates | {"tau": self.scalar(lambda model: model.tau)}

    def _one(
        self, networks: Any, states: Any, data: Any, scalars: Any, *, updates_actor: bool
    ) -> Any:
        change = Change(self.optimizers, networks, states, scalars)
        change.step(
            "critic", torch.func.grad(self._critic_loss(networks, data))(networks["critic"])
        )
        if updates_actor:

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
        return change.networks, change.states, ()

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

        def loss(row: torch.Tensor) -> torch.Tensor:
            values = self._call(
                "critic", row, lambda critic: critic(data["observations"], data["actions"])
            )
            losses = [functional.mse_loss(value, wanted) for value in values]
            return torch.stack(losses).sum()

        return loss
