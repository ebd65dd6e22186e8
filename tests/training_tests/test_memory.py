from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import optuna
import psutil
import pytest
from gymnasium.spaces import Box, Dict, Discrete
from optuna.trial import TrialState
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.buffers import DictReplayBuffer, NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.vec_env import DummyVecEnv
from stable_baselines3.her import HerReplayBuffer

from sb3_hpo.config.study_config import make_config
from sb3_hpo.study.objective import Objective
from sb3_hpo.training.memory import (
    available_memory,
    memory_shortage,
    replay_memory,
    workers_here,
)
from sb3_hpo.utils.processes import IN_WORKER, start_talking

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from pathlib import Path

STATE = Box(-1, 1, (3,), np.float32)
MOVE = Box(-1, 1, (2,), np.float32)
IMAGE = Box(0, 255, (84, 84, 4), np.uint8)
PARTS = Dict({"image": Box(0, 255, (36, 36, 3), np.uint8), "state": Box(-1, 1, (5,)),
              "gear": Discrete(4)})  # fmt: skip
GOALS = Dict(dict.fromkeys(("observation", "achieved_goal", "desired_goal"), STATE))


class SpacesEnv(gym.Env[Any, Any]):
    """Has spaces, and nothing else that a constructor would look at."""

    def __init__(self, observation_space: gym.Space[Any], action_space: gym.Space[Any]) -> None:
        self.observation_space, self.action_space = observation_space, action_space


def make_venv(
    observations: gym.Space[Any] = STATE, actions: gym.Space[Any] = MOVE, n_envs: int = 1
) -> DummyVecEnv:
    return DummyVecEnv([lambda: SpacesEnv(observations, actions)] * n_envs)


def array_bytes(buffer: Any) -> int:
    """Add up what a real buffer of SB3 has allocated."""
    total = 0
    for value in vars(buffer).values():
        for array in value.values() if isinstance(value, dict) else [value]:
            total += array.nbytes if isinstance(array, np.ndarray) else 0
    return total


def make_model(
    algorithm: Any = SAC,
    observations: gym.Space[Any] = STATE,
    actions: gym.Space[Any] = MOVE,
    n_envs: int = 1,
    policy: str = "MlpPolicy",
    **kwargs: Any,
) -> Any:
    return algorithm(policy, make_venv(observations, actions, n_envs), device="cpu", **kwargs)


def test_replay_memory_in_numbers() -> None:
    # Two observations of 12 bytes, an action of 8; reward, done and timeout of 4 each.
    assert replay_memory(make_model(buffer_size=10), 1000) == (10, 440)
    # SB3 keeps a row, whatever the size: here of four environments.
    assert replay_memory(make_model(n_envs=4, buffer_size=2), 1000) == (4, 176)


@pytest.mark.parametrize("n_envs", [1, 4])
def test_replay_memory_of_dict_observations_is_what_sb3_allocates(n_envs: int) -> None:
    buffer = DictReplayBuffer(103, PARTS, MOVE, "cpu", n_envs)
    model = make_model(SAC, PARTS, MOVE, n_envs, "MultiInputPolicy", buffer_size=103)
    n_transitions = 103 if n_envs == 1 else 100
    assert replay_memory(model, 1000) == (n_transitions, array_bytes(buffer))


@pytest.mark.parametrize("name", ["DDPG", "DQN", "SAC", "TD3", "CrossQ", "QRDQN", "TQC"])
def test_replay_memory_follows_each_algorithms_default(name: str) -> None:
    contrib = pytest.importorskip("sb3_contrib")
    ours: dict[str, Any] = {"DDPG": DDPG, "DQN": DQN, "SAC": SAC, "TD3": TD3}
    algorithm = ours.get(name) or getattr(contrib, name)
    model = make_model(algorithm, STATE, Discrete(2) if "DQN" in name else MOVE, 4)
    assert replay_memory(model, 10**7) == (1_000_000, array_bytes(model.replay_buffer))


def test_replay_memory_of_n_step_returns_is_what_sb3_allocates() -> None:
    model = make_model(buffer_size=100, n_steps=3)
    assert isinstance(model.replay_buffer, NStepReplayBuffer)
    assert replay_memory(model, 1000) == (100, array_bytes(model.replay_buffer))


@pytest.mark.parametrize("n_envs", [1, 4])
def test_replay_memory_of_hindsight_is_its_arrays(n_envs: int) -> None:
    model = make_model(
        SAC, GOALS, MOVE, n_envs, "MultiInputPolicy", buffer_size=100,
        replay_buffer_class=HerReplayBuffer, replay_buffer_kwargs={"n_sampled_goal": 2},
    )  # fmt: skip
    assert replay_memory(model, 1000) == (100, array_bytes(model.replay_buffer))


