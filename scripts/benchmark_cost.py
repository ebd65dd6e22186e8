"""What M members trained together cost, as a multiple of one SB3 run.

    python scripts/benchmark.py cost --cases ppo dqn --members 8

Each measurement is a process of its own with one torch thread: a short run of SB3's first, which
pays for imports, and then whole runs with their evaluations, as a search makes them, through
`training.train`. The one run is SB3 itself, by the option `exact`, the mean of four seeds;
tracing the graphs of the others is part of their cost. Ratios are of the medians of the CPU
seconds over the repeats; memory is the largest resident set of the whole process.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from sb3_hpo.utils.formatting import plural

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

SB3 = 0  # members of the run that is SB3 itself
MEMBERS = (1, 4, 8, 16)
GOAL_MEMBERS = 8  # what the goals are for
_N_ALONE = 4  # whose mean is the one run: where policies differ, so do their evaluations
_WARM_UP = 0.2  # of the budget
_SMALL_NETS = {"policy_kwargs": {"net_arch": [64, 64]}}
_SB3S_NETS = {"policy_kwargs": {"net_arch": [256, 256]}}


@dataclass(frozen=True)
class Case:
    """What is trained.

    Attributes:
        algo: Algorithm.
        env: Environment.
        n_timesteps: Environment steps of one run.
        goal: What eight members may cost at most, in single runs.
        n_envs: Parallel training environments of one run.
        kwargs: Keyword arguments of the algorithm.
    """

    algo: str
    env: str
    n_timesteps: int
    goal: float
    n_envs: int = 1
    kwargs: dict[str, Any] = field(default_factory=dict)


CASES = {
    "ppo": Case("ppo", "Pendulum-v1", 20_000, 2.3, 5, {"n_steps": 256}),
    "a2c": Case("a2c", "CartPole-v1", 20_000, 2.3, 8),
    "dqn": Case("dqn", "CartPole-v1", 10_000, 3.0, 1, {"learning_starts": 1000}),
    "sac-64": Case("sac", "Pendulum-v1", 3_000, 4.0, 1, _SMALL_NETS),
    "td3-64": Case("td3", "Pendulum-v1", 3_000, 4.0, 1, _SMALL_NETS),
    "sac-256": Case("sac", "Pendulum-v1", 1_500, 7.5, 1, _SB3S_NETS),
    "td3-256": Case("td3", "Pendulum-v1", 1_500, 7.5, 1, _SB3S_NETS),
}  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """One process.

    Attributes:
        cpu_s: CPU seconds of all its members' runs, or of one of SB3's.
        wall_s: Wall seconds likewise.
        peak_mb: Largest resident set in MB, with Python and torch.
        n_steps: Environment steps of training.
        alone: Why the members were trained one after the other; None if they were not.
    """

    cpu_s: float
    wall_s: float
    peak_mb: float
    n_steps: int
    alone: str | None = None


Measurements = dict[str, dict[int, list[Measured]]]  # by case and number of members


def measure(case: Case, n_members: int, scale: float) -> Measured:
    """Train members in this process, which should be fresh.

    Args:
        case: What.
        n_members: How many, with different seeds; 0 for one that is SB3 itself.
        scale: Of the case's budget.

    Returns:
        What it cost.

    Raises:
        RuntimeError: A run did not come to its end.
    """
    from sb3_hpo.config.training_config import TrainingConfig
    from sb3_hpo.training.hooks import Hooks, RunRequest
    from sb3_hpo.training.train import train

    def config(share: float, *, exact: bool) -> TrainingConfig:
        return TrainingConfig.model_validate({
            "algo": case.algo, "env": case.env, "n_envs": case.n_envs, "exact": exact,
            "n_timesteps": max(1, round(case.n_timesteps * share)),
        })  # fmt: skip

    whole, reasons = config(scale, exact=n_members == SB3), list[str]()
    episodes = range(whole.n_eval_episodes)
    short = config(scale * _WARM_UP, exact=True)
    list(train(short, [RunRequest(case.kwargs, seed=n_members)], episodes))
    members = [RunRequest(case.kwargs, seed) for seed in range(n_members or _N_ALONE)]
    cpu, wall = time.process_time(), time.perf_counter()
    records = [
        run.record for run in train(whole, members, episodes, Hooks(on_alone=reasons.append))
    ]
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    for record in records:
        if record.outcome != "finished":
            raise RuntimeError(f"a run was {record.outcome}: {record.reason}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak_mb = peak / (1e6 if sys.platform == "darwin" else 1e6 / 1024)
    n_steps = sum(record.n_steps for record in records)
    n_runs = 1 if n_members else _N_ALONE
    reason = reasons[0] if reasons else None
    return Measured(cpu / n_runs, wall / n_runs, peak_mb, n_steps // n_runs, reason)


def measure_all(
    cases: Sequence[str], members: Sequence[int], repeats: int, scale: float
) -> Measurements:
    """Measure everything, each time in a new process, repeat by repeat.

    Args:
        cases: Names of the cases.
        members: Numbers of members, beside SB3's one run.
        repeats: How often.
        scale: Of the cases' budgets.
    """
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
    numbers = (SB3, *members)
    measurements: Measurements = {name: {n: [] for n in numbers} for name in cases}
    for repeat in range(repeats):
        for name in cases:
            for n_members in numbers:
                with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                    done = pool.submit(measure, CASES[name], n_members, scale).result()
                measurements[name][n_members].append(done)
                print(
                    f"{name}, {n_members or 'SB3'}, repeat {repeat}: {done.cpu_s:.1f} CPU s, "
                    f"{done.wall_s:.1f} s, {done.peak_mb:.0f} MB",
                    file=sys.stderr,
                    flush=True,
                )
    return measurements


def ratio(of_case: Mapping[int, Sequence[Measured]], n_members: int, clock: str) -> float:
    """Return what members together cost as a multiple of SB3's one run.

    Args:
        of_case: The measurements of one case, by number of members.
        n_members: How many.
        clock: `cpu_s` or `wall_s`.

    Returns:
        The ratio of the medians.
    """
    many, one = (
        median([float(getattr(item, clock)) for item in of_case[n]]) for n in (n_members, SB3)
    )
    return many / one


def cost_table(measurements: Measurements) -> str:
    """Write the measurements as a Markdown table.

    Args:
        measurements: By case and number of members, one of which is 0.

    Returns:
        The table, in multiples of SB3's one run; below it why members were trained alone, if so.
    """
    numbers = sorted({n for of_case in measurements.values() for n in of_case} - {SB3})
    head = ["case", "SB3", *(plural(n, "member") for n in numbers), f"goal for {GOAL_MEMBERS}",
            f"peak MB of SB3, {', '.join(map(str, numbers))}"]  # fmt: skip
    rows, notes = [], []
    for name, of_case in measurements.items():
        one = median(m.cpu_s for m in of_case[SB3])
        cells = [
            f"{ratio(of_case, n, 'cpu_s'):.2f} (wall {ratio(of_case, n, 'wall_s'):.2f})"
            for n in numbers
        ]
        peaks = [f"{median(m.peak_mb for m in of_case[n]):.0f}" for n in (SB3, *numbers)]
        rows.append([name, f"{one:.1f} CPU s", *cells, f"≤ {CASES[name].goal}", ", ".join(peaks)])
        notes += sorted({
            f"{name}, {plural(n, 'member')}, were trained one after the other: {m.alone}"
            for n in numbers for m in of_case[n] if m.alone
        })  # fmt: skip
    return "\n".join([markdown(head, rows), *(f"\n{note}" for note in notes)])


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a Markdown table; numbers stand on the right.

    Args:
        head: Titles of the columns.
        rows: Cells.
    """
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def machine() -> dict[str, Any]:
    """Return what the numbers depend on: processor, load before, and versions."""
    from sb3_hpo.training.models import versions
    from sb3_hpo.utils.processes import n_cores

    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.processor() or platform.machine(),
        "n_cores": n_cores(),
        "system": platform.system(),
        "load_before": round(os.getloadavg()[0], 2),
        "versions": versions(),
    }


def describe_machine(facts: Mapping[str, Any]) -> str:
    """Write what `machine` returned on one line."""
    packages = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    return (
        f"{facts['n_cores']} cores of {facts['processor']}, {facts['system']}, load before "
        f"{facts['load_before']}; {packages}"
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this part."""
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--members", nargs="+", type=int, default=MEMBERS)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="of all budgets, to try it out")


def run(arguments: argparse.Namespace) -> int:
    """Measure, print and write.

    Returns:
        0.
    """
    facts = machine()
    measurements = measure_all(
        arguments.cases, arguments.members, arguments.repeats, arguments.scale
    )
    print(f"{describe_machine(facts)}\n\n{cost_table(measurements)}")
    if arguments.out is not None:
        plain = {
            name: {n: [asdict(m) for m in items] for n, items in of_case.items()}
            for name, of_case in measurements.items()
        }
        content = {"machine": facts, "scale": arguments.scale, "measurements": plain}
        arguments.out.write_text(json.dumps(content, indent=1))
    return 0
