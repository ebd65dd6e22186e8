"""Runs of a re-evaluation, from what is wanted to what came of it, with the policies saved."""

from __future__ import annotations

import math
import sys
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import cloudpickle

from sb3_hpo.algorithms.constructor import constructor_defaults
from sb3_hpo.algorithms.kwargs import deserialize_kwargs
from sb3_hpo.envs.factory import close_envs, make_evaluation_envs
from sb3_hpo.envs.problem import probe_env
from sb3_hpo.results.reevaluation_runs import (
    MODEL_FILE,
    STATISTICS_FILE,
    ReevaluationRun,
    training_config,
)
from sb3_hpo.storages.retrying import retry
from sb3_hpo.training.evaluation_episodes import EpisodePlan
from sb3_hpo.training.evaluator import Diverged, GridEvaluator
from sb3_hpo.training.hooks import Hooks, RunRequest
from sb3_hpo.training.train import train
from sb3_hpo.utils.import_strings import FILE_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from sb3_hpo.config.training_config import TrainingConfig
    from sb3_hpo.results.reevaluation_runs import Candidate, ReevaluationRequest
    from sb3_hpo.results.run_record import Evaluation
    from sb3_hpo.training.hooks import OnStep
    from sb3_hpo.training.run import TrainedRun


def retrain(
    config: TrainingConfig,
    requests: Sequence[ReevaluationRequest],
    hooks: Hooks | None = None,
    *,
    folders: Sequence[Path | None] = (),
    retry_timeout_s: float = 0.0,
) -> Iterator[ReevaluationRun]:
    """Train what requests say, together where they can be, and judge the final policies.

    Args:
        requests: The runs, all of one candidate; the episodes of their learning curves start from
            the same states.
        hooks: What to call meanwhile; indices are those of the requests.
        folders: Where each run's model (and its VecNormalize statistics) is saved, if it is;
            before the run is yielded, so that a run that is on record has its model.
        retry_timeout_s: How long saving waits for a disk that is full, in seconds.

    Yields:
        The runs, as soon as each is there.

    Raises:
        Exception: Whatever a bug in the environment or elsewhere raises.
    """
    hooks = hooks or Hooks()
    config = training_config(config, requests[0].candidate)
    wanted = [
        RunRequest(_kwargs_of(config, request.candidate), request.seed) for request in requests
    ]
    with closing(train(config, wanted, requests[0].episode_seeds, hooks)) as runs:
        for run in runs:
            request = requests[run.index]
            try:
                done = _conclude(config, run, request, hooks.on_step)
                folder = folders[run.index] if folders else None
                if folder is not None and run.record.outcome == "finished":
                    save = partial(_save, run, folder)
                    retry(save, str(folder), lambda: retry_timeout_s)
            except Exception as error:  # noqa: BLE001 - raised again, unless the caller takes it
                hooks.on_error(run.index, error)
                continue
            finally:
                del run  # its model is not to be in memory beside the next one
            yield done


def _kwargs_of(config: TrainingConfig, candidate: Candidate) -> dict[str, Any]:
    """Return the keyword arguments of a candidate's models.

    The baseline has SB3's defaults but for what could not change its learning curve or without
    which it could not learn at all: a replay buffer that is never full need not be larger than
    the budget, and hindsight replay cannot begin within an episode.
    """
    kwargs: dict[str, Any] = deserialize_kwargs(candidate.kwargs)
    if not candidate.is_baseline:
        return kwargs
    defaults = constructor_defaults(config.algo)
    if "buffer_size" in defaults:
        kwargs["buffer_size"] = min(defaults["buffer_size"], config.n_timesteps)
    if config.her:
        longest = probe_env(config).longest_episode or 0
        kwargs["learning_starts"] = max(defaults["learning_starts"], longest)
    return kwargs


def _conclude(
    config: TrainingConfig, run: TrainedRun, request: ReevaluationRequest, on_step: OnStep
) -> ReevaluationRun:
    """Judge a final policy."""
    record, final = run.record, None
    if record.outcome == "finished":
        try:
            final = _judge(config, run, request.final_seeds, on_step)
        except Diverged as error:
            record = replace(record, outcome="diverged", reason=str(error))
    return ReevaluationRun(
        key=request.key(config),
        stage=request.stage,
        trial=request.candidate.trial,
        seed_index=request.seed_index,
        record=record,
        final=final,
    )


def _judge(
    config: TrainingConfig, run: TrainedRun, episode_seeds: tuple[int, ...], on_step: OnStep
) -> Evaluation | None:
    """Evaluate a final policy on other and more episodes than its curve was drawn from."""
    if not episode_seeds:
        return None
    if run.model is None:
        raise RuntimeError("a run that finished has a model")
    # Not cut after some time: a result must be of as many episodes as it says.
    plan = replace(EpisodePlan.of(config, episode_seeds), max_seconds=math.inf)
    n_envs = min(len(episode_seeds), config.n_eval_envs)  # as many as the user says there can be
    config = config.model_copy(update={"n_eval_envs": n_envs})
    venv = make_evaluation_envs(config, plan.max_episode_steps) if n_envs > 0 else None
    n_steps = run.model.num_timesteps
    try:
        evaluator = GridEvaluator(
            venv, (config.n_timesteps,), plan, check=lambda: on_step(n_steps)
        )
        (final,) = evaluator.evaluate(run.model, final=True)
    finally:
        if venv is not None:
            close_envs(venv)
    return final


def _save(run: TrainedRun, folder: Path) -> None:
    if run.model is None:
        raise RuntimeError("a run that finished has a model")
    folder.mkdir(parents=True, exist_ok=True)
    for name, module in list(sys.modules.items()):
        # Nobody who loads the model can import a file by the name that it has in here.
        if name.startswith(FILE_PREFIX):
            cloudpickle.register_pickle_by_value(module)
    run.model.save(folder / MODEL_FILE)
    if run.vec_normalize is not None:
        run.vec_normalize.save(str(folder / STATISTICS_FILE))
