"""The user's changes to a search space: a trial proxy that answers by name, whatever the space."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from sb3_hpo.algorithms.constructor import put, take_out
from sb3_hpo.algorithms.kwargs import deserialize_kwargs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from samplers import TrialLike

Sample = Callable[[Any], dict[str, Any]]


@dataclass(frozen=True)
class UserChoice:
    """What a choice of the user's stands for.

    Attributes:
        answer: What the space is told.
        exact: Values by SB3's name that the space may have rounded.
        literal: Descriptions by dotted name that replace what the space makes of the answer.
    """

    answer: Any
    exact: Mapping[str, Any] = field(default_factory=dict)
    literal: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ResolvedOverrides:
    """The user's changes, sorted by where they take effect.

    Attributes:
        held: Answers to `suggest_*`, by dimension; nothing is asked of the trial for them.
        idle: Such answers where the argument has another value anyway.
        changed: What is asked of the trial instead of what the space asks, by dimension.
        choices: What the user's choices stand for, by dimension and name.
        kwargs: Descriptions of arguments that replace what was sampled, by dotted name.
        dropped: Dotted names of arguments that are left to SB3.
        exact: The user's names and values; a space may round a dimension's value (a tiny
            `ent_coef` means 0), but not what the user has fixed.
    """

    held: Mapping[str, Any] = field(default_factory=dict)
    idle: Mapping[str, Any] = field(default_factory=dict)
    changed: Mapping[str, BaseDistribution] = field(default_factory=dict)
    choices: Mapping[str, Mapping[Any, UserChoice]] = field(default_factory=dict)
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    dropped: Collection[str] = ()
    exact: Mapping[str, Any] = field(default_factory=dict)

    def __or__(self, other: ResolvedOverrides) -> ResolvedOverrides:
        """Return both."""
        return ResolvedOverrides(
            {**self.held, **other.held},
            {**self.idle, **other.idle},
            {**self.changed, **other.changed},
            {**self.choices, **other.choices},
            {**self.kwargs, **other.kwargs},
            (*self.dropped, *other.dropped),
            {**self.exact, **other.exact},
        )

    @property
    def answers(self) -> dict[str, Any]:
        """All that is not asked of the trial."""
        return {**self.idle, **self.held}

    def apply(self, sample: Sample, trial: TrialLike) -> dict[str, Any]:
        """Sample with the changes made.

        Args:
            trial: The trial to ask for everything that is not held.

        Returns:
            Keyword arguments of the algorithm.
        """
        proxy = _OverriddenTrial(trial, self)
        kwargs = {
            key: dict(value) if isinstance(value, dict) else value
            for key, value in sample(proxy).items()
        }
        for name, value in proxy.exact.items():
            # Not a schedule that begins with the value.
            if name in kwargs and (kwargs[name] is None or isinstance(kwargs[name], int | float)):
                kwargs[name] = value
        for name, description in {**proxy.literal, **self.kwargs}.items():
            put(kwargs, name, deserialize_kwargs(description))
        for name in self.dropped:
            take_out(kwargs, name)
        return kwargs


class _OverriddenTrial:
    """A trial that answers for held dimensions itself and asks the real one for the others."""

    def __init__(self, trial: TrialLike, overrides: ResolvedOverrides) -> None:
        self._trial, self._overrides = trial, overrides
        self.exact = dict(overrides.exact)
        self.literal: dict[str, Any] = {}

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        if self._is_changed(name):
            return float(self._answer(name))
        return self._trial.suggest_float(name, low, high, step=step, log=log)

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        if self._is_changed(name):
            return self._answer(name)  # type: ignore[no-any-return]  # log2(100) may be a float
        return self._trial.suggest_int(name, low, high, step=step, log=log)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        if self._is_changed(name):
            return self._answer(name)
        return self._trial.suggest_categorical(name, choices)

    def set_user_attr(self, key: str, value: Any) -> None:
        noted = {**self.exact, **{n.rpartition(".")[2]: v for n, v in self.literal.items()}}
        self._trial.set_user_attr(key, noted.get(key, value))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trial, name)  # a user's space may use more of the trial

    def _is_changed(self, name: str) -> bool:
        return name in self._overrides.answers or name in self._overrides.changed

    def _answer(self, name: str) -> Any:
        if name in self._overrides.answers:
            return self._overrides.answers[name]
        distribution = self._overrides.changed[name]
        if isinstance(distribution, CategoricalDistribution):
            chosen = self._trial.suggest_categorical(name, distribution.choices)
            choice = self._overrides.choices[name][chosen]
            self.exact.update(choice.exact)
            self.literal.update(choice.literal)
            return choice.answer
        if isinstance(distribution, IntDistribution):
            return self._trial.suggest_int(
                name,
                distribution.low,
                distribution.high,
                step=distribution.step,
                log=distribution.log,
            )
        if not isinstance(distribution, FloatDistribution):
            raise TypeError(distribution)
        return self._trial.suggest_float(
            name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
        )
