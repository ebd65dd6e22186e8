from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState, create_trial

from sb3_hpo import answer
from sb3_hpo.errors import UserError
from sb3_hpo.race import Round
from sb3_hpo.reevaluation import (
    Reevaluation,
    keep_median_model,
    pick_candidates,
    replay_through,
)
from sb3_hpo.reruns import LOG_FILE, Candidate, RerunLog, make_spec, model_folder, runs_of
from tests.rerun_support import (
    SB3_DEFAULT,
    candidate,
    default_trial,
    ended_trial,
    rerun_of,
    reruns_of,
    small_config,
    study_of,
    study_with_values,
    trial_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from optuna.trial import FrozenTrial

    from sb3_hpo.config import StudyConfig
    from sb3_hpo.reruns import RunSpec

CONFIG = small_config()
RACERS = [candidate(number, 0.0) for number in (1, 2, 3, 4)]
ROUNDS = (Round(4, 1), Round(2, 2))

Run = tuple[str, int | None, int]  # stage, trial, seed index


def name_of(spec: RunSpec) -> Run:
    return spec.stage, spec.candidate.trial, spec.seed_index


def stage_at(
    path: Path,
    config: StudyConfig = CONFIG,
    candidates: Sequence[Candidate] = RACERS,
    rounds: Sequence[Round] = ROUNDS,
) -> Reevaluation:
    return Reevaluation(study_of([]), config, RerunLog(path), candidates, rounds)


def score(spec: RunSpec) -> float | None:
    """Trial 3 is the best by far, and SB3's default the worst; seeds hardly matter."""
    level = -1000.0 if spec.candidate.trial is None else 100.0 * (spec.candidate.trial == 3)
    return level + spec.seed_index % 2 + (spec.candidate.trial or 0)


def close(spec: RunSpec) -> float | None:
    """SB3's default is as good as the winner."""
    return float(spec.seed_index % 2) if spec.candidate.trial in (None, 3) else -5.0


def drive(
    stage: Reevaluation,
    train: Callable[[RunSpec], float | None],
    *,
    config: StudyConfig = CONFIG,
    broken: Collection[str] = (),
) -> list[Run]:
    """Train what is due, the most urgent first, one at a time."""
    trained = []
    while due := stage.due(broken):
        stage.take(rerun_of(config, due[0], train(due[0])))
        trained.append(name_of(due[0]))
    return trained


def runs(stage: str, trial: int | None, n: int, first: int = 0) -> list[Run]:
    return [(stage, trial, index) for index in range(first, n)]


RACE: list[Run] = [
    *(("race", number, 0) for number in (1, 2, 3, 4)),
    ("race", 3, 1),
    ("race", 4, 1),
]


def test_due_whole_sequence_is_race_winner_s_tests_three_of_the_default(tmp_path: Path) -> None:
    trained = drive(stage_at(tmp_path / LOG_FILE), score)
    assert trained == [*RACE, *runs("test", 3, 4), *runs("test", None, 3)]
    assert RerunLog(tmp_path / LOG_FILE).winner() == RACERS[2]


def test_due_default_not_clearly_behind_gets_all_seeds(tmp_path: Path) -> None:
    trained = drive(stage_at(tmp_path / LOG_FILE), close)
    assert trained[-8:] == [*runs("test", 3, 4), *runs("test", None, 4)]


def test_due_default_clearly_ahead_gets_few_seeds_too(tmp_path: Path) -> None:
    def train(spec: RunSpec) -> float | None:
        return 5000.0 if spec.candidate.trial is None else score(spec)

    assert drive(stage_at(tmp_path / LOG_FILE), train)[-3:] == runs("test", None, 3)


def test_due_during_the_race_default_waits_behind_it(tmp_path: Path) -> None:
    """So that a process without a race run has something to do."""
    due = [name_of(spec) for spec in stage_at(tmp_path / LOG_FILE).due()]
    assert due == [*RACE[:4], *runs("test", None, 3)]
    assert not (tmp_path / LOG_FILE).exists()


def test_due_default_s_other_seeds_wait_for_its_first_three(tmp_path: Path) -> None:
    stage = stage_at(tmp_path / LOG_FILE, candidates=RACERS[2:3], rounds=())
    for spec in stage.due()[:4]:
        stage.take(rerun_of(CONFIG, spec, score(spec)))
    assert [name_of(spec) for spec in stage.due()] == runs("test", None, 3)


def test_due_without_rounds_tests_the_best_trial(tmp_path: Path) -> None:
    trained = drive(stage_at(tmp_path / LOG_FILE, rounds=()), score)
    assert trained == [*runs("test", 1, 4), *runs("test", None, 3)]


@pytest.mark.parametrize("n", [1, 2])
def test_due_fewer_test_seeds_than_three(tmp_path: Path, n: int) -> None:
    config = small_config(test_seeds=n)
    stage = stage_at(tmp_path / LOG_FILE, config, RACERS[2:3], ())
    assert drive(stage, score, config=config) == [*runs("test", 3, n), *runs("test", None, n)]


def test_due_winner_is_sb3_s_default_is_tested_once(tmp_path: Path) -> None:
    winner = Candidate(trial=0, kwargs={}, trial_value=1.0)
    stage = stage_at(tmp_path / LOG_FILE, candidates=[winner], rounds=())
    assert [name_of(spec) for spec in stage.due()] == runs("test", 0, 4)
    assert drive(stage, score) == runs("test", 0, 4)


def test_due_default_tested_during_a_race_that_it_wins_is_not_trained_again(
    tmp_path: Path,
) -> None:
    racers = [Candidate(trial=0, kwargs={}, trial_value=0.0), candidate(1, 0.0)]
    stage = stage_at(tmp_path / LOG_FILE, candidates=racers, rounds=(Round(2, 2),))
    for spec in stage.due():
        stage.take(rerun_of(CONFIG, spec, 1.0 if spec.candidate.kwargs == {} else 0.0))
    assert [name_of(spec) for spec in stage.due()] == [("test", 0, 3)]


@pytest.mark.parametrize("train", [score, close])
def test_due_resumed_from_every_prefix_asks_for_the_rest_in_order(
    tmp_path: Path, train: Callable[[RunSpec], float | None]
) -> None:
    drive(stage_at(tmp_path / "whole.jsonl"), train)
    done = RerunLog(tmp_path / "whole.jsonl").read()
    for n in range(len(done) + 1):
        log = RerunLog(tmp_path / f"{n}.jsonl")
        for rerun in done[:n]:
            log.append(rerun)
        drive(stage_at(tmp_path / f"{n}.jsonl"), train)
        assert log.read() == done
        text = (tmp_path / f"{n}.jsonl").read_text(encoding="utf-8")
        assert text.count('"key"') == len(done)
        assert log.winner() == RACERS[2]


@pytest.mark.parametrize("train", [score, close])
@pytest.mark.parametrize("n_runners", [2, 5, 20])
def test_due_many_runs_at_a_time_in_any_order_are_the_same_runs(
    tmp_path: Path, train: Callable[[RunSpec], float | None], n_runners: int
) -> None:
    """With as many processes as you like: what is trained does not depend on who is first."""
    expected = drive(stage_at(tmp_path / "one.jsonl"), train)
    chance = random.Random(n_runners)
    for attempt in range(3):
        stage = stage_at(tmp_path / f"{attempt}.jsonl")
        busy: dict[str, RunSpec] = {}
        trained = []
        while True:
            waiting = {spec.key(CONFIG): spec for spec in stage.due()}
            for key in [key for key in waiting if key not in busy][: n_runners - len(busy)]:
                busy[key] = waiting[key]
            if not busy:
                break
            spec = busy.pop(chance.choice(list(busy)))
            stage.take(rerun_of(CONFIG, spec, train(spec)))
            trained.append(name_of(spec))
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
    assert trained == [*runs("test", 3, 4), *runs("test", None, 3)]


def test_due_diverged_runs_are_done_and_lose_the_race(tmp_path: Path) -> None:
    def train(spec: RunSpec) -> float | None:
        diverges = spec.candidate.trial == 3 and spec.stage == "race"
        return None if diverges else score(spec)

    trained = drive(stage_at(tmp_path / LOG_FILE), train)
    assert trained[4:6] == [("race", 4, 1), ("race", 2, 1)]
    assert trained[6:10] == runs("test", 4, 4)


def test_due_diverged_test_of_the_winner_calls_for_all_of_the_default(tmp_path: Path) -> None:
    """One of the winner's seeds is now below the default's: they are no longer apart."""

    def train(spec: RunSpec) -> float | None:
        return None if name_of(spec) == ("test", 3, 0) else score(spec)

    assert drive(stage_at(tmp_path / LOG_FILE), train)[-4:] == runs("test", None, 4)


def test_due_broken_runs_are_not_asked_for_and_lose_the_race(tmp_path: Path) -> None:
    broken = {make_spec(CONFIG, "race", RACERS[2], 0).key(CONFIG)}
    trained = drive(stage_at(tmp_path / LOG_FILE), score, broken=broken)
    assert ("race", 3, 0) not in trained
    assert trained[-7:] == [*runs("test", 4, 4), *runs("test", None, 3)]


def test_due_broken_tests_do_not_hold_up_the_others(tmp_path: Path) -> None:
    broken = {make_spec(CONFIG, "test", who, 0).key(CONFIG) for who in (RACERS[2], SB3_DEFAULT)}
    trained = drive(stage_at(tmp_path / LOG_FILE), score, broken=broken)
    assert trained[-6:] == [*runs("test", 3, 4, first=1), *runs("test", None, 4, first=1)]


def test_take_is_on_disk_at_once(tmp_path: Path) -> None:
    stage = stage_at(tmp_path / LOG_FILE)
    rerun = rerun_of(CONFIG, stage.due()[0], 1.0)
    stage.take(rerun)
    assert RerunLog(tmp_path / LOG_FILE).read() == [rerun]


def test_due_default_keeps_what_the_user_fixed(tmp_path: Path) -> None:
    study = study_of([default_trial(-900.0, {"gamma": 0.9})])
    stage = Reevaluation(study, CONFIG, RerunLog(tmp_path / LOG_FILE), RACERS[:1], ())
    assert [spec.candidate.kwargs for spec in stage.due()[4:]] == [{"gamma": 0.9}] * 3


def test_pick_candidates_takes_the_best_by_value() -> None:
    study = study_with_values([1.0, 5.0, 3.0, 4.0, 2.0])
    candidates, rounds = pick_candidates(study, small_config(top=3))
    assert candidates == [candidate(1, 5.0), candidate(3, 4.0), candidate(2, 3.0)]
    assert rounds[0] == Round(3, 1)


def test_pick_candidates_equal_arguments_are_one_candidate() -> None:
    same: dict[str, Any] = {"gamma": 0.9, "policy_kwargs": {"net_arch": [64]}}
    turned = {"policy_kwargs": {"net_arch": [64]}, "gamma": 0.9}
    study = study_of([trial_of(0, 1.0), trial_of(1, 3.0, same), trial_of(2, 2.0, turned)])
    candidates, _ = pick_candidates(study, small_config(top=2))
    assert [each.trial for each in candidates] == [1, 0]


def test_pick_candidates_top_one_does_not_race() -> None:
    candidates, rounds = pick_candidates(study_with_values([1.0] * 30), small_config(top=1))
    assert candidates == [candidate(0, 1.0)]
    assert rounds == ()


def test_pick_candidates_top_larger_than_there_are_is_refused() -> None:
    study = study_with_values([1.0, 2.0, 3.0], n_pruned=9)
    text = r"^top: `top <= COMPLETE trials that differ` must hold, but got 4 > 3$"
    with pytest.raises(UserError, match=text):
        pick_candidates(study, small_config(top=4))


def test_pick_candidates_without_complete_trial_is_refused() -> None:
    study = study_of([ended_trial("dropped"), ended_trial("diverged")])
    text = r"^study 'made-up' has no COMPLETE trial to be re-evaluated; run more trials$"
    with pytest.raises(UserError, match=text):
        pick_candidates(study, CONFIG)


@pytest.mark.parametrize(("n_trials", "races"), [(23, False), (24, True)])
def test_pick_candidates_few_trials_do_not_race(n_trials: int, races: bool) -> None:
    study = study_with_values([float(i) for i in range(10)], n_pruned=n_trials - 10)
    candidates, rounds = pick_candidates(study, CONFIG)
    assert candidates[0] == candidate(9, 9.0)
    assert (len(candidates) > 1, rounds != ()) == (races, races)


def test_pick_candidates_fewer_different_ones_than_planned_race_all_the_same() -> None:
    study = study_with_values([1.0, 2.0], n_pruned=30)
    candidates, rounds = pick_candidates(study, CONFIG)
    assert candidates == [candidate(1, 2.0), candidate(0, 1.0)]
    assert rounds[0].n_candidates > 2


def test_pick_candidates_one_different_one_is_not_challenged() -> None:
    study = study_of([trial_of(0, 1.0, {}), trial_of(1, 2.0, {}), *[ended_trial("dropped")] * 30])
    candidates, rounds = pick_candidates(study, CONFIG)
    assert [each.trial for each in candidates] == [1]
    assert rounds == ()


SPACE: dict[str, BaseDistribution] = {
    "rate": FloatDistribution(1e-5, 1e-2, log=True),
    "n_steps": IntDistribution(8, 64),
    "net": CategoricalDistribution(("small", "big")),
}
PARAMS: dict[str, Any] = {"rate": 1e-3, "n_steps": 32, "net": "big"}


def sample(trial: Any) -> dict[str, Any]:
    """A search space that is not ours."""
    arch = {"small": (8,), "big": (64, 64)}[trial.suggest_categorical("net", ("small", "big"))]
    return {
        "learning_rate": trial.suggest_float("rate", 1e-5, 1e-2, log=True),
        "n_steps": trial.suggest_int("n_steps", 8, 64),
        "policy_kwargs": {"net_arch": arch},
    }


REPLAYED = {
    "learning_rate": 1e-3,
    "n_steps": 32,
    "policy_kwargs": {"net_arch": {"$tuple": [64, 64]}},
}


def foreign_trial(**changes: Any) -> FrozenTrial:
    """Return a COMPLETE trial of a plain Optuna study; a change to None leaves a value out."""
    params = {name: value for name, value in {**PARAMS, **changes}.items() if value is not None}
    wide: dict[str, BaseDistribution] = {
        **SPACE,
        "rate": FloatDistribution(1e-9, 1.0, log=True),
        "n_steps": IntDistribution(1, 10_000),
        "net": CategoricalDistribution(("small", "big", "huge")),
        "gamma": FloatDistribution(0.0, 1.0),
        "tau": FloatDistribution(0.0, 1.0),
    }
    distributions = {name: wide[name] for name in params}
    return create_trial(
        state=TrialState.COMPLETE, value=1.0, params=params, distributions=distributions
    )


def test_replay_through_describes_what_the_space_makes_of_the_parameters() -> None:
    assert replay_through(sample)(foreign_trial()) == REPLAYED


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"rate": None}, r": it has no parameter 'rate'"),
        ({"rate": 0.5}, r": parameter 'rate': The value 0\.5 .* is out of the range of .*"),
        ({"n_steps": 65}, r": parameter 'n_steps': The value 65 .* is out of the range of .*"),
        ({"net": "huge"}, r": parameter 'net': 'huge' not in \('small', 'big'\)"),
        ({"tau": 0.5, "gamma": 0.9}, r", which knows no gamma, tau"),
    ],
)
def test_replay_through_another_space_says_which_and_why(changes: Any, why: str) -> None:
    text = (
        rf"^trial -1 does not replay through this search space{why}; "
        r"pass the --space it was sampled from$"
    )
    with pytest.raises(UserError, match=text) as caught:
        replay_through(sample)(foreign_trial(**changes))
    assert "\n" not in str(caught.value)


