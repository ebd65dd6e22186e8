"""What is wrong with a journal file, and how that is mended when asked to."""

from __future__ import annotations

import glob
import os
import shutil
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING

from optuna.storages.journal import JournalFileOpenLock
from rich.filesize import decimal

from sb3_hpo.journals import LOCK_GRACE_S, mend_torn_tail
from sb3_hpo.readonly import SETTLE_S, read_journal
from sb3_hpo.wording import plural

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sb3_hpo.readonly import BrokenLine, Journal


@dataclass(frozen=True)
class Finding:
    """Something wrong.

    Attributes:
        text: What, in one line.
        mend: Mends it and says what was done; raises OSError where that fails. None: only a
            person can mend it.
    """

    text: str
    mend: Callable[[], str] | None = None


def journal_findings(journal: Journal, *, in_use: bool) -> list[Finding]:
    """Say what is wrong with a journal file.

    Args:
        journal: The journal.
        in_use: Whether a process of this machine works with it now.

    Returns:
        The findings, to be mended in this order.
    """
    findings = []
    path, lock = journal.path, find_lock(journal.path)
    if lock is not None and lock.is_stale:
        text = (
            f"{lock.path.name} was left behind {lock.age_s:,.0f} s ago by a process that died; "
            "the next one to write has to wait"
        )
        findings.append(Finding(text, partial(_break_lock, path, lock)))
    if journal.broken is not None:
        findings.append(_finding_of_line(path, journal.broken, in_use=in_use))
    if journal.torn:
        text = f"it ends in half a line of {plural(len(journal.torn), 'byte')}, never completed"
        findings.append(Finding(text, partial(_cut_tail, path)))
    return findings


def _finding_of_line(path: Path, broken: BrokenLine, *, in_use: bool) -> Finding:
    where = f"line {broken.number:,} (from byte {broken.offset:,})"
    if not broken.is_garbled:
        return Finding(
            f"{where} is no operation that this version of Optuna knows ({broken.start}...), so "
            "it reads nothing from there on; a newer Optuna may"
        )
    text = (
        f"{where} is broken ({broken.start}...); later operations count the earlier ones, so "
        f"all from there on is lost: {plural(broken.n_lost, 'line')}, which finish "
        f"{plural(broken.n_lost_trials, 'trial')}"
    )
    if in_use:
        return Finding(f"{text}; workers of this machine still use it: end them first")
    return Finding(f"{text}; first end all that uses it", partial(_cut_lines, path))


@dataclass(frozen=True)
class Lock:
    """The lock of a journal, which a process holds for some milliseconds.

    Attributes:
        path: The file or symbolic link.
        age_s: How long it has been there, in seconds.
        identity: Tells it from another one at the same path.
    """

    path: Path
    age_s: float
    identity: tuple[int, int]

    @property
    def is_stale(self) -> bool:
        """Whether it is older than any that somebody holds."""
        return self.age_s > LOCK_GRACE_S


def find_lock(journal: Path) -> Lock | None:
    """Return a journal's lock, or None while nobody has locked it.

    Args:
        journal: The journal.
    """
    path = journal.with_name(f"{journal.name}.lock")
    try:
        status = path.lstat()  # Optuna's other kind of lock is a link, perhaps to nowhere
    except FileNotFoundError:
        return None
    return Lock(path, time.time() - status.st_mtime, (status.st_ino, status.st_mtime_ns))


def leftovers(journal: Path) -> list[Path]:
    """Return what earlier mends and deaths have left beside a journal; it does no harm.

    Args:
        journal: The journal.
    """
    names = (f"{glob.escape(journal.name)}.{kind}" for kind in ("torn-*", "broken-*", "lock?*"))
    return sorted(path for name in names for path in journal.parent.glob(name))


def _break_lock(journal: Path, seen: Lock) -> str:
    time.sleep(SETTLE_S)
    now = find_lock(journal)
    if now is None or now.identity != seen.identity:
        return "it is gone, others work with the journal"
    now.path.unlink(missing_ok=True)
    return "removed"


def _cut_tail(journal: Path) -> str:
    with _locked(journal):
        backup = mend_torn_tail(journal)
    return "it is gone" if backup is None else f"cut off, and kept in {backup.name}"


def _cut_lines(journal: Path) -> str:
    with _locked(journal):
        broken = read_journal(journal).broken
        if broken is None or not broken.is_garbled:
            return "it is gone"
        stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S.%f")
        backup = journal.with_name(f"{journal.name}.broken-{stamp}")
        try:
            shutil.copyfile(journal, backup)
        except OSError:
            backup.unlink(missing_ok=True)
            raise
        os.truncate(journal, broken.offset)
    return f"cut off; the whole file as it was is {backup.name} ({decimal(backup.stat().st_size)})"


@contextmanager
def _locked(journal: Path) -> Iterator[None]:
    lock = JournalFileOpenLock(str(journal), grace_period=LOCK_GRACE_S)
    lock.acquire()
    try:
        yield
    finally:
        lock.release()
