from __future__ import annotations

from typing import Any

import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FixedTrial

from samplers import Choice, Dimension, Float, OneMinus, PowerOfTwo, SpaceContext
from sb3_hpo.config.study_config import StudyConfig, make_config
from sb3_hpo.spaces.dimensions import find_dimension, to_drawn
from sb3_hpo.spaces.overrides.changes import (
    Change,
    Drop,
    Fix,
    SetChoices,
    SetRange,
    changes_of_file,
    changes_of_options,
)
from sb3_hpo.spaces.overrides.resolve import OverriddenSpace, resolve_overrides
from sb3_hpo.spaces.overrides.trial_proxy import ResolvedOverrides
from sb3_hpo.utils.errors import UserError

ITEMS: tuple[Dimension, ...] = (
    Float("learning_rate", 1e-5, 1e-2, log=True, default=3e-4),
    OneMinus("one_minus_gamma", 1e-4, 0.1, argument="gamma", default=0.01),
    PowerOfTwo("n_steps_pow", 3, 8, argument="n_steps", default=11),
    PowerOfTwo(
        "n_minibatches_pow", 0, 6, argument="n_minibatches", together=("batch_size",), default=5
    ),
    Choice("activation_fn", ["tanh", "relu"], default="tanh"),
    Choice("net_arch", ["tiny", "small"], default="small"),
)
DIMENSIONS = {item.name: item for item in ITEMS}
RANGES = {item.name: item.distribution(SpaceContext(), "full") for item in ITEMS}
DEFAULTS = {
    "learning_rate": 3e-4,
    "one_minus_gamma": 0.01,
    "n_steps_pow": 11,
    "n_minibatches_pow": 5,
    "activation_fn": "tanh",
    "net_arch": "small",
}
LAYERS = {"tiny": [64], "small": [64, 64]}


def sample(trial: Any) -> dict[str, Any]:
    """A space with the dimensions above; notes gamma as the shipped ones do."""
    n_steps = round(2 ** trial.suggest_int("n_steps_pow", 3, 8))
    gamma = 1 - trial.suggest_float("one_minus_gamma", 1e-4, 0.1, log=True)
    if gamma > 0.9995:
        gamma = 1.0  # rounds, as lambda of the shipped ones
    trial.set_user_attr("gamma", gamma)
    layers = LAYERS[trial.suggest_categorical("net_arch", ["tiny", "small"])]
    trial.set_user_attr("net_arch", layers)
    return {
        "learning_rate": trial.suggest_float("learning_rate", 1e-5, 1e-2, log=True),
        "n_steps": n_steps,
        "batch_size": n_steps // 2 ** trial.suggest_int("n_minibatches_pow", 0, 6),
        "gamma": gamma,
        "policy_kwargs": {
            "activation_fn": trial.suggest_categorical("activation_fn", ["tanh", "relu"]),
            "net_arch": layers,
        },
    }


def config(**values: Any) -> StudyConfig:
    return make_config({"algo": "ppo", "env": "Pendulum-v1", "n_envs": 1, **values})


def change(**values: Any) -> ResolvedOverrides:
    study = config(**values)
    space = OverriddenSpace(study, DIMENSIONS, RANGES, DIMENSIONS)
    return resolve_overrides(changes_of_options(study), space)


def refusal(**values: Any) -> str:
    with pytest.raises(UserError, match=r"^[^\n]+$") as caught:
        change(**values)
    return str(caught.value)


def in_its_dimension(name: str, value: Any) -> tuple[str, Any] | None:
    item = find_dimension(name, DIMENSIONS)
    return None if item is None else (item.name, to_drawn(name, value, item, RANGES[item.name]))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("learning_rate", 1e-3, ("learning_rate", 1e-3)),
        ("activation_fn", "relu", ("activation_fn", "relu")),
        ("policy_kwargs.activation_fn", "relu", ("activation_fn", "relu")),
        ("gamma", 0.75, ("one_minus_gamma", 0.25)),
        ("gamma", 1, ("one_minus_gamma", 0)),
        ("n_steps", 256, ("n_steps_pow", 8)),
        ("n_steps", 100, ("n_steps_pow", 6.643856189774724)),
        ("n_steps_pow", 8, ("n_steps_pow", 8)),
        ("n_epochs", 5, None),
    ],
)
def test_to_drawn_value_is_as_computed_by_hand(
    name: str, value: Any, expected: tuple[str, Any] | None
) -> None:
    assert in_its_dimension(name, value) == expected


