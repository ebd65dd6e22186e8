"""What all algorithms with a replay buffer share when many models learn at once."""

from __future__ import annotations

import abc
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from stable_baselines3 import HerReplayBuffer
from stable_baselines3.common.type_aliases import TrainFrequencyUnit
from torch.nn import functional

from sb3_hpo.training.batch.acting import draw_noise, example, sampling, with_parameters
from sb3_hpo.training.batch.learners.learner import LEARN, Learner
from sb3_hpo.training.batch.optimizers import Optimizer
from sb3_hpo.training.batch.rows import Rows
from sb3_hpo.training.batch.structure import CannotBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sb3_hpo.training.batch.graphs import Tree


class Change:
    """What a gradient step changes of one member.

    Attributes:
        before: The networks as they were.
        scalars: Numbers of the step.
        networks: The new networks.
        states: The new states of optimizers.
    """

    def __init__(
        self, optimizers: Mapping[str, Optimizer], networks: Any, states: Any, scalars: Any
    ) -> None:
        """Begin with none.

        Args:
            optimizers: Of the networks, by name.
            networks: As they are.
            states: Of the optimizers, as they are.
            scalars: Numbers of the step.
        """
        self._optimizers, self._states = optimizers, states
        self.before, self.scalars = networks, scalars
        self.networks: dict[str, torch.Tensor] = {}
        self.states: dict[str, Any] = {}

    def step(self, name: str, gradient: torch.Tensor) -> None:
        """Change a network by a gradient."""
        self.networks[name], self.states[name] = self._optimizers[name].update(
            self.before[name], gradient, self._states[name], self.scalars[f"rate/{name}"]
        )

    def follow(self, name: str) -> None:
        """Move a target network towards its new network."""
        target, tau = f"{name}_target", self.scalars["tau"]
        self.networks[target] = self.before[target] * (1 - tau) + tau * self.networks[name]


