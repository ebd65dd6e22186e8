"""Where a search space's ranges come from: the comments beside the lines that ask for them."""

from __future__ import annotations

import ast
import sys
import tokenize
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_N_PROBES = 64


def comments_of(sample: Callable[[Any], Any]) -> dict[str, str]:
    """Return the comment of each dimension of a search space written in Python.

    Returns:
        By dimension: the comment beside or above its `suggest_*` call, or else at the call of the
        function that was given the ends of the range. Dimensions without are left out.
    """
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    comments: dict[str, str] = {}
    for _ in range(_N_PROBES):
        sample(_Listener(study.ask(), comments))
    return {name: text for name, text in comments.items() if text}


class _Listener:
    """A trial that notes who asks."""

    def __init__(self, trial: optuna.Trial, comments: dict[str, str]) -> None:
        self._trial, self._comments = trial, comments

    def suggest_float(self, name: str, *args: Any, **kwargs: Any) -> float:
        self._note(name, sys._getframe(1))
        return self._trial.suggest_float(name, *args, **kwargs)

    def suggest_int(self, name: str, *args: Any, **kwargs: Any) -> int:
        self._note(name, sys._getframe(1))
        return self._trial.suggest_int(name, *args, **kwargs)

    def suggest_categorical(self, name: str, *args: Any, **kwargs: Any) -> Any:
        self._note(name, sys._getframe(1), has_ends=False)
        return self._trial.suggest_categorical(name, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trial, name)

    def _note(self, name: str, frame: FrameType, *, has_ends: bool = True) -> None:
        if name in self._comments:
            return
        while _is_ours(frame) and frame.f_back is not None:  # a proxy with the user's overrides
            frame = frame.f_back
        text = _comment_at(frame)
        if not text and has_ends and frame.f_back is not None and not _is_ours(frame.f_back):
            text = _comment_at(frame.f_back)  # who passes the ends on says why
        self._comments[name] = text


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).startswith("sb3_hpo.")


def _comment_at(frame: FrameType) -> str:
    """Return the comment at the end of the running call's lines, or directly above them."""
    file = frame.f_code.co_filename
    if not Path(file).is_file():
        return ""
    beside, alone, spans = _read(file)
    line = frame.f_lineno
    first, last = min(
        (span for span in spans if span[0] <= line <= span[1]),
        key=lambda span: span[1] - span[0],
        default=(line, line),
    )
    for number in range(first, last + 1):
        if number in beside:
            return beside[number]
    above: list[str] = []
    while first - 1 - len(above) in alone:
        above.insert(0, alone[first - 1 - len(above)])
    return " ".join(above)


@cache
def _read(file: str) -> tuple[dict[int, str], dict[int, str], list[tuple[int, int]]]:
    """Return a file's comments beside code and alone on a line, and the lines of its calls."""
    beside: dict[int, str] = {}
    alone: dict[int, str] = {}
    with tokenize.open(file) as stream:
        text = stream.read()
    lines = iter(text.splitlines(keepends=True))
    for token in tokenize.generate_tokens(lambda: next(lines, "")):
        if token.type == tokenize.COMMENT:
            where = beside if token.line[: token.start[1]].strip() else alone
            where[token.start[0]] = token.string.lstrip("# ")
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    return beside, alone, [(node.lineno, node.end_lineno or node.lineno) for node in calls]
