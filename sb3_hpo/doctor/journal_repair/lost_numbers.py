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
        hint: Creations that can be made out in the damage before it.
        most: How many there is room for in all damages before it.
        needed: How many must have been lost in these, as later numbers are used.
        votes: The same number as each creation in it has it, by what its worker goes on with.
    """

    hint: int
    most: int
    needed: int = 0
    votes: Counter[int] = field(default_factory=Counter)


def count_lost(events: Iterable[Made | Named | Lost]) -> list[int]:
    """Say how many creations were lost in each damage.

    Args:
        events: What is in the file, in its order.

    Returns:
        A number for each `Lost`: what most creations after it agree with; if none says anything,
        what the hint says; in any case enough for all that is named.
    """
    counts, n_lost = list[int](), 0
    for item in _stretches(events)[1:]:
        votes = item.votes.most_common(1)
        guess = votes[0][0] if votes else n_lost + item.hint
        count = max(guess, item.needed, n_lost) - n_lost
        counts.append(count)
        n_lost += count
    return counts


def _stretches(events: Iterable[Made | Named | Lost]) -> list[_Stretch]:
    stretches = [_Stretch(0, 0)]
    n_made = 0
    going_on: dict[str, tuple[_Stretch, int]] = {}
    for event in events:
        now = stretches[-1]
        if isinstance(event, Lost):
            stretches.append(_Stretch(event.hint, now.most + event.most))
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
