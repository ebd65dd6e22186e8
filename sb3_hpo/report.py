"""The answer so far: best trials as a table and as a file. Reads studies, never trains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optuna.trial import TrialState
from rich.table import Table

from sb3_hpo.config import StudyConfig, TrainingConfig
from sb3_hpo.files import format_yaml, write_atomically
from sb3_hpo.records import RunRecord
from sb3_hpo.trials import RUN, SOURCE, Counts, count_trials, trials_of

if TYPE_CHECKING:
    from pathlib import Path

    import optuna
    from optuna.trial import FrozenTrial

CAUTION = (
    "A trial value is not yet a result: it is the luckiest of many noisy scores, from one "
    "training seed each. Retrain with other seeds before you believe it."
)


def best_trials(study: optuna.Study, n: int) -> list[FrozenTrial]:
    """Return the COMPLETE trials with the largest values.

    Args:
        study: The study.
        n: How many at most.

    Returns:
        The best first; of equal ones the earlier first. PRUNED trials have no comparable value.
    """
    complete = [trial for trial in trials_of(study) if trial.state is TrialState.COMPLETE]
    return sorted(complete, key=lambda trial: (-(trial.value or 0.0), trial.number))[:n]


def best_table(study: optuna.Study, n: int = 5) -> Table:
    """Return a table of the best trials, for a terminal.

    Args:
        study: The study.
        n: Rows at most.

    Returns:
        The table, with SB3's default marked where it is among them.
    """
    table = Table(title=f"Best trials of {study.study_name}", title_justify="left")
    table.add_column("trial", justify="right")
    table.add_column("value", justify="right")
    table.add_column("last evaluation", justify="right")
    table.add_column("hyperparameters", overflow="fold")
    for trial in best_trials(study, n):
        record = record_of(trial)
        last = "" if record is None else f"{record.evaluations[-1].value:.1f}"
        table.add_row(str(trial.number), f"{trial.value:.1f}", last, describe_trial(trial))
    return table


def describe_trial(trial: FrozenTrial) -> str:
    """Return a trial's hyperparameters on one line, rounded for reading."""
    if trial.user_attrs.get(SOURCE) == "sb3_default":
        return "SB3's defaults"
    record = record_of(trial)
    values = trial.params if record is None else record.kwargs
    return ", ".join(f"{key}={_short(value)}" for key, value in values.items())


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict) and "$import" in value:
        return str(value["$import"]).rpartition(":")[2]
    if isinstance(value, dict) and "$tuple" in value:
        return f"({', '.join(map(_short, value['$tuple']))})"
    if isinstance(value, dict):
        items = (f"{key}={_short(item)}" for key, item in value.items() if key != "$call")
        kind = str(value.get("$call", "")).rpartition(":")[2]
        return f"{kind}({', '.join(items)})"
    return str(value)


def record_of(trial: FrozenTrial) -> RunRecord | None:
    """Return the record of a trial's run, or None if it left none."""
    values = trial.user_attrs.get(RUN)
    return None if values is None else RunRecord.from_dict(values)


def summary(study: optuna.Study) -> str:
    """Say in one line what the study spent and on what.

    Args:
        study: The study.

    Returns:
        Counts by outcome, environment steps and training time.
    """
    counts: Counts = count_trials(trials_of(study))
    records = [record for trial in trials_of(study) if (record := record_of(trial)) is not None]
    steps = sum(record.n_steps for record in records)
    seconds = sum(record.seconds for record in records)
    text = f"{counts.finished} trials finished: {counts.complete} complete, {counts.pruned} pruned"
    if counts.infeasible:
        text += f", {counts.infeasible} infeasible"
    if counts.failed:
        text += f"; {counts.failed} failed"
    return f"{text}; {steps:,} steps in {seconds / 60:.1f} minutes of training"


def write_best(path: Path, study: optuna.Study, config: StudyConfig) -> FrozenTrial | None:
    """Write what is needed to train the best trial again.

    Args:
        path: The file.
        study: The study.
        config: Its configuration.

    Returns:
        The best trial, or None (and no file) while no trial is COMPLETE.
    """
    best = best_trials(study, 1)
    if not best:
        return None
    (trial,) = best
    record = record_of(trial)
    values = config.model_dump(mode="json")
    content = {
        "study": study.study_name,
        "trial": trial.number,
        "trial_value": trial.value,
        "training": {name: values[name] for name in TrainingConfig.model_fields},
        "kwargs": {} if record is None else record.kwargs,
        "seed": None if record is None else record.seed,
        "params": trial.params,
        "versions": {} if record is None else record.versions,
    }
    write_atomically(path, f"# {CAUTION}\n{format_yaml(content)}")
    return trial
