"""A batch of one: the run that it would be without a batch."""

from __future__ import annotations

import gc
import random
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from numpy.random import rand
from stable_baselines3 import A2C

from sb3_hpo.training.batch.batch import Batch
from sb3_hpo.training.batch.learners.learner import Learner
from sb3_hpo.training.batch.learners.on_policy import A2CLearner
from sb3_hpo.training.batch.structure import CannotBatch
from tests.training_tests.batch_tests.members import (
    TOLERANCE,
    Case,
    PointEnv,
    alone,
    largest_difference,
    weights,
)

if TYPE_CHECKING:
    from collections.abc import Callable


class DrawingEnv(PointEnv):
    """Draws from functions that it has imported."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, reward, *rest = super().step(action)
        return observation, reward + 0.1 * rand(), *rest  # noqa: NPY002


ONE = Case(A2C, 100, {}, ({},), make_env=DrawingEnv)


def in_a_batch() -> Any:
    models: list[Any] = []

    def body() -> None:
        models.append(ONE.make(0))
        batch.join(models[0])
        models[0].learn(ONE.n_timesteps)

    batch = Batch([body])
    batch.run()
    return models[0]


def draws() -> list[float]:
    return [np.random.rand(), random.random(), float(torch.rand(1))]  # noqa: NPY002


def test_traced_run_draws_what_sb3_draws() -> None:
    ours = weights(in_a_batch())
    drawn = draws()
    theirs = alone(ONE, 0)
    assert largest_difference(ours, weights(theirs.model), theirs.before) < TOLERANCE
    assert drawn[1:] == draws()[1:]  # A2C's order of a rollout is drawn for each step


def failing(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any) -> None:
        raise error

    return fail


def test_error_of_the_learner_is_raised_in_the_run_and_its_model_stands_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(A2CLearner, "rehearse", lambda _: None)

    def body() -> None:
        model = ONE.make(0)
        batch.join(model)
        monkeypatch.setattr(Learner, "act", failing(MemoryError("too large")))
        with pytest.raises(MemoryError, match="too large"):
            model.learn(ONE.n_timesteps)
        models.append(model)

    models: list[Any] = []
    batch = Batch([body])
    batch.run()
    assert models[0].num_timesteps == 0
    assert "train" not in vars(models[0])
    assert models[0].learn(20)._n_updates == 2


@pytest.mark.parametrize("n_members", [1, 2])
def test_refusal_after_the_start_is_an_error(
    n_members: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(A2CLearner, "rehearse", lambda _: None)

    def body() -> None:
        model = ONE.make(0)
        batch.join(model)
        monkeypatch.setattr(A2CLearner, "learn", failing(CannotBatch("it has branches")))
        model.learn(ONE.n_timesteps)

    batch = Batch([body] * n_members)
    with pytest.raises(RuntimeError, match="not rehearsed, and it has branches") as raised:
        batch.run()
    assert isinstance(raised.value.__cause__, CannotBatch)


def test_models_can_be_collected_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(A2CLearner, "rehearse", lambda _: None)
    found: list[weakref.ref[Any]] = []

    def run() -> None:
        def body() -> None:
            model = ONE.make(0)
            found.append(weakref.ref(model))
            batch.join(model)
            try:
                monkeypatch.setattr(A2CLearner, "learn", failing(KeyError("gone")))
                model.learn(ONE.n_timesteps)
            finally:
                model.predict(model._last_obs, deterministic=True)

        batch = Batch([body, body])
        with pytest.raises(KeyError, match="gone"):
            batch.run()

    run()
    monkeypatch.undo()  # the error has a traceback to the models
    gc.collect()
    assert [reference() for reference in found] == [None, None]