class OffPolicyLearner(Learner):
    """Models that learn from replay buffers. Each samples from its own.

    All members that have not left learn in every step, so what depends on the number of a
    gradient step, as delayed updates do, is the same for all.

    Attributes:
        acting: The network that acts, by its name as an attribute of the model.
    """

    structure: ClassVar[tuple[str, ...]] = ("batch_size", "train_freq", "gradient_steps")
    acting: ClassVar[str]

    def __init__(self, models: Sequence[Any], _: Sequence[np.random.RandomState]) -> None:
        """Take the models' networks over.

        Args:
            _: Not used: SB3 draws for itself.
        """
        super().__init__(models)
        first = models[0]
        if first.train_freq.unit is not TrainFrequencyUnit.STEP:
            raise CannotBatch("train_freq counts episodes, whose lengths differ")
        if any(isinstance(model.replay_buffer, HerReplayBuffer) for model in models):
            raise CannotBatch("hindsight goals are relabelled per episode")
        if getattr(first.policy, "share_features_extractor", False):
            raise CannotBatch("actor and critic share their features extractor")
        self._changes_all = True  # the step that is due

    def install(self, row: int, ask: Callable[[str, Any], Any]) -> None:
        """Let a model ask where its policy would act, and for each gradient step."""
        model = self.models[row]
        network = getattr(model, self.acting)
        distribution = getattr(network, "action_dist", None)
        optimizers = [item.optimizers[row] for item in self.optimizers.values()]

        def predict(observation: Tree, deterministic: bool = False) -> Any:
            if deterministic or distribution is None:
                return ask("predict", (observation,))
            n = (
                len(next(iter(observation.values())))
                if isinstance(observation, dict)
                else len(observation)
            )
            actions = ask("sample", (observation, draw_noise(distribution, n)))
            if not actions.isfinite().all():
                network(observation, deterministic=True)  # refuses NaN, as SB3 would
            return actions

        def train(gradient_steps: int, batch_size: int) -> None:
            model._update_learning_rate(optimizers)
            for index in range(gradient_steps):
                model._n_updates += 1
                self._changes_all = self._is_for_all(model, index)
                data = model.replay_buffer.sample(batch_size, env=model._vec_normalize_env)
                ask(LEARN, self._payload(model, data))

        self.attach(row, {"_predict": predict}, train)

    def passes(self) -> Mapping[str, Callable[..., Tree]]:
        """Return `predict`, and `sample` for policies that draw their actions."""

        def predict(networks: dict[str, torch.Tensor], payload: Any) -> Tree:
            return self._call(
                self.acting,
                networks[self.acting],
                lambda network: network._predict(payload[0], deterministic=True),
            )

        def sample(networks: dict[str, torch.Tensor], payload: Any) -> Tree:
            def act(network: Any) -> Tree:
                with sampling(network.action_dist, payload[1]):
                    return network._predict(payload[0], deterministic=False)

            return self._call(self.acting, networks[self.acting], act)

        return {"predict": predict, "sample": sample}

    def rehearse(self) -> None:
        """Trace a pass and a gradient step of all networks, without their effects."""
        model = self.models[0]
        observations = example(model.observation_space, model.n_envs)
        self.act("predict", {0: (model.policy.obs_to_tensor(observations)[0],)})
        zeros = np.zeros(model.batch_size, dtype=np.int64)
        data = self._payload(model, model.replay_buffer._get_samples(zeros))
        given = self._arguments(self.stack({0: data}), self._scalars())
        self._graph(True, partial(self._one, changes_all=True), given)

    def learn(self, payloads: Mapping[int, Any]) -> None:
        """Make one gradient step of each member, on its sample and noise."""
        one = partial(self._one, changes_all=self._changes_all)
        self.step(self._changes_all, one, self.stack(payloads), self._scalars())

    def _one(
        self, networks: Any, states: Any, data: Any, scalars: Any, *, changes_all: bool
    ) -> Any:
        change = Change(self.optimizers, networks, states, scalars)
        self._update(change, data, changes_all=changes_all)
        return change.networks, change.states, ()

    @abc.abstractmethod
    def _update(self, change: Change, data: Any, *, changes_all: bool) -> None:
        """Make a gradient step of one member.

        Args:
            change: Takes what changes.
            data: The member's payload.
            changes_all: Whether also what changes less often than at each step.
        """

    def _is_for_all(self, model: Any, index: int) -> bool:  # noqa: ARG002 - some ask them
        """Return whether a step changes all networks.

        Args:
            model: It has counted the step already.
            index: Number of the step since the last rollout.
        """
        return True

    def _scalars(self) -> dict[str, torch.Tensor]:
        """Return the numbers of a step, [members]."""
        return {f"rate/{name}": item.rates() for name, item in self.optimizers.items()}

    def _payload(self, model: Any, data: Any) -> dict[str, Any]:
        """Return a sample of the replay buffer and the noise that its step takes."""
        payload = {key: value for key, value in data._asdict().items() if value is not None}
        payload.setdefault("discounts", torch.full_like(payload["rewards"], model.gamma))
        return payload

    def _take_over(self, name: str, optimizer: str | None = None) -> None:
        """Take over a network.

        Args:
            name: Where a model has it.
            optimizer: Where it has its optimizer; None: a target network, which has none.
        """
        self.networks[name] = Rows(name, [getattr(model, name) for model in self.models])
        if optimizer is not None:
            own = [attrgetter(optimizer)(model) for model in self.models]
            self.optimizers[name] = Optimizer(self.networks[name], own)

    def _call(self, name: str, row: torch.Tensor, call: Callable[[Any], Any]) -> Any:
        """Call the first model's network with a member's parameters."""
        module = getattr(self.models[0], name)
        return with_parameters(module, self.networks[name].named(row), lambda: call(module))

    def _critics(self, row: torch.Tensor, data: dict[str, Any]) -> Any:
        """Return what a member's critics say of the actions in a sample."""
        return self._call(
            "critic", row, lambda critic: critic(data["observations"], data["actions"])
        )


def targets(data: dict[str, Any], next_values: torch.Tensor) -> torch.Tensor:
    """Return the targets of values, [batch, …]."""
    wanted: torch.Tensor = data["rewards"] + (1 - data["dones"]) * data["discounts"] * next_values
    return wanted


def squared_errors(values: Sequence[torch.Tensor], wanted: torch.Tensor) -> torch.Tensor:
    """Return the sum of several critics' mean squared errors."""
    return torch.stack([functional.mse_loss(value, wanted) for value in values]).sum()
