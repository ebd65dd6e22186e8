"""Every combination of choices once, over all workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState

from sb3_hpo.utils.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial


def choices_of(dimensions: Mapping[str, BaseDistribution]) -> dict[str, Sequence[Any]]:
    """Return the choices of each dimension.

    Args:
        dimensions: Of the bound search space.

    Raises:
        UserError: Names those that are not lists of choices.
    """
    choices: dict[str, Sequence[Any]] = {
        name: dimension.choices
        for name, dimension in dimensions.items()
        if isinstance(dimension, CategoricalDistribution)
    }
    if ranges := [name for name in dimensions if name not in choices]:
        raise UserError(
            "sampler: grid tries every combination of lists of choices, but these dimensions are "
            f"ranges: {', '.join(ranges)}; give each a list (--choices), or a value (--fixed, "
            "--drop)"
        )
    return choices


class Grid(optuna.samplers.GridSampler):
    """Optuna's, for a study with enqueued and retried trials, which have no place in the grid."""

    def __init__(self, choices: Mapping[str, Sequence[Any]], order_seed: int, seed: int) -> None:
        """Prepare.

        Args:
            choices: By dimension.
            order_seed: Of the grid's order, which all processes must share.
            seed: Of this process, so that two do not go for the same point.
        """
        super().__init__(choices, seed=order_seed)
        self._rng.rng.seed(seed)
        self._random = optuna.samplers.RandomSampler(seed)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Optuna's hook; draws what an enqueued point leaves open."""
        if "grid_id" in trial.system_attrs:
            return super().sample_independent(study, trial, param_name, param_distribution)
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Optuna's hook; a failed trial, which is tried again, does not end the search."""
        if state is TrialState.FAIL:
            return
        if "grid_id" in trial.system_attrs:
            super().after_trial(study, trial, state, values)
        elif self.is_exhausted(study):
            study.stop()
