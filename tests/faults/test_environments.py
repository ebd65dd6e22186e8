"""Environments that misbehave: what becomes of the trial, and of the worker (DESIGN section 8)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sb3_hpo.results.trials import (
    ERROR,
    N_LOSSES,
    REASON,
    RETRY_OF,
    RUN,
    TRACEBACK,
    WORKER,
    outcome_of,
)
from tests.faults.attacked_studies import sizes, work_in_process
from tests.faults.faulty_envs import BUGS, put_faults
from tests.faults.figures import Figures, Ledger

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from optuna.trial import FrozenTrial

    from tests.faults.attacked_studies import AttackedStudy

BECOMES = {
    "ValueError": ("FAIL", "error"),
    "RuntimeError": ("FAIL", "error"),
    "MemoryError": ("PRUNED", "oom"),
    "NaN reward": ("PRUNED", "diverged"),
    "NaN weights": ("PRUNED", "diverged"),
    "endless episode": ("COMPLETE", "finished"),
    "hang": ("FAIL", "lost"),
    "os._exit": ("FAIL", "lost"),
}
FATAL = ("hang", "os._exit")  # to the worker


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy's, on the way to NaN weights
@pytest.mark.parametrize("faults", sizes([f for f in BECOMES if f not in FATAL], [*BECOMES] * 2))
def test_misbehaving_environment_costs_one_trial_at_most(
    faults: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    new_study: Callable[..., AttackedStudy],
    conclude: Callable[[Figures], None],
) -> None:
    put_faults(tmp_path / "faults", faults)
    n_trials = sum(BECOMES[fault][0] != "FAIL" for fault in faults) + 2
    study = new_study(
        n_trials=n_trials, n_workers=1, env="tests.faults.faulty_envs:FaultyEnv", n_eval_envs=0,
        env_kwargs={"folder": str(tmp_path / "faults")},
    )  # fmt: skip
    if any(fault in FATAL for fault in faults):
        assert study.start().wait() == 0, study.commands[-1].output
    else:  # nothing that a process of its own is needed for
        monkeypatch.setattr("sb3_hpo.training.evaluation_episodes.MIN_EPISODE_CAP", 30)
        work_in_process(study.config())
    trials = study.trials()
    for trial, fault in zip(trials, faults, strict=False):
        check_record(trial, fault)
        check_worker(trial, trials[trial.number + 1], fault)
    assert {outcome_of(trial) for trial in trials[len(faults) :]} == {"finished"}
    figures = Figures("misbehaving environments", injected=len(faults))
    figures.judge(trials, n_trials, Ledger())
    conclude(figures)


def check_record(trial: FrozenTrial, fault: str) -> None:
    """Check that a trial has the state and the record of its fault."""
    state, outcome = BECOMES[fault]
    assert (trial.state.name, outcome_of(trial)) == (state, outcome), (fault, trial.user_attrs)
    record: dict[str, Any] = trial.user_attrs
    if outcome == "error":
        assert record[ERROR] == f"{fault}: the gripper is gone"
        assert "in _misbehave" in record[TRACEBACK]
        assert BUGS[fault].__name__ in record[TRACEBACK]
    elif state == "PRUNED":
        assert trial.constraints == {outcome: 1.0}
        assert record[REASON]
    elif state == "COMPLETE":
        assert record[RUN]["evaluations"][-1]["truncated"] is True


def check_worker(trial: FrozenTrial, following: FrozenTrial, fault: str) -> None:
    """Check that the worker lives, or that another one repeats its trial."""
    same_worker = trial.user_attrs[WORKER] == following.user_attrs[WORKER]
    assert same_worker == (fault not in FATAL)
    if fault in FATAL:
        root = trial.user_attrs.get(RETRY_OF, trial.number)
        n_losses = trial.user_attrs.get(N_LOSSES, 0) + 1
        assert (following.user_attrs[RETRY_OF], following.user_attrs[N_LOSSES]) == (root, n_losses)
        assert following.params == trial.params
