"""What a study will call, tried out: a few steps of the environment, the score rule.

`python -m sb3_hpo.study.try_out`, which `rehearsal` starts and listens to. It says what it is
about to do before it does it: an environment can end this process, or never come back.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import reprlib
import time
import warnings as warnings_
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np
from gymnasium.spaces import Dict, Discrete

from sb3_hpo.algorithms.registry import find_algorithm
from sb3_hpo.config.study_config import StudyConfig, make_config
from sb3_hpo.envs.factory import env_factory
from sb3_hpo.scoring.score_rules import score_rule
from sb3_hpo.training.evaluation_episodes import read_metric
from sb3_hpo.utils.errors import UserError, one_line
from sb3_hpo.utils.import_strings import load_reference
from sb3_hpo.utils.processes import end_hung_orphan, open_connection

if TYPE_CHECKING:
    from collections.abc import Callable

    import gymnasium as gym

_MAX_STEPS = 10_000
_WALK_S = 2.0
_TOLD = "symmetric and normalized"  # of the warnings of SB3's check, the one that costs returns


class Stage(NamedTuple):
    """One thing that is tried.

    Attributes:
        doing: In words, after the option that it is about.
        limit_s: After so many seconds it hangs.
        is_made: Whether the environment has been made and reset before.
        goes_on: Whether training goes on where it hangs: a first step may compile something.
    """

    doing: str
    limit_s: float
    is_made: bool = False
    goes_on: bool = False


STAGES = {
    "start": Stage("env: starting the process that tries it out", 180.0),
    "import": Stage("importing {}", 180.0),
    "make": Stage("env: making {}", 180.0),  # a simulator's start may take its time
    "reset": Stage("env: resetting {}", 180.0),
    "step": Stage("env: a step of {}", 10.0, is_made=True, goes_on=True),
    "score": Stage("score: calling {}", 10.0, is_made=True),
    "check": Stage("env: SB3's check_env of {}", 10.0, is_made=True, goes_on=True),
}


def main() -> NoReturn:
    """Try out a configuration; say what is done and what came of it."""
    parser = argparse.ArgumentParser(prog="python -m sb3_hpo.study.try_out")
    parser.add_argument("--config", required=True)
    parser.add_argument("--connection", type=int, required=True)
    arguments = parser.parse_args()
    end_hung_orphan(os.getppid())
    connection = open_connection(arguments.connection)

    def begin(stage: str, what: str) -> None:
        connection.send({"stage": stage, "what": what, "since": time.time()})

    try:
        connection.send({"warnings": try_out(make_config(json.loads(arguments.config)), begin)})
    except UserError as error:
        connection.send({"error": str(error)})
    os._exit(0)  # whatever threads the environment has left


def try_out(
    config: StudyConfig, begin: Callable[[str, str], None] = lambda _stage, _what: None
) -> list[str]:
    """Walk through the first episode with random actions, and score a made-up learning curve.

    Args:
        begin: Called before each thing that is done, with its name among `STAGES` and what it is
            done to.

    Returns:
        What the user should know.

    Raises:
        UserError: Something is wrong.
    """
    callbacks = [name for entry in config.callbacks for name in entry]
    for name in (config.algo, config.space, config.sampler, config.pruner, *callbacks):
        if isinstance(name, str) and ":" in name:
            begin("import", name)
            load_reference(name)  # a script that tunes as it is imported says so here
    try:
        begin("make", config.env)
        env = env_factory(config).bare()
        begin("reset", config.env)
        started = env.reset(seed=0)
    except UserError:
        raise  # of a script that tunes as it is imported
    except (Exception, SystemExit) as error:
        raise UserError(
            f"env: {config.env!r} could be made once, but not again: "
            f"{one_line(error, site=True)}; where there can be one only, pass --n-eval-envs 0"
        ) from error
    try:
        start = time.monotonic()
        begin("step", config.env)
        value, warnings = _walk(env, started, config)
        begin("score", config.score)
        _try_score(config, value)
        if time.monotonic() - start < _WALK_S:
            begin("check", config.env)
            warnings = [*warnings, *_sb3_check(env)]
        return warnings
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
