from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.attacked_studies import AttackedStudy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.faults.figures import Figures

_FILE = "SB3_HPO_FAULT_FIGURES"  # environment variable: where to append the figures, as JSON lines
_figures: list[Figures] = []


@pytest.fixture
def new_study(tmp_path: Path) -> Iterator[Callable[..., AttackedStudy]]:
    """Makes studies, each in a folder of its own; kills what is left of them."""
    studies: list[AttackedStudy] = []

    def make(storage: str | None = None, **options: Any) -> AttackedStudy:
        folder = tmp_path / str(len(studies))
        folder.mkdir()
        studies.append(AttackedStudy(folder, storage, **options))
        return studies[-1]

    yield make
    for study in studies:
        study.end()


@pytest.fixture
def conclude() -> Callable[[Figures], None]:
    """Publishes the figures of a row, then fails if there is anything wrong with them."""

    def publish(figures: Figures) -> None:
        _figures.append(figures)
        if path := os.environ.get(_FILE):
            with Path(path).open("a") as file:
                file.write(json.dumps(dataclasses.asdict(figures)) + "\n")
        assert figures.problems == []

    return publish


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _figures:
        terminalreporter.section("faults")
    for figures in _figures:
        terminalreporter.write_line(figures.line())
