"""Search spaces in the words of Hydra's Optuna sweeper.

`tag(log, interval(1e-5, 1e-2))`, `choice(64, 128)`, `range(1, 9, step=2)`: they mean what they do
for that sweeper, so `range(1, 3)` includes the 3, and `interval(1, 5)` holds floats.
"""

from __future__ import annotations

import re
from typing import Any

from sb3_hpo.space_syntax.entries import (
    Choices,
    Constant,
    Entry,
    Range,
    check_constant,
    is_spec,
    make_choices,
    make_range,
    read_mapping,
    read_number,
)
from sb3_hpo.utils.errors import UserError, unknown_name

_INT = re.compile(r"[-+]?\d+(_\d+)*")
_FLOAT = re.compile(r"[-+]?(\d[\d_]*(\.\d*)?|\.\d+)([eE][-+]?\d+)?")
_WORDS = {"true": True, "false": False, "null": None}


def parse_entry(value: Any) -> Entry:
    """Read what stands beside a name.

    Args:
        value: From YAML.

    Returns:
        What it means.

    Raises:
        UserError: It cannot be read, or nothing can be drawn from it.

    >>> parse_entry("tag(log, interval(1e-5, 1e-2))")
    Range(low=1e-05, high=0.01, log=True, step=None)
    >>> parse_entry({"choices": [64, 128]})
    Choices(by_name={64: 64, 128: 128})
    >>> parse_entry(0.95)
    Constant(value=0.95)
    """
    if isinstance(value, str):
        try:
            return _HydraParser(value).read()
        except RecursionError as error:
            raise UserError(f"is nested too deeply: {value[:40]}...") from error
    if is_spec(value):
        return read_mapping(value)
    check_constant(value)
    return Constant(value)