def test_to_drawn_power_of_two_is_an_integer() -> None:
    _, drawn = in_its_dimension("n_steps", 256) or ("", None)
    assert type(drawn) is int


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("learning_rate", "linear", r"must be a number, but got 'linear'"),
        ("learning_rate", True, r"must be a number, but got True"),
        ("learning_rate", -1e-3, r"must be at least 0, but got -0\.001"),
        ("gamma", [0.9], r"must be a number, but got \[0\.9\]"),
        ("gamma", 1.5, r"must be between 0 and 1, but got 1\.5"),
        ("one_minus_gamma", -0.5, r"must be between 0 and 1, but got 1\.5"),
        ("n_steps", 0, r"must be positive, but got 0"),
        ("n_steps", 2.5, r"must be a whole number, but got 2\.5"),
        ("n_steps", float("inf"), r"must be finite"),
        ("activation_fn", "gelu", r"must be one of \['tanh', 'relu'\], but got 'gelu'"),
    ],
)
def test_to_drawn_impossible_value_is_refused(name: str, value: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        in_its_dimension(name, value)


def test_fixed_dimensions_and_arguments_are_told_apart() -> None:
    overrides = change(fixed={"gamma": 0.75, "learning_rate": 1e-3, "vf_coef": 0.3})
    assert overrides.held == {"one_minus_gamma": 0.25, "learning_rate": 1e-3}
    assert overrides.kwargs == {"vf_coef": 0.3}


def test_fixed_batch_size_holds_the_minibatches_without_effect() -> None:
    overrides = change(fixed={"batch_size": 100})
    assert overrides.answers == {"n_minibatches_pow": 5}
    assert overrides.kwargs == {"batch_size": 100}


@pytest.mark.parametrize(
    "names", [("batch_size", "n_minibatches_pow"), ("n_minibatches_pow", "batch_size")]
)
def test_fixed_users_dimension_wins_over_the_default_in_any_order(names: tuple[str, str]) -> None:
    values = {"batch_size": 100, "n_minibatches_pow": 2}
    overrides = change(fixed={name: values[name] for name in names})
    assert overrides.answers == {"n_minibatches_pow": 2}


def test_policy_kwarg_that_is_a_dimension_is_held() -> None:
    overrides = change(policy_kwargs={"activation_fn": "x", "ortho_init": False})
    assert overrides == ResolvedOverrides(idle={"activation_fn": "tanh"})


def test_apply_held_dimensions_are_not_asked_of_the_trial() -> None:
    point = {"learning_rate": 1e-3, "n_minibatches_pow": 2, "activation_fn": "relu"}
    trial = FixedTrial({**point, "net_arch": "tiny"})
    kwargs = change(fixed={"gamma": 0.75, "n_steps": 100}).apply(sample, trial)
    assert kwargs == {
        "learning_rate": 1e-3,
        "n_steps": 100,
        "batch_size": 25,
        "gamma": 0.75,
        "policy_kwargs": {"activation_fn": "relu", "net_arch": [64]},
    }
    assert trial.user_attrs == {"gamma": 0.75, "net_arch": [64]}
    assert set(trial.params) == {*point, "net_arch"}


def test_apply_fixed_argument_replaces_the_sampled_one() -> None:
    overrides = change(fixed={"batch_size": 100, "n_epochs": 3})
    kwargs = overrides.apply(sample, FixedTrial({**DEFAULTS, "n_steps_pow": 8}))
    assert (kwargs["n_steps"], kwargs["batch_size"], kwargs["n_epochs"]) == (256, 100, 3)


def test_apply_description_becomes_an_object() -> None:
    overrides = ResolvedOverrides(
        kwargs={"rollout_buffer_class": {"$import": "fractions:Fraction"}}
    )
    kwargs = overrides.apply(sample, FixedTrial({**DEFAULTS, "n_steps_pow": 8}))
    assert kwargs["rollout_buffer_class"].__name__ == "Fraction"


def test_apply_lets_the_space_use_more_of_the_trial() -> None:
    trial = FixedTrial({}, number=7)
    assert ResolvedOverrides().apply(lambda t: {"seed": t.number}, trial) == {"seed": 7}


def test_apply_leaves_a_schedule_that_begins_with_the_fixed_value() -> None:
    def schedule(progress: float) -> float:
        return progress

    kwargs = ResolvedOverrides(exact={"learning_rate": 1e-3}).apply(
        lambda _: {"learning_rate": schedule}, FixedTrial({})
    )
    assert kwargs == {"learning_rate": schedule}


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        ({"learning_rate": [1e-6, 0.1]}, FloatDistribution(1e-6, 0.1, log=True)),
        ({"learning_rate": {"high": 0.1}}, FloatDistribution(1e-5, 0.1, log=True)),
        ({"learning_rate": {"log": False}}, FloatDistribution(1e-5, 1e-2)),
        ({"gamma": [0.5, 0.75]}, FloatDistribution(0.25, 0.5, log=True)),
        ({"gamma": {"low": 0.5}}, FloatDistribution(1e-4, 0.5, log=True)),
        ({"one_minus_gamma": [0.25, 0.5]}, FloatDistribution(0.25, 0.5, log=True)),
        ({"n_steps": [16, 1024]}, IntDistribution(4, 10)),
        ({"n_steps_pow": {"low": 4, "high": 8, "step": 2}}, IntDistribution(4, 8, step=2)),
    ],
)
def test_range_replaces_the_ends_on_the_dimension_s_scale(
    wish: dict[str, Any], expected: BaseDistribution
) -> None:
    assert list(change(range=wish).changed.values()) == [expected]


