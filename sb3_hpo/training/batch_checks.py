"""Whether runs can be trained together, and what another one in the same batch costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sb3_hpo.algorithms.registry import load_algorithm
from sb3_hpo.training.batch.learners.registry import find_learner
from sb3_hpo.training.batch.structure import CannotBatch

if TYPE_CHECKING:
    from sb3_hpo.config.training_config import TrainingConfig


CHEAP_COST_RATIO = 0.6
"""Up to this ratio (`batch_cost_ratio`), races give each candidate more seeds.

Replayed on recorded curves (scripts/benchmark_decisions.py) with 128 run-equivalents, more seeds
at 0.53 gain 0.010 of what there is to gain; with 64, they lose 0.002 at 0.53 and 0.008 at 0.8.
"""


_FEW_STEPS = 2000
"""Of each environment: tracing takes about as long as a thousand gradient steps.

Each of them is then two to four times as fast, and a step in the environments somewhat.
"""


def check_batch(config: TrainingConfig, n_runs: int) -> None:
    """Check what is known before there are models.

    Args:
        config: What the runs share.
        n_runs: How many are to be trained together.

    Raises:
        CannotBatch: They have to be trained one after the other.
    """
    find_learner(load_algorithm(config.algo))
    if n_runs == 1 and config.n_timesteps // config.n_envs < _FEW_STEPS:
        raise CannotBatch("the run is alone and too short to trace its graphs")
    if config.callbacks:
        raise CannotBatch("callbacks of yours are for one run at a time")
    if config.her:
        raise CannotBatch("hindsight replay relabels episode by episode")
    if n_runs > 1 and config.n_eval_envs == 0:
        raise CannotBatch("with `n_eval_envs` 0 there is one environment at a time")
    if n_runs > 1 and config.vec_env == "subproc":
        raise CannotBatch("the environments of each run have processes of their own")


def batch_cost_ratio(config: TrainingConfig) -> float:
    """Return what another run in the same batch costs, in runs alone: 1 where there is no batch.

    Args:
        config: What the runs share.
    """
    if config.exact:
        return 1.0
    try:
        check_batch(config, 2)
    except CannotBatch:
        return 1.0
    return find_learner(load_algorithm(config.algo)).cost_ratio
