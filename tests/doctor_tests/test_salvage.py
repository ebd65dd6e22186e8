"""What is kept of a journal, whatever is done to its lines."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from sb3_hpo.doctor.journal_repair.lost_numbers import Lost, Made, Named, count_lost
from sb3_hpo.doctor.journal_repair.salvage import salvage
from sb3_hpo.storages.journal import CheckedJournal, JournalReader
from sb3_hpo.storages.open import open_storage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from optuna.storages import BaseStorage


def run(trial: optuna.Trial) -> None:
    """Do what a worker does with a trial."""
    x = trial.suggest_float("x", 0, 1)
    trial.suggest_categorical("c", ["a", "b"])
    trial.report(x / 2, 10)
    trial.set_user_attr("outcome", "finished")
    trial.study.tell(trial, x)


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A journal of two studies and three workers, who take turns."""
    path = tmp_path_factory.mktemp("salvage") / "study.journal"
    storages = [open_storage(str(path)) for _ in range(3)]
    a, b, c = (
        optuna.create_study(
            storage=s,
            study_name=n,
            direction="maximize",
            load_if_exists=True,
            sampler=optuna.samplers.RandomSampler(0),
        )
        for s, n in zip(storages, ("first", "first", "second"), strict=True)
    )
    a.set_user_attr("config", {"study_name": "first"})
    a.enqueue_trial({"x": 0.25})
    for _ in range(3):
        running = [study.ask() for study in (a, c, b)]
        for trial in running:
            trial.set_user_attr("worker", "w")
        for trial in reversed(running):
            run(trial)
    a.add_trial(create_trial(value=4.0))
    a.ask().set_user_attr("worker", "a")
    b.ask()
    return path.read_bytes()


def lines_of(content: bytes) -> list[bytes]:
    return content.splitlines(keepends=True)


def trials_in(storage: BaseStorage) -> dict[tuple[int, int], FrozenTrial]:
    return {
        (study._study_id, trial.number): trial
        for study in storage.get_all_studies()
        for trial in storage.get_all_trials(study._study_id)
    }


def owners(content: bytes) -> list[int | None]:
    """Return for each line the trial that it says something of."""
    numbers, found = itertools.count(), list[int | None]()
    for line in lines_of(content):
        operation = json.loads(line)
        is_new = operation["op_code"] == 4
        found.append(next(numbers) if is_new else operation.get("trial_id"))
    return found


def replayed(path: Path, content: bytes) -> BaseStorage:
    path.write_bytes(content)
    return CheckedJournal(JournalReader(path))


def written(content: bytes) -> bytes:
    return b"".join(item.text + b"\n" for item in salvage(content).operations)


