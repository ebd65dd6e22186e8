from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FixedTrial

from sb3_hpo.algorithms.kwargs import serialize_kwargs
from sb3_hpo.config.study_config import StudyConfig, make_config
from sb3_hpo.envs.problem import Problem
from sb3_hpo.spaces.bind import bind_space
from sb3_hpo.utils.errors import UserError
from tests.support.envs import KnownReturnEnv

if TYPE_CHECKING:
    from pathlib import Path

    from sb3_hpo.spaces.bound_space import BoundSpace

# In the style of Hydra's tutorial of its Optuna sweeper: 11 dimensions and a constant.
HYDRA_DDPG = """
defaults:
  - override hydra/sweeper: optuna
  - override hydra/sweeper/sampler: tpe

hydra:
  sweeper:
    sampler: {seed: 123}
    direction: minimize
    study_name: ddpg
    storage: null
    n_trials: 20
    n_jobs: 1
    params:
      algo.hyperparams.learning_rate: tag(log, interval(1e-5, 1e-2))
      algo.hyperparams.gamma: choice(0.9, 0.95, 0.98, 0.99)
      algo.hyperparams.tau: interval(0.001, 0.08)
      algo.hyperparams.batch_size: choice(64, 128, 256)
      algo.hyperparams.buffer_size: int(interval(10000, 50000))
      algo.hyperparams.learning_starts: range(100, 1000, step=100)
      algo.hyperparams.train_freq: choice(1, 4, 8)
      ++algo.hyperparams.gradient_steps: range(1, 4)
      +algo.hyperparams.noise_type: choice(normal, ornstein-uhlenbeck)
      +algo.hyperparams.noise_std: interval(0.05, 0.5)
      algo.hyperparams.policy_kwargs.net_arch: choice([64, 64], [256, 256], [400, 300])
      algo.hyperparams.policy_kwargs.activation_fn: relu
      ~wandb: null

algo:
  name: ddpg
  hyperparams: {learning_rate: 1e-3}
"""


def study(text: str, tmp_path: Path, **values: Any) -> StudyConfig:
    path = tmp_path / "space.yaml"
    path.write_text(text)
    return make_config({"algo": "ppo", "env": "Pendulum-v1", "space": str(path), **values})


def test_space_file_names_no_code_of_strangers(tmp_path: Path) -> None:
    strange = tmp_path / "evil.py"
    touch = f"__import__('pathlib').Path({str(tmp_path / 'mark')!r}).touch()"
    strange.write_text(f"{touch}\nfrom torch.nn import Tanh as Net\n")
    text = f"policy_kwargs.activation_fn: choice(relu, '{strange}:Net')"
    with pytest.raises(UserError, match=r"evil\.py:Net would be imported[^\n]* --trust"):
        study(text, tmp_path)
    with pytest.raises(UserError, match=r"torch:os\.system is no class"):
        study("policy_kwargs.activation_fn: 'torch:os.system'", tmp_path)
    assert not (tmp_path / "mark").exists()
    assert study(text, tmp_path, trust=True).space is not None
    named = study(text, tmp_path, score=f"{strange}:Net")
    assert named.space == study(text, tmp_path, trust=True).space


def bind(text: str, tmp_path: Path, **values: Any) -> BoundSpace:
    env = KnownReturnEnv("discrete" if values.get("algo") == "dqn" else "box")
    problem = Problem(env.observation_space, env.action_space)
    return bind_space(study(text, tmp_path, **values), problem)


def refusal(text: str, tmp_path: Path, **values: Any) -> str:
    with pytest.raises(UserError, match=r"^[^\n]+$") as caught:
        bind(text, tmp_path, **values)
    return str(caught.value)


def test_hydra_file_of_eleven_dimensions_is_sampled(tmp_path: Path) -> None:
    space = bind(HYDRA_DDPG, tmp_path, algo="ddpg", space_prefix=["algo.hyperparams."])
    assert space.dimensions == {
        "learning_rate": FloatDistribution(1e-5, 1e-2, log=True),
        "gamma": CategoricalDistribution([0.9, 0.95, 0.98, 0.99]),
        "tau": FloatDistribution(0.001, 0.08),
        "batch_size": CategoricalDistribution([64, 128, 256]),
        "buffer_size": IntDistribution(10_000, 50_000),
        "learning_starts": IntDistribution(100, 1000, step=100),
        "train_freq": CategoricalDistribution([1, 4, 8]),
        "gradient_steps": IntDistribution(1, 4),
        "noise_type": CategoricalDistribution(["normal", "ornstein-uhlenbeck"]),
        "noise_std": FloatDistribution(0.05, 0.5),
        "policy_kwargs.net_arch": CategoricalDistribution(
            ["[64, 64]", "[256, 256]", "[400, 300]"]
        ),
    }
    point = {
        "learning_rate": 1e-3, "gamma": 0.95, "tau": 0.01, "batch_size": 64, "buffer_size": 20_000,
        "learning_starts": 200, "train_freq": 4, "gradient_steps": 2, "noise_type": "normal",
        "noise_std": 0.25, "policy_kwargs.net_arch": "[400, 300]",
    }  # fmt: skip
    assert serialize_kwargs(space.sample(FixedTrial(point))) == {
        **{name: point[name] for name in list(point)[:8]},
        "policy_kwargs": {
            "net_arch": [400, 300],
            "activation_fn": {"$import": "torch.nn.modules.activation:ReLU"},
        },
        "action_noise": {
            "$call": "stable_baselines3.common.noise:NormalActionNoise",
            "mean": [0.0],
            "sigma": [0.25],
        },
    }
    assert space.default_params["buffer_size"] == 50_000  # the nearest to a million


