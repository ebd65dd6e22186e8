"""When a search has found enough: `--stop-at` and `--stop-after`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from sb3_hpo.results.trials import FINISHED, STOP, best_trials, trials_of

if TYPE_CHECKING:
    import optuna

    from sb3_hpo.config.study_config import StudyConfig

RULES = ("--stop-at", "--stop-after")  # what reasons of this module begin with


def enough_found(study: optuna.Study, config: StudyConfig) -> str | None:
    """Return the rule by which the search ends, with the trial behind it; None: it goes on."""
    feasible = best_trials(study)
    if not feasible:
        return None
    # Of equal values the first that was there: the others were no improvement.
    best = min((t for t in feasible if t.value == feasible[0].value), key=_end)
    what = f"trial {best.number} has the value {best.value:.6g}"
    if config.stop_at is not None and (best.value or 0.0) >= config.stop_at:
        return f"--stop-at {config.stop_at:g} is reached: {what}"
    n_later = sum(t.state in FINISHED and _end(t) > _end(best) for t in trials_of(study))
    if config.stop_after is not None and n_later >= config.stop_after:
        return f"--stop-after {config.stop_after} is reached: {what}, none of {n_later} later more"
    return None


def stop_if_enough(study: optuna.Study, config: StudyConfig) -> str | None:
    """End the search in all processes if a rule says so, and it has not been ended otherwise.

    Returns:
        The rule.
    """
    reason = enough_found(study, config)
    if reason is not None and study.user_attrs.get(STOP) is None:
        study.set_user_attr(STOP, reason)
    return reason


def _end(trial: optuna.trial.FrozenTrial) -> datetime:
    return trial.datetime_complete or datetime.min  # noqa: DTZ901 - Optuna's have no zone
