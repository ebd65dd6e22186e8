"""Whole searches of equal wall time: the tutorial's way, RL Zoo, and this package.

    python scripts/benchmark.py peers --minutes 5 --peers tutorial zoo ours-1 ours-8

PPO on Pendulum-v1, one search after the other, each alone on the machine:

- `tutorial`: one process as in the tutorials (`benchmark_tutorial.py`), with torch's default
  threads; `tutorial-1-thread`: with one, as in Optuna's own example.
- `zoo`: RL Zoo's own command, installed from PyPI into an environment of its own.
- `ours-<n>`: this package's command with `--batch-trials n`, without re-evaluation.

Then every search's best configuration, by its own values, is trained again alone, by SB3's own
arithmetic, from the same fresh seeds, and its final policies play the same episodes.

Rates go from the start of the process to the end of the last trial. The trial that the end of the
time interrupts in RL Zoo is left out together with its time. Those that it interrupts in this
package count with the steps they have on record, but not as trials.
"""

from __future__ import annotations

import json
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sb3_hpo.scoring.statistics import Array, estimate, iqm
from sb3_hpo.utils.processes import n_cores
from sb3_hpo.utils.seeding import Stream, derive_seed, derive_seeds
from scripts.benchmark_cost import describe_machine, machine, markdown
from scripts.benchmark_searches import (
    ENV,
    Found,
    Settings,
    search_by_tutorial,
    search_by_us,
    search_by_zoo,
)
from scripts.benchmark_tally import SearchProblem, Tally

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

PEERS: dict[str, Callable[[Settings, Path], Found]] = {
    "tutorial": search_by_tutorial,
    "tutorial-1-thread": partial(search_by_tutorial, n_threads=1),
    "zoo": search_by_zoo,
    **{f"ours-{n}": partial(search_by_us, batch_trials=n) for n in (1, 4, 8, 16)},
}
BASES = ("tutorial", "zoo")  # what the others are compared with
_FIRST_SEED_INDEX = 2000  # of no re-evaluation, and of no `sb3_hpo.train`


@dataclass(frozen=True)
class Result:
    """One search and its best configuration trained again.

    Attributes:
        found: The search; None if there is none.
        problem: Why not.
        returns: One row a training seed: the final policy's episode returns; None for a run that
            diverged.
    """

    found: Found | None
    problem: str = ""
    returns: tuple[tuple[float, ...] | None, ...] = ()

    @property
    def scores(self) -> Array | None:
        """Shape [n_seeds, n_episodes]; a run that diverged has the lowest return seen."""
        seen = [row for row in self.returns if row is not None]
        if not seen:
            return None
        worst = [min(map(min, seen))] * len(seen[0])
        return np.asarray([worst if row is None else row for row in self.returns])


Job = tuple[int, dict[str, Any], int, int, tuple[int, ...]]  # envs, kwargs, budget, seed, episodes


def train_again(job: Job) -> tuple[float, ...] | None:
    """Train one configuration alone from one seed.

    Args:
        job: Training environments, description of the arguments, budget, training seed, and the
            seeds of the episodes.

    Returns:
        Returns of the final policy; None if the run did not come to its end.
    """
    from sb3_hpo.algorithms.kwargs import deserialize_kwargs
    from sb3_hpo.config.training_config import TrainingConfig
    from sb3_hpo.training.hooks import RunRequest
    from sb3_hpo.training.train import train

    n_envs, kwargs, n_timesteps, seed, episode_seeds = job
    config = TrainingConfig.model_validate({
        "algo": "ppo", "env": ENV, "n_envs": n_envs, "n_timesteps": n_timesteps,
        "n_evaluations": 1, "n_eval_episodes": len(episode_seeds), "exact": True,
    })  # fmt: skip
    (run,) = train(config, [RunRequest(deserialize_kwargs(kwargs), seed)], episode_seeds)
    return run.record.evaluations[-1].returns if run.record.outcome == "finished" else None


def search_and_train(name: str, settings: Settings, n_seeds: int, n_episodes: int) -> Result:
    """Run one search and train its best configuration again.

    Args:
        name: Which search.
        settings: What all searches share.
        n_seeds: Training seeds.
        n_episodes: Episodes of each final policy.

    Returns:
        The result; the reason if there is none.
    """
    folder = settings.folder / name
    try:
        folder.mkdir(parents=True)
        found = PEERS[name](settings, folder)
    except SearchProblem as problem:
        return Result(None, str(problem))
    episodes = derive_seeds(settings.seed, Stream.TEST_EPISODES, n_episodes)
    jobs: list[Job] = [
        (found.n_envs, found.kwargs, settings.n_timesteps,
         derive_seed(settings.seed, Stream.TEST_TRAINING, _FIRST_SEED_INDEX + i), episodes)
        for i in range(n_seeds)
    ]  # fmt: skip
    with ProcessPoolExecutor(n_cores(), mp_context=get_context("spawn")) as pool:
        return Result(found, returns=tuple(pool.map(train_again, jobs)))


