from __future__ import annotations

from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FixedTrial

from sb3_hpo.config import StudyConfig, make_config
from sb3_hpo.errors import UserError
from sb3_hpo.overrides import Fixed, sort_fixed, to_dimension

DIMENSIONS = {
    "learning_rate": FloatDistribution(1e-5, 1e-2, log=True),
    "one_minus_gamma": FloatDistribution(1e-4, 0.1, log=True),
    "n_steps_pow": IntDistribution(3, 11),
    "n_minibatches_pow": IntDistribution(0, 6),
    "activation_fn": CategoricalDistribution(["tanh", "relu"]),
}
DEFAULTS = {
    "learning_rate": 3e-4,
    "one_minus_gamma": 0.01,
    "n_steps_pow": 11,
    "n_minibatches_pow": 5,
    "activation_fn": "tanh",
}


def sample(trial: Any) -> dict[str, Any]:
    """A space with the dimensions above; notes gamma as the shipped ones do."""
    n_steps = round(2 ** trial.suggest_int("n_steps_pow", 3, 11))
    gamma = 1 - trial.suggest_float("one_minus_gamma", 1e-4, 0.1, log=True)
    trial.set_user_attr("gamma", gamma)
    return {
        "learning_rate": trial.suggest_float("learning_rate", 1e-5, 1e-2, log=True),
        "n_steps": n_steps,
        "batch_size": n_steps // 2 ** trial.suggest_int("n_minibatches_pow", 0, 6),
        "gamma": gamma,
        "policy_kwargs": {
            "activation_fn": trial.suggest_categorical("activation_fn", ["tanh", "relu"])
        },
    }


def config(**values: Any) -> StudyConfig:
    return make_config({"algo": "ppo", "env": "Pendulum-v1", **values})


def fix(**fixed: Any) -> Fixed:
    return sort_fixed(config(fixed=fixed), dict(DIMENSIONS), DEFAULTS)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("learning_rate", 1e-3, ("learning_rate", 1e-3)),
        ("activation_fn", "relu", ("activation_fn", "relu")),
        ("gamma", 0.75, ("one_minus_gamma", 0.25)),
        ("gamma", 1, ("one_minus_gamma", 0)),
        ("n_steps", 256, ("n_steps_pow", 8)),
        ("n_steps", 100, ("n_steps_pow", 6.643856189774724)),
        ("n_steps_pow", 8, ("n_steps_pow", 8)),
        ("n_epochs", 5, None),
    ],
)
def test_to_dimension_value_is_as_computed_by_hand(
    name: str, value: Any, expected: tuple[str, Any] | None
) -> None:
    assert to_dimension(name, value, dict(DIMENSIONS)) == expected