def test_range_is_what_the_trial_is_asked() -> None:
    overrides = change(range={"gamma": [0.5, 0.75]})
    trial = FixedTrial({**DEFAULTS, "n_steps_pow": 8, "one_minus_gamma": 0.375})
    assert overrides.apply(sample, trial)["gamma"] == 0.625
    assert trial.distributions["one_minus_gamma"] == FloatDistribution(0.25, 0.5, log=True)


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"gama": [0.5, 0.9]}, "range.gama: unknown parameter 'gama'; did you mean 'gamma'?"),
        ({"learning_rate": [0.1, 0.01]}, "range.learning_rate: `low < high` must hold"),
        ({"learning_rate": [0, 0.1]}, "range.learning_rate: `low > 0` must hold on a log scale"),
        ({"learning_rate": 0.1}, "range.learning_rate: must be [low, high], but got 0.1"),
        ({"learning_rate": ["a", 1]}, "range.learning_rate: must be a number, but got 'a'"),
        ({"learning_rate": {"hihg": 1}}, "range.learning_rate: unknown key 'hihg'; did you mean"),
        ({"gamma": [0.9, 1.0]}, "range.gamma: one_minus_gamma: `low > 0` must hold on a log"),
        ({"gamma": [0.9, 1.1]}, "range.gamma: must be between 0 and 1, but got 1.1"),
        ({"n_steps": [100, 256]}, "range.n_steps: is searched in powers of two, but got 100; nea"),
        ({"n_steps": [16, 8192]}, "range.n_steps: `n_steps * n_envs <= n_timesteps / n_evaluat"),
        ({"net_arch": [1, 2]}, "range.net_arch: is one of ['tiny', 'small']: use choices instead"),
        ({"batch_size": [1, 2]}, "range.batch_size: is decided by n_minibatches_pow: change that"),
        ({"vf_coef": [0, 1]}, "range.vf_coef: is not searched, so it has SB3's default: hold it"),
    ],
)  # fmt: skip
def test_range_that_cannot_be_is_refused(wish: dict[str, Any], message: str) -> None:
    assert refusal(range=wish).startswith(message)


