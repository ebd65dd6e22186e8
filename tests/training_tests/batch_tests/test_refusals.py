from __future__ import annotations

from typing import Any

import pytest
import torch
from gymnasium import spaces
from sb3_contrib import ARS, TRPO, CrossQ, MaskablePPO, RecurrentPPO
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3, HerReplayBuffer
from stable_baselines3.common.buffers import ReplayBuffer, RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import ActorCriticPolicy

from sb3_hpo.training.batch.batch import Batch
from sb3_hpo.training.batch.structure import CannotBatch
from tests.support.envs import MaskedEnv, make_goal_env
from tests.training_tests.batch_tests.cases import REPLAY
from tests.training_tests.batch_tests.members import (
    NETS,
    TOLERANCE,
    Case,
    PointEnv,
    TwoLayers,
    alone,
    equal,
    largest_difference,
    together,
    weights,
)

NOTHING: tuple[dict[str, Any], ...] = ({}, {})
ON = {"n_steps": 16, "batch_size": 16, "n_epochs": 1}


class OwnPolicy(ActorCriticPolicy):
    """A user's policy."""


class OwnRollouts(RolloutBuffer):
    """A user's buffer, whose minibatches may be others than SB3's."""


class OwnReplay(ReplayBuffer):
    """A user's buffer, which may want to be asked in ways of its own."""


SHARED = spaces.Discrete(4)


class SharingEnv(PointEnv):
    """All of its kind have the same action space."""

    def __init__(self) -> None:
        super().__init__("discrete")
        self.action_space = SHARED


class OwnTanh(torch.nn.Tanh):
    """A user's activation."""


class Derived(PPO):
    """A user's PPO."""


class SwitchesEnv(PointEnv):
    """Takes two switches."""

    def __init__(self) -> None:
        super().__init__("multidiscrete")
        self.action_space = spaces.MultiBinary(2)