def test_replay_through_space_that_optuna_warns_of_anyway_is_replayed() -> None:
    def uneven(trial: Any) -> dict[str, Any]:
        return {"n_steps": trial.suggest_int("n_steps", 8, 65, step=8)}

    study = optuna.create_study(direction="maximize")
    with pytest.warns(UserWarning, match="not divisible"):
        study.optimize(lambda trial: float(uneven(trial)["n_steps"]), n_trials=1)
    with pytest.warns(UserWarning, match="not divisible"):
        assert replay_through(uneven)(study.trials[0]) == study.trials[0].params


def test_replay_through_arguments_that_cannot_be_written_down_say_so() -> None:
    text = "^trial -1 does not replay .*: <object object at .*> cannot be written down: use"
    with pytest.raises(UserError, match=text):
        replay_through(lambda _: {"rate": object()})(foreign_trial())


def test_pick_candidates_of_a_foreign_study_are_replayed() -> None:
    config = small_config(policy_kwargs={"ortho_init": False})
    study = study_of([foreign_trial()])
    candidates, _ = pick_candidates(study, config, replay_through(sample))
    policy_kwargs = {"net_arch": {"$tuple": [64, 64]}, "ortho_init": False}
    expected = {**REPLAYED, "policy_kwargs": policy_kwargs}
    assert candidates == [Candidate(trial=0, kwargs=expected, trial_value=1.0)]