@pytest.mark.parametrize(
    "text",
    [
        "hydra: {sweeper: {search_space: {n_epochs: {type: int, low: 1, high: 9, step: 2}}}}",
        "search_space: {n_epochs: {type: int, low: 1, high: 9, step: 2}}",
        "hydra.sweeper.params: {n_epochs: 'range(1, 9, 2)'}",
        "params: {n_epochs: 'range(1, 9, 2)'}\nn_trials: 9",
        "n_epochs: {low: 1, high: 9, step: 2}",
        "model: {hyper: {n_epochs: 'range(1, 9, 2)'}}",
    ],
)
def test_all_places_and_notations_mean_the_same(text: str, tmp_path: Path) -> None:
    config = study(text, tmp_path, space_prefix=["model.hyper"])
    assert config.space == {"n_epochs": {"low": 1, "high": 9, "step": 2}}


def test_space_s_contents_are_the_study_s_identity(tmp_path: Path) -> None:
    config = study("gamma: interval(0.9, 0.99)", tmp_path)
    (tmp_path / "space.yaml").unlink()
    assert make_config(config.plain()).identity() == config.identity()
    assert config.name() == study("gamma: {low: 0.9, high: 0.99}", tmp_path).name()
    assert config.name() != study("gamma: {low: 0.9, high: 0.98}", tmp_path).name()


def test_inline_space_is_read_as_a_file_is() -> None:
    config = make_config({"algo": "ppo", "env": "x", "space": {"gamma": "choice(0.9, 0.99)"}})
    assert config.space == {"gamma": {"choices": [0.9, 0.99]}}


def test_transformed_names_schedules_and_named_choices_become_arguments(tmp_path: Path) -> None:
    text = """
    one_minus_gamma: {low: 1e-3, high: 0.1, log: true}
    n_steps_pow: {low: 5, high: 8}
    learning_rate: lin_0.001
    policy_kwargs:
      net_arch: {choices: {small: [64, 64], split: {pi: [64], vf: [128]}}}
      activation_fn: choice(tanh, nn.GELU)
    """
    space = bind(text, tmp_path)
    point = {"one_minus_gamma": 0.01, "n_steps_pow": 6, "policy_kwargs.net_arch": "split",
             "policy_kwargs.activation_fn": "nn.GELU"}  # fmt: skip
    trial = FixedTrial(point)
    assert serialize_kwargs(space.sample(trial)) == {
        "gamma": 0.99,
        "n_steps": 64,
        "learning_rate": {
            "$call": "stable_baselines3.common.utils:LinearSchedule",
            "start": 0.001,
            "end": 0.0,
            "end_fraction": 1.0,
        },
        "policy_kwargs": {
            "net_arch": {"pi": [64], "vf": [128]},
            "activation_fn": {"$import": "torch.nn.modules.activation:GELU"},
        },
    }
    assert trial.user_attrs == {"gamma": 0.99, "n_steps": 64}
    assert space.default_params == {"one_minus_gamma": pytest.approx(0.01), "n_steps_pow": 8}


def test_overrides_work_on_a_space_file(tmp_path: Path) -> None:
    text = "learning_rate: interval(1e-4, 1e-2)\nn_epochs: range(1, 9)\ngamma: choice(0.9, 0.99)"
    space = bind(
        text, tmp_path, range={"n_epochs": [2, 20]}, drop=("gamma",), fixed={"clip_range": 0.3}
    )
    assert space.dimensions["n_epochs"] == IntDistribution(2, 20)
    kwargs = space.sample(FixedTrial({"learning_rate": 1e-3, "n_epochs": 20}))
    assert kwargs == {"learning_rate": 1e-3, "n_epochs": 20, "clip_range": 0.3}


