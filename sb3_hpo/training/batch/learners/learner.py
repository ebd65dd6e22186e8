"""What the models of one algorithm share while they learn together."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from gymnasium.spaces import Dict
from stable_baselines3.common.preprocessing import is_image_space
from torch.utils import _pytree as pytree

from sb3_hpo.training.batch.graphs import Graph
from sb3_hpo.training.batch.structure import CannotBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from gymnasium.spaces import Space

    from sb3_hpo.training.batch.graphs import Tree
    from sb3_hpo.training.batch.optimizers import Optimizer
    from sb3_hpo.training.batch.rows import Rows

LEARN = "learn"  # requests for this wait until nobody acts any more
Networks = dict[str, torch.Tensor]  # of one member, flat
# Keyword arguments of a policy that do not change what its networks compute: what they start with,
# and the optimizer, which is looked at by itself.
_OWN = ("ortho_init", "log_std_init", "optimizer_class", "optimizer_kwargs")


class Learner(abc.ABC):
    """The networks and optimizers of equal models, and how they act and learn.

    Members have rows: 0, 1, … Rows of members that have left are computed along and not used.

    Attributes:
        structure: Attributes of the models that must be equal.
        cost_ratio: What another member of a batch costs, in runs alone, with SB3's default
            networks on CartPole or Pendulum (scripts/benchmark.py cost).
        models: The models, by row.
    """

    structure: ClassVar[tuple[str, ...]] = ()
    cost_ratio: ClassVar[float]

    def __init__(self, models: Sequence[Any]) -> None:
        """Take the models' networks over.

        Args:
            models: The models; `install` lets them use what is taken over here.

        Raises:
            CannotBatch: They differ in structure, or are of a kind that cannot be batched.
        """
        self.models = list(models)
        self._check_structure()
        self.networks: dict[str, Rows] = {}
        self.optimizers: dict[str, Optimizer] = {}
        self._graphs: dict[Hashable, Graph] = {}

    @abc.abstractmethod
    def install(self, row: int, ask: Callable[[str, Any], Any]) -> None:
        """Let a model ask for what it would compute.

        Args:
            row: Its row.
            ask: Takes the name of a pass and its payload, or `LEARN` and what `learn` gets;
                returns the answer.
        """

    @abc.abstractmethod
    def passes(self) -> Mapping[str, Callable[..., Tree]]:
        """Return the forward passes by name: of a member's networks and a payload."""

    @abc.abstractmethod
    def learn(self, payloads: Mapping[int, Any]) -> None:
        """Do a learning step of all members that ask for it, by row."""

    @abc.abstractmethod
    def rehearse(self) -> None:
        """Trace a pass and a step of learning, without their effects.

        Raises:
            CannotBatch: Something in them cannot be vectorised.
        """

    def act(self, name: str, payloads: Mapping[int, Tree]) -> Mapping[int, Tree]:
        """Make a forward pass for several members.

        Args:
            name: Which of the passes.
            payloads: By row, trees of tensors of equal shapes.

        Returns:
            The results, by row.
        """
        arguments = (self._values(), self.stack(payloads))
        key = (name, signature(arguments[1]))
        if key not in self._graphs:
            self._graphs[key] = Graph(self.passes()[name], arguments)
        outputs = self._graphs[key](*arguments)
        if isinstance(outputs, torch.Tensor):
            parts = outputs.unbind(0)
            return {row: parts[row] for row in payloads}
        columns = [output.unbind(0) for output in outputs]
        return {row: tuple(column[row] for column in columns) for row in payloads}

    def stack(self, payloads: Mapping[int, Tree]) -> Tree:
        """Put trees of equal shapes on top of each other; rows that are not there get zeros."""
        example = next(iter(payloads.values()))
        zeros = (
            pytree.tree_map(torch.zeros_like, example) if len(payloads) < len(self.models) else ()
        )
        return _stack([payloads.get(row, zeros) for row in range(len(self.models))])

    def step(
        self, kind: Hashable, function: Callable[..., Any], data: Tree, scalars: Mapping[str, Any]
    ) -> Tree:
        """Change networks and optimizers.

        Args:
            kind: What tells it from other steps of the learner.
            function: From a member's networks, optimizers' states, data and scalars to the new
                networks and states (those that change) and whatever else is wanted.
            data: Tensors, [members, …].
            scalars: Numbers, [members].

        Returns:
            What else was wanted, for all members.
        """
        given = self._arguments(data, scalars)
        networks, states, rest = self._graph(kind, function, given)(*given)
        for key, value in networks.items():
            self.networks[key].values.copy_(value)  # in place: the models have views of it
        for key, state in states.items():
            self.optimizers[key].state = state
        return rest

    def release(self, row: int) -> None:
        """Let a model that has left the batch stand on its own."""
        for rows in self.networks.values():
            rows.release(row)
        for optimizer in self.optimizers.values():
            optimizer.write_back(row)
        for owner, name in self._installed(row):
            vars(owner).pop(name, None)

    def keep(self, rows: list[int]) -> None:
        """Keep these rows only; the members of the others must have been released."""
        self.models = [self.models[row] for row in rows]
        for network in self.networks.values():
            network.keep(rows)
        for optimizer in self.optimizers.values():
            optimizer.keep(rows)
        self._graphs.clear()

    def scalar(self, read: Callable[[Any], float]) -> torch.Tensor:
        """Return a number of each model, [members]."""
        return torch.tensor([read(model) for model in self.models], dtype=torch.float32)

    def attach(self, row: int, policy: dict[str, Any], train: Callable[..., None]) -> None:
        """Exchange methods of a model and its policy until it is released.

        Args:
            row: Its row.
            policy: Methods of the policy by name.
            train: In place of the model's.
        """
        model = self.models[row]
        # Without dropout and batch normalisation, which are refused, it has no effect, but SB3
        # calls it at every step, and it takes as long as a forward pass.
        vars(model.policy).update(policy, set_training_mode=lambda _: None)
        excluded = [*model._excluded_save_params(), "train", "_excluded_save_params"]
        vars(model).update(train=train, _excluded_save_params=lambda: excluded)

    def _graph(
        self, key: Hashable, function: Callable[..., Tree], arguments: tuple[Tree, ...]
    ) -> Graph:
        if key not in self._graphs:
            self._graphs[key] = Graph(function, arguments)
        return self._graphs[key]

    def _arguments(self, data: Tree, scalars: Mapping[str, Any]) -> tuple[Tree, ...]:
        states = {name: optimizer.state for name, optimizer in self.optimizers.items()}
        return self._values(), states, data, dict(scalars)

    def _values(self) -> Networks:
        return {name: rows.values for name, rows in self.networks.items()}

    def _installed(self, row: int) -> tuple[tuple[Any, str], ...]:
        model = self.models[row]
        names = ("forward", "_predict", "set_training_mode")
        own = ((model, "train"), (model, "_excluded_save_params"))
        return *own, *((model.policy, name) for name in names)

    def _check_structure(self) -> None:
        if any(model.use_sde for model in self.models):
            raise CannotBatch("state-dependent exploration (use_sde) has no batched form")
        devices = {str(model.device) for model in self.models} - {"cpu"}
        if devices:
            raise CannotBatch(f"models are on {' and '.join(sorted(devices))}, not on the CPU")
        if has_images(self.models[0].observation_space):
            raise CannotBatch("observations have images, whose networks a batch does not speed up")
        kinds = {type(model).__name__: None for model in self.models}
        if len(kinds) > 1:
            raise CannotBatch(f"the algorithms differ: {' and '.join(kinds)}")
        policies = dict.fromkeys(_policy_of(model) for model in self.models)
        if len(policies) > 1:
            raise CannotBatch(f"policy_kwargs differ: {' and '.join(policies)}")
        for name in ("n_envs", "observation_space", "action_space", *self.structure):
            values = [_plain(getattr(model, name)) for model in self.models]
            different = [value for i, value in enumerate(values) if value not in values[:i]]
            if len(different) > 1:
                raise CannotBatch(f"{name} differs: {different}")


