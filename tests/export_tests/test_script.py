from __future__ import annotations

import ast
import json
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import optuna
import pytest
import torch
import yaml
from stable_baselines3.common.noise import NormalActionNoise, OrnsteinUhlenbeckActionNoise
from stable_baselines3.common.utils import LinearSchedule

from samplers import SEARCH_SPACES, Size, SpaceContext
from samplers.schedules import CosineSchedule
from sb3_hpo.algorithms.kwargs import deserialize_kwargs, serialize_kwargs
from sb3_hpo.algorithms.registry import load_algorithm
from sb3_hpo.config.training_config import TrainingConfig
from sb3_hpo.export.python_source import Names, expression
from sb3_hpo.export.recipe import Recipe
from sb3_hpo.export.script import training_script
from sb3_hpo.export.zoo_entry import zoo_yaml
from sb3_hpo.training.hooks import RunRequest
from sb3_hpo.training.models import choose_policy
from sb3_hpo.training.train import train

REPOSITORY = Path(__file__).parents[2]
POINTS = [(algo, size, seed) for algo in SEARCH_SPACES for size in ("default", "full")
          for seed in range(4)]  # fmt: skip
NOISE = NormalActionNoise(np.zeros(1), np.full(1, 0.1))
SMALL = {"net_arch": [8]}
OFF_POLICY = {"learning_starts": 20, "batch_size": 16, "policy_kwargs": SMALL}
TINY: dict[str, dict[str, Any]] = {
    "a2c": {"n_steps": 8, "policy_kwargs": SMALL},
    "ars": {"n_delta": 2, "n_top": 1, "policy_kwargs": SMALL},
    "crossq": OFF_POLICY,
    "ddpg": {**OFF_POLICY, "action_noise": NOISE},
    "dqn": {**OFF_POLICY, "train_freq": 4},
    "maskable_ppo": {"n_steps": 16, "batch_size": 16, "policy_kwargs": SMALL},
    "ppo": {"n_steps": 16, "batch_size": 16, "gamma": 0.9, "policy_kwargs": SMALL},
    "qrdqn": {**OFF_POLICY, "train_freq": 4},
    "recurrent_ppo": {"n_steps": 16, "batch_size": 16, "policy_kwargs": {"lstm_hidden_size": 8}},
    "sac": OFF_POLICY,
    "td3": {**OFF_POLICY, "train_freq": (1, "episode")},
    "tqc": OFF_POLICY,
    "trpo": {"n_steps": 16, "batch_size": 16, "policy_kwargs": SMALL},
}
DISCRETE = ("dqn", "maskable_ppo", "qrdqn")
OWN_ENVS = """
import gymnasium as gym


class Light(gym.Wrapper):
    def __init__(self, g=3.0):
        super().__init__(gym.make("Pendulum-v1", g=g, max_episode_steps=5))


class Tenth(gym.RewardWrapper):
    def reward(self, reward):
        return float(reward) / 10


def make_env(**kwargs):
    return Light(**kwargs)


gym.register("Own{module}-v0", entry_point=Light, max_episode_steps=5)
"""


def recipe(algo: str = "ppo", kwargs: Any = None, **values: Any) -> Recipe:
    env = "CartPole-v1" if algo in DISCRETE else "Pendulum-v1"
    config = TrainingConfig.model_validate({"algo": algo, "env": env, **values})
    return Recipe(
        config=config, kwargs=serialize_kwargs(kwargs or {}), root_seed=0, study="s", trial=0
    )


def sampled(algo: str, size: Size, seed: int) -> Recipe:
    empty = recipe(algo)
    env = gym.make(empty.config.env)
    context = SpaceContext(
        n_envs=empty.config.n_envs,
        n_timesteps=empty.config.n_timesteps,
        action_space=env.action_space,
        observation_space=env.observation_space,
    )
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed)).ask()
    return recipe(algo, SEARCH_SPACES[algo].sample(trial, context=context, size=size))


def tiny(algo: str, **values: Any) -> Recipe:
    """A recipe that trains in a moment, in an environment with episodes of ten steps."""
    env = "MaskedEnv" if algo == "maskable_ppo" else "TargetEnv"
    kwargs: dict[str, Any] = {"env": f"tests.support.envs:{env}"}
    if algo in ("dqn", "qrdqn"):
        kwargs["env_kwargs"] = {"action": "discrete"}
    kwargs |= {"n_timesteps": 64, "n_envs": 2, **values}
    if TINY[algo].get("train_freq") == (1, "episode"):
        kwargs["n_envs"] = 1  # SB3 allows no other
    kwargs = {"n_evaluations": 1, "n_eval_episodes": 2, "n_eval_envs": 20, **kwargs}
    return recipe(algo, TINY[algo], **kwargs)