def test_file_based_on_a_shipped_space_edits_it(tmp_path: Path) -> None:
    text = """
    based_on: ppo
    size: small
    learning_rate: {low: 1e-4, high: 1e-1, log: true}
    n_steps_pow: {low: 3, high: 8}
    activation_fn: relu
    """
    space = bind(text, tmp_path)
    assert space.dimensions == {
        "learning_rate": FloatDistribution(1e-4, 0.1, log=True),
        "n_steps_pow": IntDistribution(3, 8),
    }
    kwargs = space.sample(FixedTrial({"learning_rate": 0.05, "n_steps_pow": 7}))
    assert {"gamma", "batch_size"} & set(kwargs) == {"batch_size"}  # gamma is left to SB3
    assert kwargs["policy_kwargs"]["activation_fn"].__name__ == "ReLU"
    assert space.edited == {"learning_rate"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rat: interval(1e-5, 1e-2)",
         "learning_rat: unknown parameter 'learning_rat'; did you mean 'learning_rate'?"),
        ("policy_kwargs.net_ach: choice([64], [32])",
         "policy_kwargs.net_ach: unknown parameter 'policy_kwargs.net_ach'; did you mean 'policy"),
        ("gamma: {low: 0.99, high: 0.9}", "gamma: `low < high` must hold, but got (low=0.99, hi"),
        ("learning_rate: tag(log, interval(0, 1))", "learning_rate: `low > 0` must hold on a log"),
        ("gamma: interval(0.9, 1.2)", "gamma: must be between 0 and 1, but got 1.2"),
        ("one_minus_gamma: interval(-0.5, 0.5)", "one_minus_gamma: must be between 0 and 1"),
        ("n_steps_pow: choice(big, small)", "n_steps_pow: must be a number, but got 'big'"),
        ("learning_rate: choice(fast, slow)", "learning_rate: must be a number, or lin_<number>"),
        ("policy_kwargs.activation_fn: rellu",
         "policy_kwargs.activation_fn: unknown class 'rellu'; did you mean 'relu'?"),
        ("my.algo.gamma: 0.9", "names begin with 'my.algo': pass --space-prefix my.algo"),
        ("hydra: {sweeper: {n_trials: 9}}", "hydra.sweeper.params: must hold the search space"),
        ("hydra: {sweeper: {params: {a: 1}, custom_search_space: a.b}}",
         "custom_search_space: is Python: write it as a function of the trial"),
        ("", "has no parameters; write lines such as gamma: interval(0.9, 1)"),
    ],
)  # fmt: skip
def test_mistake_in_a_file_names_file_key_and_repair(
    text: str, message: str, tmp_path: Path
) -> None:
    assert refusal(text, tmp_path).startswith(f"space: {tmp_path / 'space.yaml'}: {message}")


@pytest.mark.parametrize(
    ("algo", "text", "message"),
    [
        ("ppo", "n_steps: range(8, 100000)", "space: n_steps: `n_steps * n_envs <= n_timesteps"),
        ("sac", "learning_starts: 99999", "space: learning_starts: `learning_starts < n_timeste"),
        (
            "td3",
            "noise_type: gauss\nnoise_std: 0.1",
            "space: noise_type: must be one of none",
        ),
        ("ppo", "based_on: sac", "space: based_on: must be the study's algorithm 'ppo', but got"),
        (
            "ppo",
            "based_on: ppo\nsize: ful",
            "space: size: unknown size 'ful'; did you",
        ),
        ("ppo", "based_on: ppo\ngama: 0.9", "space.gama: unknown parameter 'gama'; did you mean"),
    ],
)
def test_mistake_that_needs_the_problem_is_told_before_the_study(
    algo: str, text: str, message: str, tmp_path: Path
) -> None:
    assert refusal(text, tmp_path, algo=algo).startswith(message)


def test_noise_std_alone_is_refused(tmp_path: Path) -> None:
    text = refusal("noise_std: 0.1", tmp_path, algo="td3")
    assert text.endswith("noise_std: has no effect without noise_type: add that")


def test_all_mistakes_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    text = refusal("gamma: interval(1, 0)\nn_steps: ${n}\n", tmp_path, n_envs=0)
    for part in (
        "n_envs: Input should be greater",
        "gamma: `low < high`",
        "n_steps: '${n}' is to",
    ):
        assert part in text


def test_same_name_below_two_prefixes_is_refused(tmp_path: Path) -> None:
    text = refusal("a.gamma: 0.9\nb.gamma: 0.8", tmp_path, space_prefix=["a", "b."])
    assert text.endswith("space.yaml: b.gamma: gamma is there twice: remove one")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^space: cannot read .*no\.yaml: No such file"):
        make_config({"algo": "ppo", "env": "x", "space": str(tmp_path / "no.yaml")})


@pytest.mark.parametrize("algo", [3.5, None, ["ppo"]])
def test_space_file_says_nothing_of_another_option_s_mistake(algo: Any, tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text("gamma: interval(0.9, 0.99)\n")
    with pytest.raises(UserError, match=r"^algo: (?!.*space: )"):
        make_config({"algo": algo, "env": "Pendulum-v1", "space": str(path)})
