from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from sb3_hpo.config.study_config import StudyConfig, make_config
from sb3_hpo.reevaluation.pool import Runners
from sb3_hpo.reevaluation.retrain import retrain
from sb3_hpo.results.reevaluation_runs import Candidate, make_request, model_folder
from tests.support.processes import pids_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from pathlib import Path

    from sb3_hpo.results.reevaluation_runs import ReevaluationRequest, ReevaluationRun

pytestmark = pytest.mark.slow  # every test starts processes that import torch

KWARGS = {"n_steps": 16, "batch_size": 16, "n_epochs": 1}


def answer_late(connection: Connection, results: list[ReevaluationRun]) -> None:
    """Be a runner that says that it is done a while after its last result."""
    for _ in results:
        for request, _folder in connection.recv():
            run = results[request.seed_index]
            connection.send({"key": run.key, "run": run})
        time.sleep(0.5)
        with suppress(BrokenPipeError):  # after the last result nobody need listen
            connection.send({"done": True})


def config(env: str = "TargetEnv", **values: Any) -> StudyConfig:
    defaults = {
        "algo": "ppo", "env": f"tests.support.envs:{env}", "n_timesteps": 640, "n_envs": 2,
        "n_evaluations": 6, "n_eval_episodes": 2, "test_episodes": 4,
    }  # fmt: skip
    return make_config({**defaults, **values})


def requests(config_: StudyConfig, n: int) -> list[ReevaluationRequest]:
    return [make_request(config_, "test", Candidate(trial=0, kwargs=KWARGS), i) for i in range(n)]


def train_all(
    config_: StudyConfig,
    run_dir: Path,
    wanted: list[ReevaluationRequest],
    *,
    on_tick: Callable[[Runners], None] = lambda _: None,
) -> tuple[list[ReevaluationRun], dict[str, str]]:
    """Train what is wanted on two runners, calling `on_tick` a few times a second."""
    done: list[ReevaluationRun] = []
    deadline = time.monotonic() + 120

    def due() -> list[ReevaluationRequest]:
        keys = {run.key for run in done} | set(runners.errors)
        return [request for request in wanted if request.key(config_) not in keys]

    def go_on() -> bool:
        on_tick(runners)
        return time.monotonic() < deadline

    with Runners(config_, run_dir, 2) as runners:
        runners.run(due, lambda _, run: done.append(run), go_on)
    return done, runners.errors


def children() -> list[int]:
    """Find the runners that this process has started."""
    return pids_of("sb3_hpo.reevaluation", "--parent", str(os.getpid()))


def test_runners_give_the_numbers_of_this_process_and_leave_nobody(tmp_path: Path) -> None:
    config_ = config("UnrulyEnv")
    wanted = requests(config_, 3)
    done, errors = train_all(config_, tmp_path, wanted)
    assert errors == {}
    assert sorted(run.seed_index for run in done) == [0, 1, 2]
    for run in done:
        (here,) = retrain(config_, [wanted[run.seed_index]])
        assert run.final is not None
        assert here.final is not None
        assert run.final.returns == here.final.returns
        folder = model_folder(tmp_path, 0, run.seed_index, run.key)
        assert (folder / "model.zip").exists()
    assert children() == []


def test_a_killed_runner_is_replaced_and_its_run_trained_again(tmp_path: Path) -> None:
    killed: list[int] = []

    def kill_one(runners: Runners) -> None:
        if not killed and any(n_steps > 0 for _, n_steps in runners.running):
            killed.append(children()[0])
            os.kill(killed[0], signal.SIGKILL)

    config_ = config(n_timesteps=15_000)
    done, errors = train_all(config_, tmp_path, requests(config_, 2), on_tick=kill_one)
    assert len(killed) == 1
    assert errors == {}
    assert sorted(run.seed_index for run in done) == [0, 1]


def test_a_run_that_kills_its_process_is_given_up_after_three(tmp_path: Path) -> None:
    config_ = config("ExitingEnv")
    done, errors = train_all(config_, tmp_path, requests(config_, 1))
    assert done == []
    (text,) = errors.values()
    assert "its process died 3 times (last exit status 3)" in text
    assert str(tmp_path / "runner-0.log") in text


def test_a_bug_is_told_with_its_place_and_the_runner_lives_on(tmp_path: Path) -> None:
    config_ = config("RaisingEnv")
    pids: set[int] = set()
    done, errors = train_all(
        config_, tmp_path, requests(config_, 4), on_tick=lambda _: pids.update(children())
    )
    assert done == []
    assert len(errors) == 4
    for text in errors.values():
        assert text.startswith("ValueError: the gripper is gone at ")
        assert "envs.py:" in text
    assert len(pids) == 2
    assert "Traceback" in (tmp_path / "runner-0.log").read_text()


def test_a_hung_run_is_noticed_and_given_up(tmp_path: Path) -> None:
    config_ = config("HangingEnv", beat_interval=1, stale_after=4)
    done, errors = train_all(config_, tmp_path, requests(config_, 1))
    assert done == []
    assert "its process died 3 times" in next(iter(errors.values()))


@pytest.mark.parametrize("env", ["TargetEnv", "HangingEnv"])
def test_runners_end_with_the_process_that_started_them(env: str, tmp_path: Path) -> None:
    config_ = config(env, n_timesteps=10_000_000)
    pid = os.fork()
    if pid == 0:  # the parent that will be killed
        train_all(config_, tmp_path, requests(config_, 2))
        os._exit(0)
    deadline = time.monotonic() + 60

    def orphans() -> list[int]:
        return pids_of("sb3_hpo.reevaluation", "--parent", str(pid))

    while len(orphans()) < 2 and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(5)  # they train
    assert len(orphans()) == 2
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    deadline = time.monotonic() + 15
    while orphans() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert orphans() == []


def test_a_runner_gets_no_new_job_before_it_is_done_with_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config_ = config()
    wanted = requests(config_, 2)
    (run,) = retrain(config_, wanted[:1])
    results = [replace(run, key=s.key(config_), seed_index=i) for i, s in enumerate(wanted)]

    def start(*_: Any, **__: Any) -> tuple[subprocess.Popen[bytes], Connection]:
        ours, theirs = multiprocessing.Pipe()
        threading.Thread(target=answer_late, args=(theirs, results)).start()
        return subprocess.Popen(["sleep", "60"], start_new_session=True), ours

    monkeypatch.setattr("sb3_hpo.reevaluation.pool.start_talking", start)
    done: list[ReevaluationRun] = []
    deadline = time.monotonic() + 60
    with Runners(config_, tmp_path, 1) as runners:
        runners.run(
            lambda: wanted[len(done) : len(done) + 1],  # the second is wanted after the first
            lambda _, run: done.append(run),
            lambda: time.monotonic() < deadline,
        )
    assert [run.seed_index for run in done] == [0, 1]
