"""A few steps in the environment before anything is spent: `python -m sb3_hpo.rehearsal`.

In a process of its own: an environment may hang, crash, or end the process that it is in. The
answer is one line on its output, `{"error": ..., "warnings": [...]}`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
import traceback
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from sb3_hpo.config import make_config
from sb3_hpo.envs import env_factory
from sb3_hpo.errors import UserError
from sb3_hpo.processes import end_process, leave, own_pipes, start_module
from sb3_hpo.wording import tail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import gymnasium as gym

    from sb3_hpo.config import StudyConfig

_MOST_STEPS, _MOST_SECONDS = 2_000, 3.0
_PATIENCE_S = 60.0  # to be imported, made and stepped: simulators are slow to start
_TOLD = "symmetric and normalized"  # of the warnings of SB3's check those that cost returns


@contextmanager
def rehearsal(config: StudyConfig, tell: Callable[[str], None]) -> Iterator[None]:
    """Try the environment while a block prepares the study.

    Args:
        config: The study's configuration; without `rehearse` nothing is tried.
        tell: Gets what the user should know, a line each, after the block.

    Raises:
        UserError: The environment cannot be trained in; raised after the block.
    """
    # Where training evaluates in its own environments, there can be one only: after the block.
    process = None if config.n_eval_envs == 0 or not config.rehearse else _start(config)
    try:
        yield
        if config.rehearse:
            process = process or _start(config)
            for line in _conclude(config, process):
                tell(line)
    finally:
        if process is not None:
            end_process(process)
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


def _start(config: StudyConfig) -> subprocess.Popen[bytes]:
    arguments = ["--config", json.dumps(config.plain())]
    with tempfile.TemporaryFile() as log:  # what environments print is of no interest here
        return start_module("sb3_hpo.rehearsal", arguments, n_threads=1, log=log, talks=True)


def _conclude(config: StudyConfig, process: subprocess.Popen[bytes]) -> list[str]:
    try:
        output, _ = process.communicate(timeout=_PATIENCE_S)
    except subprocess.TimeoutExpired:
        text = f"env: {config.env} has not made its first steps within {_PATIENCE_S:g} s"
        return [f"{text}; going on without having tried it"]
    if not output:
        raise UserError(
            f"env: {config.env} has ended the process that tried it, with exit status "
            f"{process.returncode}: it calls os._exit, or has crashed"
        )
    answer = json.loads(output)
    if answer["error"] is not None:
        raise UserError(answer["error"])
    return [f"env: {text}" for text in answer["warnings"]]


def rehearse(config: StudyConfig) -> list[str]:
    """Step through an episode with random actions, as far as there is time.

    Args:
        config: The study's configuration.

    Returns:
        What SB3's own check objects to: such environments can often be trained in all the same.

    Raises:
        UserError: The environment raises, breaks Gymnasium's interface, is not finite, or has no
            `--metric` at the end of an episode.
    """
    env = env_factory(config).bare()
    n_made = 0
    try:
        for info in _episode(env, config.env):
            n_made += 1
            if info is not None and config.metric is not None:
                _check_metric(info, config.metric)
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        site = traceback.extract_tb(error.__traceback__)[-1]
        text = tail(" ".join(f"{type(error).__name__}: {error}".split()))
        raise UserError(
            f"env: {config.env} raised in step {n_made + 1} with random actions: {text} at "
            f"{site.filename}:{site.lineno}"
        ) from error
    return _sb3_check(env)


def _episode(env: gym.Env[Any, Any], name: str) -> Iterator[dict[str, Any] | None]:
    """Yield after each step, with the last step's info at the end of the episode."""
    env.action_space.seed(0)
    start = time.monotonic()
    observation, _ = env.reset(seed=0)
    _check_finite(name, "the first observation", observation)
    for step in range(1, _MOST_STEPS + 1):
        result: Any = env.step(_action(env))
        if not isinstance(result, tuple) or len(result) != 5:
            raise UserError(
                f"env: {name}: step must return observation, reward, terminated, truncated, info, "
                f"but returned {type(result).__name__} of "
                f"{len(result) if isinstance(result, tuple) else 1}"
            )
        observation, reward, terminated, truncated, info = result
        _check_finite(name, f"the reward of step {step}", reward)
        _check_finite(name, f"the observation of step {step}", observation)
        if terminated or truncated:
            yield info
            return
        yield None
        if time.monotonic() - start > _MOST_SECONDS:
            return


def _action(env: gym.Env[Any, Any]) -> Any:
    if not env.has_wrapper_attr("action_masks"):
        return env.action_space.sample()
    if type(env.action_space).__name__ != "Discrete":
        return env.action_space.sample()
    return env.action_space.sample(np.asarray(env.get_wrapper_attr("action_masks")(), np.int8))


def _check_finite(name: str, what: str, value: Any) -> None:
    parts = value.values() if isinstance(value, dict) else [value]
    for part in parts:
        array = np.asarray(part)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise UserError(
                f"env: {name}: {what} must be finite, but is {' '.join(str(part).split())[:80]}: "
                "nothing can be learned from it; mend the environment, or replace such values in "
                "a --wrapper"
            )


def _check_metric(info: dict[str, Any], metric: str) -> None:
    if metric not in info:
        raise UserError(
            f"metric: the info of an episode's last step has no {metric!r}; it has "
            f"{', '.join(map(repr, sorted(map(str, info)))) or 'nothing'}"
        )


def _sb3_check(env: gym.Env[Any, Any]) -> list[str]:
    if env.has_wrapper_attr("action_masks"):
        return []  # SB3's check takes actions that are not valid
    from stable_baselines3.common.env_checker import check_env

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            check_env(env, skip_render_check=True)
        except Exception as error:  # noqa: BLE001 - of a check whose word is not the last one
            return [f"SB3's check_env objects: {_first_line(error)}"]
    return [_first_line(item.message) for item in caught if _TOLD in str(item.message)][:1]


def _first_line(text: Exception | Warning | str) -> str:
    lines = str(text).strip().splitlines()
    return lines[0][:200] if lines else type(text).__name__


def main(argv: Sequence[str] | None = None) -> int:
    """Try the environment and say what came of it.

    Args:
        argv: The configuration as JSON.

    Returns:
        0.
    """
    parser = argparse.ArgumentParser(prog="python -m sb3_hpo.rehearsal")
    parser.add_argument("--config", required=True)
    text = parser.parse_args(argv).config
    answer: dict[str, Any] = {"error": None, "warnings": []}
    with own_pipes() as (_, output):
        try:
            config = make_config(json.loads(text))
            answer["warnings"] = rehearse(config)
        except UserError as error:
            answer["error"] = str(error)
        output.write(json.dumps(answer).encode())
    return 0


if __name__ == "__main__":
    leave(main())
