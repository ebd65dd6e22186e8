"""What one training run left behind, as frozen data that needs no training stack to read."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any, Literal

from pydantic import TypeAdapter

Outcome = Literal["finished", "dropped", "diverged", "oom", "timeout", "interrupted"]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One evaluation of one policy.

    Attributes:
        nominal_step: The grid step it stands for, in environment steps.
        actual_step: Environment steps the policy had been trained on.
        returns: Undiscounted, unnormalised episode returns, in the order of the episode seeds.
        lengths: Episode lengths in environment steps.
        metric: The value of `--metric` at the end of each episode, if one was asked for.
        seconds: Wall time of the evaluation.
        truncated: Whether a cap ended an episode, which is then scored as far as it went.
    """

    nominal_step: int
    actual_step: int
    returns: tuple[float, ...]
    lengths: tuple[int, ...]
    metric: tuple[float, ...] | None = None
    seconds: float = 0.0
    truncated: bool = False

    @property
    def value(self) -> float:
        """The mean over episodes of the metric, or of the return where no metric was asked."""
        return fmean(self.returns if self.metric is None else self.metric)


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One training run from start to end.

    Attributes:
        seed: The training seed.
        outcome: How the run ended; `dropped` means that the caller asked to.
        reason: Why, in words; of a run that finished only where a callback ended its training.
        evaluations: The learning curve, in time order.
        n_steps: Environment steps spent on training.
        n_updates: SB3's own count of updates; 0 means that nothing was learned.
        seconds: Wall time of the whole run; its share of it where several were trained together.
        kwargs: Description of the constructor arguments (`serialize_kwargs`).
        n_threads: Torch threads the run had; results depend on it.
        n_together: How many runs were computed together, equal to SB3's up to rounding; 0 for one
            that is SB3's own to the last bit.
        versions: Versions of the packages that results depend on.
    """

    seed: int
    outcome: Outcome
    reason: str | None
    evaluations: tuple[Evaluation, ...]
    n_steps: int
    n_updates: int
    seconds: float
    kwargs: dict[str, Any]
    n_threads: int
    n_together: int = 0
    versions: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RunRecord:
        """Build a record from what `to_dict` returned, also after a way through JSON.

        Args:
            values: The plain values.

        Returns:
            An equal record.

        Raises:
            ValueError: They are none of a record.
        """
        return _ADAPTER.validate_python(values)


_ADAPTER = TypeAdapter(RunRecord)
