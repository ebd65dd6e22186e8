"""Asking a study for trials: exact totals, no point twice, and companions of equal structure."""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import FixedTrial, TrialState

from sb3_hpo.algorithms.kwargs import serialize_kwargs
from sb3_hpo.results.trials import FIXED_PARAMS, OUTCOME, WORKER, enqueued_point, trials_of
from sb3_hpo.training.batch.structure import structural_params
from sb3_hpo.utils.errors import StorageError
from sb3_hpo.workers.lost_trials import hand_back

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sb3_hpo.config.study_config import StudyConfig
    from sb3_hpo.study.objective import Objective

_logger = logging.getLogger(__name__)


def ask(study: optuna.Study, n_trials: int, worker: str) -> optuna.Trial | None:
    """Ask for a trial, and give it back if it is surplus: the study has enough without it.

    Or it is a point of `--enqueue` that two commands have enqueued at the same moment.

    Numbers are handed out atomically, so counting the lower ones that have not failed makes the
    total exact over any number of workers without a coordinator.

    Args:
        n_trials: How many trials it should have.
        worker: Name of this process.

    Returns:
        The trial, or None if it was surplus or given up meanwhile.
    """
    trial = study.ask()
    try:
        trial.set_user_attr(WORKER, worker)
        *lower, frozen = trials_of(study)[: trial.number + 1]
        if (point := enqueued_point(frozen)) and point in map(enqueued_point, lower):
            trial.set_user_attr(OUTCOME, "surplus")
            study.tell(trial, state=TrialState.FAIL)
        elif sum(t.state is not TrialState.FAIL for t in lower) < n_trials:
            return trial
        else:  # an enqueued point waits for the day when more trials are asked for
            hand_back(study, frozen, "surplus")
    except optuna.exceptions.UpdateFinishedTrialError:
        _logger.warning("trial %d was given up while this process was paused", trial.number)
    return None


def ask_group(
    study: optuna.Study,
    objective: Objective,
    config: StudyConfig,
    worker: str,
    n_most: int,
) -> list[list[optuna.Trial]]:
    """Ask for a trial, and for more that can be trained together with it.

    The sampler chooses the first one's structure; the companions get it too, and their other
    parameters from the same sampler. Points that somebody has enqueued are trained alone.

    Args:
        objective: What samples.
        worker: Name of this process.
        n_most: How many are wanted at most.

    Returns:
        Trials by whom they are to be trained with; none if the study has enough.
    """
    first = ask(study, config.n_trials, worker)
    if first is None:
        return []
    if n_most == 1 or _is_enqueued(study, first):
        return [[first]]
    try:
        objective.sample(first)
        fixed = structural_params(
            config.algo, first.params, first.distributions, partial(_replay, objective)
        )
    except StorageError:
        raise
    except Exception:
        # The trial itself will come upon what is wrong with the search space, and record it.
        _logger.info("trial %d gets no companions", first.number, exc_info=True)
        return [[first]]
    group: list[optuna.Trial] = [first]
    apart: list[optuna.Trial] = []
    with _sampling_with(study, fixed):
        while len(group) < n_most and not apart:
            trial = ask(study, config.n_trials, worker)
            if trial is None:
                break
            (apart if _is_enqueued(study, trial) else group).append(trial)
            if not apart and not _sampled(objective, trial):
                break
    return [group, *([trial] for trial in apart)]


def _is_enqueued(study: optuna.Study, trial: optuna.Trial) -> bool:
    return FIXED_PARAMS in trials_of(study)[trial.number].system_attrs


def _replay(objective: Objective, params: Mapping[str, Any]) -> Mapping[str, Any]:
    trial: Any = FixedTrial(dict(params))
    described: dict[str, Any] = serialize_kwargs(objective.sample(trial))
    return described


def _sampled(objective: Objective, trial: optuna.Trial) -> bool:
    """Sample while the sampler knows what is fixed; return whether that went well."""
    try:
        objective.sample(trial)
    except StorageError:
        raise
    except Exception:  # which its training will come upon again, and record
        _logger.info("trial %d cannot be sampled", trial.number, exc_info=True)
        return False
    return True


@contextmanager
def _sampling_with(study: optuna.Study, fixed: Mapping[str, Any]) -> Iterator[None]:
    before = study.sampler
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.sampler = optuna.samplers.PartialFixedSampler(dict(fixed), before)
    try:
        yield
    finally:
        study.sampler = before
