"""Replays a study's decisions on real learning curves: which score, which pruner, which race?

No training: the score rule, the pruner and the race are the tool's own objects, fed with curves
that were recorded elsewhere. Beside them, on the same tasks, configurations and seeds, what RL
Zoo does: Optuna's MedianPruner after 30 % of a run, the last evaluation, the best trial.

    python scripts/benchmark_decisions.py --curves ../shared/data/learning_curves.npz

A task is an array of shape [configurations, training seeds, checkpoints] of mean returns. The
score of a pipeline on a task is (mean final return of the chosen configuration on seeds it was
not chosen with - median configuration) / (best configuration - median configuration). Optimism
is the number the pipeline would publish minus the chosen configuration's mean final return on
seeds that neither choice nor number saw, in the same unit. Search, race and the test of the
winner are paid from one budget, counted in run-equivalents: one checkpoint of one seed is
1 / checkpoints. With ten seeds a configuration, the test has room for three; the tool's has ten,
and three or more of SB3's default, which find nothing but tell more.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import IntDistribution
from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.trial import FrozenTrial, TrialState, create_trial
from rich.console import Console
from rich.table import Table

from sb3_hpo.reevaluation.race import Race, Round, batch_cost, plan_race, race_cost
from sb3_hpo.scoring.score_rules import DEFAULT_SCORE, score_rule
from sb3_hpo.study.pruners import FIRST_DECISION, QuantilePruner

BUDGETS = (24, 64, 150)  # run-equivalents
ZOO = "Zoo-like"
OURS = "ours"


@dataclass(frozen=True)
class Pipeline:
    """What is decided how.

    Attributes:
        score: Name of the score rule, for trials and race runs.
        keep_fraction: Of our pruner; None for Optuna's median pruner, 1 for none.
        races: Whether the best are raced.
        top: How many of them; None for the tool's own choice.
        first_decision: Share of a run before which nothing is pruned.
        n_test_seeds: Fresh seeds that give the published number; 0 publishes the number that the
            choice was made by.
        rounds: The race, instead of the tool's own plan.
        cost_ratio: Of another seed of the same configuration, in runs alone.
        races_more_seeds: Whether the tool's own plan does where that is below one.
    """

    score: str = DEFAULT_SCORE
    keep_fraction: float | None = 0.25
    races: bool = True
    top: int | None = None
    first_decision: float = FIRST_DECISION
    n_test_seeds: int = 3
    rounds: tuple[Round, ...] | None = None
    cost_ratio: float = 1.0
    races_more_seeds: bool = True


PIPELINES = {
    ZOO: Pipeline(score="final", keep_fraction=None, races=False, n_test_seeds=0),
    OURS: Pipeline(),
}
VARIANTS = {
    "score final": Pipeline(score="final"),
    "score auc": Pipeline(score="auc"),
    "score last_3": Pipeline(score="last_3"),
    "keep 0.15": Pipeline(keep_fraction=0.15),
    "keep 0.33": Pipeline(keep_fraction=0.33),
    "keep 0.5": Pipeline(keep_fraction=0.5),
    "no pruning": Pipeline(keep_fraction=1.0),
    "Optuna's median": Pipeline(keep_fraction=None),
    "first decision 20 %": Pipeline(first_decision=0.2),
    "first decision 40 %": Pipeline(first_decision=0.4),
    "no race": Pipeline(races=False),
    "race 3, 2 x 2": Pipeline(top=3),
    "race 5, 3 x 2": Pipeline(top=5),
    "race 8, 4 x 2": Pipeline(top=8),
    "race 12, 6 x 2": Pipeline(top=12),
    "race 5 x 3": Pipeline(rounds=(Round(5, 3),)),
    "race 8, 4 x 2, 2 x 4": Pipeline(rounds=(Round(8, 1), Round(4, 2), Round(2, 4))),
    "race 10, 5 x 2, 3 x 3": Pipeline(rounds=(Round(10, 1), Round(5, 2), Round(3, 3))),
    "no test": Pipeline(n_test_seeds=0),
    "seeds together": Pipeline(
        cost_ratio=0.53
    ),  # A2C's, the highest of those that race more seeds
    "seeds together, race as without": Pipeline(cost_ratio=0.53, races_more_seeds=False),
}


class ReplayedStudy:
    """As much of an Optuna study as pruners look at."""

    direction = optuna.study.StudyDirection.MAXIMIZE

    def __init__(self) -> None:
        self.trials: list[FrozenTrial] = []

    def get_trials(
        self, deepcopy: bool = True, states: tuple[TrialState, ...] | None = None
    ) -> list[FrozenTrial]:
        """Return the trials, as Optuna's study does."""
        del deepcopy
        return [trial for trial in self.trials if states is None or trial.state in states]

    def begin(self) -> FrozenTrial:
        """Return a new running trial."""
        trial = create_trial(
            state=TrialState.RUNNING,
            params={"x": 0},
            distributions={"x": IntDistribution(0, 0)},
        )
        trial.number = len(self.trials)
        self.trials.append(trial)
        return trial