def policy(recipe_: Recipe) -> str:
    if recipe_.config.algo not in SEARCH_SPACES:
        return "MlpPolicy"
    return choose_policy(load_algorithm(recipe_.config.algo), gym.spaces.Box(-1, 1, (2,)))


def script(recipe_: Recipe) -> str:
    return training_script(recipe_, policy(recipe_), "cpu")


def zoo(recipe_: Recipe) -> tuple[list[str], Any]:
    text = zoo_yaml(recipe_, policy(recipe_), "cpu")
    return [line for line in text.splitlines() if line.startswith("#")], yaml.safe_load(text)


def model_kwargs(text: str) -> dict[str, Any]:
    """Evaluate what a script hands to the algorithm, without training."""
    tree = ast.parse(text)
    namespace: dict[str, Any] = {}
    imports: list[ast.stmt] = [
        node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    exec(compile(ast.Module(imports, []), "script", "exec"), namespace)
    (call,) = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "model"
    ]
    assert isinstance(call, ast.Call)
    return {
        str(keyword.arg): eval(ast.unparse(keyword.value), namespace)
        for keyword in call.keywords
        if keyword.arg != "seed"
    }


def run_script(
    recipe_: Recipe, folder: Path, monkeypatch: pytest.MonkeyPatch, seed: int = 5
) -> dict[str, Any]:
    """Run a script in this process, from an otherwise empty folder."""
    folder.mkdir()
    (folder / "train_best.py").write_text(script(recipe_))
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", ["train_best.py", str(seed)])
    return runpy.run_path("train_best.py", run_name="__main__")


def trained_weights(recipe_: Recipe, seed: int = 5) -> dict[str, torch.Tensor]:
    (run,) = train(recipe_.config, [RunRequest(recipe_.build_kwargs(), seed)], (1, 2))
    assert run.model is not None
    return dict(run.model.policy.state_dict())


def assert_same_weights(path: Path, recipe_: Recipe) -> None:
    model = load_algorithm(recipe_.config.algo).load(path, device="cpu")
    loaded, expected = model.policy.state_dict(), trained_weights(recipe_)
    assert loaded.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(loaded[name], value), name


def write_own_envs(folder: Path, module: str) -> Path:
    path = folder / f"{module}.py"
    path.write_text(OWN_ENVS.replace("{module}", module.title().replace("-", "")))
    return path


def test_script_reads_as_a_person_writes_it() -> None:
    noise = NormalActionNoise(np.zeros(1), np.full(1, 0.5))
    kwargs = {
        "learning_rate": 0.001,
        "buffer_size": 20_000,
        "action_noise": noise,
        "train_freq": (1, "episode"),
        "gamma": 0.95,
        "policy_kwargs": {"activation_fn": torch.nn.ReLU, "net_arch": [64, 64]},
    }
    winner = Recipe(
        config=recipe("td3", normalize=True).config,
        kwargs=serialize_kwargs(kwargs),
        root_seed=0,
        study="s",
        trial=0,
        versions={"torch": "2.13.0"},
        reevaluated={"iqm": -183.222, "iqm_interval": [-201.0, -170.04], "n_seeds": 10},
    )
    assert (
        script(winner)
        == """\
# TD3 on Pendulum-v1, trial 0 of study s
# Re-evaluated on 10 fresh training seeds: IQM -183.2, 95 % interval -201.0 to -170.0
# Trained with torch 2.13.0
# Usage: python train_best.py [seed]
import sys

import gymnasium as gym
import torch
from numpy import array
from stable_baselines3 import TD3
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.vec_env import VecNormalize
from torch.nn import ReLU

seed = int(sys.argv[1]) if len(sys.argv) > 1 else 0
torch.set_num_threads(1)  # results depend on it


def make_env():
    return gym.make("Pendulum-v1")


if __name__ == "__main__":
    env = make_vec_env(make_env, n_envs=1)
    env = VecNormalize(env, gamma=0.95)
    model = TD3(
        "MlpPolicy",
        env,
        learning_rate=0.001,
        buffer_size=20000,
        action_noise=NormalActionNoise(mean=array([0.0]), sigma=array([0.5])),
        train_freq=(1, "episode"),
        gamma=0.95,
        policy_kwargs={"activation_fn": ReLU, "net_arch": [64, 64]},
        seed=seed,
        device="cpu",
    )
    model.learn(10000)
    model.save("trained_model")

    env.save("trained_vecnormalize.pkl")
    eval_env = make_vec_env(make_env, n_envs=20, seed=1000 * (seed + 1))
    eval_env = VecNormalize.load("trained_vecnormalize.pkl", eval_env)
    eval_env.training = False
    eval_env.norm_reward = False
    mean, std = evaluate_policy(model, eval_env, n_eval_episodes=100, deterministic=True)
    print(f"seed {seed}:", "return", f"{mean:.2f} +- {std:.2f} over 100 episodes")
"""
    )


