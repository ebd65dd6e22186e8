"""`tune`: a study from Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from sb3_hpo.config.study_config import make_config
from sb3_hpo.optimize import run_study

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import gymnasium as gym
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.callbacks import BaseCallback

    from sb3_hpo.tuning_result import TuningResult

    Callback = str | Callable[..., BaseCallback]
    Callbacks = Sequence[Callback | Mapping[Any, Mapping[str, Any]]]


def tune(  # noqa: PLR0913 - each option by its name, for editors and `help`
    algo: str | type[BaseAlgorithm],
    env: str | Callable[..., gym.Env[Any, Any]],
    *,
    n_timesteps: int | None = None,
    n_trials: int | None = None,
    n_workers: int | None = None,
    timeout: float | str | None = None,
    seed: int = 0,
    # environment
    env_kwargs: Mapping[str, Any] | None = None,
    wrapper: Sequence[str | Callable[..., Any]] = (),
    vec_env: Literal["dummy", "subproc"] = "dummy",
    n_envs: int | None = None,
    normalize: bool = False,
    frame_stack: int = 1,
    her: bool = False,
    rehearse: bool = True,
    # model
    policy: str | None = None,
    policy_kwargs: Mapping[str, Any] | None = None,
    device: str | None = None,
    n_threads: int = 1,
    exact: bool = False,
    callbacks: Callbacks = (),
    # evaluation
    n_evaluations: int = 10,
    n_eval_episodes: int = 20,
    n_eval_envs: int | None = None,
    stochastic_eval: bool = False,
    metric: str | None = None,
    # search
    sampler: str | Callable[..., Any] = "tpe",
    n_startup_trials: int = 10,
    pruner: str | Callable[..., Any] = "quantile",
    score: str | Callable[[Sequence[float]], float] = "last_half",
    n_seeds: int = 1,
    batch_trials: int = 1,
    trial_timeout: float | str | None = None,
    stop_at: float | None = None,
    stop_after: int | None = None,
    # space
    space: str | Path | Mapping[str, Any] | Callable[..., dict[str, Any]] | None = None,
    space_size: Literal["small", "default", "full"] = "default",
    space_prefix: Sequence[str] = (),
    fixed: Mapping[str, Any] | None = None,
    range: Mapping[str, Any] | None = None,  # noqa: A002
    choices: Mapping[str, Any] | None = None,
    drop: Sequence[str] = (),
    enqueue: Sequence[str | Path] = (),
    trust: bool = False,
    # re-evaluation
    reevaluate: bool = True,
    top: int | None = None,
    test_seeds: int = 10,
    test_episodes: int = 200,
    # study
    storage: str | None = None,
    storage_timeout: float | str = 300.0,
    study_name: str | None = None,
    run_dir: str | Path | None = None,
    # output, liveness
    tensorboard: bool = False,
    verbose: bool = False,
    beat_interval: float | str = 30.0,
    stale_after: float | str = 300.0,
) -> TuningResult:
    """Tune an algorithm on an environment: the command `optimize`, from Python.

    In a script, call it under `if __name__ == "__main__":`, as worker processes import the script.

    Args:
        algo: `"ppo"`, `"sac"`, ..., or a class of yours, with a `space` of yours.
        env: Gymnasium id, `"module:Id-v0"`, `"file.py:factory"`, or a class or function.
        n_timesteps: Environment steps of one training run; default: by algorithm.
        n_trials: Finished trials wanted in the study, over all calls; default: by algorithm.
        n_workers: Worker processes on this machine; default: one per CPU core.
        timeout: End the search after this long, in seconds or as `"10m"`, `"2h"`.
        seed: Root of all random streams.
        env_kwargs: Arguments of the environment.
        wrapper: Wrappers around each environment, the innermost first.
        vec_env: Whether training environments are in one process or each in its own.
        n_envs: Parallel training environments; default: by algorithm.
        normalize: Put VecNormalize around, with each trial's own gamma.
        frame_stack: Let the agent see this many last observations.
        her: Relabel goals in hindsight, in goal environments.
        rehearse: Try the environment for an episode with random actions, before all else.
        policy: SB3's name of the policy; default: by observations.
        policy_kwargs: Arguments of the policy, which win over sampled ones.
        device: Torch device; default: cpu for vectors, auto for images.
        n_threads: Torch threads of one run.
        exact: Train each run by SB3 alone, bit for bit.
        callbacks: SB3 callbacks of yours in all runs but those of SB3's default: classes, or
            `{class: arguments}`; made anew for each run.
        n_evaluations: Evaluations during one training run.
        n_eval_episodes: Episodes of one evaluation, from the same start states for all trials.
        n_eval_envs: Parallel evaluation environments; 0: evaluate in the training ones.
        stochastic_eval: Evaluate with sampled instead of most likely actions.
        metric: Key of the last `info` of an episode to maximise; default: the return.
        sampler: Optuna's by name, or a class or function that makes one.
        n_startup_trials: Random trials before the sampler's own.
        pruner: Who ends bad trials early, by name, or a class or function that makes one.
        score: From the means of a run's evaluations to the trial's value.
        n_seeds: Training seeds of each trial, whose value is their mean.
        batch_trials: Trials of equal structure that a worker trains together.
        trial_timeout: Prune a trial after this long.
        stop_at: End the search once a trial's value reaches this; the re-evaluation follows.
        stop_after: End the search after so many finished trials without a better value.
        space: Search space of yours: a function of the trial, a YAML file or its contents, or
            `"file.py:SPACE"` for a `SearchSpace`.
        space_size: How many dimensions the shipped space has.
        space_prefix: What to leave out at the beginning of a space file's names.
        fixed: Values to hold, by SB3's name or the space's.
        range: Other ranges, as `{"gamma": [0.9, 0.999]}`.
        choices: Other values to try, as `{"n_epochs": [4, 10]}`.
        drop: What is left at SB3's default.
        enqueue: YAML files with hyperparameters to try first, also RL Zoo's.
        trust: Import also modules that only a file or a stored study names.
        reevaluate: Train the best trials again from fresh seeds after the search.
        top: Trials that race for the answer; default: by the number of trials.
        test_seeds: Fresh training seeds that judge the winner.
        test_episodes: Episodes that judge the final policy of each of them.
        storage: Journal file or URL of a database; default: a journal in the run folder.
        storage_timeout: Wait this long for a storage that is away.
        study_name: Default: made from everything that changes a value.
        run_dir: Folder of the files; default: `runs/<study name>`.
        tensorboard: Write each trial's SB3 logs under the run folder.
        verbose: Let SB3 and Optuna talk too.
        beat_interval: A running trial shows that it makes progress this often.
        stale_after: A trial without progress for this long is given to another worker.

    Returns:
        The result. Calling it again with the same options goes on with the same study.

    Raises:
        UserError: Something about the options is wrong; nothing was written.
    """
    options = {name: value for name, value in locals().items() if value is not None}
    from rich.console import Console

    return run_study(make_config(options), Console())