def has_images(space: Space[Any]) -> bool:
    """Return whether observations are images or have images among them."""
    parts = space.spaces.values() if isinstance(space, Dict) else [space]
    return any(is_image_space(part) for part in parts)


def _policy_of(model: Any) -> str:
    kwargs = {key: value for key, value in model.policy_kwargs.items() if key not in _OWN}
    return f"{model.policy_class.__name__} {kwargs}"


def _plain(value: Any) -> Any:
    return "set" if callable(value) else value  # a schedule


def _stack(trees: list[Tree]) -> Tree:
    # torch's pytree takes four times as long, and this runs at every environment step.
    first = trees[0]
    if isinstance(first, torch.Tensor):
        return torch.stack(trees)
    if isinstance(first, dict):
        return {key: _stack([tree[key] for tree in trees]) for key in first}
    return tuple(_stack(list(parts)) for parts in zip(*trees, strict=True))


def signature(tree: Tree) -> Any:
    """Return what must be equal for trees of tensors to be put on top of each other."""
    if isinstance(tree, torch.Tensor):
        return tree.shape, tree.dtype
    if isinstance(tree, dict):
        return tuple((key, signature(part)) for key, part in tree.items())
    return tuple(map(signature, tree))


def clipped(gradient: torch.Tensor, most: torch.Tensor) -> torch.Tensor:
    """Clip the norm of a flat gradient as `torch.nn.utils.clip_grad_norm_` does."""
    norm = torch.linalg.vector_norm(gradient)
    return gradient * torch.clamp(most / (norm + 1e-6), max=1.0)
