"""What a study will call, tried out before it costs a training run: a few steps, the score rule.

It happens in a process of its own, `python -m sb3_hpo.study.rehearsal`: an environment that ends
its process in a step, or never comes back from one, does not take the command with it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import reprlib
import subprocess
import tempfile
import threading
import time
import warnings as warnings_
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from gymnasium.spaces import Dict, Discrete

from sb3_hpo.algorithms.registry import find_algorithm
from sb3_hpo.config.study_config import StudyConfig, make_config
from sb3_hpo.envs.factory import env_factory
from sb3_hpo.scoring.score_rules import score_rule
from sb3_hpo.training.evaluation_episodes import read_metric
from sb3_hpo.utils.errors import UserError, one_line
from sb3_hpo.utils.import_strings import load_reference
from sb3_hpo.utils.processes import end_hung_orphan, end_process, own_pipes, start_module

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import gymnasium as gym

_MAX_STEPS = 10_000
_WALK_S = 2.0
_HUNG_S = 10.0  # for a walk that looks at its clock after each step
_TOLD = "symmetric and normalized"  # of the warnings of SB3's check, the one that costs returns
_MAX_S = 180.0  # for all of it: making an environment may take its time


@contextmanager
def rehearsal(config: StudyConfig, tell: Callable[[str], None]) -> Iterator[None]:
    """Rehearse while a block prepares the study.

    Args:
        tell: Gets what the user should know, after the block.

    Raises:
        UserError: As `rehearse`, after the block.
    """
    if not config.rehearse:
        yield
        return
    if config.n_eval_envs == 0:  # there can be one environment only, which the block has now
        yield
        warnings = rehearse(config)
    else:
        with _started(config) as conclude:
            yield
            warnings = conclude()
    for text in warnings:
        tell(text)


def rehearse(config: StudyConfig) -> list[str]:
    """Try out what can be tried before any training, in a process of its own.

    Returns:
        What the user should know.

    Raises:
        UserError: A step, the score rule or the metric does not hold what training needs.
    """
    with _started(config) as conclude:
        return conclude()


@contextmanager
def _started(config: StudyConfig) -> Iterator[Callable[[], list[str]]]:
    """Start the process; yield what waits for it."""
    with tempfile.TemporaryFile() as log:
        arguments = ["--config", json.dumps(config.plain())]
        process = start_module(
            "sb3_hpo.study.rehearsal", arguments, n_threads=1, log=log, talks=True
        )

        def conclude() -> list[str]:
            try:
                output, _ = process.communicate(timeout=_MAX_S)
            except subprocess.TimeoutExpired:
                text = f"env: {config.env} could not be tried out in {_MAX_S:g} s"
                return [f"{text}; it goes on untried"]
            log.seek(0)
            return _read(config, process.wait(), output, log.read().decode(errors="replace"))

        try:
            yield conclude
        finally:
            end_process(process)
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


def _read(config: StudyConfig, status: int, output: bytes, told: str) -> list[str]:
    if output:
        said: dict[str, Any] = json.loads(output)
        if "error" in said:
            raise UserError(said["error"])
        return list(said["warnings"])
    if "Traceback (most recent call last)" in told:
        raise RuntimeError(f"trying out the environment failed:\n{told}")
    how = f"exit status {status}" if status >= 0 else f"signal {-status}"
    raise UserError(
        f"env: {config.env!r} ended its process ({how}) in an episode of random actions; it must "
        "raise an exception instead, or end the episode"
    )


def main() -> NoReturn:
    """Try out a configuration, say on the output what there is to say, and end this process."""
    parser = argparse.ArgumentParser(prog="python -m sb3_hpo.study.rehearsal")
    parser.add_argument("--config", required=True)
    values = json.loads(parser.parse_args().config)
    end_hung_orphan(os.getppid())
    with own_pipes() as (_, output):

        def say(said: dict[str, Any]) -> NoReturn:
            output.write(json.dumps(said).encode())
            output.flush()
            os._exit(0)  # whatever threads the environment has left, and where it hangs

        text = f"env: a step of {values['env']} took longer than {_HUNG_S:g} s"
        watch = threading.Timer(_HUNG_S, say, ({"warnings": [text]},))
        watch.daemon = True
        try:
            warnings = try_out(make_config(values), on_start=watch.start, on_end=watch.cancel)
        except UserError as error:
            say({"error": str(error)})
        say({"warnings": warnings})


def try_out(
    config: StudyConfig,
    *,
    on_start: Callable[[], None] = lambda: None,
    on_end: Callable[[], None] = lambda: None,
) -> list[str]:
    """Walk through the first episode with random actions, and score a made-up learning curve.

    Args:
        on_start: Called when the environment is there and the walk begins.
        on_end: Called after it.

    Returns:
        What the user should know.

    Raises:
        UserError: Something is wrong.
    """
    for name in (config.algo, config.space, config.sampler, config.pruner):
        if isinstance(name, str) and ":" in name:
            load_reference(name)  # a script that tunes as it is imported says so here
    try:
        env = env_factory(config).bare()
        started = env.reset(seed=0)
    except UserError:
        raise  # of a script that tunes as it is imported
    except (Exception, SystemExit) as error:
        raise UserError(
            f"env: {config.env!r} could be made once, but not again: "
            f"{one_line(error, site=True)}; where there can be one only, pass --n-eval-envs 0"
        ) from error
    on_start()
    try:
        start = time.monotonic()
        value, warnings = _walk(env, started, config)
        on_end()
        _try_score(config, value)
        is_fast = time.monotonic() - start < _WALK_S
        return [*warnings, *(_sb3_check(env) if is_fast else [])]
    finally:
        with suppress(Exception):
            env.close()


def _walk(env: gym.Env[Any, Any], started: Any, config: StudyConfig) -> tuple[float, list[str]]:
    """Step until an episode ends; return its value, or 1 if none did, and warnings."""
    if not (isinstance(started, tuple) and len(started) == 2):
        raise UserError(
            f"env: `reset` of {config.env!r} must return (observation, info), but returned an "
            f"object of {type(started).__name__}; Gymnasium's API is not that of old Gym"
        )
    _check_observation(started[0], env.observation_space, f"`reset` of {config.env!r}")
    env.action_space.seed(0)
    total, deadline = 0.0, time.monotonic() + _WALK_S
    for number in range(1, _MAX_STEPS + 1):
        what = f"step {number} of {config.env!r}, with random actions,"
        try:
            result: Any = env.step(_action(env, config.algo))
        except (Exception, SystemExit) as error:
            raise UserError(f"env: {what} failed: {one_line(error, site=True)}") from error
        if not (isinstance(result, tuple) and len(result) == 5):
            raise UserError(
                f"env: {what} must return (observation, reward, terminated, truncated, info), "
                f"but returned {reprlib.repr(result)}"
            )
        observation, reward, terminated, truncated, info = result
        _check_observation(observation, env.observation_space, what)
        total += _finite(reward, f"env: {what} must pay a finite number")
        if terminated or truncated:
            if config.metric is None:
                return total, []
            there = config.metric in info  # what is no number is told below, in other words
            metric = info[config.metric] if there else read_metric(info, config.metric)
            return _finite(metric, f"metric: {config.metric!r} must be a finite number"), []
        if time.monotonic() > deadline:
            break
    if config.metric is not None:
        said = f"metric: it is not known yet whether the last info has {config.metric!r}, as"
    elif number < _MAX_STEPS:
        return 1.0, []
    else:
        said = "env: evaluations will be cut if a trained policy is not faster:"
    return 1.0, [f"{said} no episode ended within {number:,} random steps"]


def _sb3_check(env: gym.Env[Any, Any]) -> list[str]:
    """Return what matters of SB3's own check; much that it objects to can be trained in."""
    if env.has_wrapper_attr("action_masks"):
        return []  # it takes actions that are not valid
    from stable_baselines3.common.env_checker import check_env

    with warnings_.catch_warnings(record=True) as caught:
        warnings_.simplefilter("always")
        try:
            check_env(env, skip_render_check=True)
        except AssertionError as error:
            return [f"env: SB3's check_env objects: {one_line(error)[:300]}"]
        except Exception:  # noqa: BLE001 - a fault of the check: goal environments in wrappers
            return []
    texts = [" ".join(str(item.message).split()) for item in caught]
    return [f"env: {text[:300]}" for text in texts if _TOLD in text][:1]


