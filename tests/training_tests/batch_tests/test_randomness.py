from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from sb3_hpo.training.batch.randomness import Randomness, kept_randomness, undrawn

if TYPE_CHECKING:
    from collections.abc import Callable

# ruff: noqa: NPY002 - the streams under test


def seed_all(seed: int) -> None:
    np.random.seed(seed)
    random.seed(seed)
    torch.manual_seed(seed)


# An odd number of normal draws leaves the second of a pair behind in the stream.
DRAWS: dict[str, Callable[[], list[Any]]] = {
    "normal": lambda: [np.random.normal()],
    "numpy": lambda: [np.random.rand(), *np.random.permutation(5), np.random.randint(100)],
    "sample": lambda: [np.random.sample(), *np.random.ranf(2)],
    "choice": lambda: np.random.choice(50, 3).tolist(),
    "gauss": lambda: [random.gauss(0, 1)],
    "random": lambda: [random.random(), random.randint(0, 99), *random.sample(range(9), 3)],
    "torch": lambda: torch.randn(3).tolist(),
    "multinomial": lambda: torch.multinomial(torch.ones(7), 2).tolist(),
}


def alone(draw: Callable[[], list[Any]], seed: int) -> list[list[Any]]:
    with kept_randomness():
        seed_all(seed)
        return [draw() for _ in range(5)]


@pytest.mark.parametrize("kind", DRAWS)
def test_interleaved_streams_are_each_as_alone(kind: str) -> None:
    draw, seeds = DRAWS[kind], (3, 4)
    streams, seen = [Randomness() for _ in seeds], [[], []]  # type: ignore[var-annotated]
    with kept_randomness():
        for turn in range(6):
            for stream, seed, drawn in zip(streams, seeds, seen, strict=True):
                stream.resume()
                if turn == 0:
                    seed_all(seed)
                else:
                    drawn.append(draw())
                stream.pause()
    assert seen == [alone(draw, seed) for seed in seeds]
    assert seen[0] != seen[1]


def test_what_a_stream_draws_from_is_what_numpy_random_draws_from() -> None:
    stream = Randomness()
    with kept_randomness():
        stream.resume()
        np.random.seed(8)
        drawn = [np.random.rand(), float(stream.numpy.rand()), np.random.rand()]
    assert drawn == np.random.RandomState(8).rand(3).tolist()


def test_all_functions_that_draw_are_exchanged() -> None:
    makers = {"default_rng"}
    drawing = [(np.random, name) for name in np.random.__all__ if name not in makers]
    drawing += [(random, name) for name in random.__all__]
    original = {key: vars(key[0])[key[1]] for key in drawing}
    with kept_randomness():
        Randomness().resume()
        kept = [key[1] for key, value in original.items() if vars(key[0])[key[1]] is value]
    assert [name for name in kept if name[0].islower()] == []  # the others are classes
    assert all(vars(key[0])[key[1]] is value for key, value in original.items())


def test_undrawn_streams_are_as_before() -> None:
    stream = Randomness()
    with kept_randomness():
        stream.resume()
        seed_all(2)
        with undrawn():
            seed_all(3)
            for draw in DRAWS.values():
                draw()
        seen = [draw() for draw in DRAWS.values()]
        seed_all(2)
        assert seen == [draw() for draw in DRAWS.values()]


def test_states_are_read_and_set_within_a_stream() -> None:
    stream = Randomness()
    with kept_randomness():
        stream.resume()
        states = np.random.get_state(), random.getstate()
        first = np.random.rand(), random.random()
        np.random.set_state(states[0])
        random.setstate(states[1])
        assert (np.random.rand(), random.random()) == first


@pytest.mark.parametrize("kind", DRAWS)
def test_kept_randomness_leaves_the_global_streams_alone(kind: str) -> None:
    draw = DRAWS[kind]
    seed_all(5)
    wanted = [draw() for _ in range(3)]
    seed_all(5)
    seen = [draw()]
    original = np.random.normal, np.random.seed, random.gauss, random.seed

    def draw_and_raise() -> None:
        with kept_randomness():
            Randomness().resume()
            seed_all(1)
            draw()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        draw_and_raise()
    assert original == (np.random.normal, np.random.seed, random.gauss, random.seed)
    assert [*seen, draw(), draw()] == wanted
