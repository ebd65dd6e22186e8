"""What all algorithms with a replay buffer share when many models learn at once."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from stable_baselines3 import HerReplayBuffer
from stable_baselines3.common.type_aliases import TrainFrequencyUnit

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
        self._optimizers, self._scalars = optimizers, scalars
        self._old, self._old_states = networks, states
        self.networks: dict[str, torch.Tensor] = {}
        self.states: dict[str, Any] = {}

    def step(self, name: str, gradient: torch.Tensor) -> None:
        """Change a network by a gradient."""
        self.networks[name], self.states[name] = self._optimizers[name].update(
            self._old[name], gradient, self._old_states[name], self._scalars[f"rate/{name}"]
        )

    def follow(self, name: str) -> None:
        """Move a target network towards its new network."""
        target, tau = f"{name}_target", self._scalars["tau"]
        self.networks[target] = self._old[target] * (1 - tau) + tau * self.networks[name]


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
        """Take the models' networks over."""
        super().__init__(models)
        first = models[0]
        if first.train_freq.unit is not TrainFrequencyUnit.STEP:
            raise CannotBatch("train_freq counts episodes, whose lengths differ")
        if any(isinstance(model.replay_buffer, HerReplayBuffer) for model in models):
            raise CannotBatch("hindsight goals are relabelled per episode")
        if getattr(first.policy, "share_features_extractor", False):
            raise CannotBatch("actor and critic share their features extractor")

    def install(self, row: int, ask: Callable[[str, Any], Any]) -> None:
        """Let a model ask where its policy would act, and for each gradient step."""
        model = self.models[row]
        network = getattr(model, self.acting)
        distribution = getattr(network, "action_dist", None)

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
            model._update_learning_rate(self._optimizers_of(model))
            for index in range(gradient_steps):
                self._before_step(model, index)
                data = model.replay_buffer.sample(batch_size, env=model._vec_normalize_env)
                ask(LEARN, self._payload(model, data))
            self._after_steps(model, gradient_steps)

        self.attach(row, {"_predict": predict}, train)

    def passes(self) -> Mapping[str, Callable[..., Tree]]:
        """Return `predict`, and `sample` for policies that draw their actions."""
        network = getattr(self.models[0], self.acting)

        def act(networks: dict[str, torch.Tensor], call: Callable[[], Any]) -> Tree:
            named = self.networks[self.acting].named(networks[self.acting])
            return with_parameters(network, named, call)

        def predict(networks: dict[str, torch.Tensor], payload: Any) -> Tree:
            return act(networks, lambda: network._predict(payload[0], deterministic=True))

        def sample(networks: dict[str, torch.Tensor], payload: Any) -> Tree:
            with sampling(network.action_dist, payload[1]):
                return act(networks, lambda: network._predict(payload[0], deterministic=False))

        return {"predict": predict, "sample": sample}

    def rehearse(self) -> None:
        """Trace a pass and every kind of gradient step, without their effects."""
        model = self.models[0]
        observations = example(model.observation_space, model.n_envs)
        self.act("predict", {0: (model.policy.obs_to_tensor(observations)[0],)})
        zeros = np.zeros(model.batch_size, dtype=np.int64)
        data = self._payload(model, model.replay_buffer._get_samples(zeros))
        for name, function in self._steps().items():
            self._graph(name, function, self._arguments(self.stack({0: data}), self._scalars()))

    @staticmethod
    def n_gradient_steps(model: Any, n_vec_steps: int) -> int:  # noqa: D102 - as declared
        n_rollouts = n_vec_steps // int(model.train_freq.frequency)
        n_collected = model.train_freq.frequency * model.n_envs
        return n_rollouts * int(model.gradient_steps if model.gradient_steps > 0 else n_collected)

    def learn(self, payloads: Mapping[int, Any]) -> None:
        """Make one gradient step of each member, on its sample and noise."""
        name = self._step_name(self.models[next(iter(payloads))])
        self.step(name, self._steps()[name], self.stack(payloads), self._scalars())

    @abc.abstractmethod
    def _steps(self) -> Mapping[str, Callable[..., Any]]:
        """Return the kinds of gradient steps by name, as `Learner.step` takes them."""

    @abc.abstractmethod
    def _step_name(self, model: Any) -> str:
        """Return which kind of step is due."""

    @abc.abstractmethod
    def _optimizers_of(self, model: Any) -> Any:
        """Return what SB3 gives the present learning rate to."""

    @abc.abstractmethod
    def _scalars(self) -> dict[str, torch.Tensor]:
        """Return the numbers of a step, [members]."""

    def _before_step(self, model: Any, index: int) -> None:
        """Count as SB3 does before a gradient step."""

    def _after_steps(self, model: Any, n_steps: int) -> None:
        """Count as SB3 does after the gradient steps of a rollout."""
        model._n_updates += n_steps

    def _payload(self, model: Any, data: Any) -> dict[str, Any]:
        """Return a sample of the replay buffer and the noise that its step takes."""
        payload = {key: value for key, value in data._asdict().items() if value is not None}
        payload.setdefault("discounts", torch.full_like(payload["rewards"], model.gamma))
        return payload

    def _take_over(self, name: str, module: Callable[[Any], Any], optimizer: Any = None) -> None:
        """Take over a network, with its optimizer if it has one."""
        self.networks[name] = Rows(name, [module(model) for model in self.models])
        if optimizer is not None:
            own = [optimizer(model) for model in self.models]
            self.optimizers[name] = Optimizer(self.networks[name], own)

    def _call(self, name: str, row: torch.Tensor, call: Callable[[Any], Any]) -> Any:
        """Call the first model's network with a member's parameters."""
        module = getattr(self.models[0], name)
        return with_parameters(module, self.networks[name].named(row), lambda: call(module))


def targets(data: dict[str, Any], next_values: torch.Tensor) -> torch.Tensor:
    """Return the targets of values, [batch, …]."""
    wanted: torch.Tensor = data["rewards"] + (1 - data["dones"]) * data["discounts"] * next_values
    return wanted