def _action(env: gym.Env[Any, Any], algo: str) -> Any:
    """Draw an action; a valid one where the algorithm asks which these are."""
    takes_masks = ":" in algo or find_algorithm(algo).needs_action_masks
    if not (takes_masks and env.has_wrapper_attr("action_masks")):
        return env.action_space.sample()
    mask = np.asarray(env.get_wrapper_attr("action_masks")(), dtype=np.int8).ravel()
    if isinstance(env.action_space, Discrete):
        return env.action_space.sample(mask)
    # One mask after the other: of each component of a MultiDiscrete or MultiBinary space.
    sizes = getattr(env.action_space, "nvec", np.full(mask.size // 2, 2))
    parts = np.split(mask, np.cumsum(sizes)[:-1])
    drawn = [env.action_space.np_random.choice(np.flatnonzero(part)) for part in parts]
    return np.array(drawn, dtype=env.action_space.dtype)


def _check_observation(observation: Any, space: gym.Space[Any], what: str) -> None:
    """Refuse what does not fit into SB3's arrays, or poisons its networks."""
    if isinstance(space, Dict):
        if not isinstance(observation, dict) or set(observation) != set(space.spaces):
            keys = sorted(observation) if isinstance(observation, dict) else observation
            raise UserError(
                f"env: {what} must give an observation with the keys {sorted(space.spaces)}, but "
                f"gave {reprlib.repr(keys)}"
            )
        for key, part in space.spaces.items():
            _check_observation(observation[key], part, f"{what} in its part {key!r}")
        return
    array = np.asarray(observation)
    try:
        np.empty(space.shape or (), dtype=space.dtype)[...] = array
    except (TypeError, ValueError) as error:
        raise UserError(
            f"env: {what} must give an observation of the shape {space.shape}, as its "
            f"observation_space says, but gave {array.shape}"
        ) from error
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise UserError(f"env: {what} must give a finite observation, but gave {array}")


def _finite(value: Any, rule: str) -> float:
    """Return a number, or say that a rule is broken."""
    try:
        number = math.nan if isinstance(value, str) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"{rule}, but got {reprlib.repr(value)}")
    return number


def _try_score(config: StudyConfig, level: float) -> None:
    """Call the user's score rule with made-up curves: one that rises, and a flat one.

    Args:
        level: A value that an episode can have: a rule may count on its sign.
    """
    if ":" not in config.score:
        return
    n = config.n_evaluations
    rule = score_rule(config.score)
    contract = (
        f"score: {config.score} must make a finite number of a run's {n} evaluations (a list of "
        "their means, in time order)"
    )
    for curve in ([level + abs(level) * k / (2 * n) for k in range(n)], [level] * n):
        made_up = reprlib.repr([round(value, 3) for value in curve])
        try:
            value = rule(curve)
        except (Exception, SystemExit) as error:
            raise UserError(
                f"{contract}, but of {made_up} it failed: {one_line(error, site=True)}"
            ) from error
        _finite(value, f"{contract}, for instance of {made_up}")


if __name__ == "__main__":
    main()
