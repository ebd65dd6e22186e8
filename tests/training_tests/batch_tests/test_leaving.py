from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.callbacks import BaseCallback

from sb3_hpo.training.batch.batch import Batch
from sb3_hpo.training.batch.learners.learner import Learner
from tests.training_tests.batch_tests.cases import REPLAY
from tests.training_tests.batch_tests.members import (
    TOLERANCE,
    Case,
    alone,
    equal,
    largest_difference,
    together,
)
from tests.training_tests.batch_tests.members import weights as weights_of

if TYPE_CHECKING:
    from collections.abc import Callable

OWN = tuple({"learning_rate": 1e-3 * (i + 1), "gamma": 0.9 + 0.02 * i} for i in range(4))
CASES = {
    "ppo": Case(PPO, 160, {"n_steps": 16, "batch_size": 16, "n_epochs": 3}, OWN),
    "a2c": Case(A2C, 160, {"n_steps": 5}, OWN, action="multidiscrete"),
    "dqn": Case(DQN, 128, REPLAY, OWN, action="discrete"),
}


class Leaves(BaseCallback):
    """Ends the run at a step, and notes the weights that it then has."""

    def __init__(self, at: int = 10**9, error: Exception | None = None) -> None:
        super().__init__()
        self.at, self.error = at, error

    def _on_step(self) -> bool:
        if self.num_timesteps < self.at:
            return True
        self.weights = weights_of(self.model)
        if self.error is not None:
            raise self.error
        return False


@pytest.mark.parametrize("name", ["ppo", "dqn"])
def test_half_of_the_members_leave_and_the_others_are_as_without_them(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[list[int]] = []
    keep = Learner.keep

    def noting(self: Learner, rows: list[int]) -> None:
        kept.append(rows)
        keep(self, rows)

    monkeypatch.setattr(Learner, "keep", noting)
    case = CASES[name]
    leaves = [Leaves(64), Leaves(), Leaves(90, ValueError("no more")), Leaves()]
    runs = together(case, leaves, ValueError)
    assert kept == [[1, 3]]
    for member in (1, 3):
        theirs = alone(case, member)
        apart = largest_difference(
            weights_of(runs[member].model), weights_of(theirs.model), theirs.before
        )
        assert apart < TOLERANCE
        assert runs[member].model.num_timesteps == theirs.model.num_timesteps


@pytest.mark.parametrize("name", ["a2c", "dqn"])
def test_member_that_leaves_keeps_the_weights_it_left_with(name: str) -> None:
    case = CASES[name]
    leaves = [Leaves(), Leaves(100), Leaves(), Leaves(100, ValueError("no more"))]
    runs = together(case, leaves, ValueError)
    for member in (1, 3):
        model = runs[member].model
        assert model.num_timesteps == 100
        assert equal(weights_of(model), leaves[member].weights)
        assert not equal(weights_of(model), runs[member].before)
        theirs = case.make(member)
        theirs.learn(case.n_timesteps, Leaves(100))
        apart = largest_difference(weights_of(model), weights_of(theirs), runs[member].before)
        assert apart < TOLERANCE


def test_members_of_different_lengths_end_as_they_do_alone() -> None:
    case = CASES["a2c"]
    models: dict[int, Any] = {}
    lengths = (60, 160, 100, 40)

    def body_of(member: int) -> Callable[[], None]:
        def body() -> None:
            models[member] = case.make(member)
            batch.join(models[member])
            models[member].learn(lengths[member])

        return body

    batch = Batch([body_of(member) for member in case.members()])
    batch.run()
    for member, length in enumerate(lengths):
        theirs = case.make(member)
        before = weights_of(theirs)
        theirs.learn(length)
        ours = weights_of(models[member])
        assert largest_difference(ours, weights_of(theirs), before) < TOLERANCE


def streams() -> tuple[Any, ...]:
    state: Any = np.random.get_state()  # noqa: NPY002 - SB3 draws from it
    parts = (state[0], state[1].tolist(), *state[2:])
    return parts, random.getstate(), torch.get_rng_state().tolist()


def functions() -> list[Any]:
    return [np.random.rand, np.random.seed, np.random.get_state, random.random, random.gauss]


@pytest.mark.parametrize("error", [None, KeyboardInterrupt()])
def test_global_streams_are_what_they_were(error: BaseException | None) -> None:
    case = CASES["a2c"]
    ended: list[int] = []
    draws: list[tuple[float, ...]] = []

    def body_of(member: int) -> Callable[[], None]:
        def body() -> None:
            try:
                model = case.make(member)
                batch.join(model)
                draws.append((np.random.rand(), random.random(), float(torch.rand(1))))  # noqa: NPY002
                model.learn(40)
                if error is not None and member == 2:
                    raise error
                model.learn(40)
            finally:
                ended.append(member)

        return body

    batch = Batch([body_of(member) for member in case.members()])
    before, original = streams(), functions()
    if error is None:
        batch.run()
    else:
        with pytest.raises(type(error)) as raised:
            batch.run()
        assert raised.value is error
        assert ended[0] == 2
    assert sorted(ended) == [0, 1, 2, 3]
    assert len(set(draws)) == 4
    assert streams() == before
    assert all(one is other for one, other in zip(functions(), original, strict=True))
    assert torch.is_grad_enabled()