def facts(trial: FrozenTrial) -> tuple[Any, ...]:
    return (
        trial.state, trial.values, trial.params, trial.intermediate_values, trial.user_attrs,
        trial.distributions, trial.datetime_start, trial.datetime_complete,
    )  # fmt: skip


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "half": lambda line: line[: len(line) // 2] + b"\n",
    "start": lambda line: line[len(line) // 2 :],
    "zeros": lambda line: b"\0" * (len(line) - 1) + b"\n",
    "latin-1": lambda line: b'{"op_code":\xe9' + line[12:],
    "gone": lambda _: b"\n",
    "field": lambda line: line.replace(b'_id":', b'_ix":'),
}


@pytest.fixture(scope="module")
def check(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., None]:
    """Checks that finished trials of which no line was hit are what they were."""
    path = tmp_path_factory.mktemp("repaired") / "study.journal"
    before = trials_in(replayed(path, content))
    owner_of = owners(content)

    def compare(hits: dict[int, bytes]) -> None:
        lines = [hits.get(i, line) for i, line in enumerate(lines_of(content))]
        hurt = {owner_of[i] for i in hits}
        after = trials_in(replayed(path, written(b"".join(lines))))
        for key, trial in before.items():
            if trial.state.is_finished() and trial._trial_id not in hurt:
                assert facts(after[key]) == facts(trial), (key, hits)

    return compare


@pytest.mark.parametrize("kind", DAMAGES)
def test_finished_trials_whose_own_lines_are_whole_stay_as_they_are(
    kind: str, content: bytes, check: Callable[..., None]
) -> None:
    for i, line in enumerate(lines_of(content)):
        broken = DAMAGES[kind](line)
        if broken != line and (b'"op_code":4' in line or i % 8 == 0 or i < 4):
            check({i: broken})


def test_two_damaged_lines_that_say_nothing_any_more(
    content: bytes, check: Callable[..., None]
) -> None:
    lines = lines_of(content)
    creations = [i for i, line in enumerate(lines) if b'"op_code":4' in line]
    for i, j in list(itertools.combinations(creations, 2))[::5]:
        check({i: DAMAGES["zeros"](lines[i]), j: DAMAGES["zeros"](lines[j])})


def test_hole_that_swallowed_lines_is_filled_with_as_many_trials(
    content: bytes, check: Callable[..., None]
) -> None:
    lines = lines_of(content)
    first = next(i for i, line in enumerate(lines) if b'"op_code":4' in line)
    hole = dict.fromkeys(range(first, first + 4), b"")  # three of them create a trial
    hole[first] = b"\0" * sum(len(lines[i]) for i in hole) + b"\n"
    check(hole)


def test_lines_that_were_glued_together_are_taken_apart(content: bytes, tmp_path: Path) -> None:
    lines = lines_of(content)
    for i in range(0, len(lines) - 1, 3):
        glued = b"".join([*lines[:i], lines[i].rstrip(), *lines[i + 1 :]])
        kept = salvage(glued)
        assert written(glued) == content
        assert [(item.line, item.text) for item in kept.damages] == [(i + 1, b"")]


def test_half_a_line_before_a_whole_one_is_all_that_is_left_out(content: bytes) -> None:
    lines = lines_of(content)
    glued = b"".join([*lines[:12], lines[12][:30], *lines[13:]])
    kept = salvage(glued)
    assert written(glued) == b"".join([*lines[:12], *lines[13:]])
    assert [(item.line, item.text) for item in kept.damages] == [(13, lines[12][:30])]


def test_what_was_whole_is_written_as_it_was(content: bytes) -> None:
    assert written(content) == content
    assert salvage(content).damages == []


@pytest.mark.parametrize(
    ("kind", "name"), [("half", "salvaged-1"), ("field", "second"), ("zeros", "salvaged-1")]
)
def test_study_whose_creation_is_lost_is_begun_anew(kind: str, name: str, content: bytes) -> None:
    lines = lines_of(content)
    lines[2] = DAMAGES[kind](lines[2])
    kept = salvage(b"".join(lines))
    studies = {study.study_name: study for study in kept.storage.get_all_studies()}
    assert (kept.new_studies, kept.n_new_trials) == ([name], 0)
    assert list(studies) == ["first", name]
    trials = kept.storage.get_all_trials(studies[name]._study_id)
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 3


def test_study_that_is_created_again_later_keeps_its_name(content: bytes) -> None:
    lines = lines_of(content)
    assert b'"study_name":"first"' in lines[0]
    assert b'"study_name":"first"' in lines[1]  # by the other worker, to no effect
    lines[0] = DAMAGES["zeros"](lines[0])
    kept = salvage(b"".join(lines))
    names = [study.study_name for study in kept.storage.get_all_studies()]
    assert (names, kept.new_studies) == (["first", "second"], [])


def test_study_gets_its_name_from_its_configuration(content: bytes) -> None:
    lines = [line for line in lines_of(content) if b'"study_id":1' not in line][:5]
    lines = [b"zzz\n", *(line for line in lines if b'"op_code":0' not in line)]
    kept = salvage(b"".join(lines))
    assert kept.new_studies == ["first"]


def test_trial_of_which_nothing_is_left_but_its_place_has_failed(content: bytes) -> None:
    lines = lines_of(content)
    of_trial_4 = [i for i, owner in enumerate(owners(content)) if owner == 4]
    for i in of_trial_4:
        lines[i] = b"" if i != of_trial_4[0] else DAMAGES["half"](lines[i])
    kept = salvage(b"".join(lines))
    trial = kept.storage.get_trial(4)
    assert (trial.state, trial.params, kept.n_new_trials) == (TrialState.FAIL, {}, 1)
    assert trial.user_attrs == {"reason": "the line of the journal that created it is lost"}


def test_trial_whose_worker_is_known_is_left_to_those_that_look_after_lost_ones(
    content: bytes,
) -> None:
    lines = lines_of(content)
    created = owners(content).index(4)
    ended = max(i for i, owner in enumerate(owners(content)) if owner == 4)
    lines[created] = DAMAGES["half"](lines[created])
    lines[ended] = DAMAGES["half"](lines[ended])
    trial = salvage(b"".join(lines)).storage.get_trial(4)
    assert (trial.state, trial.user_attrs["worker"]) == (TrialState.RUNNING, "w")
    assert set(trial.params) == {"x", "c"}


def test_operation_of_a_newer_optuna_is_kept_and_ends_what_can_be_used(content: bytes) -> None:
    lines = lines_of(content)
    lines.insert(20, b'{"op_code":99}\n')
    kept = salvage(b"".join(lines))
    assert kept.unknown is not None
    assert (kept.unknown.line, kept.damages) == (21, [])
    assert written(b"".join(lines)) == b"".join(lines)
    assert kept.storage._replay_result.log_number_read == 20


@pytest.mark.parametrize(
    ("events", "counts"),
    [
        ([], []),
        ([Lost(0, 9)], [0]),
        ([Lost(1, 9)], [1]),  # a hint and nothing against it
        ([Lost(1, 9), Made("a", goes_on=True), Named("a", 0)], [0]),
        ([Lost(0, 9), Made("a", goes_on=True), Named("a", 2)], [2]),
        ([Lost(0, 1), Made("a", goes_on=True), Named("a", 2)], [0]),  # no room: a damaged number
        ([Lost(0, 9), Made("a", goes_on=False), Named("a", 0)], [0]),
        ([Lost(0, 9), Made("a", goes_on=False), Named("a", 2)], [2]),
        # Between the two damages somebody goes on with what was created first of all.
        ([Lost(0, 9), Made("a", goes_on=True), Named("a", 0), Lost(0, 9), Named("b", 1)], [0, 1]),
        ([Lost(0, 9), Made("a", goes_on=True), Lost(0, 9), Named("a", 1), Named("b", 0)], [1, 0]),
        ([Lost(0, 9), Made("a", goes_on=False), Lost(0, 9), Named("b", 1)], [0, 1]),
        ([Lost(1, 9), Made("a", goes_on=False), Lost(0, 9), Named("b", 1)], [1, 0]),
    ],
)
def test_count_lost(events: list[Made | Named | Lost], counts: list[int]) -> None:
    assert count_lost(events) == counts


def test_count_lost_of_many_damages_takes_no_time() -> None:
    events: list[Made | Named | Lost] = []
    for i in range(1000):
        events += [Lost(0, 2), Made(f"w{i % 7}", goes_on=True), Named(f"w{i % 7}", 2 * i + 1)]
    assert count_lost(events) == [1] * 1000
