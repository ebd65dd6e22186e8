from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from optuna.trial import FixedTrial
from rich.console import Console

from sb3_hpo.config.study_config import make_config
from sb3_hpo.envs.problem import Problem
from sb3_hpo.spaces.__main__ import main, space_table, space_yaml
from sb3_hpo.spaces.bind import bind_space
from sb3_hpo.spaces.bound_space import SIZES, BoundSpace
from tests.support.envs import KnownReturnEnv

if TYPE_CHECKING:
    from pathlib import Path


def bind(algo: str, **values: Any) -> BoundSpace:
    env = KnownReturnEnv()
    config = make_config({"algo": algo, "env": "Pendulum-v1", **values})
    return bind_space(config, Problem(env.observation_space, env.action_space))


def rows(algo: str, size: str) -> dict[str, list[str]]:
    """Return the table's cells by the name in the first one."""
    table = space_table({name: bind(algo, space_size=name) for name in SIZES}, size)
    text = io.StringIO()
    Console(file=text, width=250).print(table)
    lines = [line.strip("│\n").split("│") for line in text.getvalue().splitlines() if "│" in line]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in lines}


def test_table_says_what_each_dimension_is() -> None:
    table = rows("ppo", "default")
    assert table["learning_rate"][:5] == ["float", "1e-05 to 0.003", "log", "0.0003", "small"]
    assert table["n_steps_pow"][:5] == ["int", "3 to 8", "n_steps = 2^x", "8", "small"]
    assert table["net_arch"][:5] == ["choice", "tiny, small, medium", "", "small", "default"]
    assert table["vf_coef"][:5] == ["float", "0.1 to 1", "linear", "0.5", "full"]
    assert table["one_minus_gamma"][2] == "log, gamma = 1 - x"
    assert table["use_sde"][1] == "false, true"
    assert table["max_grad_norm"][5] == "Optuna's example; Zoo stops at 2 and misses a tuned 5"


def test_table_has_the_ranges_of_the_size_asked_for() -> None:
    assert rows("ppo", "default")["activation_fn"][1] == "tanh, relu"
    assert rows("ppo", "full")["activation_fn"][1] == "tanh, relu, elu, gelu"


@pytest.mark.parametrize("algo", ["ppo", "sac", "td3"])
@pytest.mark.parametrize("size", SIZES)
def test_yaml_unchanged_is_the_same_space(algo: str, size: str, tmp_path: Path) -> None:
    space = bind(algo, space_size=size)
    path = tmp_path / "space.yaml"
    path.write_text(space_yaml(space, size))
    again = bind(algo, space=str(path))
    assert again.dimensions == space.dimensions
    assert (again.default_params, again.first_points) == (space.default_params, space.first_points)
    assert again.edited == frozenset()


def test_yaml_of_a_dimension_with_one_value_has_that_value(tmp_path: Path) -> None:
    tiny = {"n_timesteps": 600, "n_envs": 1, "n_evaluations": 10}
    space = bind("ppo", **tiny)
    text = space_yaml(space, "default")
    (name,) = [line.partition(":")[0] for line in text.splitlines() if line == "n_steps_pow: 5"]
    path = tmp_path / "space.yaml"
    path.write_text(text)
    again = bind("ppo", space=str(path), **tiny)
    assert space.dimensions.keys() - again.dimensions.keys() == {name}


def test_yaml_edited_is_another_space(tmp_path: Path) -> None:
    lines = space_yaml(bind("ppo"), "default").splitlines()
    assert lines[2:5] == [
        "based_on: ppo",
        "size: default",
        "learning_rate: {low: 1.0e-05, high: 0.003, log: true}",
    ]
    lines[4] = "learning_rate: 1e-3"
    path = tmp_path / "space.yaml"
    path.write_text("\n".join(line for line in lines if not line.startswith("clip_range")))
    space = bind("ppo", space=str(path))
    # The rate that is fixed is where a schedule starts, since that has its line too.
    assert set(bind("ppo").dimensions) - set(space.dimensions) == {"learning_rate", "clip_range"}
    assert space.sample(FixedTrial(space.default_params))["learning_rate"] == 1e-3


def test_command_prints_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["dqn", "--size", "small", "--n-timesteps", "20000", "--n-envs", "2"]
    assert main(argv) == 0
    text = capsys.readouterr().out
    assert text.startswith("dqn on CartPole-v1: 20,000 steps, 2 environments")
    assert "target_update_interval" in text


def test_command_prints_yaml(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["a2c", "--env", "tests.support.envs:KnownReturnEnv", "--yaml"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(
        "# For tests.support.envs:KnownReturnEnv, 40,000 steps, 8 environments. Use it"
    )
    assert "\nn_steps: {low: 4, high: 256, log: true}\n" in text


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["pppo"], "error: algo: unknown algorithm 'pppo'; did you mean 'ppo'?"),
        (["ppo", "--n-envs", "0"], "error: n_envs: Input should be greater than 0, but got '0'"),
        (["ppo", "--n-timesteps", "10"], "error: n_timesteps: `n_timesteps >= n_evaluations"),
    ],
)
def test_command_tells_a_mistake_in_one_line(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert error.startswith(message)
    assert error.count("\n") == 1