def policies(*kwargs: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    return tuple({"policy_kwargs": {**NETS, **own}} for own in kwargs)


SAC_1 = {**REPLAY, "buffer_size": 100}

REFUSED = {
    "sde": (Case(PPO, 64, {**ON, "use_sde": True}, NOTHING), "state-dependent exploration"),
    "sde in one": (Case(SAC, 64, SAC_1, ({}, {"use_sde": True})), "state-dependent exploration"),
    "dropout": (Case(PPO, 64, ON, policies(*[{"activation_fn": torch.nn.Dropout}] * 2)),
                "torch cannot vectorise"),
    "extractor": (Case(A2C, 64, {}, policies(*[{"features_extractor_class": TwoLayers}] * 2)),
                  "TwoLayers is not one of SB3's"),
    "activation": (Case(SAC, 64, SAC_1, policies(*[{"activation_fn": OwnTanh}] * 2)),
                   "OwnTanh is not one of SB3's"),
    "policy": (Case(PPO, 64, ON, NOTHING, policy=OwnPolicy), "OwnPolicy is not one of SB3's"),
    "rollout buffer": (Case(A2C, 64, {"rollout_buffer_class": OwnRollouts}, NOTHING),
                       "OwnRollouts is not one of SB3's"),
    "replay buffer": (Case(SAC, 64, {**SAC_1, "replay_buffer_class": OwnReplay}, NOTHING),
                      "OwnReplay is not one of SB3's"),
    "action space": (Case(DQN, 64, SAC_1, NOTHING, make_env=SharingEnv), "share one action space"),
    "n_steps": (Case(PPO, 64, ON, ({}, {"n_steps": 32})), r"n_steps differs: \[16, 32\]"),
    "batch_size": (Case(DQN, 64, SAC_1, ({}, {"batch_size": 8}), "discrete"),
                   r"batch_size differs: \[16, 8\]"),
    "train_freq": (Case(TD3, 64, {**SAC_1, "train_freq": (1, "episode")}, NOTHING, n_envs=1),
                   "train_freq counts episodes"),
    "policy_delay": (Case(TD3, 64, SAC_1, ({}, {"policy_delay": 3})), "policy_delay differs"),
    "alpha": (Case(SAC, 64, SAC_1, ({}, {"ent_coef": 0.1})), "ent_coef is tuned in some"),
    "clip_range_vf": (Case(PPO, 64, ON, ({}, {"clip_range_vf": 0.1})), "clip_range_vf differs"),
    "net_arch": (Case(PPO, 64, ON, policies({}, {"net_arch": [8]})), "differ"),
    "activations": (Case(PPO, 64, ON, policies({}, {"activation_fn": torch.nn.ReLU})),
                   "policy_kwargs differ"),
    "sgd": (Case(PPO, 64, {**ON, "policy_kwargs": {**NETS, "optimizer_class": torch.optim.SGD}},
                 NOTHING), "the optimizer SGD has no batched form"),
    "weight decay": (
        Case(PPO, 64, ON, policies(
            {"optimizer_kwargs": {"weight_decay": 0.1}}, {"optimizer_kwargs": {"eps": 1e-3}}
        )), "differ in more than their learning rates",
    ),
    "switches": (Case(A2C, 64, {}, NOTHING, make_env=SwitchesEnv), "BernoulliDistribution"),
    "derived": (Case(Derived, 64, ON, NOTHING), "Derived has no batched form"),
    "recurrent": (Case(RecurrentPPO, 64, ON, NOTHING, policy="MlpLstmPolicy"), "RecurrentPPO"),
    "crossq": (Case(CrossQ, 64, SAC_1, NOTHING), "CrossQ has no"),
    "ars": (Case(ARS, 64, {}, NOTHING), "ARS has no"),
    "trpo": (Case(TRPO, 64, {"n_steps": 16, "batch_size": 16}, NOTHING), "TRPO has no"),
    "maskable": (Case(MaskablePPO, 64, ON, NOTHING, make_env=MaskedEnv), "MaskablePPO has no"),
    "hindsight": (Case(SAC, 64, {**SAC_1, "replay_buffer_class": HerReplayBuffer}, NOTHING,
                       policy="MultiInputPolicy", make_env=make_goal_env), "hindsight goals"),
}  # fmt: skip


class NeverCalled(BaseCallback):
    def _on_step(self) -> bool:
        raise AssertionError("a refused batch has begun to train")


@pytest.mark.parametrize("name", REFUSED)
def test_batch_refuses_and_says_why_before_anything_is_trained(name: str) -> None:
    case, reason = REFUSED[name]
    with pytest.raises(CannotBatch, match=reason):
        together(case, [NeverCalled(), NeverCalled()])


def test_batch_refuses_different_algorithms() -> None:
    cases = [Case(PPO, 64, ON, NOTHING), Case(A2C, 64, {}, NOTHING)]

    def join(case: Case) -> None:
        batch.join(case.make(0))

    batch = Batch([lambda: join(cases[0]), lambda: join(cases[1])])
    with pytest.raises(CannotBatch, match="PPO and A2C"):
        batch.run()


def test_batch_refuses_models_on_another_device() -> None:
    case = Case(A2C, 20, {}, NOTHING)
    models = [case.make(member) for member in case.members()]
    models[1].device = torch.device("cuda")
    batch = Batch([lambda: batch.join(models[0]), lambda: batch.join(models[1])])
    with pytest.raises(CannotBatch, match="models are on cuda, not on the CPU"):
        batch.run()


def test_batch_refuses_models_that_have_learned() -> None:
    case = Case(A2C, 20, {}, NOTHING)
    models = [case.make(member) for member in case.members()]
    models[1].learn(20)
    batch = Batch([lambda: batch.join(models[0]), lambda: batch.join(models[1])])
    with pytest.raises(CannotBatch, match="have made steps already"):
        batch.run()


@pytest.mark.parametrize("name", ["sgd", "dropout", "alpha"])
def test_refused_models_are_as_they_were_built(name: str) -> None:
    case = REFUSED[name][0]
    refused: list[Any] = []

    def join(member: int) -> None:
        refused.append(case.make(member))
        batch.join(refused[-1])

    batch = Batch([lambda: join(0), lambda: join(1)])
    with pytest.raises(CannotBatch):
        batch.run()
    for member, model in enumerate(refused):
        theirs = case.make(member)
        before = weights(theirs)
        assert equal(weights(model), before)
        assert vars(model).keys() == vars(theirs).keys()
        assert vars(model.policy).keys() == vars(theirs.policy).keys()
        for either in (theirs, model):
            either.set_random_seed(7)
            either.learn(case.n_timesteps)
        assert largest_difference(weights(model), weights(theirs), before) < TOLERANCE


def test_off_policy_models_may_differ_in_their_n_step_returns() -> None:
    case = Case(DQN, 64, REPLAY, ({}, {"n_steps": 3}), "discrete")
    for run, steps in zip(together(case), (1, 3), strict=True):
        assert run.model.n_steps == steps
        assert run.model._n_updates > 0
        theirs = alone(case, steps // 2)
        apart = largest_difference(weights(run.model), weights(theirs.model), theirs.before)
        assert apart < TOLERANCE
