"""What a trial costs beside the bare SB3 loop: CPU time of both, alternating, in one process.

The bare loop is `model.learn` with a callback that runs the same episodes, in as many
environments, at the same moments; nothing of sb3_hpo is in it. Prints the median ratio over the
pairs, the spread of bare against bare, and the share of evaluation.

    python scripts/benchmark_overhead.py --algo ppo --env Pendulum-v1 --n-timesteps 40000
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import optuna
import torch
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from sb3_hpo.config.study_config import StudyConfig, make_config
from sb3_hpo.study.objective import Objective

if TYPE_CHECKING:
    from collections.abc import Sequence

KWARGS: dict[str, dict[str, Any]] = {
    "ppo": {"n_steps": 128, "batch_size": 64, "gamma": 0.9, "learning_rate": 1e-3},
    "dqn": {"learning_rate": 2e-3, "batch_size": 64, "train_freq": 16, "gradient_steps": 8,
            "target_update_interval": 10, "learning_starts": 1000},
}  # fmt: skip


class BareEvaluation(BaseCallback):
    """Evaluates at the grid's steps between rollouts, as a careful user would by hand."""

    def __init__(self, config: StudyConfig) -> None:
        super().__init__()
        self.grid = [
            (k + 1) * config.n_timesteps // config.n_evaluations
            for k in range(config.n_evaluations)
        ]
        self.n_episodes = config.n_eval_episodes
        self.venv = DummyVecEnv([lambda: Monitor(gym.make(config.env))] * config.n_eval_envs)
        self.cpu_s = 0.0

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        if self.grid and self.num_timesteps >= self.grid[0]:
            self.evaluate()

    def _on_training_end(self) -> None:
        if self.grid:
            self.evaluate()

    def evaluate(self) -> None:
        """Evaluate once and note the CPU time."""
        start = time.process_time()
        self.venv.seed(0)
        evaluate_policy(self.model, self.venv, n_eval_episodes=self.n_episodes)
        self.grid.pop(0)
        self.cpu_s += time.process_time() - start


def run_bare(config: StudyConfig, seed: int) -> tuple[float, float]:
    """Return the CPU seconds of the bare loop and of its evaluations."""
    start = time.process_time()
    algorithm = {"ppo": PPO, "dqn": DQN}[config.algo]
    model = algorithm(
        "MlpPolicy",
        make_vec_env(config.env, n_envs=config.n_envs),
        seed=seed,
        device="cpu",
        **KWARGS[config.algo],
    )
    callback = BareEvaluation(config)
    model.learn(config.n_timesteps, callback=callback)
    return time.process_time() - start, callback.cpu_s


def run_trial(config: StudyConfig) -> float:
    """Return the CPU seconds of a whole trial: ask, sample, train, report, tell."""
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.NopPruner())
    objective = Objective(config, lambda _trial: KWARGS[config.algo])
    start = time.process_time()
    study.optimize(objective, n_trials=1)
    return time.process_time() - start


def main(argv: Sequence[str] | None = None) -> int:
    """Run the pairs and print the ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--algo", choices=sorted(KWARGS), default="ppo")
    parser.add_argument("--env", default="Pendulum-v1")
    parser.add_argument("--n-timesteps", type=int, default=40_000)
    parser.add_argument("--n-pairs", type=int, default=9)
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    config = make_config(
        {"algo": arguments.algo, "env": arguments.env, "n_timesteps": arguments.n_timesteps}
    )
    run_bare(config, 0)  # the first run pays for imports and caches
    ratios, bare_ratios, shares = [], [], []
    for pair in range(arguments.n_pairs):
        if pair % 2:
            ours = run_trial(config)
            bare, evaluating = run_bare(config, pair)
        else:
            bare, evaluating = run_bare(config, pair)
            ours = run_trial(config)
        again, _ = run_bare(config, pair)
        ratios.append(ours / bare)
        bare_ratios.append(again / bare)
        shares.append(evaluating / bare)
        print(f"pair {pair}: bare {bare:.2f} s, trial {ours:.2f} s, bare again {again:.2f} s")
    spread = float(np.percentile(np.abs(np.asarray(bare_ratios) - 1), 50))
    print(f"trial / bare: median {statistics.median(ratios):.3f} over {len(ratios)} pairs")
    print(f"bare / bare: {statistics.median(bare_ratios):.3f}, median deviation {spread:.3f}")
    print(f"share of evaluation in the bare loop: {statistics.median(shares):.1%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