def test_to_dimension_power_of_two_is_an_integer() -> None:
    dimension = to_dimension("n_steps", 256, dict(DIMENSIONS))
    assert dimension is not None
    assert type(dimension[1]) is int


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("learning_rate", "linear", r"must be a number, but got 'linear'"),
        ("learning_rate", True, r"must be a number, but got True"),
        ("gamma", [0.9], r"must be a number, but got \[0\.9\]"),
        ("n_steps", 0, r"must be positive.*, but got 0"),
        ("n_steps", -8, r"must be positive.*, but got -8"),
        ("n_steps", float("inf"), r"must be "),
        ("activation_fn", "gelu", r"must be one of \['tanh', 'relu'\], but got 'gelu'"),
    ],
)
def test_to_dimension_impossible_value_is_refused(name: str, value: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        to_dimension(name, value, dict(DIMENSIONS))


def test_sort_fixed_dimensions_and_arguments_are_told_apart() -> None:
    fixed = fix(gamma=0.75, learning_rate=1e-3, vf_coef=0.3)
    assert fixed.dimensions == {"one_minus_gamma": 0.25, "learning_rate": 1e-3}
    assert fixed.kwargs == {"vf_coef": 0.3}


def test_sort_fixed_batch_size_holds_the_minibatches() -> None:
    fixed = fix(batch_size=100)
    assert fixed.dimensions == {"n_minibatches_pow": 5}
    assert fixed.kwargs == {"batch_size": 100}


def test_sort_fixed_unknown_names_and_bad_values_says_all() -> None:
    with pytest.raises(UserError, match=r"^fixed\.gama: unknown parameter 'gama'") as caught:
        fix(gama=0.9, learning_rate="fast", n_epoch=3, env=1)
    text = str(caught.value)
    for part in (
        "did you mean 'gamma'?",
        "fixed.learning_rate: must be a number, but got 'fast'",
        "fixed.n_epoch: unknown parameter 'n_epoch'; did you mean 'n_epochs'?",
        "fixed.env: unknown parameter 'env'",
    ):
        assert part in text


def test_sort_fixed_policy_kwargs_points_to_its_own_flag() -> None:
    with pytest.raises(UserError, match=r"fixed\.policy_kwargs: use --policy-kwargs, which"):
        fix(policy_kwargs={"net_arch": [64]})


def test_sort_fixed_policy_kwarg_that_is_a_dimension_is_held() -> None:
    values = config(policy_kwargs={"activation_fn": "x", "ortho_init": False})
    fixed = sort_fixed(values, dict(DIMENSIONS), DEFAULTS)
    assert fixed == Fixed({"activation_fn": "tanh"}, {}, {})


def test_apply_held_dimensions_are_not_asked_of_the_trial() -> None:
    trial = FixedTrial({"learning_rate": 1e-3, "n_minibatches_pow": 2, "activation_fn": "relu"})
    kwargs = fix(gamma=0.75, n_steps=100).apply(sample, trial)
    assert kwargs == {
        "learning_rate": 1e-3,
        "n_steps": 100,
        "batch_size": 25,
        "gamma": 0.75,
        "policy_kwargs": {"activation_fn": "relu"},
    }
    assert trial.user_attrs == {"gamma": 0.75}
    assert set(trial.params) == {"learning_rate", "n_minibatches_pow", "activation_fn"}


def test_apply_fixed_argument_replaces_the_sampled_one() -> None:
    point = {name: value for name, value in DEFAULTS.items() if name != "n_minibatches_pow"}
    kwargs = fix(batch_size=100, n_epochs=3).apply(sample, FixedTrial(point))
    assert (kwargs["n_steps"], kwargs["batch_size"], kwargs["n_epochs"]) == (2048, 100, 3)


def test_apply_description_becomes_an_object() -> None:
    fixed = Fixed({}, {"rollout_buffer_class": {"$import": "fractions:Fraction"}}, {})
    kwargs = fixed.apply(sample, FixedTrial(DEFAULTS))
    assert kwargs["rollout_buffer_class"].__name__ == "Fraction"


def test_apply_lets_the_space_use_more_of_the_trial() -> None:
    trial = FixedTrial({}, number=7)
    assert Fixed({}, {}, {}).apply(lambda t: {"seed": t.number}, trial) == {"seed": 7}


def test_apply_fixed_choice_of_a_users_space_is_translated_by_the_space() -> None:
    choices = {"step": 1, "episode": (1, "episode")}

    def own(trial: Any) -> dict[str, Any]:
        return {"train_freq": choices[trial.suggest_categorical("train_freq", list(choices))]}

    values = config(algo="sac", fixed={"train_freq": "episode"})
    fixed = sort_fixed(values, {"train_freq": CategoricalDistribution(["step", "episode"])}, {})
    assert fixed.apply(own, FixedTrial({})) == {"train_freq": (1, "episode")}


@pytest.mark.parametrize(
    "names", [("batch_size", "n_minibatches_pow"), ("n_minibatches_pow", "batch_size")]
)
def test_sort_fixed_users_dimension_wins_over_the_default_in_any_order(
    names: tuple[str, str],
) -> None:
    values = {"batch_size": 100, "n_minibatches_pow": 2}
    assert fix(**{name: values[name] for name in names}).dimensions == {"n_minibatches_pow": 2}
