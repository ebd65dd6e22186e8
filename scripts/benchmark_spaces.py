"""How good random points of our search spaces are, beside random points of RL Zoo's.

    python scripts/benchmark_spaces.py --n-points 30 --n-workers 2

Each point is trained once and scored by the mean of the second half of its evaluations. A run that
takes longer than the limit, or diverges, counts as worse than all others. RL Zoo's search spaces
are its own functions (`rl_zoo3` must be installed), asked for the same number of environments.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a script knows no package

if TYPE_CHECKING:
    from collections.abc import Sequence

SPACES = ("small", "default", "full", "rl_zoo3")
ALGOS, ENVS = ("a2c", "ppo"), ("CartPole-v1", "Pendulum-v1")
N_ENVS, N_EPISODES = 8, 20
Job = tuple[str, str, str, int, int, float]  # algo, env, space, point, n_timesteps, run_timeout


def run_point(job: Job) -> float:
    """Train one random point.

    Args:
        job: Algorithm, environment, space, number of the point, budget, limit in seconds.

    Returns:
        Its score; -inf if it diverged or took too long.
    """
    import torch

    from sb3_hpo.config.training_config import TrainingConfig
    from sb3_hpo.scoring.score_rules import DEFAULT_SCORE, score_rule
    from sb3_hpo.training.hooks import Hooks, RunRequest, StopRun
    from sb3_hpo.training.train import train

    torch.set_num_threads(1)
    algo, env, space, point, n_timesteps, run_timeout = job
    config = TrainingConfig.model_validate({
        "algo": algo, "env": env, "n_timesteps": n_timesteps, "n_envs": N_ENVS,
        "n_eval_episodes": N_EPISODES,
    })  # fmt: skip
    deadline = time.monotonic() + run_timeout

    def on_step(_: int) -> None:
        if time.monotonic() > deadline:
            raise StopRun("timeout", "too slow")

    member = RunRequest(_sample(config, space, point), seed=point)
    (run,) = train(config, [member], range(N_EPISODES), Hooks(on_step=on_step))
    if run.record.outcome != "finished":
        return -math.inf
    return score_rule(DEFAULT_SCORE)([item.value for item in run.record.evaluations])


def _sample(config: Any, space: str, point: int) -> dict[str, Any]:
    import optuna

    from samplers import SEARCH_SPACES, SpaceContext
    from sb3_hpo.envs.problem import probe_env

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=point)).ask()
    problem = probe_env(config)
    if space == "rl_zoo3":
        from rl_zoo3.hyperparams_opt import HYPERPARAMS_SAMPLER

        n_actions = int(np.prod(problem.action_space.shape or (1,)))
        kwargs: dict[str, Any] = HYPERPARAMS_SAMPLER[config.algo](trial, n_actions, N_ENVS, {})
        return kwargs
    context = SpaceContext(
        n_envs=N_ENVS,
        n_timesteps=config.n_timesteps,
        n_evaluations=config.n_evaluations,
        action_space=problem.action_space,
        observation_space=problem.observation_space,
    )
    return SEARCH_SPACES[config.algo].sample(trial, context=context, size=space)  # type: ignore[arg-type]


def main(argv: Sequence[str] | None = None) -> int:
    """Train all points and print the table.

    Args:
        argv: The command line.

    Returns:
        0.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n-points", type=int, default=30)
    parser.add_argument("--n-timesteps", type=int, default=20_000)
    parser.add_argument("--run-timeout", type=float, default=60.0, help="seconds of one run")
    parser.add_argument("--n-workers", type=int, default=2)
    parser.add_argument("--out", type=Path, help="write all scores there, as JSON")
    arguments = parser.parse_args(argv)
    cells = [(algo, env, space) for algo in ALGOS for env in ENVS for space in SPACES]
    scores: dict[str, list[float]] = {}
    print("algo  environment   space      median      best   too slow or diverged   s a run")
    with ProcessPoolExecutor(arguments.n_workers, mp_context=get_context("spawn")) as pool:
        for cell in cells:
            start = time.monotonic()
            jobs = [
                (*cell, point, arguments.n_timesteps, arguments.run_timeout)
                for point in range(arguments.n_points)
            ]
            values = list(pool.map(run_point, jobs))
            seconds = (time.monotonic() - start) * arguments.n_workers / len(jobs)
            scores["/".join(cell)] = values
            n_bad = sum(value == -math.inf for value in values)
            print(
                f"{cell[0]:5} {cell[1]:13} {cell[2]:8} {np.median(values):9.1f} {max(values):9.1f}"
                f"   {n_bad:3} of {len(values):3}   {seconds:16.1f}",
                flush=True,
            )
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(scores))
    return 0


if __name__ == "__main__":
    sys.exit(main())
