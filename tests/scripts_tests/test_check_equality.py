from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from sb3_hpo.scoring.statistics import Array, Estimate
from scripts import check_equality
from scripts.check_equality import (
    CASES,
    Case,
    Comparison,
    compare,
    line_of,
    train_alone,
    train_together,
)

if TYPE_CHECKING:
    from pathlib import Path


def group(mean: float, *, seed: int, n_runs: int = 20) -> Array:
    """Return made-up returns: runs differ by about 50, episodes of a run by about 20."""
    rng = np.random.default_rng(seed)
    runs = rng.normal(mean, 50.0, size=(n_runs, 1))
    return runs + rng.normal(0.0, 20.0, size=(n_runs, 20))


def test_draws_from_one_distribution_are_equal() -> None:
    comparison = compare(group(-300, seed=0), group(-300, seed=1))
    assert comparison.is_equal
    assert comparison.rank_p > 0.05
    assert comparison.shape_p > 0.05
    assert -340 < comparison.together.low < comparison.together.value
    assert comparison.together.value < comparison.together.high < -260


def test_a_shift_is_found() -> None:
    comparison = compare(group(-300, seed=0), group(-200, seed=1))
    assert not comparison.is_equal
    assert comparison.rank_p < 0.001


def test_runs_that_are_too_much_alike_are_found() -> None:
    together = np.full((20, 20), -300.0) + np.arange(20.0)  # all runs the same: one random stream
    comparison = compare(together, group(-300, seed=1))
    assert comparison.rank_p > 0.01
    assert comparison.shape_p < 0.01
    assert not comparison.is_equal


def test_perfect_scores_of_both_are_equal() -> None:
    perfect = np.full((20, 20), 500.0)
    assert compare(perfect, perfect.copy()).is_equal


def test_intervals_apart_are_a_difference_whatever_the_tests_say() -> None:
    apart = Comparison(Estimate(2.0, (1.5, 2.5)), Estimate(0.0, (-1.0, 1.0)), 0.5, 0.5)
    touching = Comparison(Estimate(2.0, (1.0, 2.5)), Estimate(0.0, (-1.0, 1.0)), 0.5, 0.5)
    assert not apart.is_equal
    assert touching.is_equal


def test_line_shows_both_groups_and_the_verdict() -> None:
    apart = Comparison(Estimate(2.0, (1.5, 2.5)), Estimate(0.0, (-1.0, 1.0)), 0.5, 0.25)
    assert " ".join(line_of("ppo", apart).split()) == (
        "ppo 2.0 ( 1.5 to 2.5) 0.0 ( -1.0 to 1.0) 0.500 0.250 DIFFERENT"
    )


@pytest.mark.parametrize(("mean", "status"), [(-300.0, 0), (-200.0, 1)])
def test_exit_status_and_file_say_what_was_found(
    mean: float,
    status: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def both(*_: Any) -> tuple[Array, Array]:
        return group(-300, seed=0), group(mean, seed=1)

    monkeypatch.setattr(check_equality, "_both", both)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    out = tmp_path / "returns.json"
    assert check_equality.main(["--algos", "ppo", "sac", "--out", str(out)]) == status
    words = capsys.readouterr().out.split()
    assert words.count("DIFFERENT" if status else "equal") == 2
    assert np.shape(json.loads(out.read_text())["sac"]["alone"]) == (20, 20)


def test_every_algorithm_has_a_case() -> None:
    assert list(CASES) == ["ppo", "a2c", "dqn", "sac"]


@pytest.mark.slow
def test_both_ways_play_the_same_episodes_with_the_same_policy() -> None:
    case = Case("CartPole-v1", 1, 1, {"n_steps": 5})  # one update: no room for rounding to grow
    together = train_together("a2c", case, [3, 4])
    alone = [train_alone(("a2c", case, seed)) for seed in (3, 4)]
    assert together.tolist() == alone
