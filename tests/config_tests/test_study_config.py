from __future__ import annotations

import re
from typing import Any

import pytest
import torch

from sb3_hpo.config.study_config import StudyConfig, make_config
from sb3_hpo.utils.errors import UserError
from tests.support.callbacks import HERE, Counts, make_counts
from tests.support.envs import DoubleReward, KnownReturnEnv, sample_target_params

BASE = {"algo": "ppo", "env": "Pendulum-v1"}


def config(**values: Any) -> StudyConfig:
    return make_config({**BASE, **values})


def mistakes(**values: Any) -> str:
    with pytest.raises(UserError, match=r"^[^\n]+$") as caught:
        config(**values)
    return str(caught.value)


@pytest.mark.parametrize(
    ("algo", "n_timesteps", "n_envs", "n_trials"),
    [
        ("a2c", 40_000, 8, 100),
        ("ddpg", 10_000, 1, 40),
        ("dqn", 50_000, 1, 40),
        ("ppo", 40_000, 8, 60),
        ("sac", 10_000, 1, 40),
        ("td3", 10_000, 1, 40),
    ],
)
def test_make_config_defaults_depend_on_the_algorithm(
    algo: str, n_timesteps: int, n_envs: int, n_trials: int
) -> None:
    made = config(algo=algo)
    assert (made.n_timesteps, made.n_envs, made.n_trials) == (n_timesteps, n_envs, n_trials)


@pytest.mark.parametrize(
    ("episodes", "n_envs"), [(None, 20), (5, 5), (100, 32), ("5", 5), ("100", 32)]
)
def test_make_config_n_eval_envs_defaults_to_episodes_at_most_32(
    episodes: int | str | None, n_envs: int
) -> None:
    assert config(n_eval_episodes=episodes).n_eval_envs == n_envs


def test_make_config_given_values_win_over_the_algorithms_defaults() -> None:
    made = config(n_timesteps=1000, n_envs=2, n_eval_envs=0)
    assert (made.n_timesteps, made.n_envs, made.n_eval_envs) == (1000, 2, 0)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("90s", 90.0), ("10m", 600.0), ("2h", 7200.0), ("1.5d", 129600.0), ("30", 30.0), (5, 5.0)],
)
def test_make_config_duration_is_in_seconds(value: str | int, seconds: float) -> None:
    assert config(timeout=value).timeout == seconds


@pytest.mark.parametrize("value", ["10 minutes", "m", "-5s", "1.2.3s"])
def test_make_config_bad_duration_is_refused(value: str) -> None:
    assert mistakes(timeout=value).startswith("timeout: ")


def test_make_config_many_mistakes_says_all_in_one_line() -> None:
    text = mistakes(algo="pppo", sampler="tpee", n_trials=0, normalise=True, n_envs="many")
    for part in (
        "algo: unknown algorithm 'pppo'; did you mean 'ppo'?",
        "sampler: unknown sampler 'tpee'; did you mean 'tpe'?",
        "n_trials: Input should be greater than 0, but got 0",
        "unknown key 'normalise'; did you mean 'normalize'?",
        "n_envs: Input should be a valid integer",
    ):
        assert part in text


def test_make_config_two_wrong_combinations_says_both() -> None:
    text = mistakes(n_eval_envs=8, n_eval_episodes=5, n_evaluations=3)
    assert "n_eval_envs" in text
    assert "n_evaluations" in text


def test_make_config_unknown_key_with_a_dot_is_named() -> None:
    with pytest.raises(UserError, match=r"^unknown key 'n_envs\.x'; did you mean 'n_envs'\?"):
        make_config({"algo": "ppo", "env": "Pendulum-v1", "n_envs.x": 1})


def test_make_config_missing_algo_and_env_says_both() -> None:
    with pytest.raises(UserError, match=r"^algo: missing; env: missing$"):
        make_config({})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"pruner": "halvin"}, "pruner: unknown pruner 'halvin'; did you mean 'halving'?"),
        ({"score": "last_haf"}, "score: unknown score 'last_haf'; did you mean 'last_half'?"),
        ({"n_trails": 5}, "unknown key 'n_trails'; did you mean 'n_trials'?"),
        ({"space_size": "big"}, "space_size: Input should be 'small', 'default' or 'full', but"),
        ({"seed": -1}, "seed: Input should be greater than or equal to 0, but got -1"),
        ({"env": lambda: None}, "env: <function"),
    ],
)
def test_make_config_one_mistake_says_what_was_meant(values: dict[str, Any], message: str) -> None:
    assert mistakes(**values).startswith(message)


def test_make_config_algo_that_cannot_be_imported_names_the_key() -> None:
    text = mistakes(algo=lambda: None, n_trials=0)
    assert text.startswith("algo: <function")
    assert "n_trials: " in text


@pytest.mark.parametrize("n_evaluations", [1, 5])
def test_make_config_too_few_evaluations_to_prune_is_refused(n_evaluations: int) -> None:
    assert mistakes(n_evaluations=n_evaluations) == (
        "n_evaluations: `n_evaluations >= 6` must hold when trials are pruned, but got "
        f"{n_evaluations}; or pass --pruner none"
    )


