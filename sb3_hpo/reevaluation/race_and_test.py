"""Race and test of a study: which run after which, and what they say."""

from __future__ import annotations

import math
import statistics
import time
from typing import TYPE_CHECKING

from sb3_hpo.reevaluation.candidates import cost_ratio_of_seeds, pick_candidates
from sb3_hpo.reevaluation.executor import alone, train_due
from sb3_hpo.reevaluation.race import batch_cost, race_cost
from sb3_hpo.reevaluation.schedule import Reevaluation, keep_median_model
from sb3_hpo.results.reevaluation_runs import LOG_FILE, ReevaluationLog
from sb3_hpo.results.study_result import read_result
from sb3_hpo.results.trials import record_of, trials_of
from sb3_hpo.storages.existing import check_maximises
from sb3_hpo.utils.console import echo
from sb3_hpo.utils.formatting import plural
from sb3_hpo.utils.processes import n_cores

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import optuna
    from rich.console import Console

    from sb3_hpo.config.study_config import StudyConfig
    from sb3_hpo.reevaluation.candidates import Replay
    from sb3_hpo.reevaluation.executor import RunsResult
    from sb3_hpo.reevaluation.race import Round
    from sb3_hpo.results.reevaluation_runs import Candidate
    from sb3_hpo.results.study_result import StudyResult


def reevaluate(
    study: optuna.Study,
    config: StudyConfig,
    run_dir: Path,
    console: Console,
    *,
    replay: Replay | None = None,
    deadline: float | None = None,
) -> tuple[StudyResult, RunsResult]:
    """Race the best trials on fresh seeds, then test the winner and SB3's default.

    Args:
        study: The study; it is only read.
        run_dir: Where `reevaluation.jsonl` and the models go. Runs that are in that file are not
            trained again.
        console: Where progress is shown.
        replay: From a trial to the description of its arguments, for studies made by others.
        deadline: When to stop, in seconds since the epoch.

    Returns:
        The answer so far, and how the training ended.

    Raises:
        UserError: There is nothing to re-evaluate.
    """
    check_maximises(study)
    candidates, rounds = pick_candidates(study, config, replay)
    run_dir.mkdir(parents=True, exist_ok=True)
    log = ReevaluationLog(run_dir / LOG_FILE)
    with alone(run_dir, console):
        has_begun = bool(log.read())  # then the race is part of what is to be finished
        if (
            rounds
            and not has_begun
            and not _is_time_to_race(study, config, candidates, rounds, deadline)
        ):
            echo(console, "No time is left for a race: the best trial is tested.")
            rounds = ()
        echo(console, _plan(config, candidates, rounds))
        stage = Reevaluation(config, log, candidates, rounds)
        ended = train_due(config, run_dir, console, stage.due, stage.on_result, deadline=deadline)
        result = read_result(study, config, log.read(), log.winner())
        keep_median_model(run_dir, result.winner)
    return result, ended


def _plan(config: StudyConfig, candidates: list[Candidate], rounds: Sequence[Round]) -> str:
    episodes = plural(config.test_episodes, "episode")
    test = f"{plural(config.test_seeds, 'fresh seed')}, {episodes} each"
    if not rounds:
        return f"Re-evaluation: {candidates[0].name}, the best one, is trained again from {test}"
    field = ", ".join(f"{r.n_candidates} with {r.n_seeds}" for r in rounds)
    return f"Re-evaluation: a race of the best trials (seeds: {field}), its winner from {test}"


def _is_time_to_race(
    study: optuna.Study,
    config: StudyConfig,
    candidates: list[Candidate],
    rounds: Sequence[Round],
    deadline: float | None,
) -> bool:
    """Say whether race and test can both be expected to end in time."""
    if deadline is None:
        return True
    trials = trials_of(study)
    records = [record_of(trials[c.trial]) for c in candidates if c.trial is not None]
    cost_ratio, n_workers = cost_ratio_of_seeds(study, config), config.n_workers or n_cores()
    seconds = [
        # A trial of several seeds has the time of all; one of a batch has its share.
        record.seconds / config.n_seeds * n / batch_cost(n, cost_ratio)
        for record in records
        if record is not None
        for n in [max(record.n_together, 1)]
    ]
    if not seconds:
        return True
    test = batch_cost(math.ceil(config.test_seeds / n_workers), cost_ratio)
    n_in_turn = race_cost(rounds, cost_ratio) / n_workers + test
    return time.time() + n_in_turn * statistics.median(seconds) < deadline
