from __future__ import annotations

import pytest

from sb3_hpo.utils.seeding import Stream, derive_seed, derive_seeds


def test_derive_seed_same_root_gives_same_seed() -> None:
    assert derive_seed(7, Stream.RACE_TRAINING, 3) == derive_seed(7, Stream.RACE_TRAINING, 3)


def test_derive_seed_other_root_stream_or_index_gives_another() -> None:
    seeds = {
        derive_seed(root, stream, index)
        for root in range(10)
        for stream in Stream
        for index in range(10)
    }
    assert len(seeds) == 10 * len(Stream) * 10


@pytest.mark.parametrize("root", [0, 1, 2**40])
def test_derive_seeds_streams_with_env_offsets_are_disjoint(root: int) -> None:
    taken: set[int] = set()
    for stream in Stream:
        own = {seed + i for seed in derive_seeds(root, stream, 2000) for i in range(64)}
        assert not own & taken
        assert max(own) < 2**32
        taken |= own


def test_derive_seeds_first_ones_do_not_depend_on_n() -> None:
    assert derive_seeds(0, Stream.TEST_EPISODES, 3) == derive_seeds(0, Stream.TEST_EPISODES, 9)[:3]


def test_derive_seeds_of_root_0_stay_what_they_are() -> None:
    """Studies on disk rely on it."""
    assert derive_seeds(0, Stream.SEARCH_TRAINING, 2) == (
        330464772,
        360073649,
    )


@pytest.mark.parametrize(
    ("stream", "seed"),
    [
        (Stream.SEARCH_EPISODES, 548908353),
        (Stream.RACE_TRAINING, 1357186961),
        (Stream.TEST_TRAINING, 1762929304),
        (Stream.TEST_EPISODES, 2315089581),
        (Stream.RACE_EPISODES, 4013211878),
    ],
)
def test_derive_seed_of_search_race_and_test_stays_what_it_is(stream: Stream, seed: int) -> None:
    """Results are compared and resumed by these."""
    assert derive_seed(7, stream, 3) == seed
