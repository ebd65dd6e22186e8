from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from sb3_hpo.reevaluation.race import Round
from sb3_hpo.reevaluation.schedule import Reevaluation, keep_median_model
from sb3_hpo.results import study_result
from sb3_hpo.results.reevaluation_runs import (
    BASELINE,
    LOG_FILE,
    Candidate,
    ReevaluationLog,
    make_request,
    model_folder,
)
from tests.support.reevaluations import (
    candidate,
    made_run,
    made_runs,
    small_config,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from sb3_hpo.config.study_config import StudyConfig
    from sb3_hpo.results.reevaluation_runs import ReevaluationRequest

CONFIG = small_config()
RACERS = [candidate(number, 0.0) for number in (1, 2, 3, 4)]
ROUNDS = (Round(4, 1), Round(2, 2))

Run = tuple[str, int | None, int]  # stage, trial, seed index


def name_of(request: ReevaluationRequest) -> Run:
    return request.stage, request.candidate.trial, request.seed_index


def stage_at(
    path: Path,
    config: StudyConfig = CONFIG,
    candidates: Sequence[Candidate] = RACERS,
    rounds: Sequence[Round] = ROUNDS,
) -> Reevaluation:
    return Reevaluation(config, ReevaluationLog(path), candidates, rounds)


def score(request: ReevaluationRequest) -> float | None:
    """Trial 3 is the best by far, and SB3's default the worst; seeds hardly matter."""
    level = -1000.0 if request.candidate.trial is None else 100.0 * (request.candidate.trial == 3)
    return level + request.seed_index % 2 + (request.candidate.trial or 0)


def close(request: ReevaluationRequest) -> float | None:
    """SB3's default is as good as the winner."""
    return float(request.seed_index % 2) if request.candidate.trial in (None, 3) else -5.0


def drive(
    stage: Reevaluation,
    train: Callable[[ReevaluationRequest], float | None],
    *,
    config: StudyConfig = CONFIG,
    broken: Collection[str] = (),
) -> list[Run]:
    """Train what is due, the most urgent first, one at a time."""
    trained = []
    while due := stage.due(broken):
        stage.on_result(made_run(config, due[0], train(due[0])))
        trained.append(name_of(due[0]))
    return trained


def runs(stage: str, trial: int | None, n: int, first: int = 0) -> list[Run]:
    return [(stage, trial, index) for index in range(first, n)]


RACE: list[Run] = [
    *(("race", number, 0) for number in (1, 2, 3, 4)),
    ("race", 3, 1),
    ("race", 4, 1),
]


def both_tests(winner: int) -> list[Run]:
    """Three seeds of each, then the winner's fourth."""
    return [
        *runs("test", winner, 3),
        *runs("test", None, 3),
        *runs("test", winner, 4, first=3),
    ]


def test_due_whole_sequence_is_race_then_tests_of_both(tmp_path: Path) -> None:
    trained = drive(stage_at(tmp_path / LOG_FILE), score)
    assert trained == [*RACE, *both_tests(3)]
    assert ReevaluationLog(tmp_path / LOG_FILE).winner() == RACERS[2]


def test_due_default_not_clearly_behind_gets_all_seeds(tmp_path: Path) -> None:
    trained = drive(stage_at(tmp_path / LOG_FILE), close)
    assert trained[-8:] == [*both_tests(3), ("test", None, 3)]


def test_due_default_clearly_ahead_gets_few_seeds_too(tmp_path: Path) -> None:
    def train(request: ReevaluationRequest) -> float | None:
        return 5000.0 if request.candidate.trial is None else score(request)

    assert drive(stage_at(tmp_path / LOG_FILE), train)[-7:] == both_tests(3)


def test_due_during_the_race_default_waits_behind_it(tmp_path: Path) -> None:
    """So that a process without a race run has something to do."""
    due = [name_of(request) for request in stage_at(tmp_path / LOG_FILE).due()]
    assert due == [*RACE[:4], *runs("test", None, 3)]
    assert not (tmp_path / LOG_FILE).exists()


def test_due_default_s_other_seeds_wait_for_its_first_three(tmp_path: Path) -> None:
    stage = stage_at(tmp_path / LOG_FILE, candidates=RACERS[2:3], rounds=())
    for request in stage.due():
        if request.candidate.trial == 3:
            stage.on_result(made_run(CONFIG, request, score(request)))
    assert [name_of(request) for request in stage.due()] == runs("test", None, 3)


def test_due_without_rounds_tests_the_best_trial(tmp_path: Path) -> None:
    trained = drive(stage_at(tmp_path / LOG_FILE, rounds=()), score)
    assert trained == both_tests(1)


@pytest.mark.parametrize("n", [1, 2])
def test_due_fewer_test_seeds_than_three(tmp_path: Path, n: int) -> None:
    config = small_config(test_seeds=n)
    stage = stage_at(tmp_path / LOG_FILE, config, RACERS[2:3], ())
    assert drive(stage, score, config=config) == [*runs("test", 3, n), *runs("test", None, n)]


def test_due_winner_with_sb3_s_arguments_is_not_the_baseline(tmp_path: Path) -> None:
    """It is trained in the study's environments, the baseline in one."""
    winner = Candidate(trial=0, kwargs={}, trial_value=1.0)
    stage = stage_at(tmp_path / LOG_FILE, candidates=[winner], rounds=())
    assert drive(stage, score) == both_tests(0)


@pytest.mark.parametrize("train", [score, close])
def test_due_resumed_from_every_prefix_asks_for_the_rest_in_order(
    tmp_path: Path, train: Callable[[ReevaluationRequest], float | None]
) -> None:
    drive(stage_at(tmp_path / "whole.jsonl"), train)
    done = ReevaluationLog(tmp_path / "whole.jsonl").read()
    for n in range(len(done) + 1):
        log = ReevaluationLog(tmp_path / f"{n}.jsonl")
        for run in done[:n]:
            log.append(run)
        drive(stage_at(tmp_path / f"{n}.jsonl"), train)
        assert log.read() == done
        text = (tmp_path / f"{n}.jsonl").read_text(encoding="utf-8")
        assert text.count('"key"') == len(done)
        assert log.winner() == RACERS[2]


@pytest.mark.parametrize("train", [score, close])
@pytest.mark.parametrize("n_runners", [2, 5, 20])
def test_due_many_runs_at_a_time_in_any_order_are_the_same_runs(
    tmp_path: Path, train: Callable[[ReevaluationRequest], float | None], n_runners: int
) -> None:
    """With as many processes as you like: what is trained does not depend on who is first."""
    expected = drive(stage_at(tmp_path / "one.jsonl"), train)
    chance = random.Random(n_runners)
    for attempt in range(3):
        stage = stage_at(tmp_path / f"{attempt}.jsonl")
        busy: dict[str, ReevaluationRequest] = {}
        trained = []
        while True:
            waiting = {request.key(CONFIG): request for request in stage.due()}
            for key in [key for key in waiting if key not in busy][: n_runners - len(busy)]:
                busy[key] = waiting[key]
            if not busy:
                break
            request = busy.pop(chance.choice(list(busy)))
            stage.on_result(made_run(CONFIG, request, train(request)))
            trained.append(name_of(request))
        assert sorted(trained, key=str) == sorted(expected, key=str)


def test_due_more_test_seeds_later_keeps_the_first(tmp_path: Path) -> None:
    drive(stage_at(tmp_path / LOG_FILE), score)
    more = small_config(test_seeds=6)
    trained = drive(stage_at(tmp_path / LOG_FILE, more), score, config=more)
    assert trained == runs("test", 3, 6, first=4)


def test_due_other_test_episodes_later_repeat_the_test_not_the_race(tmp_path: Path) -> None:
    drive(stage_at(tmp_path / LOG_FILE), score)
    other = small_config(test_episodes=3)
    trained = drive(stage_at(tmp_path / LOG_FILE, other), score, config=other)
    assert trained == both_tests(3)


def test_due_diverged_runs_are_done_and_lose_the_race(tmp_path: Path) -> None:
    def train(request: ReevaluationRequest) -> float | None:
        diverges = request.candidate.trial == 3 and request.stage == "race"
        return None if diverges else score(request)

    trained = drive(stage_at(tmp_path / LOG_FILE), train)
    assert trained[4:6] == [("race", 4, 1), ("race", 2, 1)]
    assert trained[6:13] == both_tests(4)


def test_due_diverged_test_of_the_winner_calls_for_all_of_the_default(tmp_path: Path) -> None:
    """One of the winner's seeds is now below the default's: they are no longer apart."""

    def train(request: ReevaluationRequest) -> float | None:
        return None if name_of(request) == ("test", 3, 0) else score(request)

    trained = drive(stage_at(tmp_path / LOG_FILE), train)
    assert trained[-8:] == [*both_tests(3), ("test", None, 3)]


def test_due_broken_runs_are_not_asked_for_and_lose_the_race(tmp_path: Path) -> None:
    broken = {make_request(CONFIG, "race", RACERS[2], 0).key(CONFIG)}
    trained = drive(stage_at(tmp_path / LOG_FILE), score, broken=broken)
    assert ("race", 3, 0) not in trained
    assert trained[-7:] == both_tests(4)


def test_due_broken_tests_do_not_hold_up_the_others(tmp_path: Path) -> None:
    broken = {make_request(CONFIG, "test", who, 0).key(CONFIG) for who in (RACERS[2], BASELINE)}
    trained = drive(stage_at(tmp_path / LOG_FILE), score, broken=broken)
    assert trained[-6:] == [
        *runs("test", 3, 3, first=1),
        *runs("test", None, 3, first=1),
        ("test", 3, 3),
        ("test", None, 3),
    ]


def test_take_is_on_disk_at_once(tmp_path: Path) -> None:
    stage = stage_at(tmp_path / LOG_FILE)
    run = made_run(CONFIG, stage.due()[0], 1.0)
    stage.on_result(run)
    assert ReevaluationLog(tmp_path / LOG_FILE).read() == [run]


def judged(values: Sequence[float | None], who: Candidate) -> study_result.TestResult | None:
    return study_result.read_test(CONFIG, made_runs(CONFIG, "test", who, values), who)


def save_models(run_dir: Path, who: Candidate, n: int, *, normalized: bool) -> None:
    for index in range(n):
        key = make_request(CONFIG, "test", who, index).key(CONFIG)
        folder = model_folder(run_dir, who.trial, index, key)
        folder.mkdir(parents=True)
        (folder / "model.zip").write_text(f"policy of seed {index}")
        if normalized:
            (folder / "vecnormalize.pkl").write_text(f"statistics of seed {index}")


def contents(run_dir: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in run_dir.iterdir() if path.is_file()}


def test_keep_median_model_copies_the_median_seed_s_files(tmp_path: Path) -> None:
    save_models(tmp_path, RACERS[0], 4, normalized=True)
    path = keep_median_model(tmp_path, judged([5.0, 9.0, 7.0, 1.0], RACERS[0]))
    assert path == tmp_path / "best_model.zip"
    assert contents(tmp_path) == {
        "best_model.zip": "policy of seed 0",
        "vecnormalize.pkl": "statistics of seed 0",
    }


def test_keep_median_model_without_normalization_has_no_statistics(tmp_path: Path) -> None:
    save_models(tmp_path, BASELINE, 3, normalized=False)
    keep_median_model(tmp_path, judged([5.0, 9.0, 7.0], BASELINE))
    assert contents(tmp_path) == {"best_model.zip": "policy of seed 2"}


@pytest.mark.parametrize("values", [[None, None], []])
def test_keep_median_model_without_policy_copies_nothing(
    tmp_path: Path, values: list[float | None]
) -> None:
    assert keep_median_model(tmp_path, judged(values, RACERS[0])) is None
    assert contents(tmp_path) == {}