class OwnBuffer(ReplayBuffer):
    """A user's own."""


def test_replay_memory_of_a_users_own_buffer_is_its_arrays() -> None:
    model = make_model(buffer_size=10, replay_buffer_class=OwnBuffer)
    assert replay_memory(model, 1000) == (10, 440)


@pytest.mark.parametrize("algorithm", [A2C, PPO])
def test_replay_memory_of_on_policy_algorithms_is_nothing(algorithm: type[Any]) -> None:
    assert replay_memory(make_model(algorithm), 1000) == (0, 0)


def test_replay_memory_counts_what_a_short_run_writes() -> None:
    model = make_model(n_envs=4)
    for n_timesteps, n_transitions in ((999, 1000), (10_000, 10_000), (2_000_000, 1_000_000)):
        assert replay_memory(model, n_timesteps) == (n_transitions, 44 * n_transitions)


@pytest.mark.skipif(sys.platform != "linux", reason="pages on first write are Linux's way")
def test_memory_that_is_never_written_is_never_provided() -> None:
    process = psutil.Process()
    before = process.memory_info().rss
    buffer = ReplayBuffer(30_000, IMAGE, Discrete(4), "cpu")
    image, one = np.ones((1, *IMAGE.shape), np.uint8), np.ones(1)
    for _ in range(1000):
        buffer.add(image, image, one, one, one, [{}])
    growth = process.memory_info().rss - before
    model = make_model(DQN, IMAGE, Discrete(4), policy="CnnPolicy", buffer_size=30_000)
    n_transitions, n_bytes = replay_memory(model, 1000)
    assert (n_transitions, n_bytes) == (1000, 56_468_000)
    assert array_bytes(buffer) == 30 * n_bytes
    assert 0.8 * n_bytes < growth < 1.5 * n_bytes


