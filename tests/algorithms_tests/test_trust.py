from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from sb3_hpo.algorithms.trust import check_trusted, named_modules, strangers
from sb3_hpo.utils.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

_EVIL = "import pathlib\npathlib.Path({mark!r}).touch()\nclass Net: pass\ndef make(): pass\n"


@pytest.fixture
def evil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that leaves a mark where it is imported."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "evil_module.py").write_text(_EVIL.format(mark=str(tmp_path / "mark")))
    return tmp_path


@pytest.mark.parametrize(
    "values",
    [
        {"policy_kwargs": {"activation_fn": {"$import": "torch.nn:Tanh"}}},
        {"policy_kwargs": {"activation_fn": {"$import": "torch.nn.modules.activation:ReLU"}}},
        {"policy_kwargs": {"optimizer_class": {"$import": "torch.optim:RMSprop"}}},
        {"replay_buffer_class": {"$import": "stable_baselines3:HerReplayBuffer"}},
        {"learning_rate": {"$call": "samplers.schedules:CosineSchedule", "initial_value": 0.1}},
        {"policy_kwargs": {"features_extractor_class": {
            "$import": "stable_baselines3.common.torch_layers:NatureCNN"}}},
        {"env": "gymnasium:CartPole-v1"},
        {"wrapper": ["gymnasium.wrappers:FlattenObservation"]},
        {"sampler": "optuna.samplers:TPESampler", "pruner": "optuna.pruners:NopPruner"},
        {"algo": "ppo", "env": "CartPole-v1", "score": "last_half", "note": "see http://x:80"},
        [1, None, "os:system", {"net_arch": [64, 64]}],
    ],
)  # fmt: skip
def test_check_trusted_takes_what_models_are_made_of(values: Any) -> None:
    check_trusted(values, frozenset(), "best.yaml")
    assert strangers(values) == []


@pytest.mark.parametrize(
    "name",
    [
        "torch:os.system", "torch.hub:load", "torch:load", "stable_baselines3:PPO.load",
        "stable_baselines3.common.save_util:load_from_zip_file", "gymnasium:make",
        "samplers:sample_ppo_params", "optuna:load_study", "torch.nn:functional",
    ],
)  # fmt: skip
@pytest.mark.parametrize("key", ["$import", "$call"])
def test_check_trusted_judges_the_object_not_its_name(name: str, key: str) -> None:
    with pytest.raises(UserError) as caught:
        check_trusted({"policy_kwargs": {"x": {key: name}}}, frozenset(), "best.yaml")
    assert str(caught.value) == (
        f"best.yaml: {name} is no class that a model or an environment is made of"
    )


@pytest.mark.parametrize(
    "values",
    [
        {"policy_kwargs": {"activation_fn": {"$import": "evil_module:Net"}}},
        {"ent_coef": {"$call": "evil_module:Net"}},
        {"policy_kwargs.activation_fn": {"choices": ["relu", "evil_module:Net"]}},
        {"policy_kwargs": {"activation_fn": "evil_module:Net"}},
        {"policy_kwargs": {"a": [{"b": {"$tuple": [{"$import": "evil_module:Net"}]}}]}},
        {"algo": "evil_module:Net"},
        {"env": "evil_module:make"},
        {"env": "evil_module:Evil-v0"},
        {"wrapper": ["gymnasium.wrappers:FlattenObservation", "evil_module:Net"]},
        {"space": "evil_module:make"},
        {"score": "evil_module:make"},
    ],
)
def test_check_trusted_imports_no_stranger(evil: Path, values: Any) -> None:
    name = strangers(values)[0]
    assert name.startswith("evil_module:")
    with pytest.raises(UserError, match=rf"^f: {name} would be imported[^\n]* --trust") as caught:
        check_trusted(values, frozenset(), "f")
    assert "\n" not in str(caught.value)
    assert not (evil / "mark").exists()
    assert "evil_module" not in sys.modules


def test_check_trusted_file_is_no_library_whatever_its_name(evil: Path) -> None:
    (evil / "evil_module.py").rename(evil / "torch.py")
    with pytest.raises(UserError, match=r"torch\.py:Net would be imported"):
        check_trusted({"x": {"$import": f"{evil}/torch.py:Net"}}, frozenset(), "f")
    assert not (evil / "mark").exists()


def test_check_trusted_takes_the_modules_that_the_user_names(evil: Path) -> None:
    path = evil / "evil_module.py"
    own = {"policy_kwargs": {"activation_fn": {"$import": f"{path}:Net"}}}
    check_trusted(own, named_modules({"env": f"{path}:make"}), "f")
    check_trusted(own, named_modules({"trust": True}), "f")
    assert (evil / "mark").exists()
    path.write_text(path.read_text() + "import os\n")
    borrowed = {"x": {"$import": f"{path}:pathlib.os.system"}}
    with pytest.raises(UserError, match=r"pathlib\.os\.system is no class"):
        check_trusted(borrowed, named_modules({"space": f"{path}:make"}), "f")


def test_named_modules_are_those_of_the_user_s_options(evil: Path) -> None:
    modules = named_modules({
        "algo": "ppo", "env": "my.envs:make", "wrapper": ["a.b:W", "FlattenObservation"],
        "space": {"gamma": 0.9}, "score": "last_half", "n_envs": 4,
        "sampler": f"{evil}/../{evil.name}/evil_module.py:S",
    })  # fmt: skip
    assert modules == frozenset({"my.envs", "a.b", str(evil / "evil_module.py")})


@pytest.mark.parametrize(
    "callbacks",
    [
        ["evil_module:Net"],
        [{"evil_module:Net": {"every": 3}}],
        "evil_module:Net",
        ["evil_module:Net: {every: 3}"],
        [{"stable_baselines3.common.callbacks:ProgressBarCallback": {"x_fn": "evil_module:Net"}}],
    ],
)
def test_check_trusted_imports_no_callback_of_a_stranger(evil: Path, callbacks: Any) -> None:
    with pytest.raises(UserError, match=r"^f: [^\n]*evil_module:Net[^\n]* would be [^\n]*--trust"):
        check_trusted({"callbacks": callbacks}, frozenset(), "f")
    assert not (evil / "mark").exists()
    check_trusted({"callbacks": callbacks}, named_modules({"trust": True}), "f")


def test_check_trusted_lets_no_stranger_write_with_callbacks_of_sb3() -> None:
    name = "stable_baselines3.common.callbacks:CheckpointCallback"
    values = {"callbacks": [{name: {"save_freq": 1, "save_path": "/home/me"}}]}
    assert strangers(values) == [name]
    with pytest.raises(UserError, match=rf"^f: {name} would be imported[^\n]* --trust"):
        check_trusted(values, frozenset(), "f")
    check_trusted(values, named_modules({"callbacks": [name]}), "f")


def test_named_modules_are_also_those_of_callbacks(evil: Path) -> None:
    path = evil / "evil_module.py"
    for callbacks in ([f"{path}:Net"], [f"{path}:Net: {{a: 1}}"], [{f"{path}:Net": {"a": 1}}]):
        assert named_modules({"callbacks": callbacks}) == frozenset({str(path)})