@dataclass
class Draw:
    """One repetition on one task: who comes when, and which seeds are whose.

    Attributes:
        curves: Shape [configurations, seeds, checkpoints], seeds in this draw's order: the first
            is the search's, then come the race's, then the test's.
        order: Configurations in the order they are tried.
    """

    curves: Any
    order: Any


def search(draw: Draw, pipeline: Pipeline, budget: float) -> list[tuple[int, float]]:
    """Run the trials that the budget pays for.

    Args:
        draw: The repetition.
        pipeline: How to decide.
        budget: In run-equivalents.

    Returns:
        Configuration and trial value of the COMPLETE trials, best first.
    """
    n_checkpoints = draw.curves.shape[2]
    study, rule = ReplayedStudy(), score_rule(pipeline.score)
    pruner = _pruner(pipeline, n_checkpoints)
    complete = []
    left = round(budget * n_checkpoints)
    for configuration in draw.order:
        if left < n_checkpoints:
            break
        trial = study.begin()
        curve = [float(value) for value in draw.curves[configuration, 0]]
        for step, value in enumerate(curve, 1):
            left -= 1
            trial.intermediate_values[step] = value
            if step < n_checkpoints and pruner.prune(study, trial):  # type: ignore[arg-type]
                trial.state = TrialState.PRUNED
                break
        else:
            trial.state, trial.value = TrialState.COMPLETE, rule(curve)
            complete.append((int(configuration), rule(curve)))
    return sorted(complete, key=lambda item: -item[1])


def _pruner(pipeline: Pipeline, n_checkpoints: int) -> BasePruner:
    warmup = round(pipeline.first_decision * n_checkpoints)
    if pipeline.keep_fraction is None:
        return MedianPruner(n_startup_trials=5, n_warmup_steps=warmup)
    if pipeline.keep_fraction == 1:
        return NopPruner()
    return QuantilePruner(pipeline.keep_fraction, n_warmup_steps=warmup)


def decide(draw: Draw, pipeline: Pipeline, budget: float) -> tuple[int, float, int]:
    """Choose a configuration and publish a number for it.

    Args:
        draw: The repetition.
        pipeline: How.
        budget: In run-equivalents, for search, race and test.

    Returns:
        The configuration, the number, and how many seeds from the first the choice saw.
    """
    rounds, cost_ratio = pipeline.rounds, pipeline.cost_ratio
    is_cheap = cost_ratio < 1 and pipeline.races_more_seeds
    if rounds is None:
        # As many trials as the budget would pay for if none were pruned: too few rather than
        # too many candidates.
        rounds = (
            plan_race(round(budget), pipeline.top, is_cheap=is_cheap) if pipeline.races else ()
        )
    paid = budget - batch_cost(pipeline.n_test_seeds, cost_ratio) - race_cost(rounds, cost_ratio)
    ranking = search(draw, pipeline, paid)
    race = Race([value for _, value in ranking], rounds)
    rule = score_rule(pipeline.score)
    seen: dict[int, list[float]] = {}
    while due := race.due():
        for index, seed_index in due:
            curve = draw.curves[ranking[index][0], 1 + seed_index]
            score = rule([float(value) for value in curve])
            race.add(index, seed_index, score)
            seen.setdefault(index, []).append(score)
    winner = race.leader()
    configuration, value = ranking[winner]
    n_seen = 1 + len(seen.get(winner, ()))
    if pipeline.n_test_seeds:
        tested = draw.curves[configuration, n_seen : n_seen + pipeline.n_test_seeds, -1]
        return configuration, float(tested.mean()), n_seen
    return configuration, float(np.mean(seen.get(winner, [value]))), n_seen


