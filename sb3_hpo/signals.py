"""SIGINT and SIGTERM, handed to whoever is in charge while a block runs."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_signals(take: Callable[[signal.Signals], None]) -> Iterator[None]:
    """Call a function for every SIGINT and SIGTERM, then restore the handlers there were.

    Args:
        take: Gets the signal. Outside the main thread, where Python allows no handlers, it is
            never called.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, _frame: FrameType | None) -> None:
        take(signal.Signals(number))

    before = {number: signal.signal(number, handle) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
