"""Training runs: keyword arguments, a seed and a budget in; learning curve and policy out.

Nothing else trains: the search, the re-evaluation and retraining all go through `train`.
"""

from __future__ import annotations

import gc
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any

from sb3_hpo.training.batch.batch import Batch
from sb3_hpo.training.batch.structure import CannotBatch
from sb3_hpo.training.batch_checks import check_batch
from sb3_hpo.training.evaluation_episodes import EpisodePlan
from sb3_hpo.training.hooks import Hooks, RunRequest, StopRun
from sb3_hpo.training.models import torch_threads
from sb3_hpo.training.run import Run, SharedClock, TrainedRun

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from sb3_hpo.config.training_config import TrainingConfig


def train(
    config: TrainingConfig,
    requests: Sequence[RunRequest],
    episode_seeds: Sequence[int],
    hooks: Hooks | None = None,
) -> Generator[TrainedRun]:
    """Train and evaluate runs: together where they can be, else one after the other.

    Together, or alone but long, they are computed in traced graphs (`training.batch`): what SB3
    makes of each of them up to the rounding of sums. Else, and with `config.exact`, they are
    SB3's own to the last bit.

    Args:
        config: What they share: environment, budget, evaluation, policy.
        requests: Their hyperparameters and seeds.
        episode_seeds: Start states of the evaluation episodes, the same for all.
        hooks: What to call meanwhile.

    Yields:
        One run a request, in order, but for those whose errors `hooks.on_error` has taken.
        Outcomes that belong to the hyperparameters or the caller (diverged, out of memory,
        dropped, stopped) are in its record.

    Raises:
        Exception: Whatever a bug in the environment or elsewhere raises.
    """
    hooks = hooks or Hooks()
    plan = EpisodePlan.of(config, episode_seeds)
    dropped: set[int] = set()
    runs = [Run(config, request, plan, hooks, i, dropped) for i, request in enumerate(requests)]
    ended: dict[int, TrainedRun | None] = {}
    try:
        with torch_threads(config.n_threads):
            is_alone = not _train_together(config, runs, hooks, ended)
        for run in runs:
            with torch_threads(config.n_threads):
                if run.index not in ended:
                    ended[run.index] = _execute(run, hooks)
                trained = ended.pop(run.index)
                if trained is not None:
                    yield trained
                del trained
            run.close()
            if is_alone:
                gc.collect()  # SB3's models are in reference cycles with their environments
    finally:
        for run in runs:
            run.close()
        gc.collect()


def _check_hooks(hooks: Hooks) -> None:
    if hooks.callbacks or hooks.tensorboard_dir is not None or hooks.verbose:
        raise CannotBatch("SB3's logs and your callbacks are for one run at a time")


def _train_together(
    config: TrainingConfig,
    runs: Sequence[Run],
    hooks: Hooks,
    ended: dict[int, TrainedRun | None],
) -> bool:
    """Train all runs, if they can be trained together.

    Args:
        config: What they share.
        hooks: What to call meanwhile.
        ended: Gets what came of each; None where `hooks.on_error` has taken its error. Those that
            cannot even be built are in it in any case.

    Returns:
        False if they cannot; then nothing has been learned.
    """

    def execute(run: Run) -> None:
        ended[run.index] = _execute(run, hooks, clock)

    if config.exact:
        return False
    try:
        check_batch(config, len(runs))
        _check_hooks(hooks)
        batch = Batch([partial(execute, run) for run in runs])
        clock = SharedClock(len(runs), batch.join)
        batch.run()
    except CannotBatch as reason:
        for run in runs:
            if run.index not in ended:
                run.close()
        if len(runs) > 1:
            hooks.on_alone(str(reason))
        return False
    return True


def _execute(run: Run, hooks: Hooks, clock: SharedClock | None = None) -> TrainedRun | None:
    try:
        trained = run.execute(clock)
    except CannotBatch:
        raise
    except Exception as error:  # noqa: BLE001 - raised again, unless the caller takes it
        run.dropped.update(hooks.on_error(run.index, error))
        return None
    run.dropped.update(hooks.on_end(run.index, trained.record))
    return trained


def build_once(config: TrainingConfig, kwargs: Mapping[str, Any]) -> None:
    """Build the model of a run in one environment, if memory permits, and throw it away.

    Args:
        config: What all runs share.
        kwargs: Keyword arguments of the algorithm.

    Raises:
        Exception: Whatever building raises.
    """
    alone = config.model_copy(update={"n_envs": 1, "n_eval_envs": 0, "vec_env": "dummy"})
    run = Run(
        alone, RunRequest(kwargs, seed=0), EpisodePlan(episode_seeds=(0,)), Hooks(), 0, set()
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a rollout of one environment only
        try:
            run.build()
        except (StopRun, MemoryError):
            pass  # this sample is too large for the memory, which its trial would say; others fit
        finally:
            run.close()
