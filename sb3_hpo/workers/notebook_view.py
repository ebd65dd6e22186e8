"""A live view in a notebook's output, which rich would draw with widgets that may be missing."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING, Any

from rich.console import Console

if TYPE_CHECKING:
    from rich.console import RenderableType

_WIDTH = 100  # characters


class NotebookView:
    """Shows a view where the cell's output is, and replaces it; used as rich's `Live` is."""

    def __init__(self, view: RenderableType) -> None:
        self._view = view
        self._handle: Any = None

    def start(self, *, refresh: bool = False) -> None:  # noqa: ARG002 - as Live
        """Show the view for the first time."""
        from IPython.display import display

        show: Any = display  # untyped
        self._handle = show(self._bundle(), raw=True, display_id=True)

    def update(self, view: RenderableType, *, refresh: bool = False) -> None:  # noqa: ARG002
        """Show another view in its place."""
        self._view = view
        self._handle.update(self._bundle(), raw=True)

    def stop(self) -> None:
        """Leave the last view standing."""

    def _bundle(self) -> dict[str, str]:
        text = StringIO()
        Console(file=text, width=_WIDTH, force_jupyter=False).print(self._view)
        return {"text/plain": text.getvalue().rstrip()}