def test_pick_candidates_of_a_foreign_study_without_space_is_refused() -> None:
    text = "^trial 0 has no record of what was trained; .* pass --algo, --env, --n-timesteps and"
    with pytest.raises(UserError, match=text):
        pick_candidates(study_of([foreign_trial()]), CONFIG)


def judged(values: Sequence[float | None], who: Candidate) -> answer.Tested | None:
    return answer.read_test(CONFIG, reruns_of(CONFIG, "test", who, values), who)


def save_models(run_dir: Path, who: Candidate, n: int, *, normalized: bool) -> None:
    for index in range(n):
        folder = model_folder(run_dir, who.trial, index)
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
    save_models(tmp_path, SB3_DEFAULT, 3, normalized=False)
    keep_median_model(tmp_path, judged([5.0, 9.0, 7.0], SB3_DEFAULT))
    assert contents(tmp_path) == {"best_model.zip": "policy of seed 2"}


@pytest.mark.parametrize("values", [[None, None], []])
def test_keep_median_model_without_policy_copies_nothing(
    tmp_path: Path, values: list[float | None]
) -> None:
    assert keep_median_model(tmp_path, judged(values, RACERS[0])) is None
    assert contents(tmp_path) == {}


def test_keep_median_model_default_s_runs_that_the_winner_took_over(tmp_path: Path) -> None:
    """SB3's default wins: its models lie where its test put them."""
    save_models(tmp_path, SB3_DEFAULT, 1, normalized=False)
    winner = Candidate(trial=0, kwargs={}, trial_value=1.0)
    runs = reruns_of(CONFIG, "test", SB3_DEFAULT, [3.0])
    assert runs_of(CONFIG, runs, "test", winner) == runs
    keep_median_model(tmp_path, answer.read_test(CONFIG, runs, winner))
    assert contents(tmp_path) == {"best_model.zip": "policy of seed 0"}
