"""What can be kept of a journal with damaged lines, and what has to stand in for the others.

Optuna numbers studies and trials by the order of the lines that create them. Where such a line is
lost, something must be created in its place, or all later lines are about others.
"""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, TypeAlias

from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.storages.journal._storage import JournalOperation
from optuna.trial import TrialState

from sb3_hpo.doctor.journal_repair.lines import Damage, Operation, parse
from sb3_hpo.doctor.journal_repair.lost_numbers import Lost, Made, Named, count_lost
from sb3_hpo.results.trials import CONFIG, OWNER, REASON, WORKER

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHORTEST = 100  # bytes of a line that creates something
_OF_STUDIES = tuple(JournalOperation)[1:5]
_OF_TRIALS = tuple(JournalOperation)[5:10]
_Item: TypeAlias = "Operation | Damage"
_WHY = "the line of the journal that created it is lost"


@dataclass(frozen=True)
class Salvage:
    """What is kept of a journal.

    Attributes:
        operations: All that can be read, with what stands in for what cannot.
        damages: What cannot.
        unknown: The first operation of a kind that this version of Optuna does not know, or None.
        storage: The operations up to that one as a storage, which refuses writes.
    """

    operations: list[Operation]
    damages: list[Damage]
    unknown: Operation | None
    storage: JournalStorage

    @property
    def new_studies(self) -> list[str]:
        """Names of the studies that stand in for lost ones."""
        return [item.fields["study_name"] for item in self._new(JournalOperation.CREATE_STUDY)]

    @property
    def n_new_trials(self) -> int:
        """How many trials stand in for lost ones."""
        return len(self._new(JournalOperation.CREATE_TRIAL))

    def _new(self, code: JournalOperation) -> list[Operation]:
        return [item for item in self.operations if item.code == code and item.is_new]


def salvage(content: bytes) -> Salvage:
    """Find out what can be kept of a journal.

    Args:
        content: Its whole lines.
    """
    items = _with_trials(_with_studies(list(parse(content))))
    operations = [item for item in items if isinstance(item, Operation)]
    unknown = next((item for item in operations if item.code not in tuple(JournalOperation)), None)
    storage = JournalStorage(_Memory(operations, unknown))
    operations += _ends(storage)
    damages = [item for item in items if isinstance(item, Damage)]
    return Salvage(operations, damages, unknown, storage)


class _Memory(BaseJournalBackend):
    """Operations that are in memory only."""

    def __init__(self, operations: list[Operation], end: Operation | None) -> None:
        self._operations, self._end = operations, end

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        for item in self._operations[log_number_from:]:
            if item is self._end:
                return
            yield item.fields

    def append_logs(self, _logs: list[dict[str, Any]]) -> None:
        raise OSError(errno.EROFS, "the journal has to be repaired first")


class _Studies:
    """Which studies there are at some line."""

    def __init__(self) -> None:
        self.names: dict[int, str] = {}
        self.n_made = 0

    def follow(self, item: Operation) -> JournalOperation | None:
        """Follow an operation; return its kind if it has created something."""
        if item.code == JournalOperation.DELETE_STUDY:
            self.names.pop(item.fields["study_id"], None)
        if item.code == JournalOperation.CREATE_TRIAL and item.fields["study_id"] in self.names:
            return JournalOperation.CREATE_TRIAL
        if (
            item.code == JournalOperation.CREATE_STUDY
            and item.fields["study_name"] not in self.names.values()
        ):
            self.names[self.n_made] = item.fields["study_name"]
            self.n_made += 1
            return JournalOperation.CREATE_STUDY
        return None


def _with_studies(items: list[_Item]) -> list[_Item]:
    """Put studies where the lines that created them were lost."""
    studies, events = _Studies(), list[Lost | Made | Named]()
    for item in items:
        if isinstance(item, Damage):
            events.append(Lost(0, _room(item)))  # many a study was created again, to no effect
        elif studies.follow(item) == JournalOperation.CREATE_STUDY:
            events.append(Made(item.worker, goes_on=True))
        elif item.code in _OF_STUDIES:
            events.append(Named(item.worker, item.fields["study_id"]))
    counts = iter(count_lost(events))
    studies, filled = _Studies(), list[_Item]()
    for item in items:
        if isinstance(item, Operation):
            studies.follow(item)
        else:  # before what was lost with it, which may be a trial of it
            for _ in range(next(counts)):
                new = _study_for(item, items, studies.n_made)
                studies.follow(new)
                filled.append(new)
        filled.append(item)
    return filled


def _room(damage: Damage) -> int:
    return 1 + len(damage.text) // _SHORTEST if damage.text else 0


