"""The lines of a journal, also of a damaged one."""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from optuna.storages.journal._storage import JournalOperation, JournalStorageReplayResult

from sb3_hpo.storages.journal import NOT_UNDERSTOOD

if TYPE_CHECKING:
    from collections.abc import Iterator

_OURS = "sb3_hpo.doctor"  # the worker of what stands in
_START = re.compile(r'\{"op_code":')
_DECODER = json.JSONDecoder()
_PROBE: tuple[dict[str, Any], ...] = (  # a study and a trial, to try an operation on
    {"op_code": 0, "worker_id": _OURS, "study_name": "", "directions": [2]},
    {"op_code": 4, "worker_id": _OURS, "study_id": 0, "datetime_start": None},
)


@dataclass(frozen=True)
class Operation:
    """A line of a journal, or a part of one, that can be read.

    Attributes:
        fields: What it says.
        text: As it is in the file, without the line end.
        line: Number of its line, from 1; 0: it is in no file yet.
        offset: First byte of its line in the file.
    """

    fields: dict[str, Any]
    text: bytes
    line: int = 0
    offset: int = 0

    @classmethod
    def new(cls, code: JournalOperation, **fields: Any) -> Operation:
        """Make one that stands in for another."""
        whole = {"op_code": code, "worker_id": _OURS, **fields}
        return cls(whole, json.dumps(whole, separators=(",", ":")).encode())

    @property
    def is_new(self) -> bool:
        """Whether it stands in for another."""
        return self.line == 0

    @property
    def code(self) -> int:
        """Of what kind it is."""
        return int(self.fields["op_code"])

    @property
    def worker(self) -> str:
        """Who wrote it."""
        return str(self.fields["worker_id"])


@dataclass(frozen=True)
class Damage:
    """What cannot be read of a line.

    Attributes:
        text: It; empty if nothing is wrong but that the line holds several operations.
        line: Number of the line, from 1.
        offset: First byte of the line in the file.
        start: How the line begins.
    """

    text: bytes
    line: int
    offset: int
    start: bytes

    def says(self, pattern: bytes) -> bytes | None:
        """Return the group of a pattern, if that can be made out."""
        found = re.search(pattern, self.text)
        return None if found is None else found[1]


def parse(content: bytes) -> Iterator[Operation | Damage]:
    """Read the lines of a journal.

    Args:
        content: Its whole lines.

    Yields:
        What can be read, and what cannot, in the order of the file.
    """
    offset = 0
    for number, line in enumerate(io.BytesIO(content), 1):
        pieces = list(_pieces(line))
        for start, end, fields in pieces:
            if fields is None:
                yield Damage(line[start:end], number, offset, line[:40])
            else:
                yield Operation(fields, line[start:end], number, offset)
        if len(pieces) > 1 and None not in [fields for _, _, fields in pieces]:
            yield Damage(b"", number, offset, line[:40])
        offset += len(line)


def _pieces(line: bytes) -> list[tuple[int, int, dict[str, Any] | None]]:
    """Take a line apart: where a part begins and ends, and what it says, or None."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        fields = None
    if _is_operation(fields):
        return [(0, len(line.rstrip()), fields)]
    pieces: list[tuple[int, int, dict[str, Any] | None]] = []
    text, done = line.decode("latin-1"), 0  # a character is a byte
    for match in _START.finditer(text):
        try:
            fields, end = _DECODER.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            continue
        if match.start() < done or not text[match.start() : end].isascii():
            continue
        if _is_operation(fields):
            if text[done : match.start()].strip():
                pieces.append((done, match.start(), None))
            pieces.append((match.start(), end, fields))
            done = end
    if text[done:].strip() or not pieces:
        pieces.append((done, len(line), None))
    return pieces


def _is_operation(fields: Any) -> bool:
    """Say whether Optuna understands an operation, or may do so in another version."""
    if not isinstance(fields, dict) or not isinstance(fields.get("op_code"), int):
        return False
    if fields["op_code"] not in tuple(JournalOperation):
        return True
    numbers = {key: fields[key] for key in ("study_id", "trial_id") if key in fields}
    if not all(isinstance(item, int) for item in numbers.values()):
        return False
    probe = JournalStorageReplayResult("probe-")
    try:
        probe.apply_logs([*_PROBE, {**fields, **dict.fromkeys(numbers, 0)}])
        return isinstance(fields["worker_id"], str)
    except NOT_UNDERSTOOD:
        return False