@pytest.mark.parametrize(("algo", "size", "seed"), POINTS)
def test_script_kwargs_are_the_recipe(algo: str, size: Size, seed: int) -> None:
    point = sampled(algo, size, seed)
    kwargs = model_kwargs(script(point))
    assert kwargs.pop("device") == "cpu"
    assert serialize_kwargs(kwargs) == point.kwargs


def test_scripts_name_nothing_that_is_not_there(tmp_path: Path) -> None:
    recipes = [sampled(*point) for point in POINTS]  # type: ignore[arg-type]
    recipes += [tiny("ppo", wrapper=["tests.support.envs:DoubleReward"], metric="is_success")]
    recipes += [tiny("ppo", vec_env="subproc", normalize=True, n_eval_envs=0)]
    recipes += [tiny("ppo", callbacks=["tests.support.callbacks:Counts", "mine.py:Log"])]
    for number, item in enumerate(recipes):
        (tmp_path / f"script_{number}.py").write_text(script(item))
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--select", "F", "--ignore", "F401",
         "--isolated", "--no-cache", str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ((), "()"),
        ((1,), "(1,)"),
        ({"betas": (0.9, 0.999), "names": ["a", None, True]},
         '{"betas": (0.9, 0.999), "names": ["a", None, True]}'),
        ({"with space": float("inf")}, '{"with space": float("inf")}'),
        ('a "b" \\ \n', '"a \\"b\\" \\\\ \\n"'),
        ({"optimizer_class": torch.optim.Adam}, '{"optimizer_class": torch.optim.adam:Adam}'),
        (LinearSchedule(0.5, 0.0, 1.0),
         "stable_baselines3.common.utils:LinearSchedule(start=0.5, end=0.0, end_fraction=1.0)"),
    ],
)  # fmt: skip
def test_expression_is_python(value: Any, written: str) -> None:
    assert expression(serialize_kwargs(value), str) == written


def test_equal_names_of_different_modules_are_kept_apart() -> None:
    names = Names(["model"])
    assert [names.name(name) for name in ("a.b:C", "c:C.D", "a.b:C", "d:model", "e-f:g")] == [
        "C", 'import_module("c").C.D', "C", 'import_module("d").model', 'import_module("e-f").g',
    ]  # fmt: skip
    assert names.imports() == "from a.b import C\nfrom importlib import import_module"


