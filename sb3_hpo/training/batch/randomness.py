"""The global random streams as one of several runs sees them."""

from __future__ import annotations

import logging
import pickle
import random
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

_logger = logging.getLogger(__name__)

# What functions of these modules are as methods.
_NUMPY = {name: name for name in np.random.__all__ if hasattr(np.random.RandomState, name)}
_NUMPY |= {"ranf": "random_sample", "sample": "random_sample"}
_PYTHON = {name: name for name in random.__all__ if hasattr(random.Random, name)}


class Randomness:
    """Streams of torch, `numpy.random` and `random`, the global ones while they are in use.

    SB3 draws from the global streams. The functions of `numpy.random` and `random` are methods of
    one hidden object each; exchanging them takes a microsecond, where exchanging its state takes
    a hundred. A name that was imported from these modules, as by `from random import gauss`, goes
    on to draw from the stream that all share.

    Attributes:
        numpy: What `numpy.random` draws from.
    """

    def __init__(self) -> None:
        """Take streams of any state: SB3 seeds them when it builds a model."""
        self.numpy = np.random.RandomState()
        python = random.Random()
        self._functions = (
            {name: getattr(self.numpy, method) for name, method in _NUMPY.items()},
            {name: getattr(python, method) for name, method in _PYTHON.items()},
        )
        self._torch = torch.get_rng_state()

    def resume(self) -> None:
        """Make these streams the global ones."""
        vars(np.random).update(self._functions[0])
        vars(random).update(self._functions[1])
        torch.set_rng_state(self._torch)

    def pause(self) -> None:
        """Remember how far torch's stream has come."""
        self._torch = torch.get_rng_state()


class ProcessRandomness:
    """The process's own streams, for a run that is alone.

    Attributes:
        numpy: What `numpy.random` draws from.
    """

    def __init__(self) -> None:
        """Take the streams as they are."""
        self.numpy = np.random.mtrand._rand

    def resume(self) -> None:
        """Do nothing: these streams are the global ones."""

    def pause(self) -> None:
        """Do nothing: nobody else draws from them."""


@contextmanager
def undrawn() -> Iterator[None]:
    """Put the states of the present streams back, as if nothing had been drawn from them."""
    states = np.random.get_state(), random.getstate(), torch.get_rng_state()  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(states[0])  # noqa: NPY002
        random.setstate(states[1])
        torch.set_rng_state(states[2])


@contextmanager
def kept_randomness() -> Iterator[None]:
    """Put the global streams back as they were."""
    functions = [(vars(np.random), name) for name in _NUMPY]
    functions += [(vars(random), name) for name in _PYTHON]
    before = [(module, name, module[name]) for module, name in functions]
    state = torch.get_rng_state()
    try:
        yield
    finally:
        for module, name, function in before:
            module[name] = function
        torch.set_rng_state(state)


@contextmanager
def told_of_sharing() -> Iterator[None]:
    """Warn if somebody has drawn from the streams that runs with their own ones do not use."""
    before = _states_of_process()
    yield
    if _states_of_process() != before:
        _logger.warning(
            "the environments draw from functions imported from numpy.random or random, which "
            "members share, so their numbers depend on each other; draw from self.np_random"
        )


def _states_of_process() -> bytes:
    states = np.random.mtrand._rand.get_state(legacy=False), random._inst.getstate()
    return pickle.dumps(states)