def rates(tally: Tally) -> tuple[float, float, float]:
    """Return trials and runs a minute, and environment steps a second."""
    minutes = tally.seconds / 60
    return tally.n_trials / minutes, tally.n_runs / minutes, tally.n_steps / tally.seconds


def peers_table(results: dict[str, Result]) -> str:
    """Write the results as a Markdown table.

    Args:
        results: By name of the search.

    Returns:
        The table, and below it what is missing in it.
    """
    bases = {name: rates(found.tally) for name in BASES
             if name in results and (found := results[name].found) is not None}  # fmt: skip
    over = f" (over {', '.join(bases)})" if bases else ""
    head = ["search", f"trials/min{over}", f"runs/min{over}", f"steps/s{over}", "cores used",
            "claimed", "trained again: IQM (95 %)"]  # fmt: skip
    rows, notes = [], []
    for name, result in results.items():
        if (found := result.found) is None:
            notes.append(f"{name}: not measured: {result.problem}")
            continue
        cells = [
            f"{value:,.{digits}f}"
            + _ratios([value / base[i] for base in bases.values() if base[i]])
            for i, (value, digits) in enumerate(zip(rates(found.tally), (1, 1, 0), strict=True))
        ]
        cores = f"{found.cpu_s / found.tally.seconds:.1f}"
        rows.append([name, *cells, cores, f"{found.value:.0f}", _trained(result)])
        if found.tally.n_unrecorded:
            notes.append(f"{name}: {found.tally.n_unrecorded} trials left no step count")
        if n_broken := sum(row is None for row in result.returns):
            notes.append(f"{name}: {n_broken} of {len(result.returns)} retrained runs diverged")
    return "\n".join([markdown(head, rows), *(f"\n{note}" for note in notes)])


def _ratios(values: Sequence[float]) -> str:
    return f" ({', '.join(f'{value:.2f}' for value in values)})" if values else ""


def _trained(result: Result) -> str:
    if result.scores is None:
        return "diverged"
    value = estimate(result.scores, iqm, np.random.default_rng(0))
    if value.interval is None:
        return f"{value.value:.0f}"
    return f"{value.value:.0f} ({value.interval[0]:.0f} to {value.interval[1]:.0f})"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this part."""
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--minutes", type=float, default=5.0, help="of each search")
    parser.add_argument("--n-timesteps", type=int, default=40_000, help="of one run")
    parser.add_argument("--seeds", type=int, default=5, help="of the retraining")
    parser.add_argument("--episodes", type=int, default=100, help="of each retrained policy")
    parser.add_argument("--seed", type=int, default=0, help="of the searches")
    parser.add_argument("--folder", type=Path, help="new folder for the studies (default: runs/)")
    parser.add_argument("--zoo-python", help="Python that has rl_zoo3 (default: install it)")


def run(arguments: argparse.Namespace) -> int:
    """Search, train again, print and write.

    Returns:
        0, or 1 if a search is missing.
    """
    Path("runs").mkdir(exist_ok=True)
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="benchmark-", dir="runs"))
    settings = Settings(
        n_timesteps=arguments.n_timesteps,
        seconds=60 * arguments.minutes,
        seed=arguments.seed,
        folder=folder.resolve(),
        zoo_python=arguments.zoo_python,
    )
    facts, results = machine(), {}
    for name in arguments.peers:
        result = search_and_train(name, settings, arguments.seeds, arguments.episodes)
        results[name] = result
        said = f"claims {found.value:.1f}" if (found := result.found) else result.problem
        print(f"{name}: {said}", file=sys.stderr, flush=True)
    versions = {
        found.note for result in results.values() if (found := result.found) and found.note
    }
    print(f"{', '.join([describe_machine(facts), *versions])}; PPO on {ENV}, "
          f"{settings.n_timesteps:,} steps a run, {arguments.minutes:g} minutes a search\n\n"
          f"{peers_table(results)}")  # fmt: skip
    if arguments.out is not None:
        plain = {name: asdict(result) for name, result in results.items()}
        settled = {name: str(value) for name, value in vars(arguments).items() if name != "run"}
        content = {"machine": facts, "options": settled, "results": plain}
        arguments.out.write_text(json.dumps(content, indent=1))
    return int(any(result.found is None for result in results.values()))
