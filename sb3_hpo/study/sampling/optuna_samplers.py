"""Optuna samplers by name, and when they are built."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import optuna
from optuna.samplers import BaseSampler

from sb3_hpo.study.own_classes import SharedStudy, make_own
from sb3_hpo.study.pruners import build_pruner
from sb3_hpo.study.sampling.grid import Grid, choices_of
from sb3_hpo.study.sampling.shown_trials import ShownStudy, without_constraints
from sb3_hpo.utils.errors import check_installed
from sb3_hpo.utils.seeding import Stream, derive_seed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial, TrialState

    from sb3_hpo.config.study_config import StudyConfig


_NEEDS = {"gp": ("scipy",), "cmaes": ("cmaes", "scipy"), "qmc": ("scipy",)}


# To pruned trials or to constraints, unless these look finished and feasible.
_BLIND = (optuna.samplers.GPSampler, optuna.samplers.CmaEsSampler)


def check_search(config: StudyConfig) -> None:
    """Refuse a sampler or pruner that cannot be made.

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
