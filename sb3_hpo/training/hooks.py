"""What a caller of `train` gives it: the runs wanted, and what to call meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sb3_hpo.results.run_record import Evaluation, Outcome, RunRecord

if TYPE_CHECKING:
    from pathlib import Path

    from stable_baselines3.common.callbacks import BaseCallback

_logger = logging.getLogger(__name__)

# Called at every grid step of a run with its index and evaluation; returns the runs to drop.
OnEvaluation = Callable[[int, Evaluation], Collection[int]]
# Called at every environment step with the steps so far; may raise StopRun.
OnStep = Callable[[int], None]


def _raise(_: int, error: Exception) -> Collection[int]:
    raise error


def _log_alone(reason: str) -> None:
    _logger.info("trained one after the other: %s", reason)


class StopRun(Exception):  # noqa: N818 - an outcome, not an error
    """Ends a run from within a callback; SB3's algorithms do not all obey a returned False."""

    def __init__(self, outcome: Outcome, reason: str) -> None:
        super().__init__(reason)
        self.outcome = outcome
        self.reason = reason


@dataclass(frozen=True)
class RunRequest:
    """One run of several that share a configuration.

    Attributes:
        kwargs: Keyword arguments of the algorithm.
        seed: Training seed: network weights, exploration and training environments.
    """

    kwargs: Mapping[str, Any]
    seed: int


@dataclass(frozen=True)
class Hooks:
    """What the caller wants to see and do while a run goes on.

    Attributes:
        on_evaluation: Called at every grid step; returns the runs to drop.
        on_step: Called at every step of training and evaluation; may raise `StopRun`.
        on_end: Called with a run's index and record at its end; returns the runs to drop.
        on_error: Called with a run's index and what a bug raised; returns the runs to drop,
            or raises it again, which ends all of them.
        on_alone: Called with the reason why runs are trained one after the other.
        callbacks: SB3 callbacks of the user's own.
        tensorboard_dir: Folder for SB3's TensorBoard logs.
        verbose: Whether SB3 prints.
    """

    on_evaluation: OnEvaluation = lambda _, __: ()
    on_step: OnStep = lambda _: None
    on_end: Callable[[int, RunRecord], Collection[int]] = lambda _, __: ()
    on_error: Callable[[int, Exception], Collection[int]] = _raise
    on_alone: Callable[[str], None] = _log_alone
    callbacks: Sequence[BaseCallback] = ()
    tensorboard_dir: Path | None = None
    verbose: bool = False
