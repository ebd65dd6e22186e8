from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import pytest
from scipy import stats

from sb3_hpo.reevaluation import race as race_module
from sb3_hpo.reevaluation.race import Race, Round, batch_cost, plan_race, race_cost

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

EIGHT = (Round(8, 1), Round(4, 2), Round(2, 4))
FOUR = (Round(4, 1), Round(2, 2))
NOISE = (50.0, -50.0, 30.0, -30.0)  # by seed index; more than any gap between candidates


def run(race: Race, score: Callable[[int, int], float]) -> list[list[tuple[int, int]]]:
    """Run a race to its end and return what it asked for, call by call."""
    asked = []
    while due := race.due():
        asked.append(due)
        for candidate, seed_index in due:
            race.add(candidate, seed_index, score(candidate, seed_index))
    return asked


def pairs(candidates: Sequence[int], seeds: Sequence[int]) -> list[tuple[int, int]]:
    return [(candidate, seed) for seed in seeds for candidate in candidates]


@pytest.mark.parametrize(
    ("n_trials", "top", "plan"),
    [
        (0, None, []),
        (23, None, []),
        (24, None, [(3, 1), (2, 2)]),
        (40, None, [(3, 1), (2, 2)]),
        (60, None, [(4, 1), (2, 2)]),
        (96, None, [(6, 1), (3, 2)]),
        (1000, None, [(8, 1), (4, 2)]),
        (3, 1, []),
        (3, 2, [(2, 2)]),
        (3, 3, [(3, 1), (2, 2)]),
        (1000, 5, [(5, 1), (3, 2)]),
        (1000, 16, [(16, 1), (8, 2)]),
    ],
)
def test_plan_race_is_as_written(n_trials: int, top: int | None, plan: list[object]) -> None:
    rounds = plan_race(n_trials, top)
    assert [(each.n_candidates, each.n_seeds) for each in rounds] == plan


@pytest.mark.parametrize(
    ("n_trials", "top", "plan"),
    [
        (23, None, []),
        (40, None, [(3, 2), (2, 5)]),
        (1000, None, [(8, 2), (4, 5)]),
        (3, 2, [(2, 5)]),
        (3, 1, []),
    ],
)
def test_plan_race_gives_more_seeds_where_they_are_cheap(
    n_trials: int, top: int | None, plan: list[object]
) -> None:
    rounds = plan_race(n_trials, top, is_cheap=True)
    assert [(each.n_candidates, each.n_seeds) for each in rounds] == plan


def test_batch_cost_of_seeds_together() -> None:
    assert [batch_cost(n, 0.25) for n in (0, 1, 5)] == [0.0, 1.0, 2.0]
    # 8 x (1 + 0.25) for two seeds each, then three more for four of them: 4 x (1 + 2 x 0.25)
    assert race_cost((Round(8, 2), Round(4, 5)), 0.25) == 16.0


@pytest.mark.parametrize(
    ("rounds", "n_runs"),
    [((), 0), ((Round(2, 2),), 4), (FOUR, 6), (EIGHT, 16), ((Round(10, 1), Round(5, 3)), 20)],
)
def test_race_cost_of_seeds_alone_counts_those_that_are_new_in_each_round(
    rounds: Sequence[Round], n_runs: int
) -> None:
    assert race_cost(rounds) == n_runs


def test_race_noisy_asks_for_every_round_with_half_the_field() -> None:
    race = Race([0.0] * 8, EIGHT)
    asked = run(race, lambda candidate, seed: candidate + NOISE[seed])
    assert asked == [pairs(range(8), [0]), pairs([7, 6, 5, 4], [1]), pairs([7, 6], [2, 3])]
    assert race.leader() == 7
    assert race.due() == []


def test_race_asks_for_as_many_runs_as_planned() -> None:
    asked = run(Race([0.0] * 8, EIGHT), lambda candidate, seed: candidate + NOISE[seed])
    assert sum(map(len, asked)) == race_cost(EIGHT)


def test_race_partly_scored_asks_for_the_rest_only() -> None:
    race = Race([0.0] * 3, [Round(3, 2)])
    for candidate, seed in [(1, 1), (0, 0), (2, 0)]:
        race.add(candidate, seed, 0.0)
    assert race.due() == [(1, 0), (0, 1), (2, 1)]


def test_race_without_rounds_is_over_and_led_by_the_best_trial() -> None:
    race = Race([3.0, 2.0], ())
    assert race.due() == []
    assert race.leader() == 0


def test_race_fewer_candidates_than_planned_all_run_until_the_field_must_halve() -> None:
    asked = run(Race([0.0] * 3, EIGHT), lambda candidate, seed: candidate + NOISE[seed])
    assert asked == [pairs([0, 1, 2], [0]), pairs([2, 1, 0], [1]), pairs([2, 1], [2, 3])]


def test_race_more_candidates_than_planned_takes_the_first() -> None:
    asked = run(Race([0.0] * 9, [Round(2, 2)]), lambda candidate, seed: candidate + NOISE[seed])
    assert asked == [pairs([0, 1], [0, 1])]


