from __future__ import annotations

import subprocess
import sys

import optuna
import pytest
import sb3_contrib
import stable_baselines3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

import samplers
from samplers import SpaceContext
from sb3_hpo.algorithms.registry import ALGORITHMS, ALIASES, check_algorithm_installed
from sb3_hpo.utils.errors import UserError
from sb3_hpo.utils.import_strings import load_reference
from tests.samplers_tests.support import draw


def test_import_does_not_load_the_heavy_libraries() -> None:
    code = (
        "import sys, samplers; "
        "print({'torch', 'stable_baselines3', 'gymnasium', 'sb3_hpo'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_exported_names_exist_and_are_sorted() -> None:
    assert all(hasattr(samplers, name) for name in samplers.__all__)
    assert len(set(samplers.__all__)) == len(samplers.__all__)


def test_table_has_every_exported_search_space() -> None:
    functions = {name for name in samplers.__all__ if name.startswith("sample_")}
    in_table = {f"sample_{algo}_params" for algo in samplers.SEARCH_SPACES}
    assert functions == in_table
    for algo, space in samplers.SEARCH_SPACES.items():
        drawn = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
        kwargs = getattr(samplers, f"sample_{algo}_params")(drawn, size="small")
        assert space.sample(optuna.trial.FixedTrial(drawn.params), size="small") == kwargs


def test_every_search_space_has_an_algorithm() -> None:
    assert set(ALGORITHMS) == set(samplers.SEARCH_SPACES)
    assert set(ALIASES.values()) <= set(ALGORITHMS)
    assert not set(ALIASES) & set(ALGORITHMS)


def test_every_algorithm_of_sb3_and_its_contrib_has_a_search_space() -> None:
    exported = {
        item
        for module in (stable_baselines3, sb3_contrib)
        for item in vars(module).values()
        if isinstance(item, type) and issubclass(item, BaseAlgorithm)
    }
    assert {load_reference(item.reference) for item in ALGORITHMS.values()} == exported


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_algorithm_table_agrees_with_the_class(algo: str) -> None:
    algorithm, cls = ALGORITHMS[algo], load_reference(ALGORITHMS[algo].reference)
    replays = issubclass(cls, OffPolicyAlgorithm)
    assert algorithm.supports_her == (replays and "MultiInputPolicy" in cls.policy_aliases)
    assert algorithm.is_contrib == cls.__module__.startswith("sb3_contrib")
    assert algorithm.needs_action_masks == (algo == "maskable_ppo")


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_search_space_fits_into_the_default_budget(algo: str) -> None:
    algorithm = ALGORITHMS[algo]
    context = SpaceContext(n_envs=algorithm.n_envs, n_timesteps=algorithm.n_timesteps)
    assert draw(algo, context, "full", 1)


def test_missing_contrib_is_one_line_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    check_algorithm_installed("ppo")
    message = r"^algo: ppo_lstm needs sb3_contrib: pip install .*\[contrib\]'$"
    with pytest.raises(UserError, match=message):
        check_algorithm_installed("ppo_lstm")