@pytest.mark.parametrize(
    ("wish", "choices", "made"),
    [
        ({"net_arch": ["tiny"]}, ["tiny"], {"net_arch": [64]}),
        ({"net_arch": [[8], "tiny"]}, ["[8]", "tiny"], {"net_arch": [8]}),
        ({"policy_kwargs": {"net_arch": [{"pi": [8], "vf": []}]}},
         ["{'pi': [8], 'vf': []}"], {"net_arch": {"pi": [8], "vf": []}}),
        ({"learning_rate": [1e-3, 0.5]}, [1e-3, 0.5], {"learning_rate": 1e-3}),
        ({"gamma": [0.75, 0.5]}, [0.25, 0.5], {"gamma": 0.75}),
        ({"gamma": [0.9999]}, [1 - 0.9999], {"gamma": 0.9999}),
        ({"n_steps": [100]}, [6.643856189774724], {"n_steps": 100}),
    ],
)  # fmt: skip
def test_choices_replace_and_the_first_arrives(
    wish: dict[str, Any], choices: list[Any], made: dict[str, Any]
) -> None:
    overrides = change(choices=wish)
    ((name, distribution),) = overrides.changed.items()
    assert distribution == CategoricalDistribution(choices)
    trial = FixedTrial({**DEFAULTS, "n_steps_pow": 8, name: choices[0]})
    kwargs = overrides.apply(sample, trial)
    assert {key: {**kwargs, **kwargs["policy_kwargs"]}[key] for key in made} == made
    noted = {key: value for key, value in made.items() if key in trial.user_attrs}
    assert noted == {key: trial.user_attrs[key] for key in noted}


def test_choices_of_activations_are_more_than_the_space_knows() -> None:
    overrides = change(choices={"activation_fn": ["gelu", "relu"]})
    trial = FixedTrial({**DEFAULTS, "n_steps_pow": 8, "activation_fn": "gelu"})
    assert overrides.apply(sample, trial)["policy_kwargs"]["activation_fn"].__name__ == "GELU"


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"net_arch": ["tinny"]}, "choices.net_arch: must be among ['tiny', 'small'], but got"),
        ({"net_arch": [64]}, "choices.net_arch: must be among ['tiny', 'small'], but got 64"),
        ({"activation_fn": ["rellu"]}, "choices.activation_fn: unknown class 'rellu'; did you me"),
        ({"learning_rate": 5}, "choices.learning_rate: must be a list of choices such as"),
        ({"n_steps": [8192]}, "choices.n_steps: `n_steps * n_envs <= n_timesteps / n_evaluations"),
        ({"gamma": [0.5, 2]}, "choices.gamma: must be between 0 and 1, but got 2"),
        ({"gamma": [0.5, 0.5]}, "choices.gamma: has the choice 0.5 twice: remove one"),
    ],
)
def test_choices_that_cannot_be_are_refused(wish: dict[str, Any], message: str) -> None:
    assert refusal(choices=wish).startswith(message)


def test_drop_leaves_the_argument_to_sb3() -> None:
    overrides = change(drop=("learning_rate", "batch_size", "policy_kwargs.net_arch"))
    trial = FixedTrial({"n_steps_pow": 8, "one_minus_gamma": 0.01, "activation_fn": "relu"})
    assert overrides.apply(sample, trial) == {
        "n_steps": 256,
        "gamma": 0.99,
        "policy_kwargs": {"activation_fn": "relu"},
    }


def test_drop_of_a_dimension_in_words_of_its_own_holds_sb3_s_point() -> None:
    overrides = change(drop=("n_minibatches_pow",))
    assert (overrides.held, overrides.dropped) == ({"n_minibatches_pow": 5}, ())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("max_grad_nrom", "drop.max_grad_nrom: unknown parameter 'max_grad_nrom'"),
        ("vf_coef", "drop.vf_coef: is not searched, so it has SB3's default"),
    ],
)
def test_drop_of_what_is_not_there_is_refused(name: str, message: str) -> None:
    assert refusal(drop=(name,)).startswith(message)


def test_drop_of_a_rollout_too_long_for_the_budget_is_refused() -> None:
    text = refusal(drop=("n_steps",), n_timesteps=10_000)
    assert text.startswith("drop.n_steps: `n_steps * n_envs <= n_timesteps / n_evaluations` must")
    assert "2048 > 1000" in text


