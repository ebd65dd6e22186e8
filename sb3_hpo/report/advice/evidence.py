"""What advice is drawn from: the trials that count, and where their values lie in their ranges."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState

from sb3_hpo.results.trials import FINISHED, KWARGS_OVERRIDE, outcome_of, trials_of

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from sb3_hpo.config.study_config import StudyConfig
    from sb3_hpo.results.study_result import StudyResult
    from sb3_hpo.scoring.statistics import Array

End = Literal["lower", "upper"]
ENDS: tuple[End, End] = ("lower", "upper")


@dataclass(frozen=True)
class Advice:
    """One thing to do.

    Attributes:
        rule: Which rule speaks.
        text: What was seen, in numbers, and what to do about it.
    """

    rule: str
    text: str


@dataclass(frozen=True)
class Dimension:
    """A parameter, and the trials that were trained with the values their study shows.

    Attributes:
        name: The parameter.
        distribution: Its range, or its choices.
        trials: Those drawn from this range, the best first.
    """

    name: str
    distribution: Any
    trials: tuple[FrozenTrial, ...]

    @property
    def is_numeric(self) -> bool:
        """Whether values have an order."""
        return not isinstance(self.distribution, CategoricalDistribution)

    @property
    def step(self) -> Any:
        """Distance of neighbouring values; 0 where values are continuous."""
        return self.distribution.step or 0

    @cached_property
    def positions(self) -> Array:
        """Where each trial's value lies on the search scale, 0 to 1."""
        values = [trial.params[self.name] for trial in self.trials]
        low, high = self._scaled(self.distribution.low), self._scaled(self.distribution.high)
        return np.asarray([(self._scaled(value) - low) / (high - low) for value in values])

    def _scaled(self, value: float) -> float:
        return math.log(value) if self.distribution.log else float(value)

    def is_outer(self, end: End, share: float) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Tell which trials lie at one end of the range.

        Args:
            end: Which.
            share: How much of the range's width on the search scale belongs to it.

        Returns:
            Shape [n_trials].
        """
        distances = self.positions if end == "lower" else 1 - self.positions
        return distances <= share + 1e-9

    def innermost(self, end: End, share: float) -> Any:
        """Return the value farthest from one end that still belongs to it.

        Args:
            end: Which.
            share: How much of the range's width on the search scale belongs to it.
        """
        low, high = self.distribution.low, self.distribution.high
        position = share if end == "lower" else 1 - share
        scaled = self._scaled(low) + position * (self._scaled(high) - self._scaled(low))
        value = math.exp(scaled) if self.distribution.log else scaled
        if not self.step:
            return value
        n_steps = math.floor(abs(value - (low if end == "lower" else high)) / self.step + 1e-9)
        return low + n_steps * self.step if end == "lower" else high - n_steps * self.step

    def mass(self, end: End, share: float) -> float:
        """Return the chance that a uniform draw lies at one end of the range.

        Args:
            end: Which.
            share: How much of the range's width on the search scale belongs to it.
        """
        if not self.step:
            return share
        # For Optuna's samplers a whole number stands for half a step to either side.
        half, inner = self.step / 2, self.innermost(end, share)
        low = self._scaled(self.distribution.low - half)
        high = self._scaled(self.distribution.high + half)
        if end == "lower":
            return (self._scaled(inner + half) - low) / (high - low)
        return (high - self._scaled(inner - half)) / (high - low)


@dataclass(frozen=True)
class Evidence:
    """What the rules look at.

    Attributes:
        study: The study.
        config: Its configuration.
        result: What its re-evaluation says.
        trials: The finished trials, in time order, without repetitions of lost ones.
        dimensions: The parameters that had more than one value to choose from.
    """

    study: optuna.Study
    config: StudyConfig
    result: StudyResult
    trials: tuple[FrozenTrial, ...]
    dimensions: tuple[Dimension, ...]

    @property
    def complete(self) -> list[FrozenTrial]:
        """The COMPLETE trials, the best first: only their values can be compared."""
        return sorted(filter(is_complete, self.trials), key=rank)


def gather(study: optuna.Study, config: StudyConfig, result: StudyResult) -> Evidence:
    """Collect what the rules look at.

    Args:
        study: The study, also a running one.
        result: What is known of it.

    Returns:
        The evidence. A parameter whose range has changed within the study is judged by the
        trials of its newest range; trials that were trained with other values than their
        parameters say are in no dimension.
    """
    trials = tuple(trial for trial in trials_of(study) if trial.state in FINISHED)
    sampled = [trial for trial in trials if KWARGS_OVERRIDE not in trial.user_attrs]
    newest = {name: item for trial in sampled for name, item in trial.distributions.items()}
    ranked = sorted(sampled, key=rank)
    dimensions = tuple(
        Dimension(name, item, tuple(t for t in ranked if t.distributions.get(name) == item))
        for name, item in newest.items()
        if not item.single()
    )
    return Evidence(study, config, result, trials, dimensions)


def is_complete(trial: FrozenTrial) -> bool:
    """Tell whether a trial has a value to compare."""
    return trial.state is TrialState.COMPLETE and math.isfinite(trial.value or 0.0)


def rank(trial: FrozenTrial) -> tuple[float, ...]:
    """Return a key that sorts the best trial first.

    Args:
        trial: A finished trial of a study that maximises.

    Returns:
        As Optuna's TPE has it: COMPLETE trials by value; then PRUNED ones, those that came
        farther first and of equally far ones the better first; then infeasible ones.
    """
    if is_complete(trial):
        return (0, -(trial.value or 0.0), 0, trial.number)
    if outcome_of(trial) not in (None, "dropped"):
        return (2, 0, 0, trial.number)
    step = trial.last_step
    last = math.nan if step is None else trial.intermediate_values[step]
    return (1, -(step or 0), math.inf if math.isnan(last) else -last, trial.number)
