"""What is in a storage, in a few lines."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from optuna.study import StudyDirection
from optuna.trial import TrialState
from rich.filesize import decimal

from sb3_hpo.doctor.journal_faults import leftovers
from sb3_hpo.results.trials import (
    CONFIG,
    FINISHED,
    OWNER,
    STOP,
    outcome_of,
    trials_of,
)
from sb3_hpo.utils.console import relative_path
from sb3_hpo.utils.formatting import number, plural

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from sb3_hpo.doctor.journal_file import Journal


def config_in(study: optuna.Study) -> dict[str, Any] | None:
    """Return the configuration that a study carries, as it is; None if another tool made it."""
    config = study.user_attrs.get(CONFIG)
    return (
        config if isinstance(config, dict) and {"algo", "env", "n_trials"} <= set(config) else None
    )


def describe_file(journal: Journal, n_trials: int) -> list[str]:
    """Say what a journal file is.

    Args:
        n_trials: Trials in all its studies.

    Returns:
        Some lines.
    """
    each = f", {decimal(round(journal.n_bytes / n_trials))} a trial" if n_trials else ""
    what = f"{plural(journal.n_operations, 'operation')}, {plural(n_trials, 'trial')}"
    lines = [
        f"{relative_path(journal.path)}: a journal of {what}, {decimal(journal.n_bytes)}{each}"
    ]
    if beside := leftovers(journal.path):
        size = decimal(sum(path.lstat().st_size for path in beside))
        names = ", ".join(path.name for path in beside)
        lines.append(f"  kept from earlier repairs, {size}, may be deleted: {names}")
    return lines


def describe_study(study: optuna.Study) -> list[str]:
    """Say what is in a study.

    Returns:
        Some lines.
    """
    attrs, config, trials = study.user_attrs, config_in(study), trials_of(study)
    made = "made by another tool" if config is None else f"{config['algo']} on {config['env']}"
    lines = [f"study {study.study_name}: {made}"]
    if config is not None and (home := attrs.get(OWNER)):
        lines.append(f"  home: {home['run_dir']} on {home['host']}")
    lines.append(f"  {_counts(trials, None if config is None else config['n_trials'])}")
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    if complete and len(study.directions) == 1:
        best = (min if study.direction is StudyDirection.MINIMIZE else max)(complete, key=_value)
        lines.append(f"  best value: {number(_value(best))} (trial {best.number})")
    if config is not None and attrs.get(STOP) is not None:
        lines.append(f"  its search was ended: {attrs[STOP]}")
    return lines


def _value(trial: FrozenTrial) -> float:
    return trial.value or 0.0


def _counts(trials: list[FrozenTrial], n_wanted: int | None) -> str:
    """Count trials by what became of them; first those that count for `--n-trials`."""
    finished = Counter(_fate(trial) for trial in trials if trial.state in FINISHED)
    others = Counter(_fate(trial) for trial in trials if trial.state not in FINISHED)
    text = f"finished: {sum(finished.values()):,}"
    if n_wanted is not None:
        text += f" of {n_wanted:,}"
    if finished:
        text += f" ({_listed(finished)})"
    return f"{text}; besides: {_listed(others)}" if others else text


def _listed(counter: Counter[str]) -> str:
    return ", ".join(f"{n:,} {fate}" for fate, n in sorted(counter.items()))


def _fate(trial: FrozenTrial) -> str:
    """Return what became of a trial, in a word or two."""
    outcome = outcome_of(trial)
    if trial.state is TrialState.PRUNED and outcome not in ("dropped", None):
        return str(outcome)
    if trial.state is TrialState.FAIL:
        return {"error": "failed with an error", None: "failed"}.get(outcome, str(outcome))
    return trial.state.name.lower()
