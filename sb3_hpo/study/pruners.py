"""Pruners by name, with every argument in environment steps."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.pruners import BasePruner
from optuna.trial import TrialState

from sb3_hpo.study.own_classes import make_own
from sb3_hpo.utils.errors import UserError
from sb3_hpo.utils.seeding import Stream, derive_seed

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from sb3_hpo.config.study_config import StudyConfig

# Rungs below 20-30 % of a run rank configurations little better than chance, and pruning there
# lost more than it saved on 21 third-party tuning tables.
FIRST_DECISION = 0.3
_N_STARTUP_TRIALS = 5
# Not those that failed: one that was lost is tried again, and would count twice.
_COMPARED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)


class QuantilePruner(BasePruner):
    """Prunes a trial outside the best fraction of all trials' values at the same step.

    Optuna's percentile pruners compare with COMPLETE trials only. Those survived pruning, so the
    bar rises with every trial. Comparing with those that reached the step has the same fault in
    small: a quarter of a quarter of a quarter survives. So a pruned trial stays in the comparison
    with its last value (`scripts/benchmark_decisions.py`: 0.908 of the possible score at 64 runs
    and 0.929 at 150; without it 0.883 and 0.899).
    """

    def __init__(
        self,
        keep_fraction: float = 0.25,
        n_startup_trials: int = _N_STARTUP_TRIALS,
        n_warmup_steps: int = 0,
    ) -> None:
        """Prepare.

        Args:
            keep_fraction: The best part that goes on, in (0, 1).
            n_startup_trials: No trial is pruned before so many others reached the step.
            n_warmup_steps: Environment steps before which no trial is pruned.

        Raises:
            UserError: `keep_fraction` is out of range.
        """
        if not 0 < keep_fraction < 1:
            raise UserError(f"`0 < keep_fraction < 1` must hold, but got {keep_fraction}")
        self._keep_fraction = keep_fraction
        self._n_startup_trials = n_startup_trials
        self._n_warmup_steps = n_warmup_steps

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Say whether the trial should end here.

        Args:
            study: The study; it may minimise or maximise.

        Returns:
            Whether its last reported value is outside the best `keep_fraction` of the values
            at this step, this trial's and all others'; pruned ones count with their last value.
        """
        step = trial.last_step
        if step is None or step < self._n_warmup_steps:
            return False
        others = [
            value
            for other in study.get_trials(deepcopy=False, states=_COMPARED)
            if other.number != trial.number and math.isfinite(value := _value_at(other, step))
        ]
        if len(others) < self._n_startup_trials:
            return False
        sign = 1.0 if study.direction is optuna.study.StudyDirection.MAXIMIZE else -1.0
        values = sign * np.asarray([*others, trial.intermediate_values[step]])
        bar = np.quantile(values, 1 - self._keep_fraction)
        return not values[-1] >= bar  # a NaN is never good enough


def _value_at(trial: FrozenTrial, step: int) -> float:
    """Return a trial's value at a step; of a pruned one, the last that it had before."""
    values = trial.intermediate_values
    if step not in values and trial.state is TrialState.PRUNED:
        step = max((before for before in values if before < step), default=step)
    return values.get(step, math.nan)


def build_pruner(config: StudyConfig) -> BasePruner:
    """Build the configured pruner.

    Returns:
        The pruner; `halving` and `hyperband` have their first rung at 30 % of the budget.

    Raises:
        UserError: The user's own cannot be made.
    """
    if ":" in config.pruner:
        seed = derive_seed(config.seed, Stream.SAMPLER, 0)
        own_pruner: BasePruner = make_own("pruner", config.pruner, seed)
        return own_pruner
    warmup = round(FIRST_DECISION * config.n_timesteps)
    percentile: dict[str, Any] = {
        "n_startup_trials": _N_STARTUP_TRIALS,
        "n_warmup_steps": warmup,
    }
    makers = {
        "quantile": lambda: QuantilePruner(n_warmup_steps=warmup),
        "median": lambda: optuna.pruners.MedianPruner(**percentile),
        "percentile": lambda: optuna.pruners.PercentilePruner(25.0, **percentile),
        "halving": lambda: optuna.pruners.SuccessiveHalvingPruner(
            min_resource=warmup, reduction_factor=3
        ),
        "hyperband": lambda: optuna.pruners.HyperbandPruner(
            # "auto" is guessed by each process from the trials it sees: workers would disagree
            min_resource=warmup, max_resource=config.n_timesteps, reduction_factor=3
        ),
        "patient": lambda: optuna.pruners.PatientPruner(
            optuna.pruners.MedianPruner(**percentile), patience=2
        ),
        "none": optuna.pruners.NopPruner,
    }  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return makers[config.pruner]()
