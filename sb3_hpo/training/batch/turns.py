"""Functions that run in turns and stop wherever they need something that is done together."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from greenlet import greenlet

from sb3_hpo.training.batch.randomness import (
    ProcessRandomness,
    Randomness,
    kept_randomness,
    told_of_sharing,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence


_logger = logging.getLogger(__name__)
_MOST_ENDS = 10


@dataclass(frozen=True)
class Request:
    """What a function asks for.

    Attributes:
        what: Requests for what is equal can be served together.
        payload: What it brings along.
    """

    what: Hashable
    payload: Any


class Turns:
    """Runs functions in turns, each with global random streams of its own.

    One that is alone has the process's own ones, and is told of the errors of its service: it is
    to end as it would without turns.

    Attributes:
        randomness: The streams of each function.
    """

    def __init__(self, bodies: Sequence[Callable[[], None]]) -> None:
        """Prepare; nothing runs yet.

        Args:
            bodies: The functions; they may call `ask`.
        """
        self._is_alone = len(bodies) == 1
        self.randomness = [ProcessRandomness() if self._is_alone else Randomness() for _ in bodies]
        # A greenlet's first switch brings the arguments of its function.
        self._greenlets = [greenlet(lambda _, body=body: body()) for body in bodies]
        self._hub = greenlet.getcurrent()

    def ask(self, what: Hashable, payload: Any = None) -> Any:
        """Wait until this is served. To be called from within one of the functions.

        Args:
            what: What is wanted.
            payload: What it takes.

        Raises:
            BaseException: What the service raised, for a function that is alone.
        """
        grad_mode = torch.is_grad_enabled()  # torch keeps it by thread, and this is one thread
        try:
            return self._hub.switch(Request(what, payload))
        finally:
            torch.set_grad_enabled(grad_mode)

    def run(
        self,
        serve: Callable[[Mapping[int, Request]], Mapping[int, Any]],
        on_end: Callable[[int], None],
    ) -> None:
        """Run all functions to their ends.

        Args:
            serve: From what the functions wait for, by index, to answers for at least one of them.
            on_end: Called with the index of a function that has ended.

        Raises:
            BaseException: What one of the functions raised, or the service for several of them;
                those that have not ended are ended first.
        """
        self._hub = greenlet.getcurrent()
        grad_mode = torch.is_grad_enabled()
        try:
            with ExitStack() as stack:
                if not self._is_alone:
                    stack.enter_context(told_of_sharing())
                    stack.enter_context(kept_randomness())
                self._run(serve, on_end)
        finally:
            torch.set_grad_enabled(grad_mode)

    def _run(
        self,
        serve: Callable[[Mapping[int, Request]], Mapping[int, Any]],
        on_end: Callable[[int], None],
    ) -> None:
        waiting: dict[int, Request] = {}
        go_on = partial(self._go_on, waiting, on_end)
        try:
            for index, item in enumerate(self._greenlets):
                item.gr_context = copy_context()  # else without what `numpy.seterr` has set, say
                go_on(index, item.switch, None)
            while waiting:
                try:
                    answers = serve(waiting)
                except BaseException as error:
                    if not self._is_alone:
                        raise
                    go_on(0, self._greenlets[0].throw, error)
                else:
                    for index, answer in answers.items():
                        go_on(index, self._greenlets[index].switch, answer)
        finally:
            self._end()

    def _go_on(
        self,
        waiting: dict[int, Request],
        on_end: Callable[[int], None],
        index: int,
        enter: Callable[[Any], Request],
        given: Any,
    ) -> None:
        """Let a function run until it waits again or has ended."""
        waiting.pop(index, None)
        grad_mode = torch.is_grad_enabled()
        self.randomness[index].resume()
        request = enter(given)
        torch.set_grad_enabled(grad_mode)
        self.randomness[index].pause()
        if self._greenlets[index].dead:
            on_end(index)
        else:
            waiting[index] = request

    def _end(self) -> None:
        """End the functions that have not ended: what they hold could not be collected."""
        for item in self._greenlets:
            for _ in range(_MOST_ENDS):  # it may ask for more while it ends
                if item.dead:
                    break
                try:
                    item.throw()
                except BaseException:  # another error is on its way
                    _logger.debug("a function that was ended has raised", exc_info=True)