def write(folder: Path, **values: str) -> None:
    """Write the files of a control group; `_` in a name stands for a dot."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in values.items():
        (folder / name.replace("_", ".", 1)).write_text(f"{text}\n")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a file system, on a machine with 10,000 bytes left."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=10_000))
    (tmp_path / "proc/self").mkdir(parents=True)
    return tmp_path


def test_available_memory_without_cgroups_is_the_machines(root: Path) -> None:
    assert available_memory(root) == 10_000


def test_available_memory_v2_is_the_least_up_the_hierarchy(root: Path) -> None:
    (root / "proc/self/cgroup").write_text("0::/job/step/task\n")
    top = root / "sys/fs/cgroup"
    write(top / "job", memory_max="9000", memory_current="2000", memory_stat="anon 2000")
    write(top / "job/step", memory_max="max", memory_current="100", memory_stat="anon 100")
    write(top / "job/step/task", memory_max="8000", memory_current="50", memory_stat="anon 50")
    assert available_memory(root) == 7000
    (top / "job/memory.max").write_text("max\n")
    assert available_memory(root) == 7950
    (top / "job/step/task/memory.max").write_text("max\n")
    assert available_memory(root) == 10_000


def test_available_memory_v2_cached_files_count_as_left(root: Path) -> None:
    (root / "proc/self/cgroup").write_text("0::/\n")  # a container that sees only its own group
    stat = "anon 300\nfile 5000\ninactive_file 3000\nactive_file 1500\nslab 12"
    write(root / "sys/fs/cgroup", memory_max="6000", memory_current="5300", memory_stat=stat)
    assert available_memory(root) == 6000 - (5300 - 3000 - 1500)


def test_available_memory_v2_path_of_the_host_in_a_container(root: Path) -> None:
    (root / "proc/self/cgroup").write_text("0::/docker/0a1b\n")
    write(root / "sys/fs/cgroup", memory_max="6000", memory_current="10", memory_stat="anon 10")
    assert available_memory(root) == 5990


def test_available_memory_over_the_limit_is_none(root: Path) -> None:
    (root / "proc/self/cgroup").write_text("0::/\n")
    write(root / "sys/fs/cgroup", memory_max="6000", memory_current="6100", memory_stat="anon 9")
    assert available_memory(root) == 0


def test_available_memory_of_this_machine_is_at_most_what_it_has() -> None:
    assert 0 < available_memory() <= psutil.virtual_memory().total


def test_workers_here_outside_of_a_worker_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(IN_WORKER, raising=False)
    assert workers_here() == (1, 0)


def test_workers_here_counts_siblings_and_what_they_hold(tmp_path: Path) -> None:
    processes: list[subprocess.Popen[bytes]] = []
    connections: list[Connection] = []

    def answer(*arguments: str) -> list[str]:
        process, connection = start_talking(
            "tests.training_tests.memory_worker", list(arguments), n_threads=1, log=log
        )
        processes.append(process)
        connections.append(connection)
        answered: list[str] = connection.recv().split()
        return answered

    with (tmp_path / "log").open("wb") as log:
        # A child of the same parent that is no worker.
        processes.append(subprocess.Popen(["sleep", "60"]))
        try:
            n_alone, held_alone = map(int, answer("count"))
            assert answer("hold", "200000000") == ["holding"]
            n_workers, held = map(int, answer("count"))
        finally:
            for process in processes:
                process.kill()
                process.wait()
            for connection in connections:
                connection.close()
    assert (n_alone, n_workers) == (1, 3)
    assert held_alone == 0
    assert held == pytest.approx(200_000_000, rel=0.1)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def have(available: int, n_workers: int = 1, held: int = 0) -> None:
        monkeypatch.setattr("sb3_hpo.training.memory.available_memory", lambda: available)
        monkeypatch.setattr("sb3_hpo.training.memory.workers_here", lambda: (n_workers, held))

    return have


@pytest.mark.filterwarnings("ignore:This system does not have apparently enough memory")
def test_memory_shortage_says_what_is_needed_and_how_to_repair_it(
    machine: Callable[..., None],
) -> None:
    machine(21_000_000_000, n_workers=2)
    model = make_model(DQN, IMAGE, Discrete(4), policy="CnnPolicy", buffer_size=500_000)
    assert memory_shortage(model, 10**7) == (
        "500,000 transitions in the replay buffer need 28.2 GB in each of 2 workers, but 21.0 GB "
        "are available; lower buffer_size (--fixed.buffer_size) or --n-workers"
    )
    machine(21_000_000_000)
    assert memory_shortage(model, 10**7) == (
        "500,000 transitions in the replay buffer need 28.2 GB, but 21.0 GB are available; "
        "lower buffer_size (--fixed.buffer_size)"
    )


def test_memory_shortage_begins_where_the_workers_together_need_more(
    machine: Callable[..., None],
) -> None:
    model = make_model(buffer_size=1000)  # 44,000 bytes
    for n_workers, available, held, fits in [
        (1, 44_000, 0, True),
        (1, 43_999, 0, False),
        (2, 87_999, 0, False),
        (2, 44_000, 44_000, True),  # the other worker has its buffer already
        (2, 43_999, 44_000, False),
    ]:
        machine(available, n_workers, held)
        assert (memory_shortage(model, 1000) is None) == fits


def test_memory_shortage_of_no_replay_buffer_is_none(machine: Callable[..., None]) -> None:
    machine(0)
    assert memory_shortage(make_model(PPO), 1000) is None


def sample_large_buffer(trial: Any) -> dict[str, Any]:
    return {"gamma": trial.suggest_float("gamma", 0.9, 0.99), "buffer_size": 10_000}


def test_trial_with_too_large_a_buffer_is_pruned_with_a_constraint(
    machine: Callable[..., None],
) -> None:
    machine(100_000)
    study = optuna.create_study(pruner=optuna.pruners.NopPruner())
    config = make_config({"algo": "sac", "env": "tests.support.envs:TargetEnv",
                          "n_timesteps": 10**6, "n_eval_episodes": 3})  # fmt: skip
    verdict = Objective(config, sample_large_buffer).run_trial(study.ask())
    assert (verdict.state, verdict.value) == (TrialState.PRUNED, None)
    (trial,) = study.trials
    assert trial.constraints == {"oom": 1.0}
    assert trial.user_attrs["outcome"] == "oom"
    assert trial.user_attrs["reason"].startswith(
        "10,000 transitions in the replay buffer need 0.00032 GB, but "
    )
    assert (verdict.record.n_steps, verdict.record.kwargs["buffer_size"]) == (0, 10_000)


def sample_huge_buffer(trial: Any) -> dict[str, Any]:
    return sample_large_buffer(trial) | {"buffer_size": 10**15}


def test_trial_whose_buffer_cannot_even_be_allocated_is_pruned_too() -> None:
    study = optuna.create_study(pruner=optuna.pruners.NopPruner())
    config = make_config({"algo": "sac", "env": "tests.support.envs:TargetEnv",
                          "n_timesteps": 10**15, "n_eval_episodes": 3})  # fmt: skip
    verdict = Objective(config, sample_huge_buffer).run_trial(study.ask())
    assert verdict.state is TrialState.PRUNED
    (trial,) = study.trials
    assert trial.constraints == {"oom": 1.0}
    assert "Unable to allocate" in trial.user_attrs["reason"]
