"""How many creations were lost with damaged lines, by the numbers that the other lines use.

Optuna numbers what it creates by counting. Who has created something goes on with just that, and
names its number: so each creation that is still there tells how many are missing before it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_MOST_WAYS = 30  # there are one or two, but where the numbers are damaged as well


@dataclass(frozen=True)
class Made:
    """Something was created.

    Attributes:
        worker: Who created it.
        goes_on: Whether that worker goes on with it, rather than leave it to others.
    """

    worker: str
    goes_on: bool


@dataclass(frozen=True)
class Named:
    """An operation on what was created.

    Attributes:
        worker: Whose operation it is.
        number: What it is about.
    """

    worker: str
    number: int


@dataclass(frozen=True)
class Lost:
    """A damage, in which creations may have been lost.

    Attributes:
        hint: How many of them can be made out.
        most: How many there is room for.
    """

    hint: int
    most: int


@dataclass
class _Stretch:
    """What follows a damage, up to the next one.

    Attributes:
        hint: Creations that can be made out in all damages before it.
        most: How many there is room for in these.
        needed: How many must have been lost in these, as later numbers are used.
        votes: The same number as each creation in it has it, by what its worker goes on with.
    """

    hint: int
    most: int
    needed: int = 0
    votes: Counter[int] = field(default_factory=Counter)


@dataclass(frozen=True)
class _Way:
    """An answer for all damages up to one; `n_lost` is that of the last of them."""

    votes: int
    surprises: int
    n_lost: int = 0
    before: _Way | None = None

    @property
    def rank(self) -> tuple[int, int]:
        """Its quality."""
        return self.votes, -self.surprises


def count_lost(events: Iterable[Made | Named | Lost]) -> list[int]:
    """Say how many creations were lost in each damage.

    Args:
        events: What is in the file, in its order.

    Returns:
        A number for each `Lost`, so that there is all that is named; among such answers the one
        that most creations agree with; among such, what the hints say; among such, the latest.
    """
    first, *stretches = _stretches(events)
    # By how many more were lost up to some damage than can be made out there.
    ways, last_hint = {0: _Way(0, 0)}, first.hint
    for item in stretches:
        ways = _ways_on(ways, item, item.hint - last_hint)
        last_hint = item.hint
    way = _best(ways.values())
    counts = []
    while way.before is not None:
        counts.append(way.n_lost)
        way = way.before
    return counts[::-1]


def _ways_on(ways: dict[int, _Way], item: _Stretch, hint: int) -> dict[int, _Way]:
    """Return the best ways on over one more damage, in which a hint was made out."""
    guesses = {*ways, *(n - item.hint for n in (item.needed, *item.votes))}
    found: dict[int, _Way] = {}
    for guess in sorted(guesses):
        votes = item.votes[item.hint + guess]
        on = [
            _Way(way.votes + votes, way.surprises + abs(guess - last), hint + guess - last, way)
            for last, way in ways.items()
            if hint + guess >= last
        ]
        if on and item.hint + guess >= item.needed:
            found[guess] = _best(on)
    kept = sorted(found, key=lambda guess: found[guess].rank, reverse=True)[:_MOST_WAYS]
    return {guess: found[guess] for guess in sorted(kept)}


def _best(ways: Iterable[_Way]) -> _Way:
    return max(ways, key=lambda way: way.rank)  # the first of equals


def _stretches(events: Iterable[Made | Named | Lost]) -> list[_Stretch]:
    stretches = [_Stretch(0, 0)]
    n_made = 0
    going_on: dict[str, tuple[_Stretch, int]] = {}
    for event in events:
        now = stretches[-1]
        if isinstance(event, Lost):
            stretches.append(_Stretch(now.hint + event.hint, now.most + event.most))
        elif isinstance(event, Made):
            going_on.pop(event.worker, None)
            if event.goes_on:
                going_on[event.worker] = (now, n_made)
            n_made += 1
        else:
            needed = event.number - n_made + 1
            if needed <= now.most:  # else the number itself is damaged
                now.needed = max(now.needed, needed)
            if (own := going_on.pop(event.worker, None)) is not None:
                stretch, n_before = own
                if 0 <= event.number - n_before <= stretch.most:
                    stretch.votes[event.number - n_before] += 1
    return stretches
