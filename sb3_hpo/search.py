"""Samplers and pruners by name, with every argument in environment steps."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler

from sb3_hpo.factories import SharedStudy, make_own
from sb3_hpo.grids import Grid, choices_of
from sb3_hpo.shown_trials import ShownStudy, without_constraints
from sb3_hpo.utils.errors import UserError, check_installed
from sb3_hpo.utils.seeding import Stream, derive_seed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial, TrialState

    from sb3_hpo.config.study_config import StudyConfig

# Rungs below 20-30 % of a run rank configurations little better than chance, and pruning there
# lost more than it saved on 21 third-party tuning tables.
FIRST_DECISION = 0.3
_N_STARTUP_TRIALS = 5
_NEEDS = {"gp": ("scipy",), "cmaes": ("cmaes", "scipy"), "qmc": ("scipy",)}
# To pruned trials or to constraints, unless these look finished and feasible.
_BLIND = (optuna.samplers.GPSampler, optuna.samplers.CmaEsSampler)


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
            trial: The trial.

        Returns:
            Whether its last reported value is outside the best `keep_fraction` of the values
            at this step, this trial's and all others'; pruned ones count with their last value.
        """
        step = trial.last_step
        if step is None or step < self._n_warmup_steps:
            return False
        others = [
            value
            for other in study.get_trials(deepcopy=False)
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
    if step not in values and trial.state is optuna.trial.TrialState.PRUNED:
        step = max((before for before in values if before < step), default=step)
    return values.get(step, math.nan)


def build_pruner(config: StudyConfig) -> BasePruner:
    """Build the configured pruner.

    Args:
        config: The study's configuration.

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


def check_search(config: StudyConfig) -> None:
    """Refuse a sampler or pruner that cannot be made.

    Args:
        config: The study's configuration.

    Raises:
        UserError: Packages are missing, or what the user names makes no sampler or pruner.
    """
    check_sampler_installed(config.sampler)
    if ":" in config.sampler:
        _build_sampler(config, seed=0)
    build_pruner(config)


def check_sampler_installed(name: str) -> None:
    """Refuse a sampler whose packages are missing.

    Args:
        name: The sampler.

    Raises:
        UserError: Names the packages and the extra that brings them.
    """
    check_installed(f"sampler: {name}", _NEEDS.get(name, ()), extra=name)


class LateSeededSampler(BaseSampler):
    """Builds the real sampler when its process has got its first trial, seeded by that number.

    No two processes get the same number, so no two starts of a worker, here or elsewhere, now or
    after a restart, draw the same points.
    """

    def __init__(
        self, config: StudyConfig, dimensions: Mapping[str, BaseDistribution] | None = None
    ) -> None:
        """Prepare.

        Args:
            config: The study's configuration.
            dimensions: Of the bound search space, for `grid`, which alone needs them.
        """
        self._config = config
        self._dimensions = dimensions or {}
        self._inner: BaseSampler | None = None

    def _sampler(self, trial: FrozenTrial) -> BaseSampler:
        if self._inner is None:
            seed = derive_seed(self._config.seed, Stream.SAMPLER, trial.number)
            if self._config.sampler == "grid":
                order_seed = derive_seed(self._config.seed, Stream.SAMPLER, 0)
                self._inner = Grid(choices_of(self._dimensions), order_seed, seed)
            else:
                self._inner = _build_sampler(self._config, seed)
        return self._inner

    def _seen(self, study: optuna.Study) -> optuna.Study:
        return ShownStudy(study) if isinstance(self._inner, _BLIND) else SharedStudy(study)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Optuna's hook."""
        inner = self._sampler(trial)
        inner.before_trial(self._seen(study), trial)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Optuna's hook."""
        inner = self._sampler(trial)
        return inner.infer_relative_search_space(self._seen(study), trial)

    def sample_relative(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        search_space: dict[str, BaseDistribution],
    ) -> dict[str, Any]:
        """Optuna's hook."""
        inner = self._sampler(trial)
        return inner.sample_relative(self._seen(study), trial, search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Optuna's hook."""
        inner = self._sampler(trial)
        return inner.sample_independent(self._seen(study), trial, param_name, param_distribution)

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Optuna's hook; nothing to do for a trial that another process ran."""
        if self._inner is None:
            return
        if isinstance(self._inner, _BLIND):  # CMA-ES warns of constraints
            trial = without_constraints(trial)
        self._inner.after_trial(self._seen(study), trial, state, values)


def _build_sampler(config: StudyConfig, seed: int) -> BaseSampler:
    if ":" in config.sampler:
        own_sampler: BaseSampler = make_own("sampler", config.sampler, seed)
        return own_sampler
    n_startup_trials = config.n_startup_trials
    if config.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    if config.sampler == "gp":
        return optuna.samplers.GPSampler(seed=seed, n_startup_trials=n_startup_trials)
    if config.sampler == "cmaes":
        return optuna.samplers.CmaEsSampler(
            seed=seed, n_startup_trials=n_startup_trials, warn_independent_sampling=False
        )
    if config.sampler == "qmc":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            # One sequence for all: the study itself counts who takes which point of it.
            return optuna.samplers.QMCSampler(
                seed=derive_seed(config.seed, Stream.SAMPLER, 0),
                scramble=True,
                independent_sampler=optuna.samplers.RandomSampler(seed=seed),
                warn_independent_sampling=False,
                warn_asynchronous_seeding=False,
            )
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=n_startup_trials)
