"""Two workers against one on the same fixed trials, and against the tutorial's way.

The tutorial's way is one process with `study.optimize` and torch's default threads. All three run
the same points of PPO's space on Pendulum-v1; wall time, start-up of the processes included.

    python scripts/benchmark_workers.py --n-trials 12 --n-timesteps 20480
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from sb3_hpo.tuning import tune

if TYPE_CHECKING:
    from collections.abc import Sequence

# A separate process: torch's thread count is set when torch is imported.
TUTORIAL = """
import sys, optuna, yaml
from sb3_hpo.config.study_config import make_config
from sb3_hpo.study.objective import Objective
from sb3_hpo.study.preflight import prepare
values, points = yaml.safe_load(open(sys.argv[1]))
import torch
config = make_config({**values, "n_threads": torch.get_num_threads()})
print("torch threads:", torch.get_num_threads())
study = optuna.create_study(direction="maximize", pruner=optuna.pruners.NopPruner())
for point in points:
    study.enqueue_trial(point)
study.optimize(Objective(config, prepare(config).sample), n_trials=len(points))
"""


def fixed_points(n: int) -> list[dict[str, float]]:
    """Return n points of equal cost: only the learning rate and the discount differ."""
    return [{"learning_rate": 1e-4 * 1.2**i, "gamma": 0.9 + 0.005 * i} for i in range(n)]


def run_workers(
    values: dict[str, Any], points: list[dict[str, float]], folder: Path, n: int
) -> float:
    """Return the wall time of a study of these points with n workers."""
    files = []
    for i, point in enumerate(points):
        files.append(folder / f"point-{i}.yaml")
        files[-1].write_text(yaml.safe_dump(point))
    start = time.perf_counter()
    tune(**values, n_workers=n, enqueue=[str(file) for file in files],
         run_dir=str(folder / f"workers-{n}"))  # fmt: skip
    return time.perf_counter() - start


def run_tutorial(values: dict[str, Any], points: list[dict[str, float]], folder: Path) -> float:
    """Return the wall time of one process with torch's default threads."""
    file = folder / "points.yaml"
    as_dimensions = [
        {"learning_rate": point["learning_rate"], "one_minus_gamma": 1 - point["gamma"]}
        for point in points
    ]
    file.write_text(yaml.safe_dump([values, as_dimensions]))
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", TUTORIAL, str(file)], check=True)
    return time.perf_counter() - start


def main(argv: Sequence[str] | None = None) -> int:
    """Run the three and print their ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--n-trials", type=int, default=12)
    parser.add_argument("--n-timesteps", type=int, default=20_480)
    arguments = parser.parse_args(argv)
    values: dict[str, Any] = {
        "algo": "ppo",
        "env": "Pendulum-v1",
        "n_timesteps": arguments.n_timesteps,
        "n_trials": arguments.n_trials,
        "pruner": "none",
        "space_size": "small",
        "fixed": {"n_steps": 128, "n_minibatches_pow": 4, "activation_fn": "tanh"},
    }
    points = fixed_points(arguments.n_trials - 1)  # the default point is the first trial
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        one = run_workers(values, points, folder, 1)
        two = run_workers(values, points, folder, 2)
        tutorial = run_tutorial(values, [*points, points[0]], folder)
    print(f"one worker {one:.1f} s, two workers {two:.1f} s: speed-up {one / two:.2f}")
    print(f"tutorial's way {tutorial:.1f} s: {tutorial / two:.2f} times two workers")
    return 0


if __name__ == "__main__":
    sys.exit(main())
