# PPO on CartPole-v1, trial 0 of study golden
# Re-evaluated on 3 fresh training seeds: IQM 48.8
# Trained with python 3.11.7, sb3-hpo 0.1.0, stable-baselines3 2.9.2, torch 2.13.0+cpu,
#   gymnasium 1.4.0, numpy 2.4.6, optuna 5.0.0
# Usage: python train_best.py [seed]
import math
import sys
from dataclasses import dataclass

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from torch import nn

seed = int(sys.argv[1]) if len(sys.argv) > 1 else 0
torch.set_num_threads(1)  # results depend on it


@dataclass(frozen=True)
class CosineSchedule:
    """Falls from the initial value to 0 along half a period of a cosine.

    Attributes:
        initial_value: Value at the start of the run.

    >>> schedule = CosineSchedule(0.4)
    >>> [round(schedule(remaining), 3) for remaining in (1.0, 0.75, 0.5, 0.0)]
    [0.4, 0.341, 0.2, 0.0]
    """

    initial_value: float

    def __call__(self, progress_remaining: float) -> float:
        """Return the value at this progress."""
        # A last rollout may end beyond the budget, where the progress is below 0.
        done = 1.0 - max(0.0, progress_remaining)
        return self.initial_value * 0.5 * (1.0 + math.cos(math.pi * done))


env = make_vec_env("CartPole-v1", n_envs=2)
model = PPO(
    "MlpPolicy",
    env,
    learning_rate=CosineSchedule(initial_value=0.0003),
    n_steps=64,
    batch_size=16,
    n_epochs=10,
    clip_range=0.2,
    target_kl=None,
    gamma=0.99,
    gae_lambda=0.95,
    ent_coef=0.0,
    max_grad_norm=0.5,
    vf_coef=0.5,
    policy_kwargs=dict(
        activation_fn=nn.Tanh,
        net_arch=dict(pi=[64, 64], vf=[64, 64]),
        ortho_init=True,
    ),
    seed=seed,
    device="cpu",
)
model.learn(768)
model.save("trained_model")

eval_env = make_vec_env("CartPole-v1", n_envs=2, seed=1000 * (seed + 1))
mean, std = evaluate_policy(model, eval_env, n_eval_episodes=100)
print(f"seed {seed}: return {mean:.2f} +- {std:.2f} over 100 episodes")