def replay(task: Any, pipeline: Pipeline, budget: int, n_repetitions: int) -> Any:
    """Repeat a pipeline on one task.

    Args:
        task: Shape [configurations, seeds, checkpoints].
        pipeline: How to decide.
        budget: In run-equivalents.
        n_repetitions: How often, each with other seeds and another order.

    Returns:
        Shape [3]: means of score, optimism and absolute optimism.
    """
    finals = task[:, :, -1].mean(axis=1)
    median = float(np.median(finals))
    scale = float(finals.max()) - median
    results = []
    for repetition in range(n_repetitions):
        rng = np.random.default_rng([repetition, budget])
        seeds = rng.permuted(np.tile(np.arange(task.shape[1]), (task.shape[0], 1)), axis=1)
        curves = np.take_along_axis(task, seeds[:, :, None], axis=1)
        draw = Draw(curves, rng.permutation(task.shape[0]))
        chosen, published, n_seen = decide(draw, pipeline, budget)
        unchosen = curves[chosen, n_seen:, -1]
        unseen = unchosen[pipeline.n_test_seeds :].mean()
        optimism = (published - unseen) / scale
        results.append([(unchosen.mean() - median) / scale, optimism, abs(optimism)])
    return np.mean(results, axis=0)


def main() -> int:
    """Print the comparison.

    Returns:
        0, or 2 if there are no curves.
    """
    parser = argparse.ArgumentParser(description="Replay a study's decisions on real curves.")
    parser.add_argument("--curves", type=Path, default=Path("../shared/data/learning_curves.npz"))
    parser.add_argument("--repetitions", type=int, default=50, help="per task and budget")
    parser.add_argument(
        "--variants", action="store_true", help="also what was tried and not taken"
    )
    parser.add_argument("--budgets", type=int, nargs="+", default=BUDGETS)
    arguments = parser.parse_args()
    if not arguments.curves.exists():
        print(
            f"There is no file {arguments.curves}: this benchmark needs recorded learning curves "
            "(an .npz with one array [configurations, seeds, checkpoints] a task); pass --curves.",
            file=sys.stderr,
        )
        return 2
    with np.load(arguments.curves) as file:
        tasks = [file[name].astype(float) for name in file.files]
    pipelines = PIPELINES | (VARIANTS if arguments.variants else {})
    for budget in arguments.budgets:
        table = Table(title=f"{budget} run-equivalents, {len(tasks)} tasks", title_justify="left")
        for name in ("", "score", f"minus {ZOO}", "wins", "optimism", "absolute"):
            table.add_column(name, justify="right" if name else "left")
        base = None
        for name, pipeline in pipelines.items():
            job = partial(
                replay, pipeline=pipeline, budget=budget, n_repetitions=arguments.repetitions
            )
            with ProcessPoolExecutor() as pool:
                results = np.asarray(list(pool.map(job, tasks)))
            base = results if base is None else base
            table.add_row(name, *_cells(results, base))
        Console().print(table)
    return 0


def _cells(results: Any, base: Any) -> list[str]:
    gain = results[:, 0] - base[:, 0]
    error = gain.std(ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else np.nan
    return [
        f"{results[:, 0].mean():.3f}",
        f"{gain.mean():+.3f} ± {error:.3f}",
        f"{int((gain > 0).sum())}/{len(gain)}",
        f"{results[:, 1].mean():+.3f}",
        f"{results[:, 2].mean():.3f}",
    ]


if __name__ == "__main__":
    sys.exit(main())
