"""The notebook of the docs, executed by a real kernel."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

NOTEBOOK = Path(__file__).parents[1] / "docs/tuning_in_a_notebook.ipynb"


def read(path: Path = NOTEBOOK) -> Any:
    return nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]


def texts(notebook: Any) -> Iterator[str]:
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            yield output.get("text") or output.get("data", {}).get("text/plain", "")
            yield output.get("data", {}).get("text/html", "")


def execute(notebook: Any, folder: Path) -> Any:
    """Execute a notebook, in a process of its own: the client leaves sockets open."""
    path = folder / "notebook.ipynb"
    nbformat.write(notebook, path)  # type: ignore[no-untyped-call]
    client = "from nbclient.cli import main; main()"
    command = [sys.executable, "-c", client, "--inplace", str(path)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return read(path)


@pytest.mark.slow
def test_notebook_runs_as_it_is_printed(tmp_path: Path) -> None:
    notebook = read()
    for cell in notebook.cells:
        cell.source = cell.source.replace("n_timesteps=8_000", "n_timesteps=2_000")
    notebook = execute(notebook, tmp_path)
    shown = "\n".join(texts(notebook))
    assert "4/4 trials" in shown  # the last view of the search, which was replaced in place
    assert "<div>PPO on notebook:LightPendulum-" in shown
    assert "IQM -" in shown
    assert "one episode: -" in shown
    kept = (tmp_path / "light_pendulum/objects").iterdir()
    assert {path.stem.partition("-")[0] for path in kept} == {"LightPendulum", "space"}


def test_notebook_of_the_docs_was_executed_without_an_error() -> None:
    notebook = read()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert {output.output_type for output in outputs} <= {
        "stream",
        "display_data",
        "execute_result",
    }
    assert any("IQM" in text for text in texts(notebook))
