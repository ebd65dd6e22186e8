"""What training a configuration again, from fresh seeds, adds to a training run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import NonNegativeInt, PositiveInt, model_validator

from sb3_hpo.config.fields import Score, Seconds, option
from sb3_hpo.config.training_config import TrainingConfig
from sb3_hpo.scoring.score_rules import DEFAULT_SCORE
from sb3_hpo.utils.errors import UserError

if TYPE_CHECKING:
    from typing_extensions import Self


class ReevaluationConfig(TrainingConfig):
    """Runs from fresh seeds, in processes of this machine, and how they are judged."""

    n_workers: PositiveInt | None = option(
        "common",
        "worker processes on this machine (default: one per CPU core)",
        None,
        changes_value=False,
    )
    timeout: Seconds | None = option(
        "common", "end the search after this long: 600, 10m, 2h", None, changes_value=False
    )
    seed: NonNegativeInt = option("common", "root of all random streams", 0)
    top: PositiveInt | None = option(
        "re-evaluation", "trials that race for the answer (default: by the number of trials)",
        None, changes_value=False,
    )  # fmt: skip
    test_seeds: PositiveInt = option(
        "re-evaluation", "fresh training seeds that judge the winner", 10, changes_value=False
    )
    test_episodes: PositiveInt = option(
        "re-evaluation", "episodes that judge the final policy of each of them", 200,
        changes_value=False,
    )  # fmt: skip
    score: Score = option(
        "search",
        "from learning curve to trial value: last_half, final, best, auc, last_<k>, "
        "or package.module:function, which takes the means of a run's evaluations (a list, in "
        "time order) and returns a finite number",
        DEFAULT_SCORE,
    )
    storage_timeout: Seconds = option(
        "study", "wait this long for a server that is away or a disk that is full", 300.0,
        changes_value=False,
    )  # fmt: skip
    beat_interval: Seconds = option(
        "liveness", "a running trial shows that it makes progress this often", 30.0,
        changes_value=False,
    )  # fmt: skip
    stale_after: Seconds = option(
        "liveness", "a trial without progress for this long is given to another worker", 300.0,
        changes_value=False,
    )  # fmt: skip

    def plain_reevaluation(self) -> dict[str, Any]:
        """Return the plain values of what the processes that train need, also of a study."""
        return self.model_dump(mode="json", include=set(ReevaluationConfig.model_fields))

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if found := self.mistakes():
            raise UserError("; ".join(found))
        return self

    def mistakes(self) -> list[str]:
        """Return what does not go together; subclasses add to it, so that all is told at once."""
        found = []
        if self.n_eval_envs > self.n_eval_episodes:
            found.append(
                "n_eval_envs: `n_eval_envs <= n_eval_episodes` must hold, but got "
                f"(n_eval_envs={self.n_eval_envs}, n_eval_episodes={self.n_eval_episodes})"
            )
        if self.stale_after <= 2 * self.beat_interval:
            found.append(
                "stale_after: must be more than twice beat_interval, but got "
                f"(stale_after={self.stale_after}, beat_interval={self.beat_interval})"
            )
        return found