def _study_for(damage: Damage, items: list[_Item], number: int) -> Operation:
    """Make a study for one that was lost, by what can be made out of it."""
    attempts: dict[str, Operation] = {}
    attributes: dict[str, Any] = {}
    for item in items:
        if isinstance(item, Damage):
            continue
        if item.code == JournalOperation.CREATE_STUDY:
            attempts[item.worker] = item
        elif item.code in _OF_STUDIES:
            attempt = attempts.pop(item.worker, None)
            if item.fields["study_id"] == number:
                if attempt is not None:  # each command that goes on with a study tries to make it
                    again = {key: attempt.fields[key] for key in ("study_name", "directions")}
                    return Operation.new(JournalOperation.CREATE_STUDY, **again)
                attributes.update(item.fields.get("user_attr", {}))
    name = damage.says(rb'"study_name":"([^"\\]+)"') or _name_by(attributes).encode()
    directions = damage.says(rb'"directions":\[([12](?:,[12])*)\]') or b"2"  # 2: as ours are
    return Operation.new(
        JournalOperation.CREATE_STUDY,
        study_name=name.decode(errors="replace") or f"salvaged-{number}",
        directions=[int(item) for item in directions.split(b",")],
    )


def _name_by(attributes: dict[str, Any]) -> str:
    """Return the name that a study has by its attributes, or an empty one."""
    config, home = attributes.get(CONFIG), attributes.get(OWNER)
    if isinstance(config, dict) and config.get("study_name"):
        return str(config["study_name"])
    return PurePath(str(home.get("run_dir", ""))).name if isinstance(home, dict) else ""


def _with_trials(items: list[_Item]) -> list[_Item]:
    """Put trials where the lines that created them were lost."""
    studies, events = _Studies(), list[Lost | Made | Named]()
    for item in items:
        if isinstance(item, Damage):
            events.append(Lost(len(re.findall(rb'"op_code":4,', item.text)), _room(item)))
        elif studies.follow(item) == JournalOperation.CREATE_TRIAL:
            state = item.fields.get("state", TrialState.RUNNING)
            events.append(Made(item.worker, goes_on=state == TrialState.RUNNING))
        elif item.code in _OF_TRIALS:
            events.append(Named(item.worker, item.fields["trial_id"]))
    counts, homes = iter(count_lost(events)), _homes(items)
    studies, filled = _Studies(), list[_Item]()
    n_made, last = 0, dict[str, Any]()
    for item in items:
        filled.append(item)
        if isinstance(item, Operation):
            if studies.follow(item) == JournalOperation.CREATE_TRIAL:
                n_made, last = n_made + 1, item.fields
            continue
        for _ in range(next(counts)):
            said = item.says(rb'"study_id":(\d+)[,}]')
            known = (said and int(said), homes.get(n_made), last.get("study_id"), *studies.names)
            study = next((number for number in known if number in studies.names), None)
            if study is not None:
                filled.append(_trial_in(study, last.get("datetime_start")))
                n_made += 1
    return filled


def _homes(items: list[_Item]) -> dict[int, int]:
    """Return for each trial a study that the first to work on it has created trials in."""
    studies: dict[str, int] = {}
    workers: dict[int, str] = {}
    for item in items:
        if isinstance(item, Operation) and item.code == JournalOperation.CREATE_TRIAL:
            studies[item.worker] = item.fields["study_id"]
        elif isinstance(item, Operation) and item.code in _OF_TRIALS:
            workers.setdefault(item.fields["trial_id"], item.worker)
    return {trial: studies[worker] for trial, worker in workers.items() if worker in studies}


def _trial_in(study: int, when: str | None) -> Operation:
    """Make a trial for one that was lost; it runs, so that what was said of it holds."""
    return Operation.new(
        JournalOperation.CREATE_TRIAL,
        study_id=study, datetime_start=when, user_attrs={REASON: _WHY},
    )  # fmt: skip


def _ends(storage: JournalStorage) -> list[Operation]:
    """Let trials that stand in fail, where nothing says what became of them or who runs them."""
    now = datetime.now(timezone.utc).isoformat(timespec="microseconds")
    return [
        Operation.new(
            JournalOperation.SET_TRIAL_STATE_VALUES, trial_id=trial._trial_id,
            state=TrialState.FAIL, values=None, datetime_complete=now,
        )
        for study in storage.get_all_studies()
        for trial in storage.get_all_trials(study._study_id, deepcopy=False)
        if trial.user_attrs.get(REASON) == _WHY
        and not trial.state.is_finished()
        and WORKER not in trial.user_attrs
    ]  # fmt: skip