class _HydraParser:
    """Reads Hydra's words from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def read(self) -> Entry:
        """Read all of the text."""
        if "${" in self._text:
            raise UserError(f"{self._text!r} is to be filled in by Hydra: write the value itself")
        if not re.search(r"[(,\[{]", self._text):
            return Constant(_primitive(self._text))
        items = [self._element(",")]
        while self._next() == ",":
            self._at += 1
            items.append(self._element(","))
        if self._at < len(self._text):
            raise self._unreadable()
        entry = _choice(items, {}) if len(items) > 1 else items[0]
        if isinstance(entry, Entry):
            return entry
        check_constant(entry)
        return Constant(entry)

    def _next(self) -> str:
        while self._at < len(self._text) and self._text[self._at].isspace():
            self._at += 1
        return self._text[self._at : self._at + 1]

    def _unreadable(self) -> UserError:
        rest = self._text[self._at :].strip() or "its end"
        return UserError(f"{self._text!r} cannot be read from {rest!r} on")

    def _element(self, ends: str) -> Any:
        """Read a value up to one of the characters that may end it."""
        char = self._next()
        if char in ("'", '"'):
            return self._quoted(char)
        if char == "[":
            return [item for _, item in self._items("]", "")]
        if char == "{":
            return dict(self._items("}", ":"))
        end = re.compile(f"[{re.escape(ends)}(\\[\\]{{}}'\"]|$").search(self._text, self._at)
        stop = len(self._text) if end is None else end.start()
        word = self._text[self._at : stop].strip()
        if not word:
            raise self._unreadable()
        self._at = stop
        if self._next() != "(":
            return _primitive(word)
        return _call(word, self._items(")", "="))

    def _quoted(self, quote: str) -> str:
        end = self._text.find(quote, self._at + 1)
        if end < 0:
            raise self._unreadable()
        text = self._text[self._at + 1 : end]
        self._at = end + 1
        return text

    def _items(self, close: str, sign: str) -> list[tuple[Any, Any]]:
        """Read values, or pairs with a sign between; the key is None where it is absent."""
        items: list[tuple[Any, Any]] = []
        self._at += 1
        while self._next() != close:
            key, value = None, self._element(f",{close}{sign}")
            if sign and self._next() == sign:
                self._at += 1
                key, value = value, self._element(f",{close}")
            items.append((key, value))
            if self._next() not in (",", close) or (sign == ":" and key is None):
                raise self._unreadable()
            self._at += self._next() == ","
        self._at += 1
        return items


def _primitive(word: str) -> Any:
    word = word.strip()
    if word.lower() in _WORDS:
        return _WORDS[word.lower()]
    if _INT.fullmatch(word):
        return int(word)
    return float(word) if _FLOAT.fullmatch(word) else word


def _call(name: str, items: list[tuple[Any, Any]]) -> Any:
    if name in ("shuffle", "sort", "glob"):
        raise UserError(
            f"{name}(...) is of no use here, as a sampler has its own order: remove it"
        )
    if name not in _FUNCTIONS:
        raise UserError(unknown_name("function", name, _FUNCTIONS))
    args = [value for key, value in items if key is None]
    named = {str(key): value for key, value in items if key is not None}
    try:
        return _FUNCTIONS[name](args, named)
    except TypeError as error:
        words = ", ".join(str(value) for _, value in items)
        raise UserError(f"{name}({words}) has arguments that {name} does not take") from error


def _choice(args: list[Any], named: dict[str, Any]) -> Choices:
    if named:
        raise TypeError(named)
    values: list[Any] = []
    for item in args:
        if isinstance(item, Range):
            raise UserError("a range cannot be one of the choices")
        values += item.by_name.values() if isinstance(item, Choices) else [item]
    return make_choices(values)


def _range(args: list[Any], named: dict[str, Any]) -> Range:
    def numbers(start: Any, stop: Any = None, step: Any = 1) -> list[float]:
        low, high = (0, start) if stop is None else (start, stop)
        return [read_number(*pair) for pair in (("start", low), ("stop", high), ("step", step))]

    return make_range(numbers(*args, **named))


def _interval(args: list[Any], named: dict[str, Any]) -> Range:
    def numbers(start: Any, end: Any) -> list[float]:
        return [read_number("start", start), read_number("end", end)]

    return make_range(numbers(*args, **named), kind="float")


def _tag(args: list[Any], named: dict[str, Any]) -> Range:
    *tags, sweep = [*args, *named.values()]
    if tags != ["log"] or not isinstance(sweep, Range) or sweep.step is not None:
        raise UserError("tag has one meaning here: tag(log, interval(low, high))")
    return Range(sweep.low, sweep.high, log=True)


def _caster(kind: type) -> Any:
    def cast_all(args: list[Any], named: dict[str, Any]) -> Any:
        values = [*args, *named.values()]
        if len(values) != 1:
            raise UserError(f"{kind.__name__}(...) must have one value, but has {len(values)}")
        value = values[0]
        if isinstance(value, Choices):
            return make_choices([_cast(item, kind) for item in value.by_name.values()])
        if not isinstance(value, Range):
            return _cast(value, kind)
        if kind not in (int, float):
            raise UserError(f"a range cannot be cast to {kind.__name__}")
        step = None if value.step is None else kind(value.step)
        return Range(kind(value.low), kind(value.high), value.log, step)

    return cast_all


def _cast(value: Any, kind: type) -> Any:
    """Cast as Hydra does: "false" is false, and true is "true"."""
    if kind is bool and isinstance(value, str):
        value = _WORDS.get(value.lower())
    if kind is str and isinstance(value, bool):
        return str(value).lower()
    try:
        if value is not None:
            return kind(value)
    except (ValueError, OverflowError, TypeError):
        pass
    raise UserError(f"{value!r} cannot be cast to {kind.__name__}")


_FUNCTIONS = {
    "choice": _choice,
    "range": _range,
    "interval": _interval,
    "tag": _tag,
    **{kind.__name__: _caster(kind) for kind in (int, float, str, bool)},
}
