from __future__ import annotations

from typing import Any

import pytest

from sb3_hpo.space_syntax.entries import Choices, Constant, Range
from sb3_hpo.space_syntax.hydra import parse_entry
from sb3_hpo.utils.errors import UserError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("interval(1, 5)", Range(1.0, 5.0)),
        ("interval(start=0.1, end=1)", Range(0.1, 1.0)),
        ("int(interval(1, 5))", Range(1, 5)),
        ("tag(log, interval(1.e-5, 1e-2))", Range(1e-5, 1e-2, log=True)),
        ("tag(log, sweep=interval(1, 5))", Range(1.0, 5.0, log=True)),
        ("tag(log, int(interval(1, 100)))", Range(1, 100, log=True)),
        ("int(tag(log, interval(1, 100)))", Range(1, 100, log=True)),
        ("range(1, 3)", Range(1, 3)),
        ("range(5)", Range(0, 5)),
        ("range(0, 10, 3)", Range(0, 9, step=3)),
        ("range(-5.5, 5.5, step=0.5)", Range(-5.5, 5.5, step=0.5)),
        ("range(0.0, 1.0, 0.3)", Range(0.0, 0.9, step=0.3)),
        ("float(range(1, 10))", Range(1.0, 10.0)),
    ],
)
def test_read_entry_hydra_range_means_what_it_means_there(text: str, expected: Range) -> None:
    entry = parse_entry(text)
    assert entry == expected
    assert isinstance(entry, Range)
    assert entry.is_whole == expected.is_whole


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("choice(64, 128)", {64: 64, 128: 128}),
        ("1,2,3", {1: 1, 2: 2, 3: 3}),
        ("mysql, postgresql", {"mysql": "mysql", "postgresql": "postgresql"}),
        ("choice(true, False)", {True: True, False: False}),
        ("choice('a b', \"c,d\", 1_000)", {"a b": "a b", "c,d": "c,d", 1000: 1000}),
        ("choice([64, 64], [400,300])", {"[64, 64]": [64, 64], "[400, 300]": [400, 300]}),
        ("choice({pi: [64]}, null)", {"{'pi': [64]}": {"pi": [64]}, None: None}),
        ("choice(choice(1, 2), 3)", {1: 1, 2: 2, 3: 3}),
        ("float(choice(1, 2))", {1.0: 1.0, 2.0: 2.0}),
        ("str(choice(2, true))", {"2": "2", "true": "true"}),
        ("bool(choice(0, 'true'))", {False: False, True: True}),
    ],
)
def test_read_entry_hydra_choice_gives_values_by_storable_name(
    text: str, expected: dict[Any, Any]
) -> None:
    entry = parse_entry(text)
    assert isinstance(entry, Choices)
    assert dict(entry.by_name) == expected
    assert [type(name) for name in entry.by_name] == [type(name) for name in expected]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1e-3", 0.001),
        ("64", 64),
        ("auto", "auto"),
        ("lin_0.001", "lin_0.001"),
        ("torch.nn.ReLU", "torch.nn.ReLU"),
        ("True", True),
        ("int(3.7)", 3),
        ("[64, 64]", [64, 64]),
        (0.95, 0.95),
        ([64, 64], [64, 64]),
        ({"$import": "torch.nn:ReLU"}, {"$import": "torch.nn:ReLU"}),
    ],
)
def test_read_entry_value_is_a_constant(value: Any, expected: Any) -> None:
    assert parse_entry(value) == Constant(expected)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"low": 1, "high": 3}, Range(1, 3)),
        ({"low": 1, "high": 3.0}, Range(1.0, 3.0)),
        ({"low": 1e-5, "high": 1e-2, "log": True}, Range(1e-5, 1e-2, log=True)),
        ({"type": "int", "low": 1.0, "high": 9, "step": None}, Range(1, 9)),
        ({"type": "float", "low": 0, "high": 10, "step": 2}, Range(0.0, 10.0, step=2.0)),
        ({"type": "categorical", "choices": [1, 2]}, Choices({1: 1, 2: 2})),
        ({"choices": {"small": [64], "big": [256]}}, Choices({"small": [64], "big": [256]})),
    ],
)
def test_read_entry_mapping_is_read(value: dict[str, Any], expected: Any) -> None:
    entry = parse_entry(value)
    assert entry == expected
    assert parse_entry(entry.plain()) == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("interval(5, 1)", r"`low < high` must hold, but got \(low=5\.0, high=1\.0\)"),
        ("tag(log, interval(0, 1))", r"`low > 0` must hold on a log scale, but got low=0\.0; rai"),
        ("range(1, 2, step=5)", r"`0 < step <= high - low` must hold, but got .* step=5\)"),
        ("interval(1, 2, 3)", r"interval\(1, 2, 3\) has arguments that interval does not take"),
        ("interval(a, 2)", r"start: must be a number, but got 'a'"),
        ("intervall(1, 2)", r"unknown function 'intervall'; did you mean 'interval'\?"),
        ("shuffle(range(1, 3))", r"shuffle\(\.\.\.\) is of no use here.*: remove it"),
        ("tag(foo, interval(1, 2))", r"tag has one meaning here: tag\(log, interval\(low, high\)"),
        ("tag(log, choice(1, 2))", r"tag has one meaning here"),
        ("interval(1, 2", r"'interval\(1, 2' cannot be read from 'its end' on"),
        ("choice(1, 2))", r"cannot be read from '\)' on"),
        ("choice()", r"must have at least one choice, but got none"),
        ("choice(1, 1)", r"has the choice 1 twice: remove one"),
        ("choice(1, 1.0)", r"has choices that count as equal: \[1, 1\.0\]"),
        ("choice(interval(1, 2), 3)", r"a range cannot be one of the choices"),
        ("[interval(1, 2), 64]", r"a range or choice cannot be part of another value"),
        ("int(a)", r"'a' cannot be cast to int"),
        ("int(1, 2)", r"int\(\.\.\.\) must have one value, but has 2"),
        ("bool(interval(0, 1))", r"a range cannot be cast to bool"),
        ("${oc.env:LR}", r"is to be filled in by Hydra: write the value itself"),
        (["interval(1, 2)", 64], r"'interval\(1, 2\)' cannot be part of another value"),
        ({"low": 2, "high": 1}, r"`low < high` must hold, but got \(low=2, high=1\)"),
        ({"low": float("nan"), "high": 1}, r"`low < high` must hold, but got \(low=nan"),
        ({"low": 0, "high": 1, "log": True}, r"`low > 0` must hold on a log scale"),
        ({"low": 1, "high": 9, "log": True, "step": 2}, r"a log scale has no steps"),
        ({"low": 1, "hihg": 2}, r"unknown key 'hihg'; did you mean 'high'\?.*needs Python"),
        ({"low": 1, "high": 2, "if": "x"}, r"unknown key 'if'.*depends on another one needs Pyth"),
        ({"low": 1}, r"must have `low` and `high`, but `high` is missing"),
        ({"low": True, "high": 2}, r"low: must be a number, but got True"),
        ({"low": 1, "high": 2, "log": "yes"}, r"log: must be true or false, but got 'yes'"),
        ({"type": "integer", "low": 1, "high": 2}, r"unknown type 'integer'; did you mean 'int'"),
        ({"type": "int", "low": 1.5, "high": 3}, r"must be whole numbers, but got \[1\.5, 3\]"),
        ({"type": "categorical", "low": 1}, r"must have `choices`, as its type is categorical"),
        ({"choices": [1], "low": 2}, r"has `choices` and a range: keep one of them"),
        ({"choices": 3}, r"must be a list of choices such as \[64, 128\], but got 3"),
    ],
)
def test_read_entry_mistake_is_told_in_one_line(value: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        parse_entry(value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("function", ["int", "shuffle"])
def test_deep_nesting_is_refused_in_one_line(function: str) -> None:
    text = 5_000 * f"{function}(" + "interval(1, 2)" + 5_000 * ")"
    with pytest.raises(UserError, match=r"^is nested too deeply: \w+\("):
        parse_entry(text)
