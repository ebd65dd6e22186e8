from __future__ import annotations

import random
from random import gauss
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from numpy.random import rand

from sb3_hpo.training.batch.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sb3_hpo.training.batch.turns import Request


class Log:
    """Bodies that note what happens to them, and a service that squares numbers."""

    def __init__(self, *questions: list[int]) -> None:
        self.events: list[Any] = []
        self.ended: list[int] = []
        self.turns = Turns([self._body(i, numbers) for i, numbers in enumerate(questions)])

    def _body(self, index: int, numbers: list[int]) -> Callable[[], None]:
        def body() -> None:
            try:
                for number in numbers:
                    answer = self.turns.ask("square" if number >= 0 else "negative", number)
                    self.events.append((index, answer))
            finally:
                self.events.append((index, "end"))

        return body

    def serve(self, waiting: Mapping[int, Request]) -> Mapping[int, Any]:
        self.events.append([(i, r.what, r.payload) for i, r in sorted(waiting.items())])
        if any(request.payload == 13 for request in waiting.values()):
            raise ArithmeticError("thirteen")
        first = [i for i, request in waiting.items() if request.what == "negative"]
        return {i: waiting[i].payload ** 2 for i in first or waiting}

    def run(self) -> None:
        self.turns.run(self.serve, self.ended.append)


def test_functions_run_in_turns_in_their_order_and_get_their_own_answers() -> None:
    log = Log([2, 3], [4], [5, 6])
    log.run()
    assert log.events == [
        [(0, "square", 2), (1, "square", 4), (2, "square", 5)],
        (0, 4), (1, 16), (1, "end"), (2, 25),
        [(0, "square", 3), (2, "square", 6)],
        (0, 9), (0, "end"), (2, 36), (2, "end"),
    ]  # fmt: skip
    assert log.ended == [1, 0, 2]


def test_those_without_an_answer_wait_on() -> None:
    log = Log([2], [-1, -3])
    log.run()
    assert log.events == [
        [(0, "square", 2), (1, "negative", -1)],
        (1, 1),
        [(0, "square", 2), (1, "negative", -3)],
        (1, 9), (1, "end"),
        [(0, "square", 2)],
        (0, 4), (0, "end"),
    ]  # fmt: skip
    assert log.ended == [1, 0]


def test_functions_that_ask_nothing_end_at_once() -> None:
    log = Log([], [])
    log.run()
    assert log.events == [(0, "end"), (1, "end")]
    assert log.ended == [0, 1]


def test_error_of_the_service_ends_the_functions_and_is_raised() -> None:
    log = Log([1, 1], [13, 1], [1])
    with pytest.raises(ArithmeticError, match="thirteen"):
        log.run()
    assert log.events[1:] == [(0, "end"), (1, "end"), (2, "end")]


def test_error_of_a_function_ends_the_others_and_is_raised() -> None:
    events: list[Any] = []
    error = KeyError("the gripper is gone")

    def waits() -> None:
        try:
            turns.ask("anything")
        finally:
            events.append("ended")

    def raises() -> None:
        turns.ask("anything")
        raise error

    turns = Turns([waits, raises, waits])
    with pytest.raises(KeyError) as raised:
        turns.run(lambda waiting: {1: None} if 1 in waiting else {}, events.append)
    assert raised.value is error
    assert events == ["ended", "ended"]


def test_error_before_the_others_have_begun_leaves_them_so() -> None:
    begun: list[int] = []

    def raises() -> None:
        raise ValueError("at once")

    with pytest.raises(ValueError, match="at once"):
        Turns([raises, lambda: begun.append(1)]).run(lambda _: {}, begun.append)
    assert begun == []


def test_error_of_the_service_is_raised_in_a_function_that_is_alone() -> None:
    answers: list[Any] = []

    def body() -> None:
        with torch.no_grad():
            with pytest.raises(ArithmeticError, match="thirteen"):
                turns.ask("square", 13)
            answers.append(torch.is_grad_enabled())
        answers.append(turns.ask("square", 4))
        turns.ask("square", 13)

    turns = Turns([body])
    ended: list[int] = []
    with pytest.raises(ArithmeticError, match="thirteen"):
        turns.run(Log().serve, ended.append)
    assert answers == [False, 16]
    assert ended == []


def test_functions_are_ended_even_if_they_ask_or_raise_meanwhile() -> None:
    events: list[str] = []

    def asks() -> None:
        try:
            turns.ask("square", 13)
        finally:
            try:
                turns.ask("square", 1)
            finally:
                events.append("asks")

    def raises() -> None:
        try:
            turns.ask("square", 1)
        finally:
            events.append("raises")
            raise KeyError("at the end")

    turns = Turns([asks, raises, asks])
    with pytest.raises(ArithmeticError, match="thirteen"):
        turns.run(Log().serve, lambda _: None)
    assert events == ["asks", "raises", "asks"]


@pytest.mark.parametrize(
    ("imported", "n_warnings"),
    [((rand,), 1), ((gauss,), 1), ((), 0)],
    ids=["numpy.random", "random", "none"],
)
def test_streams_that_several_share_are_told_of_once(
    imported: tuple[Callable[..., float], ...],
    n_warnings: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def body() -> None:
        for _ in range(2):
            turns.ask("next")
            np.random.seed(1)  # noqa: NPY002
            np.random.rand(), random.random(), torch.rand(1)  # noqa: NPY002
            for draw in imported:
                draw()

    turns = Turns([body, body])
    turns.run(dict.fromkeys, lambda _: None)
    assert [record.levelname for record in caplog.records] == ["WARNING"] * n_warnings
    assert all("draw from self.np_random" in text for text in caplog.messages)


def test_function_that_is_alone_has_the_streams_of_the_process(
    caplog: pytest.LogCaptureFixture,
) -> None:
    functions = np.random.rand, random.random

    def body() -> None:
        turns.ask("next")
        np.random.seed(3)  # noqa: NPY002
        random.seed(3)
        assert functions == (np.random.rand, random.random)
        drawn.extend([rand(), gauss()])  # noqa: NPY002

    drawn: list[float] = []
    turns = Turns([body])
    assert turns.randomness[0].numpy is np.random.mtrand._rand
    turns.run(dict.fromkeys, lambda _: None)
    assert drawn == [np.random.RandomState(3).rand(), random.Random(3).gauss()]
    assert caplog.records == []


def test_each_function_has_its_own_grad_mode() -> None:
    seen: dict[str, list[bool]] = {"off": [], "on": []}

    def off() -> None:
        with torch.no_grad():
            for _ in range(3):
                turns.ask("next")
                seen["off"].append(torch.is_grad_enabled())

    def on() -> None:
        for _ in range(3):
            turns.ask("next")
            seen["on"].append(torch.is_grad_enabled())

    turns = Turns([off, on])
    turns.run(dict.fromkeys, lambda _: None)
    assert seen == {"off": [False] * 3, "on": [True] * 3}
    assert torch.is_grad_enabled()


def test_functions_see_the_context_of_their_caller() -> None:
    """NumPy keeps there what `numpy.seterr` has set."""
    seen: list[str] = []
    turns = Turns([lambda: seen.append(np.geterr()["over"])] * 2)
    with np.errstate(over="raise"):
        turns.run(dict, lambda _: None)
    assert seen == ["raise", "raise"]