@pytest.mark.parametrize("algo", TINY)
def test_script_trains_the_same_policy_as_training(
    algo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    item = tiny(algo)
    run_script(item, tmp_path / "empty", monkeypatch)
    assert_same_weights(tmp_path / "empty" / "trained_model.zip", item)
    assert re.match(r"seed 5: return -?\d", capsys.readouterr().out)


@pytest.mark.parametrize("schedule", [CosineSchedule(0.003), LinearSchedule(0.003, 0.0, 1.0)])
def test_script_with_a_schedule_trains_the_same_policy_without_this_package(
    schedule: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = recipe(
        "ppo", {**TINY["ppo"], "learning_rate": schedule}, env="tests.support.envs:TargetEnv",
        n_timesteps=64, n_envs=2, n_evaluations=1, n_eval_episodes=2, n_eval_envs=20,
    )  # fmt: skip
    run_script(item, tmp_path / "empty", monkeypatch)
    assert_same_weights(tmp_path / "empty" / "trained_model.zip", item)
    assert "sb3_hpo" not in script(item)
    assert "samplers" not in script(item)


def test_script_stacks_frames_as_training_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = tiny("ppo", frame_stack=3, normalize=True)
    names = run_script(item, tmp_path / "empty", monkeypatch)
    assert_same_weights(tmp_path / "empty" / "trained_model.zip", item)
    assert names["eval_env"].observation_space.shape == (6,)


def test_zoo_says_a_schedule_in_its_own_word_or_that_it_cannot() -> None:
    _, entry = zoo(
        recipe("ppo", {"learning_rate": LinearSchedule(0.003, 0.0, 1.0)}, frame_stack=2)
    )
    assert entry["Pendulum-v1"]["learning_rate"] == "lin_0.003"
    assert entry["Pendulum-v1"]["frame_stack"] == 2
    comments, entry = zoo(recipe("ppo", {"learning_rate": CosineSchedule(0.003)}))
    assert "learning_rate" not in entry["Pendulum-v1"]
    assert any("cannot read learning_rate=" in line for line in comments)


def test_zoo_knows_recurrent_ppo_by_another_name() -> None:
    comments, entry = zoo(recipe("recurrent_ppo"))
    assert "rl_zoo3.train --algo ppo_lstm " in comments[-1]
    assert entry["Pendulum-v1"]["policy"] == "MlpLstmPolicy"


def test_script_normalises_as_training_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = tiny("ppo", normalize=True, wrapper=["tests.support.envs:DoubleReward"])
    names = run_script(item, tmp_path / "empty", monkeypatch)
    assert_same_weights(tmp_path / "empty" / "trained_model.zip", item)
    assert (tmp_path / "empty" / "trained_vecnormalize.pkl").stat().st_size > 0
    assert names["env"].gamma == 0.9
    assert (names["env"].training, names["env"].norm_reward) == (True, True)
    assert (names["eval_env"].training, names["eval_env"].norm_reward) == (False, False)
    assert (names["eval_env"].obs_rms.mean == names["env"].obs_rms.mean).all()


def test_script_returns_are_raw_and_behind_the_wrappers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = tiny("ppo", normalize=True, env="tests.support.envs:KnownReturnEnv")
    doubled = tiny(
        "ppo",
        normalize=True,
        env="tests.support.envs:KnownReturnEnv",
        wrapper=["tests.support.envs:DoubleReward"],
    )
    single = run_script(plain, tmp_path / "a", monkeypatch)["mean"]
    assert run_script(doubled, tmp_path / "b", monkeypatch)["mean"] == pytest.approx(2 * single)
    assert 3.5 < single < 6.5  # the mean of 100 starts in [0, 1], paid ten times


def test_script_evaluates_the_metric(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    item = tiny("ppo", env="tests.support.envs:KnownReturnEnv", metric="is_success")
    names = run_script(item, tmp_path / "a", monkeypatch)
    assert len(names["values"]) == 100
    assert set(names["values"]) == {0.0, 1.0}
    assert capsys.readouterr().out == (
        f"seed 5: is_success {names['mean']:.2f} +- {names['std']:.2f} over 100 episodes\n"
    )


def test_script_with_one_possible_environment_evaluates_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = run_script(tiny("ppo", n_eval_envs=0, normalize=True), tmp_path / "a", monkeypatch)
    assert names["eval_env"] is names["env"]
    assert (names["env"].training, names["env"].norm_reward) == (False, False)


@pytest.mark.parametrize(
    ("env", "wrapper"),
    [
        ("{module}:Light", []),
        ("{module}:Own{title}-v0", []),
        ("{module}.py:Own{title}-v0", ["{module}.py:Tenth"]),
        ("{path}:make_env", ["{path}:Tenth", "gymnasium.wrappers:NormalizeReward"]),
    ],
)
def test_script_finds_the_users_environment_from_elsewhere(
    env: str,
    wrapper: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = tmp_path.name  # another one for each case: modules are imported once
    path = write_own_envs(tmp_path, module)
    monkeypatch.chdir(tmp_path)
    words = {"module": module, "title": module.title(), "path": str(path)}
    item = tiny(
        "ppo",
        env=env.format(**words),
        wrapper=[name.format(**words) for name in wrapper],
        env_kwargs={"g": 4.0},
    )
    names = run_script(item, tmp_path / "empty", monkeypatch)
    assert names["env"].get_attr("unwrapped")[0].g == 4.0
    kinds = [str(names["env"].envs[0]), str(names["eval_env"].envs[0])]
    assert all(kind.startswith("<Monitor<") for kind in kinds)  # Monitor is outermost
    assert all(("Tenth" in kind) == bool(wrapper) for kind in kinds)


@pytest.mark.parametrize("name", ["make_env", "Own{title}-v0"])
def test_script_loads_a_file_whose_name_cannot_be_imported(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = f"{tmp_path.name}-x"
    path = write_own_envs(tmp_path, module)
    env = f"{path}:{name.format(title=module.title().replace('-', ''))}"
    names = run_script(tiny("ppo", env=env), tmp_path / "empty", monkeypatch)
    assert names["env"].get_attr("unwrapped")[0].g == 3.0


def test_script_of_sb3_defaults_passes_nothing() -> None:
    assert model_kwargs(script(recipe("a2c"))) == {"device": "cpu"}


def test_script_takes_policy_device_and_threads() -> None:
    text = training_script(recipe("ppo", n_threads=3), "CnnPolicy", "auto")
    lines = [
        '        "CnnPolicy",',
        "        env,",
        "        seed=seed,",
        '        device="auto",',
    ]
    assert "\n".join(["    model = PPO(", *lines, "    )"]) in text
    assert "torch.set_num_threads(3)" in text


def test_script_evaluates_stochastically_if_the_study_did() -> None:
    assert "deterministic=False" in script(recipe("ppo", stochastic_eval=True))


def test_script_of_ones_own_algorithm_normalises_with_its_default_gamma() -> None:
    item = recipe(algo="tests.export_tests.test_script:Impatient", normalize=True)
    assert "from tests.export_tests.test_script import Impatient" in script(item)
    assert "VecNormalize(env, gamma=0.5)" in script(item)


class Impatient:
    def __init__(self, policy: str, env: Any, gamma: float = 0.5) -> None: ...


def test_zoo_entry_is_complete() -> None:
    noise = NormalActionNoise(np.zeros(2), np.full(2, 0.25))
    kwargs = {
        "learning_rate": 1e-05,
        "action_noise": noise,
        "train_freq": (1, "episode"),
        "policy_kwargs": {"activation_fn": torch.nn.ReLU, "net_arch": {"pi": [8], "qf": [8]}},
    }
    comments, entry = zoo(recipe("td3", kwargs, normalize=True))
    assert comments == [
        "# TD3 on Pendulum-v1, trial 0 of study s",
        (
            "# python -m rl_zoo3.train --algo td3 --env Pendulum-v1 --conf-file zoo.yml --seed 0 "
            "--num-threads 1 --device cpu"
        ),
    ]
    assert entry == {
        "Pendulum-v1": {
            "n_timesteps": 10_000,
            "n_envs": 1,
            "policy": "MlpPolicy",
            "normalize": True,
            "learning_rate": 1e-05,
            "noise_type": "normal",
            "noise_std": 0.25,
            "train_freq": [1, "episode"],
            "policy_kwargs": '{"activation_fn": nn.ReLU, "net_arch": {"pi": [8], "qf": [8]}}',
        }
    }


@pytest.mark.parametrize(
    ("values", "kwargs", "comment", "left_out"),
    [
        ({"metric": "is_success"}, {}, "RL Zoo cannot evaluate 'is_success'", None),
        ({"stochastic_eval": True}, {}, "RL Zoo cannot be told to evaluate sampled", None),
        (
            {"wrapper": ["tests.support.envs:DoubleReward"]},
            {},
            "RL Zoo cannot put Monitor around",
            None,
        ),
        ({"env": "a.b:make"}, {}, "register a.b:make as make-v0 in a module", None),
        (
            {"callbacks": [{"a.b:Log": {"f": deserialize_kwargs}}]},
            {},
            "RL Zoo cannot read the callback a.b:Log {'f'",
            "callback",
        ),
        (
            {"env_kwargs": {"f": deserialize_kwargs}},
            {},
            "RL Zoo cannot read env_kwargs {'f'",
            "env_kwargs",
        ),
        (
            {},
            {"learning_rate": deserialize_kwargs},
            "RL Zoo cannot read learning_rate=",
            "learning_rate",
        ),
        (
            {},
            {"action_noise": NormalActionNoise(np.zeros(2), np.array([0.1, 0.2]))},
            "RL Zoo cannot read action_noise=",
            "noise_type",
        ),
        (
            {},
            {"action_noise": OrnsteinUhlenbeckActionNoise(np.zeros(1), np.ones(1), theta=0.3)},
            "RL Zoo cannot read action_noise=",
            "noise_type",
        ),
    ],
)
def test_zoo_says_what_it_cannot_do(
    values: dict[str, Any], kwargs: dict[str, Any], comment: str, left_out: str | None
) -> None:
    comments, entry = zoo(recipe("td3", kwargs, **values))
    assert comment in " ".join(line.lstrip("# ") for line in comments)
    (content,) = entry.values()
    assert left_out not in content


OWN_CALLBACKS = """
from pathlib import Path

from stable_baselines3.common.callbacks import BaseCallback


class Shrinks(BaseCallback):
    def __init__(self, by=0.5, log="steps.txt"):
        super().__init__()
        self.by, self.log = by, log

    def _on_rollout_start(self):
        self.model.policy.log_std.data *= self.by

    def _on_step(self):
        with Path(self.log).open("a") as file:
            print(self.num_timesteps, file=file)
        return True
"""


def test_script_trains_with_the_callbacks_of_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_callbacks.py").write_text(OWN_CALLBACKS)
    name, plain = f"{tmp_path}/own_callbacks.py:Shrinks", tiny("ppo")
    item = tiny("ppo", callbacks=[{name: {"by": 0.9}}])
    run_script(item, tmp_path / "empty", monkeypatch)
    assert (tmp_path / "empty" / "steps.txt").read_text().split() == [
        str(step) for step in range(2, 65, 2)
    ]
    text = (tmp_path / "empty" / "train_best.py").read_text()
    assert "model.learn(64, callback=[Shrinks(by=0.9)])\n" in text
    assert "from own_callbacks import Shrinks\n" in text
    assert_same_weights(tmp_path / "empty" / "trained_model.zip", item)
    with pytest.raises(AssertionError):
        assert_same_weights(tmp_path / "empty" / "trained_model.zip", plain)


def test_zoo_names_the_callbacks_with_their_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(OWN_CALLBACKS)
    monkeypatch.chdir(tmp_path)
    comments, entry = zoo(recipe(callbacks=["a.b:Log", {"mine.py:Shrinks": {"by": 0.9}}]))
    callback = ["a.b.Log", {"mine.Shrinks": {"by": 0.9}}]
    assert entry["Pendulum-v1"]["callback"] == callback
    assert comments[-1].startswith(f"# PYTHONPATH={tmp_path} python -m rl_zoo3.train")
    from rl_zoo3.utils import get_callback_list

    monkeypatch.syspath_prepend(tmp_path)
    (made,) = get_callback_list({"callback": callback[1:]})
    assert (type(made).__name__, vars(made)["by"]) == ("Shrinks", 0.9)


def test_zoo_environment_of_a_module_needs_flags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_own_envs(tmp_path, "mine")
    monkeypatch.chdir(tmp_path)
    comments, entry = zoo(
        recipe(env="mine:OwnMine-v0", env_kwargs={"g": 4.0}, vec_env="subproc", n_envs=2)
    )
    assert comments[-1] == (
        f"# PYTHONPATH={tmp_path} python -m rl_zoo3.train --algo ppo --env OwnMine-v0 "
        "--conf-file zoo.yml --seed 0 --num-threads 1 --device cpu --gym-packages mine "
        "--eval-env-kwargs g:4.0 --vec-env subproc"
    )
    assert entry["OwnMine-v0"]["env_kwargs"] == {"g": 4.0}


ZOO_READER = """
import json, sys
from argparse import Namespace

import gymnasium as gym
from rl_zoo3.exp_manager import ExperimentManager
from stable_baselines3.common.utils import ConstantSchedule, LinearSchedule

from sb3_hpo.algorithms.kwargs import serialize_kwargs

read = []
for algo, env_id, path in json.load(open("entries.json")):
    manager = ExperimentManager(Namespace(), algo, env_id, "logs", config=path, verbose=0)
    values, saved = manager.read_hyperparameters()
    kwargs, *_ = manager._preprocess_hyperparams(values)
    kwargs = manager._preprocess_action_noise(kwargs, saved, gym.make(env_id))
    for key, value in kwargs.items():
        if isinstance(value, ConstantSchedule):
            kwargs[key] = value.val
        elif type(value).__name__ == "SimpleLinearSchedule":
            kwargs[key] = LinearSchedule(value.initial_value, 0.0, 1.0)
    settings = [manager.n_timesteps, manager.n_envs, kwargs.pop("policy")]
    read.append({"settings": settings, "kwargs": serialize_kwargs(kwargs)})
json.dump(read, open("read.json", "w"))
"""


@pytest.mark.slow
def test_zoo_reads_every_sampled_point_as_it_is(tmp_path: Path) -> None:
    points = [point for point in POINTS if point[0] != "maskable_ppo"]  # not one of RL Zoo's
    recipes = [sampled(*point) for point in points]  # type: ignore[arg-type]
    entries = []
    for number, item in enumerate(recipes):
        path = tmp_path / f"{number}.yml"
        path.write_text(zoo_yaml(item, policy(item), "cpu"))
        algo = {"recurrent_ppo": "ppo_lstm"}.get(item.config.algo, item.config.algo)
        entries.append([algo, item.config.env, str(path)])
    (tmp_path / "entries.json").write_text(json.dumps(entries))
    # A process of its own: RL Zoo replaces Gymnasium's TimeLimit when it is imported.
    subprocess.run([sys.executable, "-c", ZOO_READER], cwd=tmp_path, check=True)
    read = json.loads((tmp_path / "read.json").read_text())
    for item, found in zip(recipes, read, strict=True):
        config = item.config
        assert found["settings"] == [config.n_timesteps, config.n_envs, policy(item)]
        # RL Zoo has no cosine schedules: its entry leaves them out and says so.
        cosine = {key for key, value in item.kwargs.items() if "Cosine" in str(value)}
        assert found["kwargs"] == {k: v for k, v in item.kwargs.items() if k not in cosine}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("algo", "normalize"), [("ppo", True), ("ppo", False), ("ddpg", False), ("td3", True)]
)
def test_zoo_trains_the_same_policy_as_training(
    algo: str, normalize: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)  # where the wrapper's module is found
    item = tiny(
        algo,
        env="Pendulum-v1",
        env_kwargs={"g": 4.0},
        wrapper=["tests.support.envs:DoubleReward"],
        n_timesteps=600,
        normalize=normalize,
    )
    (tmp_path / "zoo.yml").write_text(zoo_yaml(item, "MlpPolicy", "cpu"))
    comments, _ = zoo(item)
    command = comments[-1].lstrip("# ").replace("--seed 0", "--seed 5")
    command = command.replace(" python ", f" {sys.executable} ")
    subprocess.run(command, shell=True, cwd=tmp_path, check=True)
    folder = tmp_path / "logs" / algo / "Pendulum-v1_1"
    assert_same_weights(folder / "Pendulum-v1.zip", item)
    assert (folder / "Pendulum-v1" / "vecnormalize.pkl").exists() == normalize


@pytest.mark.slow
@pytest.mark.parametrize("algo", ["ppo", "sac"])
def test_script_runs_from_an_empty_folder(algo: str, tmp_path: Path) -> None:
    item = sampled(algo, "full", 1)
    config = item.config.model_copy(update={"n_timesteps": 600})
    kwargs = item.kwargs
    if algo == "sac":  # SB3 warns when it loads a model that was trained with n-step returns
        kwargs = {**kwargs, "learning_starts": 100, "n_steps": 1}
    item = Recipe(config=config, kwargs=kwargs, root_seed=0)
    (tmp_path / "train_best.py").write_text(script(item))
    done = subprocess.run(
        [sys.executable, "train_best.py", "5"],
        cwd=tmp_path, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.startswith("seed 5: return -")
    assert "over 100 episodes" in done.stdout
    assert_same_weights(tmp_path / "trained_model.zip", item)


@pytest.mark.slow
def test_script_with_environments_in_processes_runs(tmp_path: Path) -> None:
    path = write_own_envs(tmp_path, "mine")
    item = tiny("ppo", env=f"{path}:make_env", wrapper=[f"{path}:Tenth"], vec_env="subproc")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "train_best.py").write_text(script(item))
    done = subprocess.run(
        [sys.executable, "train_best.py"],
        cwd=tmp_path / "empty", check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.startswith("seed 0: return -")
    assert done.stderr == ""
    assert {file.name for file in (tmp_path / "empty").iterdir()} == {
        "train_best.py",
        "trained_model.zip",
    }
