from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import set_random_seed

from tests.training_tests.batch_tests.cases import CASES, pairs
from tests.training_tests.batch_tests.members import (
    TOLERANCE,
    equal,
    largest_difference,
    together,
    weights,
)

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.filterwarnings("ignore:You have specified a mini-batch size of"),
    pytest.mark.filterwarnings("ignore:`n_steps=3` is ignored"),  # when SB3 loads what it saved
]
one_of_each = pytest.mark.parametrize(
    "name", ["ppo box", "a2c box", "dqn", "qrdqn", "sac", "tqc", "td3", "ddpg"]
)


def continued(model: Any) -> Any:
    """Return a copy of a model that has learned for longer by itself."""
    normalization = model.get_vec_normalize_env()
    # Else its distribution belongs to a graph of gradients, which cannot be copied.
    model.predict(model._last_obs, deterministic=True)
    model = copy.deepcopy(model)
    if normalization is not None:
        model.env.set_venv(copy.deepcopy(normalization.venv))  # which it does not copy
    set_random_seed(7)
    model.learn(48, reset_num_timesteps=False)
    return model


def optimizers(model: Any) -> list[dict[str, Any]]:
    parts = [getattr(model, name, None) for name in ("policy", "actor", "critic")]
    found = [getattr(part, "optimizer", None) for part in parts]
    found.append(getattr(model, "ent_coef_optimizer", None))
    return [item.state_dict() for item in found if item is not None]


@one_of_each
def test_model_of_a_batch_continues_as_one_of_sb3(name: str) -> None:
    for ours, theirs in pairs(name):
        one, other = continued(ours.model), continued(theirs.model)
        assert one.num_timesteps == other.num_timesteps >= theirs.model.num_timesteps + 48
        assert one._n_updates == other._n_updates > theirs.model._n_updates
        apart = largest_difference(weights(one), weights(other), weights(theirs.model))
        assert apart < TOLERANCE


@one_of_each
def test_optimizers_of_a_batch_have_the_state_of_sb3s(name: str) -> None:
    for ours, theirs in pairs(name):
        found = zip(optimizers(ours.model), optimizers(theirs.model), strict=True)
        for one, other in found:
            assert other["state"]
            assert one["param_groups"] == other["param_groups"]
            assert_same_state(one["state"], other["state"])


def assert_same_state(ours: dict[int, Any], theirs: dict[int, Any]) -> None:
    assert ours.keys() == theirs.keys()
    for key, parts in theirs.items():
        assert ours[key].keys() == parts.keys()
        for name, value in parts.items():
            assert type(ours[key][name]) is type(value)
            one, other = torch.as_tensor(ours[key][name]), torch.as_tensor(value)
            assert one.dtype == other.dtype
            assert one.shape == other.shape
            assert float((one - other).abs().max()) <= TOLERANCE * float(other.abs().max())


@one_of_each
def test_model_of_a_batch_is_saved_and_loaded_as_any(name: str, tmp_path: Path) -> None:
    for index, (ours, theirs) in enumerate(pairs(name)):
        obs = theirs.model._last_obs
        path, reference = tmp_path / f"ours{index}.zip", tmp_path / f"theirs{index}.zip"
        ours.model.save(path)
        theirs.model.save(reference)
        loaded = type(ours.model).load(path, device="cpu")
        assert equal(weights(loaded), weights(ours.model))
        wanted = ours.model.predict(obs, deterministic=True)[0]
        assert loaded.predict(obs, deterministic=True)[0] == pytest.approx(wanted)
        assert vars(loaded).keys() == vars(type(ours.model).load(reference, device="cpu")).keys()
        # Not the weights of all members, which are the rows of one tensor meanwhile.
        assert path.stat().st_size < 1.1 * reference.stat().st_size + 2000


@one_of_each
def test_model_of_a_batch_has_its_own_methods_and_weights_again(name: str) -> None:
    for ours, theirs in pairs(name):
        assert vars(ours.model).keys() == vars(theirs.model).keys()
        assert vars(ours.model.policy).keys() == vars(theirs.model.policy).keys()
    first, second = (ours.model for ours, _ in pairs(name)[:2])
    before = weights(second)
    with torch.no_grad():
        for parameter in copy.deepcopy(first).policy.parameters():
            parameter.add_(1)
    assert equal(weights(second), before)
    storages = [{p.untyped_storage().data_ptr() for p in m.policy.parameters()}
                for m in (first, second)]  # fmt: skip
    assert not storages[0] & storages[1]


class SavesOnce(BaseCallback):
    """Saves the model at a step, and notes its weights then."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def _on_step(self) -> bool:
        if self.num_timesteps == 100:
            self.model.save(self.path)
            self.weights = weights(self.model)
        return True


@pytest.mark.parametrize("name", ["a2c box", "dqn"])
def test_model_is_saved_from_within_a_batch(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    callbacks = [SavesOnce(tmp_path / f"{member}.zip") for member in case.members()]
    runs = together(case, callbacks)
    for callback, run in zip(callbacks, runs, strict=True):
        loaded = case.algo.load(callback.path, device="cpu")
        assert equal(weights(loaded), callback.weights)
        assert not equal(weights(loaded), run.before)
        assert vars(loaded).keys() >= {"policy", "num_timesteps"}
        assert "train" not in vars(loaded)
        assert loaded.num_timesteps == 100
