"""Numbers and hyperparameters as people may read them."""

from __future__ import annotations

import unicodedata
from typing import Any

_OBEYED = ("Cc", "Cf", "Cs")  # control, format (of which some reverse lines) and surrogates
_MOST_TEXT = 4096


def number(value: float) -> str:
    """Return a score for reading: more digits where it is small.

    >>> [number(value) for value in (-1138.26, -168.41, 0.98765)]
    ['-1,138', '-168.4', '0.988']
    """
    if abs(value) >= 1000:
        return f"{value:,.0f}" if abs(value) < 1e9 else f"{value:.3g}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


def readable(value: Any) -> str:
    """Return a hyperparameter, or the description of one, rounded and without notation.

    >>> readable(0.000123456), readable({"$import": "torch.nn:Tanh"}), readable({"pi": [64]})
    ('0.0001235', 'Tanh', '(pi=[64])')
    >>> readable(
    ...     {"$call": "a:LinearSchedule", "start": 1.23456e-3, "end": 0.0, "end_fraction": 1.0}
    ... )
    '0.001235 falling to 0'
    """
    if isinstance(value, float):
        text = f"{value:.4g}"
        # A gamma of 0.99996 is not 1.
        return text if float(text) == value or "." in text or "e" in text else f"{value:.7g}"
    if isinstance(value, dict) and "$import" in value:
        return str(value["$import"]).rpartition(":")[2]
    if isinstance(value, dict) and "$tuple" in value:
        return f"({', '.join(map(readable, value['$tuple']))})"
    if isinstance(value, dict):
        kind = str(value.get("$call", "")).rpartition(":")[2]
        if (
            kind == "LinearSchedule"
            and value["end_fraction"] == 1
            and value["end"] < value["start"]
        ):
            return f"{readable(value['start'])} falling to {readable(value['end'])}"
        items = (f"{key}={readable(item)}" for key, item in value.items() if key != "$call")
        return f"{kind}({', '.join(items)})"
    return str(value)


def interval(ends: tuple[float, float]) -> str:
    """Return the ends of an interval, rounded for reading.

    >>> interval((-210.84, -171.2))
    '-210.8 to -171.2'
    """
    return f"{number(ends[0])} to {number(ends[1])}"


def count(fewest: int, most: int) -> str:
    """Return a count that need not be the same for all.

    >>> count(200, 200), count(4, 200)
    ('200', '4 to 200')
    """
    return f"{most:,}" if fewest == most else f"{fewest:,} to {most:,}"


def plural(n: int, noun: str) -> str:
    """Return a count with its noun.

    >>> plural(1, "trial"), plural(1200, "trial")
    ('1 trial', '1,200 trials')
    """
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def printable(text: str) -> str:
    r"""Return a text without what a terminal would obey: studies of others have any text in them.

    >>> printable("red \x1b[31m")
    'red \\x1b[31m'
    """
    return "".join(
        sign if sign in "\n\t" or unicodedata.category(sign) not in _OBEYED else repr(sign)[1:-1]
        for sign in text
    )


def storable(text: str) -> str:
    r"""Return a text without what databases and files refuse: NUL and lone surrogates.

    >>> storable("a\0b\ud800")
    'a\\x00b\\ud800'
    """
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()


def tail(text: str) -> str:
    """Return a text to be stored, of a long one its end: an error may quote an observation.

    >>> tail("short"), len(tail(10_000 * "x"))
    ('short', 4096)
    """
    text, cut = storable(text), "... "
    return text if len(text) <= _MOST_TEXT else cut + text[len(cut) - _MOST_TEXT :]
