"""One root seed, many streams: who draws what, without ever sharing a number."""

from __future__ import annotations

from enum import IntEnum
from functools import cache

import numpy as np

_STREAM_BITS = 29
_MARGIN = 1 << 12  # SB3 gives environment i the seed `seed + i`: keep those in the stream too


class Stream(IntEnum):
    """What a seed is for. The stream is in a seed's top bits, so streams cannot overlap."""

    SEARCH_TRAINING = 0
    SEARCH_EPISODES = 1
    RACE_TRAINING = 2
    TEST_TRAINING = 3
    TEST_EPISODES = 4
    SAMPLER = 5
    RESUMED_TRAINING = 6  # training environments, after an evaluation has used them
    RACE_EPISODES = 7


def derive_seed(root: int, stream: Stream, index: int) -> int:
    """Derive one seed below 2**32 from the root seed.

    Args:
        root: The study's seed (`--seed`), at least 0.
        stream: What the seed is for.
        index: Which one of the stream, for instance the trial number.

    Returns:
        A seed; `seed + i` for i < 4096 lies in the same stream and in no other.

    >>> derive_seed(0, Stream.TEST_TRAINING, 0) >> 29 == Stream.TEST_TRAINING
    True
    """
    sequence = np.random.SeedSequence(root, spawn_key=(int(stream), index))
    draw = int(sequence.generate_state(1)[0]) % ((1 << _STREAM_BITS) - _MARGIN)
    return (int(stream) << _STREAM_BITS) + draw


@cache
def derive_seeds(root: int, stream: Stream, n: int) -> tuple[int, ...]:
    """Derive the first n seeds of a stream.

    Args:
        root: The study's seed.
        stream: What the seeds are for.
        n: How many.

    Returns:
        n seeds; the first ones do not depend on n.
    """
    return tuple(derive_seed(root, stream, index) for index in range(n))
