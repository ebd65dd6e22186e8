"""What is compared: every algorithm, and every kind of space and setting with one of them."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from sb3_contrib import QRDQN, TQC
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.noise import NormalActionNoise, OrnsteinUhlenbeckActionNoise
from stable_baselines3.common.utils import LinearSchedule

from tests.training_tests.batch_tests.members import NETS, Case, Run, alone, together

# Before the first of them learns, its policy has acted.
REPLAY = {
    "learning_starts": 6, "train_freq": 8, "gradient_steps": 8, "batch_size": 16,
    "buffer_size": 400,
}  # fmt: skip


def each(**values: list[Any]) -> tuple[dict[str, Any], ...]:
    """Return what three members are built with, from what each name has for each of them."""
    rows = zip(*values.values(), strict=True)
    return tuple(dict(zip(values, row, strict=True)) for row in rows)


def falling(rates: list[float]) -> list[LinearSchedule]:
    """Return learning rates that fall to a tenth."""
    return [LinearSchedule(rate, rate / 10, 1.0) for rate in rates]


def noises(kind: Any, scales: list[float]) -> list[Any]:
    """Return action noise of several strengths."""
    return [kind(np.zeros(2), scale * np.ones(2)) for scale in scales]


RATES = [1e-3, 2e-3, 4e-3]
GAMMAS = [0.8, 0.95, 0.99]

CASES = {
    # 48 steps a rollout in batches of 20, 20 and 8
    "ppo box": Case(
        PPO, 288, {"n_steps": 24, "batch_size": 20, "n_epochs": 4},
        each(
            learning_rate=RATES, gamma=GAMMAS, gae_lambda=[0.8, 0.9, 1.0],
            clip_range=[0.1, 0.2, 0.3], ent_coef=[0.0, 0.01, 0.1], vf_coef=[0.3, 0.5, 0.9],
            max_grad_norm=[0.3, 0.5, 2.0], target_kl=[None, 2e-4, 1e-3],
        ),
    ),
    "ppo discrete": Case(
        PPO, 192, {"n_steps": 16, "batch_size": 16, "n_epochs": 5, "normalize_advantage": False},
        each(
            learning_rate=falling(RATES), gamma=GAMMAS, clip_range_vf=[0.1, 0.2, 0.5],
            clip_range=falling([0.02, 0.1, 0.3]), ent_coef=[0.0, 0.01, 0.1],
        ),
        action="discrete", in_dict=True, normalized=True, policy="MultiInputPolicy",
    ),
    "ppo multidiscrete": Case(
        PPO, 192,
        {
            "n_steps": 16, "batch_size": 16, "n_epochs": 5,
            "policy_kwargs": {
                **NETS, "activation_fn": torch.nn.ReLU,
                "optimizer_kwargs": {"weight_decay": 0.01},
            },
        },
        each(learning_rate=RATES, gamma=GAMMAS, ent_coef=[0.0, 0.01, 0.1]),
        action="multidiscrete",
    ),
    "a2c box": Case(
        A2C, 600, {"n_steps": 5, "normalize_advantage": True},
        each(
            learning_rate=RATES, gamma=GAMMAS, gae_lambda=[0.8, 0.9, 1.0],
            ent_coef=[0.0, 0.01, 0.1], vf_coef=[0.3, 0.5, 0.9], max_grad_norm=[0.3, 0.5, 2.0],
        ),
        normalized=True,
    ),
    "a2c discrete": Case(
        A2C, 500, {"n_steps": 5, "use_rms_prop": False},
        each(learning_rate=RATES, gamma=GAMMAS, ent_coef=[0.0, 0.01, 0.1]),
        action="discrete",
    ),
    "dqn": Case(
        DQN, 128, REPLAY,
        each(
            learning_rate=RATES, gamma=GAMMAS, tau=[1.0, 0.5, 0.1],
            target_update_interval=[20, 30, 40], exploration_fraction=[0.1, 0.5, 0.9],
            exploration_final_eps=[0.05, 0.1, 0.2], max_grad_norm=[0.1, 1.0, 10.0],
        ),
        action="discrete",
    ),
    "dqn n-step": Case(
        DQN, 128, REPLAY | {"n_steps": 3},
        each(
            learning_rate=falling(RATES), gamma=GAMMAS, target_update_interval=[20, 30, 40],
            exploration_fraction=[0.1, 0.5, 0.9],
        ),
        action="discrete",
    ),
    "qrdqn": Case(
        QRDQN, 128, REPLAY | {"policy_kwargs": {**NETS, "n_quantiles": 10}},
        each(
            learning_rate=RATES, gamma=GAMMAS, tau=[1.0, 0.5, 0.1],
            target_update_interval=[20, 30, 40], exploration_fraction=[0.1, 0.5, 0.9],
        ),
        action="discrete",
    ),
    "sac": Case(
        SAC, 128, REPLAY | {"target_update_interval": 2},
        each(
            learning_rate=RATES, gamma=GAMMAS, tau=[0.01, 0.1, 0.5],
            ent_coef=["auto", "auto_0.1", "auto_0.5"], target_entropy=[1.2, "auto", -3.0],
        ),
    ),
    "sac n-step": Case(
        SAC, 128, REPLAY | {"n_steps": 3},
        each(
            learning_rate=falling(RATES), gamma=GAMMAS, ent_coef=[0.05, 0.2, 0.5],
            learning_starts=[6, 12, 30],
        ),
        normalized=True,
    ),
    "tqc": Case(
        TQC, 128,
        REPLAY | {"policy_kwargs": {**NETS, "n_quantiles": 7}, "top_quantiles_to_drop_per_net": 2},
        each(learning_rate=RATES, gamma=GAMMAS, tau=[0.01, 0.1, 0.5]),
    ),
    "td3": Case(
        TD3, 128,
        REPLAY | {
            "policy_delay": 3, "n_steps": 3,
        },
        each(
            learning_rate=RATES, gamma=GAMMAS, tau=[0.01, 0.1, 0.5], buffer_size=[40, 100, 400],
            target_policy_noise=[0.05, 0.2, 0.6], target_noise_clip=[0.1, 0.3, 0.8],
            action_noise=noises(NormalActionNoise, [0.1, 0.3, 0.5]),
        ),
    ),
    "ddpg": Case(
        DDPG, 128, REPLAY,
        each(
            learning_rate=RATES, gamma=GAMMAS, tau=[0.01, 0.1, 0.5],
            action_noise=noises(OrnsteinUhlenbeckActionNoise, [0.1, 0.3, 0.5]),
        ),
        in_dict=True, normalized=True, policy="MultiInputPolicy",
    ),
}  # fmt: skip


@functools.cache
def pairs(name: str) -> list[tuple[Run, Run]]:
    """Return each member's run in a batch, and the same run by SB3 alone; not to be changed."""
    case = CASES[name]
    return list(zip(together(case), [alone(case, i) for i in case.members()], strict=True))
