"""A recipe trained again: `python -m sb3_hpo.train best.yaml --seeds 3`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from sb3_hpo.config.reevaluation_config import ReevaluationConfig
from sb3_hpo.config.validation import validate
from sb3_hpo.export.recipe import BEST, Recipe, read_recipe
from sb3_hpo.reevaluation.executor import RunsResult, alone, train_due
from sb3_hpo.reevaluation.schedule import keep_median_model
from sb3_hpo.report.terminal import lines_of_test
from sb3_hpo.results.reevaluation_runs import (
    Candidate,
    ReevaluationLog,
    ReevaluationRequest,
    make_request,
)
from sb3_hpo.results.study_result import read_test
from sb3_hpo.utils.console import echo, relative_path, run_command
from sb3_hpo.utils.errors import UserError
from sb3_hpo.utils.notebook_objects import FOLDER, search_in
from sb3_hpo.utils.processes import leave

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sb3_hpo.results.study_result import TestResult

LOG_FILE = "retrained.jsonl"
# Lower ones are the seeds of the re-evaluation's test, which this may be meant to check.
_FIRST_SEED_INDEX = 1000


def train_recipe(
    recipe: Recipe, n_seeds: int, out: Path, console: Console, **options: object
) -> tuple[TestResult | None, RunsResult]:
    """Train a recipe from seeds that neither its study nor its re-evaluation has used.

    Args:
        recipe: What to train.
        n_seeds: How many training seeds.
        out: Folder for `retrained.jsonl`, the models, and `best_model.zip`: the policy of the
            median seed. Runs that are in the file are not trained again.
        console: Where progress is shown.
        **options: Fields of the configuration that win over the recipe's, for instance
            `n_timesteps`, `test_episodes`, `n_workers`.

    Returns:
        The policies' returns with intervals, None if there are none, and how the training ended.

    Raises:
        UserError: The algorithm or the environment is not there, or an option is wrong.
    """
    from sb3_hpo.envs.problem import probe_env
    from sb3_hpo.training.callbacks import make_callbacks
    from sb3_hpo.training.models import check_problem

    config = _config(recipe, options)
    check_problem(config, probe_env(config))
    make_callbacks(config)  # what is wrong with them is better told before than of each run
    candidate = Candidate(trial=recipe.trial, kwargs=recipe.kwargs, trial_value=recipe.trial_value)
    requests = [
        make_request(config, "test", candidate, _FIRST_SEED_INDEX + i) for i in range(n_seeds)
    ]
    out.mkdir(parents=True, exist_ok=True)
    log = ReevaluationLog(out / LOG_FILE)

    def due(broken: Collection[str]) -> list[ReevaluationRequest]:
        done = {run.key for run in log.read()}
        return [s for s in requests if s.key(config) not in done and s.key(config) not in broken]

    with alone(out, console):
        ended = train_due(config, out, console, due, log.append)
        wanted = {request.key(config) for request in requests}
        tested = read_test(config, [run for run in log.read() if run.key in wanted], candidate)
        keep_median_model(out, tested)
    return tested, ended


def _config(recipe: Recipe, options: dict[str, object]) -> ReevaluationConfig:
    values = recipe.config.model_dump(mode="json") | {"seed": recipe.root_seed}
    given = {name: value for name, value in options.items() if value is not None}
    return validate(ReevaluationConfig, values | given)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: The arguments; default: those of the process.

    Returns:
        The exit status: 2 for a mistake of the user, 1 if runs could not be trained.
    """
    return run_command(lambda: _command(sys.argv[1:] if argv is None else argv))


def _command(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="sb3-hpo train",
        description="Train a recipe again, from fresh seeds, and judge its policies.",
    )
    parser.add_argument("recipe", type=Path, help=f"{BEST} of a study, or its run folder")
    parser.add_argument("--seeds", type=int, default=3, help="training seeds (default: 3)")
    parser.add_argument("--episodes", type=int, help="that judge each policy (default: 200)")
    parser.add_argument("--n-timesteps", type=int, help="train for longer or shorter")
    parser.add_argument("--n-workers", type=int, help="runs at a time (default: one a core)")
    parser.add_argument("--trust", action="store_true", help="import the modules that it names")
    parser.add_argument("--out", type=Path, help="folder (default: retrained, beside the recipe)")
    arguments = parser.parse_args(argv)
    path = arguments.recipe / BEST if arguments.recipe.is_dir() else arguments.recipe
    if arguments.seeds < 1:
        raise UserError(f"seeds: `seeds >= 1` must hold, but got {arguments.seeds}")
    recipe, out = read_recipe(path), arguments.out or path.parent / "retrained"
    search_in(path.parent / FOLDER)
    recipe.check_trusted(trust=arguments.trust)
    console = Console()
    tested, ended = train_recipe(
        recipe,
        arguments.seeds,
        out,
        console,
        test_episodes=arguments.episodes,
        n_timesteps=arguments.n_timesteps,
        n_workers=arguments.n_workers,
    )
    if tested is not None:
        for line in lines_of_test(tested):
            echo(console, line)
        if tested.median_run is not None:
            echo(
                console,
                f"best_model.zip is the policy of the median seed, in {relative_path(out)}",
            )
    return ended.exit_status


if __name__ == "__main__":
    leave(main())
