"""PPO and A2C, many models at once."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gymnasium.spaces import Discrete
from torch.nn import functional
from torch.utils import _pytree as pytree

from sb3_hpo.training.batch.acting import draw_noise, example, sampling, with_parameters
from sb3_hpo.training.batch.learners.learner import LEARN, Learner, clipped
from sb3_hpo.training.batch.optimizers import Optimizer
from sb3_hpo.training.batch.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sb3_hpo.training.batch.graphs import Tree

_NUMBERS = ("values", "log_probs", "advantages", "returns")


class OnPolicyLearner(Learner):
    """Models that learn from a rollout and throw it away."""

    def __init__(self, models: Sequence[Any], randomness: Sequence[np.random.RandomState]) -> None:
        """Take the models' policies over.

        Args:
            randomness: What each of them draws from in place of `numpy.random`.
        """
        super().__init__(models)
        policies = [model.policy for model in models]
        self.networks["policy"] = Rows("policy", policies)
        self.optimizers["policy"] = Optimizer(
            self.networks["policy"], [policy.optimizer for policy in policies]
        )
        self._randomness = list(randomness)
        draw_noise(policies[0].action_dist, 1)

    def install(self, row: int, ask: Callable[[str, Any], Any]) -> None:
        """Let a model ask where its policy would act, and when a rollout is complete."""
        model = self.models[row]
        policy = model.policy

        def forward(obs: Tree, deterministic: bool = False) -> Any:
            if deterministic:
                return type(policy).forward(policy, obs, deterministic=True)
            noise = draw_noise(policy.action_dist, model.n_envs)
            actions, values, log_probs = ask("forward", (obs, noise))
            if not log_probs.isfinite().all():
                policy.get_distribution(obs)  # refuses NaN, as SB3 would
            return actions, values, log_probs

        def predict(observation: Tree, deterministic: bool = False) -> Any:
            if deterministic:
                return ask("predict", (observation,))
            return type(policy)._predict(policy, observation, deterministic=False)

        self.attach(row, {"forward": forward, "_predict": predict}, lambda: ask(LEARN, {}))

    def passes(self) -> Mapping[str, Callable[..., Tree]]:
        """Return `forward`, for rollouts, and `predict`, for evaluations."""
        policy = self.models[0].policy
        kind = type(policy)
        named = self.networks["policy"].named

        def forward(networks: dict[str, torch.Tensor], payload: Any) -> Tree:
            obs, noise = payload
            with sampling(policy.action_dist, noise):
                return with_parameters(
                    policy, named(networks["policy"]), lambda: kind.forward(policy, obs)
                )

        def predict(networks: dict[str, torch.Tensor], payload: Any) -> Tree:
            return with_parameters(
                policy,
                named(networks["policy"]),
                lambda: kind._predict(policy, payload[0], deterministic=True),
            )

        return {"forward": forward, "predict": predict}

    def rehearse(self) -> None:
        """Trace both passes and a gradient step, without their effects."""
        model = self.models[0]
        obs = model.policy.obs_to_tensor(example(model.observation_space, model.n_envs))[0]
        self.act("forward", {0: (obs, draw_noise(model.policy.action_dist, model.n_envs))})
        self.act("predict", {0: (obs,)})
        data = self.stack({0: _rollout(model.rollout_buffer)})
        n = data["values"].shape[1]
        chosen = torch.zeros(1, min(self._epochs(n)[1], n), dtype=torch.int64)
        going = torch.ones(len(self.models), dtype=torch.bool)
        given = self._arguments(self._chosen(data, chosen), self._scalars() | {"going": going})
        self._graph(chosen.shape[1], self._one, given)

    def keep(self, rows: list[int]) -> None:
        """Keep these rows only; the members of the others must have been released."""
        super().keep(rows)
        self._randomness = [self._randomness[row] for row in rows]

    def learn(self, payloads: Mapping[int, Any]) -> None:
        """Make all steps on the rollout of each member."""
        for row in payloads:
            model = self.models[row]
            model._update_learning_rate(model.policy.optimizer)
        rollouts = {row: _rollout(self.models[row].rollout_buffer) for row in payloads}
        data, scalars = self.stack(rollouts), self._scalars()
        n = data["values"].shape[1]
        n_epochs, size = self._epochs(n)
        going = torch.tensor([row in payloads for row in range(len(self.models))])
        for _ in range(n_epochs):
            goes = [row for row in payloads if going[row]]
            if not goes:
                break
            order = self._permutations(goes, n)
            for start in range(0, n, size):
                chosen = order[:, start : start + size]
                given = self._chosen(data, chosen), scalars | {"going": going}
                going = self.step(chosen.shape[1], self._one, *given)
            for row in goes:
                self.models[row]._n_updates += 1

    @abc.abstractmethod
    def _epochs(self, n: int) -> tuple[int, int]:
        """Return how often a rollout of n steps is gone through, and the size of a minibatch."""

    @abc.abstractmethod
    def _policy_loss(
        self, log_probs: torch.Tensor, data: Any, scalars: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the loss of a minibatch and how far the policy has moved (KL divergence)."""

    def _scalars(self) -> dict[str, torch.Tensor]:
        return {
            "rate": self.optimizers["policy"].rates(),
            "ent_coef": self.scalar(lambda model: model.ent_coef),
            "vf_coef": self.scalar(lambda model: model.vf_coef),
            "max_grad_norm": self.scalar(lambda model: model.max_grad_norm),
            "most_kl": self.scalar(lambda _: float("inf")),
        }

    def _permutations(self, rows: Sequence[int], n: int) -> torch.Tensor:
        """Draw the order of an epoch for those who learn, [members, n]."""
        orders = np.zeros((len(self.models), n), dtype=np.int64)
        for row in rows:
            orders[row] = self._randomness[row].permutation(n)
        return torch.as_tensor(orders)

    def _chosen(self, data: dict[str, Any], chosen: torch.Tensor) -> Any:
        """Return the chosen steps of each member's rollout."""
        members = torch.arange(len(self.models))[:, None]
        return pytree.tree_map(lambda value: value[members, chosen], data)

    def _one(self, networks: Any, states: Any, data: Any, scalars: Any) -> Tree:
        """Make a gradient step, but for a member that has moved far enough already."""

        def loss_of(row: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            values, log_probs, entropy_loss = self._evaluate(row, data)
            policy_loss, kl = self._policy_loss(log_probs, data, scalars)
            if "clip_range_vf" in scalars:  # PPO's
                most = scalars["clip_range_vf"]
                change = values - data["values"]
                values = data["values"] + torch.minimum(torch.maximum(change, -most), most)
            value_loss = functional.mse_loss(data["returns"], values)
            loss = (
                policy_loss + scalars["ent_coef"] * entropy_loss + scalars["vf_coef"] * value_loss
            )
            return loss, kl

        row, state = networks["policy"], states["policy"]
        gradient, kl = torch.func.grad(loss_of, has_aux=True)(row)
        gradient = clipped(gradient, scalars["max_grad_norm"])
        new, new_state = self.optimizers["policy"].update(row, gradient, state, scalars["rate"])
        going = scalars["going"] & ~(kl > scalars["most_kl"])
        new = torch.where(going, new, row)
        new_state = {
            name: torch.where(going, value, state[name]) for name, value in new_state.items()
        }
        return {"policy": new}, {"policy": new_state}, going

    def _evaluate(self, row: torch.Tensor, data: dict[str, Any]) -> tuple[torch.Tensor, ...]:
        """Return values, log probabilities and the entropy loss of a minibatch."""
        policy = self.models[0].policy
        actions = data["actions"]
        if isinstance(policy.action_space, Discrete):
            actions = actions.long().flatten()
        values, log_probs, entropy = with_parameters(
            policy,
            self.networks["policy"].named(row),
            lambda: policy.evaluate_actions(data["observations"], actions),
        )
        entropy_loss = -torch.mean(-log_probs if entropy is None else entropy)
        return values.flatten(), log_probs, entropy_loss


class A2CLearner(OnPolicyLearner):
    """A2C: one step on the whole rollout."""

    structure = ("n_steps", "normalize_advantage")
    cost_ratio = 0.53  # 38 % of a run is stepping CartPole, which nothing saves

    def _epochs(self, n: int) -> tuple[int, int]:
        return 1, n

    def _policy_loss(
        self,
        log_probs: torch.Tensor,
        data: Any,
        scalars: Any,  # noqa: ARG002 - PPO's
    ) -> tuple[torch.Tensor, torch.Tensor]:
        advantages = data["advantages"]
        if self.models[0].normalize_advantage:
            advantages = _normalized(advantages)
        return -(advantages * log_probs).mean(), torch.zeros(())


class PPOLearner(OnPolicyLearner):
    """PPO: epochs of minibatches, with an early stop for each member by its `target_kl`."""

    structure = ("n_steps", "batch_size", "n_epochs", "normalize_advantage", "clip_range_vf")
    cost_ratio = 0.26

    def _epochs(self, n: int) -> tuple[int, int]:  # noqa: ARG002 - it is in the configuration
        return self.models[0].n_epochs, self.models[0].batch_size

    def _scalars(self) -> dict[str, torch.Tensor]:
        def now(schedule: Any) -> Callable[[Any], float]:
            return lambda model: float(getattr(model, schedule)(model._current_progress_remaining))

        never = float("inf")
        scalars = super()._scalars() | {
            "clip_range": self.scalar(now("clip_range")),
            "most_kl": self.scalar(
                lambda model: never if model.target_kl is None else 1.5 * model.target_kl
            ),
        }
        if self.models[0].clip_range_vf is not None:
            scalars["clip_range_vf"] = self.scalar(now("clip_range_vf"))
        return scalars

    def _policy_loss(
        self, log_probs: torch.Tensor, data: Any, scalars: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        advantages = data["advantages"]
        if self.models[0].normalize_advantage and len(advantages) > 1:
            advantages = _normalized(advantages)
        log_ratio = log_probs - data["log_probs"]
        ratio = torch.exp(log_ratio)
        clip = scalars["clip_range"]
        near = torch.minimum(torch.maximum(ratio, 1 - clip), 1 + clip)
        loss = -torch.min(advantages * ratio, advantages * near).mean()
        return loss, torch.mean((ratio - 1) - log_ratio)


def _normalized(advantages: torch.Tensor) -> torch.Tensor:
    return (advantages - advantages.mean()) / (advantages.std() + 1e-8)


def _rollout(buffer: Any) -> dict[str, Any]:
    """Return a rollout as tensors, [steps x environments, …], in the order of SB3's buffers."""

    def flat(values: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(buffer.swap_and_flatten(values))

    numbers = {name: flat(getattr(buffer, name)).flatten() for name in _NUMBERS}
    observations = pytree.tree_map(flat, buffer.observations)
    return {"actions": flat(buffer.actions), **numbers, "observations": observations}
