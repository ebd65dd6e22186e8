from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from sb3_hpo.results.reevaluation_runs import (
    BASELINE,
    Candidate,
    ReevaluationLog,
    ReevaluationRun,
    make_request,
    model_folder,
    runs_of,
    training_config,
)
from sb3_hpo.utils.seeding import Stream, derive_seed, derive_seeds
from tests.support.reevaluations import (
    candidate,
    evaluation,
    made_run,
    made_runs,
    small_config,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sb3_hpo.results.reevaluation_runs import Stage

CONFIG = small_config()
WHO = candidate(3, -200.0)
RUNS = made_runs(CONFIG, "test", WHO, [-1.5, 0.1 + 0.2, None])


def key_of(stage: Stage = "test", who: Candidate = WHO, index: int = 0, **values: Any) -> str:
    config = small_config(**values)
    return make_request(config, stage, who, index).key(config)


@pytest.mark.parametrize(
    "values",
    [
        {"n_timesteps": 40_001},
        {"env": "Acrobot-v1"},
        {"env_kwargs": {"g": 9.0}},
        {"algo": "a2c"},
        {"n_envs": 3},
        {"normalize": True},
        {"policy": "MlpPolicy"},
        {"policy_kwargs": {"ortho_init": False}},
        {"n_threads": 2},
        {"n_evaluations": 3},
        {"n_eval_episodes": 3},
        {"n_eval_envs": 0},
        {"stochastic_eval": True},
        {"metric": "is_success"},
        {"seed": 1},
    ],
)
@pytest.mark.parametrize("stage", ["race", "test"])
def test_key_changes_with_what_the_numbers_depend_on(stage: Stage, values: Any) -> None:
    assert key_of(stage, **values) != key_of(stage)


@pytest.mark.parametrize(
    "values",
    [
        {"n_workers": 7},
        {"n_trials": 99},
        {"top": 5},
        {"test_seeds": 20},
        {"timeout": 60},
        {"n_eval_envs": 1},
        {"vec_env": "subproc"},
        {"sampler": "random"},
        {"pruner": "median", "n_evaluations": 6},
        {"score": "last_half"},
        {"fixed": {"gamma": 0.9}},
        {"study_name": "other", "run_dir": "elsewhere", "storage": "s.journal"},
        {"verbose": True, "tensorboard": True},
    ],
)
def test_key_does_not_change_with_anything_else(values: Any) -> None:
    expected = key_of(n_evaluations=values.get("n_evaluations", 2))
    assert key_of(**values) == expected


def test_key_test_episodes_matter_to_a_test_only() -> None:
    assert key_of("test", test_episodes=3) != key_of("test")
    assert key_of("race", test_episodes=3) == key_of("race")


def test_key_changes_with_arguments_stage_and_seed_index_only() -> None:
    other = Candidate(trial=3, kwargs={"n_epochs": 4})
    keys = {key_of(), key_of(who=other), key_of("race"), key_of(index=1)}
    assert len(keys) == 4
    assert key_of(who=Candidate(trial=None, kwargs=dict(WHO.kwargs))) == key_of()


@pytest.mark.parametrize("name", ["seed", "episode_seeds", "final_seeds"])
def test_key_changes_with_every_seed(name: str) -> None:
    request = make_request(CONFIG, "test", WHO, 0)
    other: Any = 7 if name == "seed" else (7, 8)
    assert replace(request, **{name: other}).key(CONFIG) != request.key(CONFIG)


def test_key_order_of_arguments_does_not_matter() -> None:
    one, other = ({"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"d": 3, "c": 2}, "a": 1})
    keys = [key_of(who=Candidate(trial=1, kwargs=kwargs)) for kwargs in (one, other)]
    assert keys[0] == keys[1]


@pytest.mark.parametrize("root", [0, 1, 12345])
def test_seeds_and_episodes_of_search_race_and_test_are_disjoint(root: int) -> None:
    config = small_config(seed=root, test_episodes=200, n_eval_episodes=20)
    races = [make_request(config, "race", WHO, index) for index in range(10)]
    tests = [make_request(config, "test", WHO, index) for index in range(10)]
    groups = [
        derive_seeds(root, Stream.SEARCH_TRAINING, 500),
        derive_seeds(root, Stream.SEARCH_EPISODES, 20),
        [request.seed for request in races],
        [request.seed for request in tests],
        races[0].episode_seeds,
        *(request.final_seeds for request in tests),
    ]
    n_seeds = 500 + 20 + 10 + 10 + 20 + 10 * 200
    assert len({seed for group in groups for seed in group}) == n_seeds


def test_make_spec_race_is_judged_by_its_curve() -> None:
    request = make_request(CONFIG, "race", WHO, 2)
    assert request.seed == derive_seed(0, Stream.RACE_TRAINING, 2)
    assert request.episode_seeds == derive_seeds(0, Stream.RACE_EPISODES, 2)
    assert request.final_seeds == ()


def test_make_spec_test_draws_its_curve_from_the_race_s_episodes() -> None:
    request = make_request(CONFIG, "test", WHO, 2)
    assert request.seed == derive_seed(0, Stream.TEST_TRAINING, 2)
    assert request.episode_seeds == make_request(CONFIG, "race", WHO, 0).episode_seeds
    assert len(request.final_seeds) == CONFIG.test_episodes


def test_make_spec_candidates_share_seeds_and_episodes() -> None:
    ours, theirs = (make_request(CONFIG, "test", who, 1) for who in (WHO, BASELINE))
    assert replace(ours, candidate=BASELINE) == theirs


def test_make_spec_more_test_episodes_keep_the_first() -> None:
    few, many = (
        make_request(small_config(test_episodes=n), "test", WHO, 1).final_seeds for n in (3, 9)
    )
    assert many[:3] == few


@pytest.mark.parametrize(
    "run",
    [
        *RUNS,
        replace(RUNS[0], final=evaluation((1.0, 2.0), metric=(0.0, 1.0))),
        *made_runs(CONFIG, "race", BASELINE, [1e-300]),
    ],
)
def test_run_through_the_log_is_equal(run: ReevaluationRun, tmp_path: Path) -> None:
    log = ReevaluationLog(tmp_path / "reevaluation.jsonl")
    log.append(run)
    assert log.read() == [run]


def test_rerun_episode_values_are_returns_or_the_metric_or_none() -> None:
    with_metric = replace(RUNS[0], final=evaluation((1.0, 2.0), metric=(0.0, 1.0)))
    assert RUNS[0].episode_values == (-2.5, -0.5)
    assert with_metric.episode_values == (0.0, 1.0)
    assert RUNS[2].episode_values == ()


def test_candidate_name_is_what_people_call_it() -> None:
    recipe = Candidate(trial=None, kwargs={"gamma": 0.9})  # from a file, of no study
    names = [candidate.name for candidate in (WHO, BASELINE, recipe)]
    assert names == ["trial 3", "SB3's default", "the recipe"]


def test_training_config_of_the_baseline_has_the_problem_and_no_tuning() -> None:
    problem = {
        "frame_stack": 4,
        "n_timesteps": 7000,
        "wrapper": ("tests.support.envs:DoubleReward",),
    }
    tuned = small_config(
        n_envs=8,
        vec_env="subproc",
        normalize=True,
        policy_kwargs={"net_arch": [8]},
        callbacks=["my.py:Log"],
        **problem,
    )
    plain = small_config(n_envs=1, **problem)
    assert training_config(tuned, WHO) == tuned
    assert training_config(tuned, BASELINE).training_identity() == plain.training_identity()
    key = make_request(tuned, "test", BASELINE, 0).key(tuned)
    assert key == make_request(plain, "test", BASELINE, 0).key(plain)
    assert key != make_request(tuned, "test", Candidate(trial=0, kwargs={}), 0).key(tuned)


def test_model_folder_names_trial_and_seed(tmp_path: Path) -> None:
    models = tmp_path / "models"
    assert model_folder(tmp_path, 3, 1, "0123456789") == models / "trial-3-seed-1-01234567"
    assert model_folder(tmp_path, None, 0, "0123456789") == models / "default-seed-0-01234567"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "reevaluation.jsonl"


@pytest.fixture
def log(path: Path) -> ReevaluationLog:
    return ReevaluationLog(path)


def test_log_without_file_is_empty_and_reading_makes_none(
    log: ReevaluationLog, path: Path
) -> None:
    assert log.read() == []
    assert log.winner() is None
    assert not path.exists()


def test_log_reads_what_was_appended_in_order(log: ReevaluationLog, path: Path) -> None:
    for run in reversed(RUNS):
        log.append(run)
    assert ReevaluationLog(path).read() == [RUNS[2], RUNS[1], RUNS[0]]
    assert path.read_text(encoding="utf-8").count("\n") == 3


def test_log_equal_keys_are_read_once_the_first_one(log: ReevaluationLog) -> None:
    again = replace(RUNS[0], record=replace(RUNS[0].record, seconds=99.0))
    for run in (RUNS[0], RUNS[1], again):
        log.append(run)
    assert log.read() == [RUNS[0], RUNS[1]]


def test_log_winner_is_the_last_choice(log: ReevaluationLog) -> None:
    winners = []
    for choice in (WHO, candidate(5, -100.0), WHO):
        log.choose(choice)
        log.append(RUNS[0])
        winners.append(log.winner())
    assert winners == [WHO, candidate(5, -100.0), WHO]
    assert log.read() == [RUNS[0]]


def test_log_choosing_again_writes_nothing(log: ReevaluationLog, path: Path) -> None:
    log.choose(WHO)
    before = path.read_bytes()
    log.choose(candidate(3, -200.0))
    assert path.read_bytes() == before


def check_cuts(
    path: Path,
    log: ReevaluationLog,
    write_last: Callable[[], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Cut the file at every byte of its last line, and go on after each cut."""
    start = path.stat().st_size
    write_last()
    whole = path.read_bytes()
    for n_bytes in range(start, len(whole) + 1):
        path.write_bytes(whole[:n_bytes])
        caplog.clear()
        found = log.read()
        n_torn = 1 if start < n_bytes < len(whole) - 1 else 0
        assert [record.getMessage() for record in caplog.records] == [
            f"{path}: line 3 cannot be read; ignored"
        ] * n_torn
        assert found[:1] == [RUNS[0]]
        log.append(RUNS[1])
        assert log.read()[-1] == RUNS[1]


def test_log_cut_anywhere_in_a_last_run_loses_that_run_only(
    path: Path, log: ReevaluationLog, caplog: pytest.LogCaptureFixture
) -> None:
    log.append(RUNS[0])
    log.choose(WHO)
    check_cuts(path, log, lambda: log.append(RUNS[2]), caplog)
    assert log.winner() == WHO


def test_log_cut_anywhere_in_a_last_choice_loses_that_choice_only(
    path: Path, log: ReevaluationLog, caplog: pytest.LogCaptureFixture
) -> None:
    log.append(RUNS[0])
    log.choose(WHO)
    check_cuts(path, log, lambda: log.choose(BASELINE), caplog)
    assert log.winner() == BASELINE


def test_log_tail_of_zero_bytes_is_passed_over(
    path: Path, log: ReevaluationLog, caplog: pytest.LogCaptureFixture
) -> None:
    """What some file systems leave behind a power cut."""
    log.append(RUNS[0])
    with path.open("ab") as file:
        file.write(b"\0" * 40)
    log.append(RUNS[1])
    with caplog.at_level(logging.WARNING):
        assert log.read() == [RUNS[0], RUNS[1]]
    assert caplog.messages == [f"{path}: line 2 cannot be read; ignored"]


def test_runs_of_takes_only_what_this_configuration_would_train() -> None:
    other = small_config(test_episodes=3)
    runs = [
        *reversed(made_runs(CONFIG, "test", WHO, [1.0, 2.0])),
        *made_runs(CONFIG, "race", WHO, [3.0]),
        *made_runs(CONFIG, "test", candidate(4), [4.0]),
        *made_runs(other, "test", WHO, [5.0, 6.0, 7.0]),
    ]
    assert runs_of(CONFIG, runs, "test", WHO) == [runs[1], runs[0]]
    assert runs_of(CONFIG, runs, "race", WHO) == [runs[2]]
    assert len(runs_of(other, runs, "test", WHO)) == 3


def test_runs_of_equal_arguments_are_the_same_candidate() -> None:
    run = made_run(CONFIG, make_request(CONFIG, "test", WHO, 0), 1.0)
    assert runs_of(CONFIG, [run], "test", replace(WHO, trial=9)) == [run]
