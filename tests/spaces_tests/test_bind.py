from __future__ import annotations

from typing import TYPE_CHECKING, Any

import optuna
import pytest
from optuna.trial import FixedTrial

import samplers
import sb3_hpo
from sb3_hpo.algorithms.kwargs import serialize_kwargs
from sb3_hpo.config.study_config import make_config
from sb3_hpo.envs.problem import Problem
from sb3_hpo.spaces.bind import bind_space
from sb3_hpo.spaces.points import draw_at
from sb3_hpo.utils.errors import UserError
from tests.support.envs import KnownReturnEnv

if TYPE_CHECKING:
    from sb3_hpo.spaces.bound_space import BoundSpace


def bind(algo: str = "ppo", **values: Any) -> BoundSpace:
    env = KnownReturnEnv("discrete" if algo in ("dqn", "maskable_ppo", "qrdqn") else "box")
    config = make_config({"algo": algo, "env": "tests.support.envs:KnownReturnEnv", **values})
    return bind_space(config, Problem(env.observation_space, env.action_space))


def no_dict(trial: optuna.Trial) -> list[float]:
    return [trial.suggest_float("x", 0, 1)]


def with_context(trial: optuna.Trial, *, context: Any, size: str) -> dict[str, Any]:
    n_steps = trial.suggest_int("n_steps", 8, context.n_timesteps // context.n_envs)
    return {"n_steps": n_steps, "seen": size}


def test_both_homes_of_a_search_space_are_the_same_function() -> None:
    assert samplers.sample_ppo_params is sb3_hpo.sample_ppo_params
    assert sb3_hpo.TrialEvalCallback.__name__ == "TrialEvalCallback"


@pytest.mark.parametrize("algo", sorted(samplers.SEARCH_SPACES))
def test_bind_default_point_is_inside_the_space(algo: str) -> None:
    space = bind(algo)
    unconditional = set(space.dimensions) - {"noise_std"}  # only sampled with noise
    assert set(space.default_params) >= unconditional
    for name, value in space.default_params.items():
        distribution = space.dimensions[name]
        assert distribution._contains(distribution.to_internal_repr(value)), name


@pytest.mark.parametrize("algo", sorted(samplers.SEARCH_SPACES))
def test_bind_replay_gives_equal_descriptions(algo: str) -> None:
    space = bind(algo, space_size="full")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for _ in range(20):
        trial = study.ask()
        kwargs = space.sample(trial)
        assert serialize_kwargs(space.sample(FixedTrial(trial.params))) == serialize_kwargs(kwargs)


@pytest.mark.parametrize(
    ("fixed", "expected"),
    [
        ({"gamma": 0.95}, {"gamma": 0.95}),
        ({"one_minus_gamma": 0.05}, {"gamma": 0.95}),
        ({"n_steps": 128}, {"n_steps": 128}),
        ({"n_steps": 100}, {"n_steps": 100}),
        ({"learning_rate": 0.5}, {"learning_rate": 0.5}),
        ({"target_kl": 0.02}, {"target_kl": 0.02}),
        ({"gae_lambda": 0.9995}, {"gae_lambda": 0.9995}),
        ({"ent_coef": 1e-9}, {"ent_coef": 1e-9}),
        ({"batch_size": 64}, {"batch_size": 64}),
    ],
)
def test_fixed_value_arrives_in_every_sample(
    fixed: dict[str, Any], expected: dict[str, Any]
) -> None:
    space = bind(fixed=fixed)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for _ in range(10):
        kwargs = space.sample(study.ask())
        assert {key: kwargs[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("fixed", "dimension"),
    [
        ("gamma", "one_minus_gamma"),
        ("n_steps", "n_steps_pow"),
        ("batch_size", "n_minibatches_pow"),
    ],
)
def test_fixed_value_takes_its_dimension_out_of_the_space(fixed: str, dimension: str) -> None:
    values = {"gamma": 0.9, "n_steps": 64, "batch_size": 64}
    assert dimension in bind().dimensions
    space = bind(fixed={fixed: values[fixed]})
    assert dimension not in space.default_params
    trial = optuna.create_study().ask()
    space.sample(trial)
    assert dimension not in trial.params


def test_fixed_value_leaves_no_dimension_without_effect() -> None:
    space = bind("sac", space_size="full", fixed={"ent_coef": 0.1})
    idle = {"ent_coef_mode", "ent_coef_fixed", "target_entropy_scale"}
    assert not idle & set(space.dimensions)
    assert "target_kl_or_none" not in bind(space_size="full", fixed={"target_kl": 0.02}).dimensions


def test_fixed_true_value_is_noted_in_the_trial() -> None:
    trial = optuna.create_study().ask()
    bind(fixed={"batch_size": 64}).sample(trial)
    assert trial.user_attrs["batch_size"] == 64


def test_fixed_mistakes_are_reported_all_at_once() -> None:
    fixed = {"gama": 0.9, "learning_rate": "fast", "activation_fn": "swish", "policy_kwargs": {}}
    with pytest.raises(UserError) as error:
        bind(fixed=fixed)
    text = str(error.value)
    assert "fixed.gama: unknown parameter 'gama'; did you mean 'gamma'?" in text
    assert "fixed.learning_rate: must be a number, but got 'fast'" in text
    assert "fixed.activation_fn: must be one of ['tanh', 'relu'], but got 'swish'" in text
    assert "fixed.policy_kwargs: use --policy-kwargs" in text


def test_policy_kwargs_of_the_user_take_their_dimension_out_of_the_space() -> None:
    space = bind(policy_kwargs={"net_arch": [32]})
    assert "net_arch" in bind().dimensions
    assert "net_arch" not in space.dimensions


def test_budget_too_short_for_the_space_is_refused() -> None:
    with pytest.raises(UserError, match=r"n_timesteps: .* must hold, but got 100 < 10 \*"):
        bind(n_timesteps=100)


def test_users_space_gets_context_and_size_if_it_takes_them() -> None:
    space = bind(
        space="tests.spaces_tests.test_bind:with_context", n_timesteps=8000, space_size="full"
    )
    trial = FixedTrial({"n_steps": 900})
    assert space.sample(trial) == {"n_steps": 900, "seen": "full"}
    assert space.default_params == {}


def test_users_space_must_return_a_dict() -> None:
    with pytest.raises(UserError, match=r"no_dict must return a dict .* but returned list"):
        bind(space="tests.spaces_tests.test_bind:no_dict")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "sample_upside_down_params",
            r"failed: ValueError: .*low=0.01, high=0.0001.* \(.*/tests/support/envs.py:\d+\)$",
        ),
        ("make_failing", r"failed: TypeError: .*\(\) takes 0 positional arguments"),
        ("KnownReturnEnv", "must be a function from a trial to a dict .*, but is a class$"),
        ("N_STEPS", "must be a function from a trial to a dict .*, but is an object of int$"),
    ],
)
def test_users_space_that_cannot_be_sampled_is_told_in_one_line(name: str, message: str) -> None:
    with pytest.raises(UserError, match=rf"^space: tests.support.envs:{name} {message}"):
        bind(space=f"tests.support.envs:{name}")


