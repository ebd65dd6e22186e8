"""What is in a storage and what is wrong with it: `python -m sb3_hpo.doctor`."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from typing import TYPE_CHECKING

import optuna
from optuna.trial import TrialState
from rich.console import Console

from sb3_hpo.doctor.contents import describe_file, describe_study
from sb3_hpo.doctor.journal_faults import Finding, journal_findings
from sb3_hpo.doctor.journal_file import read_journal
from sb3_hpo.doctor.stuck_trials import give_on, running_trials
from sb3_hpo.results.trials import trials_of
from sb3_hpo.storages.existing import find_address, open_existing
from sb3_hpo.storages.open import open_storage
from sb3_hpo.utils.console import echo, run_command
from sb3_hpo.utils.errors import UserError, unknown_name
from sb3_hpo.utils.formatting import plural
from sb3_hpo.workers.lost_trials import living_workers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sb3_hpo.doctor.journal_file import Journal


class Findings:
    """Tells findings as they are made, repairs them if asked to, and keeps the count."""

    def __init__(self, console: Console, *, fix: bool) -> None:
        """Prepare.

        Args:
            console: Where to print.
            fix: Whether to repair.
        """
        self.console, self.fix = console, fix
        self._n_repaired = self._n_repairable = self._n_hopeless = 0

    @property
    def is_all_repaired(self) -> bool:
        """Whether nothing that was found is still wrong."""
        return self._n_repairable == self._n_hopeless == 0

    def say(self, text: str) -> None:
        """Print a line."""
        echo(self.console, text)

    def deal_with(self, finding: Finding) -> None:
        """Tell a finding, and repair it if that is asked for and can be done."""
        self.say(f"wrong: {finding.text}")
        if finding.repair is None:
            self._n_hopeless += 1
        elif not self.fix:
            self._n_repairable += 1
        else:
            try:
                self.say(f"  repaired: {finding.repair()}")
                self._n_repaired += 1
            except OSError as error:
                self.say(f"  not repaired: {error.strerror or error}")
                self._n_hopeless += 1

    def conclude(self) -> int:
        """Print what the findings come to; return the exit status."""
        parts = []
        if self._n_repaired:
            parts.append(f"{plural(self._n_repaired, 'thing')} repaired")
        if self._n_hopeless:
            parts.append(f"{plural(self._n_hopeless, 'thing')} that --fix cannot repair")
        if self._n_repairable:
            parts.append(f"{plural(self._n_repairable, 'thing')} to repair: run again with --fix")
        self.say("; ".join(parts) or "nothing to repair")
        return 0 if self.is_all_repaired else 1


def main(argv: Sequence[str] | None = None) -> int:
    """Look into a storage, and repair what is wrong with it if asked to.

    Args:
        argv: The arguments; default: those of the process.

    Returns:
        The exit status: 0 all is well or was repaired, 1 something is wrong, 2 for a mistake of
        the user.
    """
    return run_command(lambda: _command(sys.argv[1:] if argv is None else argv))


def _command(argv: Sequence[str]) -> int:
    arguments = _parser().parse_args(argv)
    findings = Findings(Console(), fix=arguments.fix)
    name = arguments.study_name
    try:
        address = find_address(arguments.storage)
        journal = None if address.journal is None else read_journal(address.journal)
    except PermissionError as error:
        raise UserError(f"storage: {error.filename}: {error.strerror}") from error
    storage = open_existing(arguments.storage) if journal is None else journal.storage
    studies = _load(storage, name)
    if journal is None:
        findings.say(str(address))
    else:
        _check_file(journal, findings)
        if findings.fix and findings.is_all_repaired:
            studies = _load(open_storage(address), name)
    for study in studies:
        for line in describe_study(study):
            findings.say(line)
    _check_running(studies, findings)
    return findings.conclude()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sb3-hpo doctor",
        description="Say what is in a storage and what is wrong with it; repair it with --fix.",
    )
    parser.add_argument("storage", help="run folder, journal file, or URL of a database")
    parser.add_argument("--study-name", help="which study (default: all)")
    parser.add_argument("--fix", action="store_true", help="repair what can be repaired")
    return parser


def _load(storage: optuna.storages.BaseStorage, name: str | None) -> list[optuna.Study]:
    names = sorted(optuna.get_all_study_names(storage))
    if name is not None and name not in names:
        raise UserError(unknown_name("study", name, names))
    return [
        optuna.load_study(storage=storage, study_name=item)
        for item in (names if name is None else [name])
    ]


def _check_file(journal: Journal, findings: Findings) -> None:
    """Say what there is to be said of a journal without its studies."""
    studies = _load(journal.storage, None)
    for line in describe_file(journal, sum(len(trials_of(study)) for study in studies)):
        findings.say(line)
    workers = {item.worker for item in running_trials(studies)}
    for finding in journal_findings(journal, in_use=not workers.isdisjoint(living_workers())):
        findings.deal_with(finding)


def _check_running(studies: list[optuna.Study], findings: Findings) -> None:
    """Find the running trials whose worker is gone."""
    running = running_trials(studies)
    alive = living_workers()
    for item in running:
        if not item.is_local:
            hint = "only the study's workers can tell if it is gone"
            findings.say(f"{item}: it is not on this machine; {hint}")
        elif item.worker in alive:
            findings.say(f"{item}: its worker {item.worker} is at work on this machine")
        elif item.now().state is TrialState.RUNNING:  # it has not ended meanwhile
            text = f"{item}: its worker {item.worker} is gone, but it counts as running"
            findings.deal_with(Finding(text, partial(give_on, item)))


if __name__ == "__main__":
    sys.exit(main())