@pytest.mark.parametrize(("n_evaluations", "pruner"), [(6, "quantile"), (1, "none")])
def test_make_config_enough_evaluations_are_accepted(n_evaluations: int, pruner: str) -> None:
    assert config(n_evaluations=n_evaluations, pruner=pruner).n_evaluations == n_evaluations


def test_make_config_more_eval_envs_than_episodes_is_refused() -> None:
    assert mistakes(n_eval_envs=8, n_eval_episodes=5) == (
        "n_eval_envs: `n_eval_envs <= n_eval_episodes` must hold, but got "
        "(n_eval_envs=8, n_eval_episodes=5)"
    )


def test_make_config_own_class_without_space_is_refused() -> None:
    assert mistakes(algo="my_package:MyPPO") == (
        "algo: a class of your own needs its search space too: pass --space"
    )


def test_make_config_own_class_with_space_has_modest_defaults() -> None:
    made = config(algo="my_package:MyPPO", space="my_package:sample")
    assert (made.n_timesteps, made.n_envs) == (40_000, 1)


def test_make_config_stale_after_two_beats_is_refused() -> None:
    assert mistakes(beat_interval=10, stale_after=20) == (
        "stale_after: must be more than twice beat_interval, but got "
        "(stale_after=20.0, beat_interval=10.0)"
    )


def test_make_config_classes_and_functions_become_references() -> None:
    made = config(env=KnownReturnEnv, wrapper=[DoubleReward], space=sample_target_params)
    assert made.env == "tests.support.envs:KnownReturnEnv"
    assert made.wrapper == ("tests.support.envs:DoubleReward",)
    assert made.space == "tests.support.envs:sample_target_params"


def test_make_config_dumped_values_make_an_equal_one() -> None:
    made = config(
        timeout="10m",
        wrapper=[DoubleReward],
        fixed={"gamma": 0.95},
        policy_kwargs={"net_arch": {"pi": [64], "vf": [64]}},
        enqueue=["a.yaml"],
    )
    assert make_config(made.model_dump(mode="json")) == made


def test_make_config_class_among_policy_kwargs_can_be_dumped() -> None:
    made = config(policy_kwargs={"activation_fn": torch.nn.Tanh})
    assert make_config(made.model_dump(mode="json")) == made
    assert made.policy_kwargs == {"activation_fn": {"$import": "torch.nn.modules.activation:Tanh"}}


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"env": "CartPole-v1"},
        {"env_kwargs": {"g": 9.81}},
        {"fixed": {"gamma": 0.95}},
        {"n_timesteps": 50_000},
        {"n_envs": 4},
        {"n_eval_episodes": 21, "n_eval_envs": 20},
        {"sampler": "random"},
        {"pruner": "none"},
        {"score": "final"},
        {"space_size": "small"},
        {"n_threads": 2},
        {"callbacks": ["my.py:Log"]},
    ],
)
def test_identity_changes_with_what_changes_a_value(change: dict[str, Any]) -> None:
    assert config(**change).identity() != config().identity()
    assert config(**change).name() != config().name()


@pytest.mark.parametrize(
    "change",
    [
        {"n_trials": 7},
        {"n_workers": 3},
        {"timeout": "5m"},
        {"run_dir": "elsewhere"},
        {"storage": "elsewhere/study.journal"},
        {"verbose": True},
        {"vec_env": "subproc"},
        {"n_eval_envs": 4},
        {"enqueue": ["a.yaml"]},
        {"stop_at": 475},
        {"stop_after": 20},
        {"callbacks": []},
    ],
)
def test_identity_stays_with_what_changes_no_value(change: dict[str, Any]) -> None:
    assert config(**change).identity() == config().identity()
    assert config(**change).name() == config().name()


@pytest.mark.parametrize(
    ("env", "part"),
    [
        ("Pendulum-v1", "Pendulum-v1"),
        ("ALE/Pong-v5", "Pong-v5"),
        ("tests.support.envs:KnownReturnEnv", "KnownReturnEnv"),
        ("/home/me/tasks.py:make", "make"),
    ],
)
def test_name_is_algorithm_environment_seed_and_six_digits(env: str, part: str) -> None:
    assert re.fullmatch(rf"ppo-{part}-s3-[0-9a-f]{{6}}", config(env=env, seed=3).name())


def test_name_given_is_kept() -> None:
    assert config(study_name="my study").name() == "my study"


def test_name_does_not_depend_on_the_order_of_fixed() -> None:
    one, two = {"gamma": 0.9, "n_epochs": 5}, {"n_epochs": 5, "gamma": 0.9}
    assert config(fixed=one).name() == config(fixed=two).name()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:c4nary@h/db", "postgresql://h/db?user=me&password=c4nary",
        "mysql://me:c4nary@h/db?passwd=c4nary", "redis://:c4nary@h", "redis://h?password=c4nary",
        "grpc://me:c4nary@h:1",
    ],
)  # fmt: skip
def test_no_form_of_the_configuration_has_a_password(url: str) -> None:
    made = config(storage=url)
    for values in (made.plain(), made.model_dump(), made.model_dump(mode="json")):
        assert "c4nary" not in str(values)
        assert "***" in values["storage"]
    assert "c4nary" not in made.model_dump_json()
    assert made.storage == url