@pytest.mark.parametrize(
    ("algo", "fixed", "message"),
    [
        ("ppo", {"gamma": 1.5}, "fixed.gamma: must be between 0 and 1, but got 1.5"),
        ("ppo", {"n_epochs": 2.5}, "fixed.n_epochs: must be a whole number, but got 2.5"),
        ("ppo", {"n_steps": 8192}, r"fixed.n_steps: `n_steps \* n_envs <= .* got 65536 > 4000"),
        ("sac", {"train_freq": 1, "update_to_data_pow": -2}, "must be at least 0 with this"),
    ],
)
def test_fixed_value_that_no_trial_could_have_is_refused(
    algo: str, fixed: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        bind(algo, fixed=fixed)


def test_fixed_train_freq_keeps_the_noted_ratio_true() -> None:
    space = bind("sac", fixed={"train_freq": 1})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for _ in range(20):
        trial = study.ask()
        kwargs = space.sample(trial)
        assert kwargs["train_freq"] == 1
        assert kwargs["gradient_steps"] == trial.user_attrs["update_to_data"]


def test_fixed_choice_that_opens_a_dimension_gives_a_complete_default() -> None:
    space = bind("td3", fixed={"noise_type": "normal"})
    noise = serialize_kwargs(space.sample(draw_at(space.default_params)))["action_noise"]
    assert noise["$call"] == "stable_baselines3.common.noise:NormalActionNoise"
    assert "noise_std" in space.dimensions


def test_override_of_a_larger_size_s_dimension_says_so() -> None:
    with pytest.raises(UserError, match=r"^range\.vf_coef: is not sea.* --space-size full"):
        bind(range={"vf_coef": [0.1, 0.9]})


@pytest.mark.parametrize(
    "values",
    [
        {"range": {"learning_rate": [1e-3, 1e-2]}},
        {"choices": {"learning_rate": [1e-2, 1e-3]}},
    ],
)
def test_changed_space_moves_default_and_first_points(values: dict[str, Any]) -> None:
    space = bind(**values)
    assert space.default_params["learning_rate"] == 1e-3
    assert [point["learning_rate"] for point in space.first_points] == [1e-3, 1e-3]
    assert space.edited == {"learning_rate"}


def test_drop_notes_sb3_s_value_in_the_trial() -> None:
    trial = optuna.create_study().ask()
    assert "batch_size" not in bind(drop=("batch_size",)).sample(trial)
    assert trial.user_attrs["batch_size"] == 64


def test_dropped_choice_is_not_in_the_default_point() -> None:
    space = bind(choices={"net_arch": ["tiny"]})
    assert "net_arch" not in space.default_params


def test_fixed_learning_rate_does_not_fall() -> None:
    space = bind(fixed={"learning_rate": 1e-3})
    assert "learning_rate_schedule" not in space.dimensions
    params = {**space.default_params, "learning_rate_schedule": "linear"}
    assert space.sample(FixedTrial(params))["learning_rate"] == 1e-3


@pytest.mark.parametrize(
    ("overrides", "is_searched"),
    [
        ({"fixed": {"learning_rate": 1e-3, "learning_rate_schedule": "linear"}}, False),
        (
            {
                "fixed": {"learning_rate": 1e-3},
                "choices": {"learning_rate_schedule": ["constant", "linear"]},
            },
            True,
        ),
    ],
)
def test_fixed_learning_rate_falls_where_that_is_asked_for(
    overrides: dict[str, Any], is_searched: bool
) -> None:
    space = bind(**overrides)
    assert ("learning_rate_schedule" in space.dimensions) is is_searched
    params = {**space.default_params, "learning_rate_schedule": "linear"}
    assert serialize_kwargs(space.sample(FixedTrial(params)))["learning_rate"] == {
        "$call": "stable_baselines3.common.utils:LinearSchedule",
        "start": 1e-3,
        "end": 0.0,
        "end_fraction": 1.0,
    }


def test_drop_of_a_learning_rate_ends_its_schedule() -> None:
    space = bind("sac", space_size="full", drop=("learning_rate",))
    assert not {"learning_rate", "learning_rate_schedule"} & set(space.dimensions)
    assert "learning_rate" not in space.sample(FixedTrial(space.default_params))


def test_overrides_are_part_of_the_study_s_identity() -> None:
    base = {"algo": "ppo", "env": "Pendulum-v1"}
    names = {
        make_config({**base, **values}).name()
        for values in (
            {},
            {"range": {"gamma": [0.9, 0.99]}},
            {"range": {"gamma": [0.9, 0.98]}},
            {"choices": {"gamma": [0.9, 0.99]}},
            {"drop": ("gamma",)},
        )
    }
    assert len(names) == 5


OWN_SPACE = samplers.SearchSpace(
    samplers.Float("learning_rate", 1e-4, 1e-2, log=True, default=3e-4),
    samplers.OneMinus("one_minus_gamma", 0.01, 0.2, argument="gamma", default=0.01),
    samplers.PowerOfTwo("n_steps_pow", 5, 8, argument="n_steps", default=8, since="full"),
    algorithm="PPO",
    min_rollout=32,
    first_points=[{"learning_rate": 1e-3}],
)


def test_bind_own_table_is_a_space_like_the_shipped_ones() -> None:
    name = "tests.spaces_tests.test_bind:OWN_SPACE"
    space = bind(space=name, fixed={"gamma": 0.9})
    assert list(space.dimensions) == ["learning_rate"]
    assert (space.default_params, space.first_points) == (
        {"learning_rate": 3e-4},
        ({"learning_rate": 1e-3},),
    )
    assert space.sample(draw_at({"learning_rate": 2e-3})) == {"learning_rate": 2e-3, "gamma": 0.9}
    with pytest.raises(UserError, match=r"^n_timesteps: .* got 2000 < 10 \* 256 = 2560; train"):
        bind(space=name, n_timesteps=2000)
