"""What is wrong with a journal file, and how that is repaired when asked to."""

from __future__ import annotations

import glob
import shutil
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING

from optuna.storages.journal import JournalFileOpenLock
from rich.filesize import decimal

from sb3_hpo.doctor.journal_file import read_journal
from sb3_hpo.storages.journal import LOCK_GRACE_S, repair_torn_tail
from sb3_hpo.utils.formatting import plural

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sb3_hpo.doctor.journal_file import Journal
    from sb3_hpo.doctor.journal_repair.lines import Damage, Operation
    from sb3_hpo.doctor.journal_repair.salvage import Salvage


@dataclass(frozen=True)
class Finding:
    """Something wrong.

    Attributes:
        text: What, in one line.
        repair: Repairs it and says what was done; raises OSError where that fails. None: only a
            person can repair it.
    """

    text: str
    repair: Callable[[], str] | None = None


def journal_findings(journal: Journal, *, in_use: bool) -> list[Finding]:
    """Say what is wrong with a journal file.

    Args:
        in_use: Whether a process of this machine works with it now.

    Returns:
        The findings, to be repaired in this order.
    """
    findings = []
    path = journal.path
    if (stale := stale_lock(path)) is not None:
        lock, age_s = stale
        text = (
            f"{lock.name} was left behind {age_s:,.0f} s ago by a process that died; the next "
            "one to write has to wait"
        )
        findings.append(Finding(text, partial(_break_lock, path)))
    if journal.salvage is not None:
        findings.append(_finding_of_lines(path, journal.salvage, in_use=in_use))
    if journal.torn:
        text = f"it ends in half a line of {plural(len(journal.torn), 'byte')}, never completed"
        findings.append(Finding(text, partial(_cut_tail, path)))
    return findings


def _finding_of_lines(path: Path, kept: Salvage, *, in_use: bool) -> Finding:
    if (unknown := kept.unknown) is not None:
        return Finding(
            f"{_where(unknown)} is no operation that this version of Optuna knows "
            f"({_start(unknown.text)}), so it reads nothing from there on; a newer Optuna may"
        )
    first, n_others = kept.damages[0], len({damage.line for damage in kept.damages}) - 1
    besides = f", and {plural(n_others, 'other')}" if n_others else ""
    text = (
        f"{_where(first)} is broken ({_start(first.start)}){besides}, so nothing after it can be "
        "used; repaired, the file keeps all that can be read"
    )
    if kept.new_studies:
        text += f", below a new beginning of the study {', '.join(kept.new_studies)}"
    if kept.n_new_trials:
        text += f", below a new beginning of {plural(kept.n_new_trials, 'trial')}"
    if in_use:
        return Finding(f"{text}; workers of this machine still use it: end them first")
    return Finding(f"{text}; first end all that uses it", partial(_leave_out_lines, path))


def _where(item: Operation | Damage) -> str:
    return f"line {item.line:,} (from byte {item.offset:,})"


def _start(text: bytes) -> str:
    return f"{text[:40].rstrip()!r}..."


def stale_lock(journal: Path) -> tuple[Path, float] | None:
    """Return a journal's lock and its age in seconds, if it is older than any that is held."""
    path = journal.with_name(f"{journal.name}.lock")
    try:
        # Not `stat`: Optuna's other kind of lock is a link, perhaps to nowhere.
        age_s = time.time() - path.lstat().st_mtime
    except FileNotFoundError:
        return None
    return (path, age_s) if age_s > LOCK_GRACE_S else None


def leftovers(journal: Path) -> list[Path]:
    """Return what earlier repairs and deaths have left beside a journal; it does no harm."""
    names = (
        f"{glob.escape(journal.name)}.{kind}"
        for kind in ("torn-*", "broken-*", "mended-*", "lock?*")
    )
    return sorted(path for name in names for path in journal.parent.glob(name))


def _break_lock(journal: Path) -> str:
    stale = stale_lock(journal)
    if stale is None:
        return "it is gone, others work with the journal"
    stale[0].unlink(missing_ok=True)
    return "removed"


def _cut_tail(journal: Path) -> str:
    with _locked(journal):
        backup = repair_torn_tail(journal)
    return "it is gone" if backup is None else f"cut off, and kept in {backup.name}"


def _leave_out_lines(journal: Path) -> str:
    with _locked(journal):
        kept = read_journal(journal).salvage
        if kept is None:
            return "it is gone"
        stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S.%f")
        backup = journal.with_name(f"{journal.name}.broken-{stamp}")
        repaired = journal.with_name(f"{journal.name}.mended-{stamp}")
        try:
            shutil.copyfile(journal, backup)
            repaired.write_bytes(b"".join(item.text + b"\n" for item in kept.operations))
            shutil.copymode(journal, repaired)
            repaired.replace(journal)
        except OSError:
            backup.unlink(missing_ok=True)
            repaired.unlink(missing_ok=True)
            raise
    return (
        f"left out; the whole file as it was is {backup.name} ({decimal(backup.stat().st_size)})"
    )


@contextmanager
def _locked(journal: Path) -> Iterator[None]:
    lock = JournalFileOpenLock(str(journal), grace_period=LOCK_GRACE_S)
    lock.acquire()
    try:
        yield
    finally:
        lock.release()