@pytest.mark.parametrize("text", ["a\ud800", "a\0"])
def test_text_that_storages_refuse_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"^env_kwargs: task\.0 must be text without lone surro"):
        make_config({"algo": "ppo", "env": "x", "env_kwargs": {"task": [text]}})


@pytest.mark.parametrize("field", ["env_kwargs", "policy_kwargs"])
@pytest.mark.parametrize(
    ("kwargs", "path"),
    [
        ({"limit": float("inf")}, "limit must be finite, but got inf"),
        ({"limit": float("-inf")}, "limit must be finite, but got -inf"),
        ({"reward": {"weights": [1.0, float("nan")]}}, r"reward\.weights\.1 must be .* got nan"),
    ],
)
def test_numbers_that_json_would_lose_are_refused(
    field: str, kwargs: dict[str, Any], path: str
) -> None:
    with pytest.raises(UserError, match=f"^{field}: {path}: studies keep plain JSON"):
        make_config({"algo": "ppo", "env": "Pendulum-v1", field: kwargs})


@pytest.mark.parametrize(("written", "algo"), [("PPO", "ppo"), ("RecurrentPPO", "recurrent_ppo")])
def test_algorithm_written_like_its_class_is_the_same(written: str, algo: str) -> None:
    config = make_config({"algo": written, "env": "Pendulum-v1"})
    assert config == make_config({"algo": algo, "env": "Pendulum-v1"})


@pytest.mark.parametrize("text", ["abc", "10 minutes", "h", ""])
def test_duration_that_is_none_says_what_one_is(text: str) -> None:
    with pytest.raises(
        UserError, match=r"^timeout: must be seconds, or 90s, 10m, 2h, 1d, but got"
    ):
        make_config({"algo": "ppo", "env": "Pendulum-v1", "timeout": text})


@pytest.mark.parametrize(
    "values", [{"run_dir": "a\0b"}, {"study_name": "a\0b"}, {"enqueue": ["a.yaml", "a\0b"]}]
)
def test_nul_in_a_path_is_a_mistake_of_its_option(values: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=rf"^{next(iter(values))}: must be text without NUL, but"):
        make_config({"algo": "ppo", "env": "CartPole-v1", **values})


@pytest.mark.parametrize(
    ("given", "entries"),
    [
        ("my.py:Log", [{"my.py:Log": {}}]),
        (["my.py:Log", "a.b:Save"], [{"my.py:Log": {}}, {"a.b:Save": {}}]),
        ({"a.b:Save": {"every": 3}}, [{"a.b:Save": {"every": 3}}]),
        ([{"a.b:Save": None}], [{"a.b:Save": {}}]),
        (["my.py:Save: {every: 1e3, to: x}"], [{"my.py:Save": {"every": 1000.0, "to": "x"}}]),
        (["{my.py:Save: {every: 3}}"], [{"my.py:Save": {"every": 3}}]),
        ([{Counts: {"every": 3}}, make_counts],
         [{f"{HERE}:Counts": {"every": 3}}, {f"{HERE}:make_counts": {}}]),
        ([{Counts: {"net_class": torch.nn.Tanh}}],
         [{f"{HERE}:Counts": {"net_class": {"$import": "torch.nn.modules.activation:Tanh"}}}]),
    ],
)  # fmt: skip
def test_callbacks_are_names_above_their_arguments(given: Any, entries: list[Any]) -> None:
    made = config(callbacks=given)
    assert made.plain()["callbacks"] == entries
    assert make_config(made.plain()) == made
    assert make_config(made.plain()).training().callbacks == tuple(entries)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([Counts()], "an object of Counts cannot be made anew for each run: pass its class, {cl"),
        (["a.b.Log"], "but got 'a.b.Log'; RL Zoo's a.b.Class is a.b:Class here"),
        ([{"a:B": {}, "a:C": {}}], "one of them above its arguments; several are a list, but got"),
        (["my.py:Save: {every"], "but 'my.py:Save: {every' is not YAML: "),
        ([{"a:B": 3}], "callbacks.0.a:B: Input should be a valid dictionary, but got 3"),
        ([{"a:B": {"rate": float("inf")}}], "callbacks.0.a:B: rate must be finite, but got inf"),
        ([3], "an object of int cannot be made anew"),
    ],
)  # fmt: skip
def test_callbacks_that_cannot_be_are_refused(given: Any, message: str) -> None:
    with pytest.raises(UserError, match=r"^callbacks[^\n]+$") as caught:
        config(callbacks=given)
    assert message in str(caught.value)


def test_no_callbacks_are_written_as_by_versions_that_knew_none() -> None:
    assert "callbacks" not in config().plain()
    assert "callbacks" not in config().training().model_dump(mode="json")
    assert "callbacks" not in config().training_identity()


@pytest.mark.parametrize("value", ["inf", "nan", "much"])
def test_stop_at_is_a_number(value: str) -> None:
    with pytest.raises(UserError, match=r"^stop_at: Input should be a "):
        config(stop_at=value)