@pytest.mark.parametrize(
    "values",
    [
        {"fixed": {"gamma": 0.9}, "range": {"one_minus_gamma": [0.1, 0.2]}},
        {"range": {"gamma": [0.9, 0.95]}, "choices": {"gamma": [0.9]}},
        {"choices": {"gamma": [0.9]}, "drop": ("gamma",)},
        {"fixed": {"gamma": 0.9, "one_minus_gamma": 0.1}},
    ],
)
def test_second_change_of_a_dimension_is_refused(values: dict[str, Any]) -> None:
    assert refusal(**values).endswith("is changed twice: keep one of the changes")


def test_change_of_what_policy_kwargs_decide_is_refused() -> None:
    text = refusal(policy_kwargs={"net_arch": [8]}, choices={"net_arch": ["tiny"]})
    assert text.startswith("choices.net_arch: has a value in policy_kwargs already, which wins")


def test_mistakes_of_all_kinds_are_told_at_once() -> None:
    text = refusal(
        fixed={"gama": 0.9, "learning_rate": "fast", "n_epoch": 3, "policy_kwargs": {"x": 1}},
        range={"n_step": [8, 16]},
        choices={"net_arch": ["huge"]},
        drop=("clip",),
    )
    for part in (
        "fixed.gama: unknown parameter 'gama'; did you mean 'gamma'?",
        "fixed.learning_rate: must be a number, but got 'fast'",
        "fixed.n_epoch: unknown parameter 'n_epoch'; did you mean 'n_epochs'?",
        "fixed.policy_kwargs: use --policy-kwargs, which",
        "range.n_step: unknown parameter 'n_step'; did you mean 'n_steps'?",
        "choices.net_arch: must be among",
        "drop.clip: unknown parameter 'clip'",
    ):
        assert part in text


def test_fixed_choice_of_a_users_space_is_translated_by_the_space() -> None:
    choices = {"step": 1, "episode": (1, "episode")}

    def own(trial: Any) -> dict[str, Any]:
        return {"train_freq": choices[trial.suggest_categorical("train_freq", list(choices))]}

    study = config(algo="sac", fixed={"train_freq": "episode"})
    item = Choice("train_freq", ["step", "episode"], default=None)
    asked = item.distribution(SpaceContext(), "full")
    given = OverriddenSpace(study, {item.name: item}, {item.name: asked}, {})
    overrides = resolve_overrides(changes_of_options(study), given)
    assert overrides.apply(own, FixedTrial({})) == {"train_freq": (1, "episode")}


def test_file_based_on_a_space_changes_and_drops() -> None:
    names = {
        "learning_rate": {"low": 1e-5, "high": 1e-2, "log": True},
        "gamma": {"low": 0.5, "high": 0.75},
        "n_minibatches_pow": {"choices": [2, 4]},
        "activation_fn": "relu",
        "net_arch": {"choices": ["tiny", "small"]},
    }
    changes: list[Change] = [
        SetRange("learning_rate", {"low": 1e-5, "high": 1e-2, "log": True, "step": None}),
        SetRange("gamma", {"low": 0.5, "high": 0.75, "log": False, "step": None}),
        SetChoices("n_minibatches_pow", [2, 4]),
        Fix("activation_fn", "relu"),
        SetChoices("net_arch", ["tiny", "small"]),
        Drop("n_steps_pow"),
    ]
    assert changes_of_file(names, DIMENSIONS) == changes


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"range": {"gamma": "interval(0.5, 0.75)"}}, FloatDistribution(0.25, 0.5, log=True)),
        ({"range": {"learning_rate": "tag(log, interval(1e-6, 1e-3))"}},
         FloatDistribution(1e-6, 1e-3, log=True)),
        ({"choices": {"net_arch": "choice(tiny, small)"}},
         CategoricalDistribution(["tiny", "small"])),
    ],
)  # fmt: skip
def test_options_take_the_words_of_hydra(
    values: dict[str, Any], expected: BaseDistribution
) -> None:
    assert list(change(**values).changed.values()) == [expected]
