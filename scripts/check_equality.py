"""Whether runs trained together end as runs of plain Stable-Baselines3 do, in distribution.

    python scripts/check_equality.py               # 20 members of each algorithm: make equality
    python scripts/check_equality.py --algos ppo --members 10 --same-seeds

One group is one batch of `training.train`, the other as many separate SB3 models, with
nothing of sb3_hpo in their training. Every final policy plays 20 episodes from the same start
states. Compared are the runs' mean returns: by a Mann-Whitney and a Kolmogorov-Smirnov test, and
by the 95 % intervals of their interquartile means. The two groups have different training seeds,
so they are independent samples, and a sound trainer fails one algorithm in some fifty by chance;
on one machine and with the same versions, the outcome is always the same.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a script knows no package

from sb3_hpo.scoring.statistics import Array, Estimate, estimate, iqm

if TYPE_CHECKING:
    from collections.abc import Sequence

N_EPISODES = 20
_ALONE_SEED = 1_000_000  # first training seed of the separate runs
_STRIDE = 1_000  # between training seeds: environment i of a run is seeded with the run's seed + i
_EPISODE_SEED = 2_000_000
_LEVEL = 0.01


@dataclass(frozen=True)
class Case:
    """What is trained.

    Attributes:
        env: Environment.
        n_timesteps: Environment steps of one run.
        n_envs: Parallel training environments of one run.
        kwargs: Keyword arguments of the algorithm.
    """

    env: str
    n_timesteps: int
    n_envs: int = 1
    kwargs: dict[str, Any] = field(default_factory=dict)


CASES = {
    "ppo": Case(
        "Pendulum-v1", 20_000, 5, {"n_steps": 256, "gamma": 0.9, "learning_rate": 1e-3}
    ),
    "a2c": Case("CartPole-v1", 20_000, 8),
    "dqn": Case(
        "CartPole-v1", 10_000, 1,
        {"learning_starts": 1000, "learning_rate": 1e-3, "target_update_interval": 500},
    ),
    "sac": Case(
        "Pendulum-v1", 2_000, 1,
        {"learning_rate": 1e-3, "policy_kwargs": {"net_arch": [64, 64]}},
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """Two groups of runs.

    Attributes:
        together: Interquartile mean of the batch.
        alone: That of SB3's separate runs.
        rank_p: Mann-Whitney's p-value, two-sided.
        shape_p: Kolmogorov-Smirnov's.
    """

    together: Estimate
    alone: Estimate
    rank_p: float
    shape_p: float

    @property
    def is_equal(self) -> bool:
        """Whether nothing speaks against both being draws from one distribution."""
        overlap = self.together.low <= self.alone.high and self.alone.low <= self.together.high
        return overlap and min(self.rank_p, self.shape_p) >= _LEVEL


def compare(together: Array, alone: Array) -> Comparison:
    """Compare the returns of two groups of runs.

    Args:
        together: Shape [n_runs, n_episodes].
        alone: Shape [n_runs, n_episodes].
    """
    from scipy import stats

    means = together.mean(axis=1), alone.mean(axis=1)
    return Comparison(
        estimate(together, iqm, np.random.default_rng(0)),
        estimate(alone, iqm, np.random.default_rng(0)),
        float(stats.mannwhitneyu(*means).pvalue),
        float(stats.ks_2samp(*means, method="asymp").pvalue),
    )


def train_together(algo: str, case: Case, seeds: Sequence[int]) -> Array:
    """Train all runs in one batch.

    Args:
        case: What.
        seeds: Training seeds.

    Returns:
        Shape [n_runs, n_episodes]: returns of the final policies.

    Raises:
        RuntimeError: They were not trained together, or one did not come to its end.
    """
    from sb3_hpo.config.training_config import TrainingConfig
    from sb3_hpo.training.hooks import Hooks, RunRequest
    from sb3_hpo.training.train import train

    def on_alone(reason: str) -> None:
        raise RuntimeError(f"{algo}: not trained together: {reason}")

    config = TrainingConfig.model_validate({
        "algo": algo, "env": case.env, "n_envs": case.n_envs, "n_timesteps": case.n_timesteps,
        "n_evaluations": 1, "n_eval_episodes": N_EPISODES,
    })  # fmt: skip
    members = [RunRequest(case.kwargs, seed) for seed in seeds]
    returns = []
    for run in train(config, members, _episode_seeds(), Hooks(on_alone=on_alone)):
        if run.record.outcome != "finished":
            raise RuntimeError(f"{algo}: a run was {run.record.outcome}: {run.record.reason}")
        returns.append(run.record.evaluations[-1].returns)
    return np.asarray(returns)


def train_alone(job: tuple[str, Case, int]) -> list[float]:
    """Train one run with SB3 and let its policy play.

    Args:
        job: The algorithm, the case, and the training seed.

    Returns:
        The episode returns.
    """
    import gymnasium as gym
    import stable_baselines3
    import torch
    from stable_baselines3.common.env_util import make_vec_env

    torch.set_num_threads(1)
    algo, case, seed = job
    algorithm = getattr(stable_baselines3, algo.upper())
    envs = make_vec_env(case.env, n_envs=case.n_envs)
    model = algorithm("MlpPolicy", envs, seed=seed, device="cpu", **case.kwargs)
    model.learn(case.n_timesteps)
    env, returns = gym.make(case.env), []
    for episode_seed in _episode_seeds():
        (observation, _), total, done = env.reset(seed=episode_seed), 0.0, False
        while not done:
            action, _ = model.predict(observation, deterministic=True)
            observation, reward, terminated, truncated, _ = env.step(action)
            total, done = total + float(reward), terminated or truncated
        returns.append(total)
    return returns


def _episode_seeds() -> range:
    return range(_EPISODE_SEED, _EPISODE_SEED + N_EPISODES)


def line_of(algo: str, comparison: Comparison) -> str:
    """Write a comparison as a line of the table."""
    together, alone = (
        f"{group.value:8.1f} ({group.low:8.1f} to {group.high:8.1f})"
        for group in (comparison.together, comparison.alone)
    )
    verdict = "equal" if comparison.is_equal else "DIFFERENT"
    return (
        f"{algo:4}  {together}  {alone}  {comparison.rank_p:12.3f}  {comparison.shape_p:18.3f}  "
        f"{verdict}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Train both groups of every algorithm and compare them.

    Args:
        argv: The command line.

    Returns:
        1 if any two groups differ, else 0.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--algos", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--members", type=int, default=20, help="runs of each group")
    parser.add_argument("--same-seeds", action="store_true", help="for both groups")
    parser.add_argument("--n-workers", type=int, default=2, help="separate runs at a time")
    parser.add_argument("--scale", type=float, default=1.0, help="of all budgets, to try it out")
    parser.add_argument("--out", type=Path, help="write all returns there, as JSON")
    arguments = parser.parse_args(argv)
    os.environ["OMP_NUM_THREADS"] = "1"
    print("      together: IQM (95 %)              alone: IQM (95 %)                 "
          "Mann-Whitney  Kolmogorov-Smirnov")  # fmt: skip
    status, returns = 0, {}
    for algo in arguments.algos:
        start = time.monotonic()
        together, alone = _both(algo, arguments)
        comparison = compare(together, alone)
        print(f"{line_of(algo, comparison)}  {time.monotonic() - start:.0f} s", flush=True)
        status = max(status, int(not comparison.is_equal))
        returns[algo] = {"together": together.tolist(), "alone": alone.tolist()}
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(returns))
    return status


def _both(algo: str, arguments: argparse.Namespace) -> tuple[Array, Array]:
    case = CASES[algo]
    budget = max(1, round(case.n_timesteps * arguments.scale))
    case = Case(case.env, budget, case.n_envs, case.kwargs)
    seeds = range(0, arguments.members * _STRIDE, _STRIDE)
    first = 0 if arguments.same_seeds else _ALONE_SEED
    together = train_together(algo, case, seeds)
    with ProcessPoolExecutor(arguments.n_workers, mp_context=get_context("spawn")) as pool:
        jobs = [(algo, case, first + seed) for seed in seeds]
        return together, np.asarray(list(pool.map(train_alone, jobs)))


if __name__ == "__main__":
    sys.exit(main())
