from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.training_tests.batch_tests.cases import CASES, pairs
from tests.training_tests.batch_tests.members import (
    TOLERANCE,
    alone,
    contents,
    largest_difference,
    n_gradient_steps,
    weights,
)

if TYPE_CHECKING:
    from tests.training_tests.batch_tests.members import Contents, Run

pytestmark = pytest.mark.filterwarnings("ignore:You have specified a mini-batch size of")
every_case = pytest.mark.parametrize("name", CASES)


def assert_same(ours: Contents, theirs: Contents, tolerance: float) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        np.testing.assert_allclose(
            ours[name], value, rtol=tolerance, atol=tolerance, err_msg=name, strict=True
        )


@every_case
def test_batch_before_the_first_update_has_seen_what_sb3_sees(name: str) -> None:
    for ours, theirs in pairs(name):
        assert len(theirs.first) >= 6
        assert all(len(part) for part in theirs.first.values())
        assert_same(ours.first, theirs.first, 1e-5)


@every_case
def test_batch_ends_with_the_weights_of_sb3(name: str) -> None:
    for ours, theirs in pairs(name):
        assert equal_starts(ours, theirs)
        assert largest_difference(weights(ours.model), weights(theirs.model), theirs.before) < (
            TOLERANCE
        )


def equal_starts(ours: Run, theirs: Run) -> bool:
    return all(bool((ours.before[k] == value).all()) for k, value in theirs.before.items())


@every_case
def test_batch_counts_as_sb3_does(name: str) -> None:
    for ours, theirs in pairs(name):
        assert ours.model._n_updates == theirs.model._n_updates
        assert ours.model.num_timesteps == theirs.model.num_timesteps >= CASES[name].n_timesteps


@every_case
def test_batch_ends_with_the_experience_of_sb3(name: str) -> None:
    for ours, theirs in pairs(name):
        if hasattr(theirs.model, "replay_buffer"):  # rollouts are flat once they were learned
            assert_same(contents(ours.model), contents(theirs.model), 1e-2)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.normalized])
def test_batch_normalises_as_sb3_does(name: str) -> None:
    for ours, theirs in pairs(name):
        one, other = ours.model.get_vec_normalize_env(), theirs.model.get_vec_normalize_env()
        for ours_, theirs_ in zip(statistics(one), statistics(other), strict=True):
            np.testing.assert_allclose(ours_, theirs_, rtol=1e-3, atol=1e-3)


def statistics(venv: object) -> list[np.ndarray]:
    obs = venv.obs_rms  # type: ignore[attr-defined]
    parts = [*(obs.values() if isinstance(obs, dict) else [obs]), venv.ret_rms]  # type: ignore[attr-defined]
    return [np.asarray(value) for p in parts for value in (p.mean, p.var, p.count)]


@every_case
def test_batch_makes_as_many_gradient_steps_as_sb3(name: str) -> None:
    for own, (ours, theirs) in zip(CASES[name].own, pairs(name), strict=True):
        n_steps = n_gradient_steps(theirs.model)
        assert n_gradient_steps(ours.model) == n_steps
        assert n_steps >= (50 if own.get("target_kl") is None else 20)


def test_target_kl_ends_updates_early() -> None:
    name = "ppo box"
    free, *limited = [n_gradient_steps(ours.model) for ours, _ in pairs(name)]
    assert CASES[name].own[0]["target_kl"] is None
    assert free == 72
    assert max(limited) < free


@pytest.mark.parametrize(
    ("name", "scalar"), [(name, scalar) for name, case in CASES.items() for scalar in case.own[0]]
)
def test_weights_tell_whether_a_member_has_learned_with_a_number_of_its_own(
    name: str, scalar: str
) -> None:
    case = CASES[name]
    wrong = alone(case.with_own(2, **{scalar: case.own[0][scalar]}), 2).model
    _, theirs = pairs(name)[2]
    apart = largest_difference(weights(wrong), weights(theirs.model), theirs.before)
    assert apart > 10 * TOLERANCE