@pytest.mark.parametrize(("score", "leader"), [(2.4, 0), (2.6, 1)])
def test_race_trial_value_counts_half_a_run(score: float, leader: int) -> None:
    """(0 + 0 + 10 / 2) / 2.5 = 2 against (s + s + 0 / 2) / 2.5 = 0.8 s."""
    race = Race([10.0, 0.0], [Round(2, 2)])
    run(race, lambda candidate, _: score if candidate == 1 else 0.0)
    assert race.leader() == leader


@pytest.mark.parametrize(("share", "n_calls"), [(1.01, 1), (0.99, 2)])
def test_race_stops_early_exactly_where_the_noise_allows(share: float, n_calls: int) -> None:
    """Trial values and scores differ by 1, -1, 1, -1: no bias, and a variance of half of 4 / 3.

    The means are off their trial values by two thirds of that, so the leader's lead over the
    second is the gap less 4 / 3.
    """
    gap = 4 / 3 + share * stats.t.ppf(0.95, df=3) * math.sqrt(2 / 3 * 2)
    values = [gap, 0.0, 0.0, 0.0]
    race = Race(values, [Round(4, 1), Round(2, 2)])
    asked = run(race, lambda candidate, _: values[candidate] + (1 if candidate % 2 else -1))
    assert len(asked) == n_calls
    assert race.leader() == 0


def test_race_forgives_trial_values_that_are_all_too_high() -> None:
    """A bias common to all trial values is not noise."""
    values = [9.0, 5.0, 5.0, 5.0]
    race = Race([value + 100 for value in values], [Round(4, 1), Round(2, 2)])
    asked = run(race, lambda candidate, _: values[candidate] + 0.1 * (candidate % 2))
    assert len(asked) == 1
    assert race.leader() == 0


def test_race_two_pairs_without_noise_decide() -> None:
    race = Race([0.0, 0.0], [Round(2, 2), Round(2, 4)])
    assert run(race, lambda candidate, _: float(candidate)) == [pairs([0, 1], [0, 1])]
    assert race.leader() == 1


def test_race_one_seed_each_decides_nothing() -> None:
    race = Race([0.0, 0.0], [Round(2, 1), Round(2, 2)])
    asked = run(race, lambda candidate, _: 1000.0 * candidate)
    assert asked == [pairs([0, 1], [0]), pairs([1, 0], [1])]


def test_race_one_pair_of_scores_decides_nothing() -> None:
    """One degree of freedom: candidate 0 has two scores, the others have one."""
    race = Race([0.0] * 3, [Round(3, 1), Round(3, 2)])
    race.add(0, 1, 1000.0)
    asked = run(race, lambda candidate, _: 1000.0 * (candidate == 0))
    assert asked == [pairs(range(3), [0]), pairs([1, 2], [1])]


def test_t_quantiles_are_student_s() -> None:
    ours = list(race_module._T_QUANTILES)
    expected = [float(stats.t.ppf(0.95, df)) for df in range(2, 2 + len(ours))]
    assert ours == pytest.approx(expected, abs=5e-4)


def test_race_diverged_run_takes_its_candidate_out_whatever_its_others() -> None:
    race = Race([0.0] * 4, [Round(4, 2), Round(4, 4)])
    asked = run(
        race,
        lambda candidate, seed: (
            -math.inf if (candidate, seed) == (2, 1) else 10.0 * candidate + NOISE[seed]
        ),
    )
    assert asked[1] == pairs([3, 1, 0], [2, 3])
    assert race.leader() == 3


def test_race_diverged_run_does_not_hide_the_noise_of_the_others() -> None:
    scores = {0: (0.0, -math.inf), 1: (100.0, 101.0), 2: (0.0, 1.0)}
    race = Race([0.0] * 3, [Round(3, 2), Round(3, 4)])
    asked = run(race, lambda candidate, seed: scores[candidate][seed])
    assert asked == [pairs(range(3), [0, 1])]
    assert race.leader() == 1


def test_race_all_diverged_is_over_and_led_by_the_best_trial() -> None:
    race = Race([5.0, 4.0, 3.0, 2.0], FOUR)
    assert run(race, lambda *_: -math.inf) == [pairs(range(4), [0])]
    assert race.leader() == 0


def test_race_one_left_standing_wins_at_once() -> None:
    race = Race([5.0, 4.0, 3.0, 2.0], FOUR)
    asked = run(race, lambda candidate, _: -1000.0 if candidate == 3 else -math.inf)
    assert asked == [pairs(range(4), [0])]
    assert race.leader() == 3


def test_race_equal_scores_are_led_by_the_better_trial() -> None:
    race = Race([1.0, 1.0, 1.0], [Round(3, 2)])
    run(race, lambda *_: 0.0)
    assert race.leader() == 0


def test_race_does_not_depend_on_the_order_of_results() -> None:
    """The sums of 0.1, 0.2, 0.3, 0.7 differ in their last bit by order: still a tie."""
    scores = (0.1, 0.2, 0.3, 0.7)
    runs = [(candidate, seed) for candidate in range(3) for seed in range(4)]
    shuffle = random.Random(0).shuffle
    for _ in range(50):
        shuffle(runs)
        race = Race([0.0] * 3, [Round(3, 4), Round(2, 5)])
        for candidate, seed in runs:
            race.add(candidate, seed, scores[(seed + candidate) % 4])
        assert race.due() == pairs([0, 1], [4])
