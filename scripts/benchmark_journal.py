"""What a trial costs in the journal: bytes, seconds and time to open, as a study grows.

Runs the real loop, objective, sampler and pruner; only the training is replaced, by a made-up
learning curve. Prints one line at each size.

    python scripts/benchmark_journal.py --sizes 1000 10000
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna

from sb3_hpo.config.study_config import StudyConfig, make_config
from sb3_hpo.results.run_record import Evaluation, RunRecord
from sb3_hpo.results.trials import trials_of
from sb3_hpo.storages.open import open_storage
from sb3_hpo.storages.study_location import StudyLocation
from sb3_hpo.study import objective as objective_module
from sb3_hpo.study.create_or_resume import create_or_resume, open_study
from sb3_hpo.study.objective import Objective
from sb3_hpo.study.preflight import prepare
from sb3_hpo.training.evaluator import evaluation_grid
from sb3_hpo.training.run import TrainedRun
from sb3_hpo.workers.loop import run_loop
from sb3_hpo.workers.trial_monitor import TrialMonitor

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from sb3_hpo.training.hooks import Hooks, RunRequest


def made_up_training(
    config: StudyConfig, members: Sequence[RunRequest], episode_seeds: Sequence[int], hooks: Hooks
) -> Generator[TrainedRun]:
    """Stand in for `training.train`: the curve of a member is noise around its own level."""
    rng = np.random.default_rng(members[0].seed)
    level, curve = rng.uniform(-1500, -150), []
    outcome: Any = "finished"
    for step in evaluation_grid(config.n_timesteps, config.n_evaluations):
        returns = tuple(float(x) for x in rng.normal(level, 100, len(episode_seeds)))
        lengths = (200,) * len(returns)
        curve.append(
            Evaluation(nominal_step=step, actual_step=step, returns=returns, lengths=lengths)
        )
        if hooks.on_evaluation(0, curve[-1]):
            outcome = "dropped"
            break
    record = RunRecord(
        seed=members[0].seed, outcome=outcome, reason=None, evaluations=tuple(curve),
        n_steps=curve[-1].actual_step, n_updates=0, seconds=1.0, kwargs={},
        n_threads=1, versions={},
    )  # fmt: skip
    hooks.on_end(0, record)
    yield TrainedRun(0, record, None, None)


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000], metavar="N")
    parser.add_argument("--sampler", default="tpe")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    vars(objective_module)["train"] = made_up_training
    with tempfile.TemporaryDirectory() as folder:
        for n_trials in sorted(arguments.sizes):
            config = make_config({
                "algo": "ppo", "env": "Pendulum-v1", "run_dir": folder, "study_name": "s",
                "n_trials": n_trials, "sampler": arguments.sampler,
            })  # fmt: skip
            sys.stdout.write(f"{measure(config)}\n")
            sys.stdout.flush()
    return 0


def measure(config: StudyConfig) -> str:
    """Bring the study to its size and say what that cost.

    Args:
        config: The study; what an earlier call ran of it is there.

    Returns:
        One line.
    """
    location = StudyLocation.of(config)
    space = prepare(config)
    n_before = len(trials_of(create_or_resume(config, location, space)))
    study = open_study(config, location)
    monitor = TrialMonitor(config)
    start = time.perf_counter()
    ended = run_loop(
        study, Objective(config, space.sample, on_step=monitor.on_step), config, monitor, "w"
    )
    seconds = time.perf_counter() - start
    if ended is not None:
        raise RuntimeError(f"the study ended early: {ended}")
    journal = Path(location.address.text)
    start = time.perf_counter()
    trials = optuna.load_study(storage=open_storage(str(journal)), study_name="s").trials
    opening = time.perf_counter() - start
    return (
        f"{len(trials):>6} trials: {journal.stat().st_size / len(trials):,.0f} bytes a trial, "
        f"{journal.stat().st_size / 1e6:,.1f} MB in all; "
        f"{1000 * seconds / max(1, len(trials) - n_before):,.0f} ms a trial since the last line; "
        f"opened with all its trials in {opening:.2f} s"
    )


if __name__ == "__main__":
    sys.exit(main())
