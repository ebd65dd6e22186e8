"""Journal files that were cut, could not grow, or were left locked."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from sb3_hpo.results.trials import outcome_of
from tests.faults.attacked_studies import OPTIONS, sizes, work_in_process
from tests.faults.figures import Figures, Ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.faults.attacked_studies import AttackedStudy

TAIL = 4096  # bytes
TORN = b'{"op_code": 6, "trial_id": 1, "val'


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A study's journal when 6 trials are finished."""
    path = tmp_path_factory.mktemp("whole") / "study.journal"
    work_in_process(config_for(path))
    return path.read_bytes()


def config_for(path: Path, **values: Any) -> Any:
    from sb3_hpo.config.study_config import make_config

    liveness = {"beat_interval": 0.02, "stale_after": 0.05}
    return make_config({**OPTIONS, **liveness, "storage": str(path),
                        "run_dir": str(path.parent), **values})  # fmt: skip


def read_without_us(path: Path) -> list[optuna.trial.FrozenTrial]:
    """Read a journal as Optuna alone does."""
    storage = JournalStorage(JournalFileBackend(str(path)))
    (name,) = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=name, storage=storage).trials


@pytest.mark.parametrize("n_cuts", sizes(5, 200))
def test_truncated_journal_loses_the_torn_operation_at_most_and_goes_on(
    n_cuts: int, journal: bytes, tmp_path: Path, conclude: Callable[[Figures], None]
) -> None:
    rng = random.Random(5)
    figures = Figures("journal truncated in its last 4 KB")
    for size in rng.sample(range(len(journal) - TAIL, len(journal)), n_cuts):
        path = tmp_path / str(size) / "study.journal"
        path.parent.mkdir()
        whole, torn = split_at_last_line(journal[:size])
        path.write_bytes(whole)
        ledger = Ledger()
        ledger.note(read_without_us(path))
        path.write_bytes(whole + torn)
        work_in_process(config_for(path))
        figures.injected += 1
        figures.judge(read_without_us(path), OPTIONS["n_trials"], ledger)
        check_repaired(path, whole, torn)
        shutil.rmtree(path.parent)
    conclude(figures)


def split_at_last_line(content: bytes) -> tuple[bytes, bytes]:
    end = content.rfind(b"\n") + 1
    return content[:end], content[end:]


def check_repaired(path: Path, whole: bytes, torn: bytes) -> None:
    """Check that all whole operations are still there, and the torn one in a backup."""
    now = path.read_bytes()
    assert now.startswith(whole)
    assert len(now) > len(whole)
    added = [json.loads(line) for line in now[len(whole) :].splitlines()]
    assert all("op_code" in operation for operation in added)
    backups = [backup.read_bytes() for backup in path.parent.glob("study.journal.torn-*")]
    assert backups == ([torn] if torn else [])


@pytest.mark.parametrize("grace_s", sizes(3, 30))
def test_lock_left_behind_is_broken_after_the_grace_period(
    grace_s: int,
    journal: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    conclude: Callable[[Figures], None],
) -> None:
    monkeypatch.setattr("sb3_hpo.storages.journal.LOCK_GRACE_S", grace_s)
    figures = Figures("lock file left behind", injected=2)
    for torn in (b"", TORN):
        path = tmp_path / str(len(torn)) / "study.journal"
        path.parent.mkdir()
        path.write_bytes(journal + torn)
        Path(f"{path}.lock").touch()
        start = time.monotonic()
        work_in_process(config_for(path, n_trials=OPTIONS["n_trials"] + 1))
        assert grace_s < time.monotonic() - start < grace_s + 15
        assert not Path(f"{path}.lock").exists()
        figures.judge(read_without_us(path), OPTIONS["n_trials"] + 1, Ledger())
    conclude(figures)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 48 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    command = ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Fill a disk to its last byte; return the file that does."""
    path = disk / "filler"
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return path


@pytest.mark.parametrize("on_disk", sizes(["journal"], ["journal", "everything"] * 3))
def test_full_disk_makes_workers_wait_for_room(
    on_disk: list[str],
    small_disk: Path,
    new_study: Callable[..., AttackedStudy],
    conclude: Callable[[Figures], None],
) -> None:
    figures = Figures("disk full during appends, for a while")
    for index, what in enumerate(on_disk):
        storage = small_disk / str(index) / "study.journal"
        study = new_study(str(storage), n_trials=12)
        machine = str(storage.parent) if what == "everything" else "run"
        command = study.start(machine)
        study.wait_for_finished(2)
        filler = fill(small_disk)
        figures.injected += 1
        command.ends_within(2)
        study.note()
        before = study.trials()
        assert not command.ends_within(4), command.output
        assert study.trials() == before
        filler.unlink()
        assert command.wait() == 0, command.output
        study.judge(figures)
        if what == "journal":
            assert "No space left on device; trying again for 300 s" in command.log()
        shutil.rmtree(storage.parent)
    conclude(figures)


@pytest.mark.faults
def test_disk_that_stays_full_ends_the_command_with_one_line(
    small_disk: Path,
    new_study: Callable[..., AttackedStudy],
    conclude: Callable[[Figures], None],
) -> None:
    figures = Figures("disk full for longer than --storage-timeout", injected=1)
    study = new_study(str(small_disk / "study.journal"), n_trials=12, storage_timeout=3)
    command = study.start()
    study.wait_for_finished(2)
    filler = fill(small_disk)
    assert command.wait(60) == 2, command.output
    assert command.output.splitlines()[-1].startswith("error: storage: ")
    assert "No space left on device" in command.output.splitlines()[-1]
    assert "Traceback" not in command.output
    assert command.workers() == []
    study.note()
    filler.unlink()
    assert study.start().wait() == 0, study.commands[-1].output
    study.judge(figures)
    conclude(figures)


@pytest.mark.faults
def test_disk_full_for_longer_than_stale_after_costs_no_trial(
    small_disk: Path,
    new_study: Callable[..., AttackedStudy],
    conclude: Callable[[Figures], None],
) -> None:
    figures = Figures("disk full for longer than --stale-after", injected=1)
    study = new_study(str(small_disk / "study.journal"), n_trials=12, stale_after=8)
    command = study.start()
    study.wait_for_finished(2)
    filler = fill(small_disk)
    assert not command.ends_within(20), command.output
    filler.unlink()
    assert command.wait() == 0, command.output
    study.judge(figures)
    assert figures.hit == 0
    conclude(figures)


@pytest.mark.faults
def test_disk_freed_just_after_storage_timeout_fails_no_trial_as_a_bug(
    small_disk: Path,
    new_study: Callable[..., AttackedStudy],
    conclude: Callable[[Figures], None],
) -> None:
    figures = Figures("disk freed just after --storage-timeout", injected=1)
    study = new_study(
        str(small_disk / "study.journal"), n_trials=16, n_workers=4, storage_timeout=20
    )
    command = study.start()
    study.wait_for_running(4)
    filler = fill(small_disk)
    command.ends_within(24)
    filler.unlink()
    command.wait()
    assert study.start().wait() == 0, study.commands[-1].output
    study.judge(figures)
    assert [trial for trial in study.trials() if outcome_of(trial) == "error"] == []
    conclude(figures)
