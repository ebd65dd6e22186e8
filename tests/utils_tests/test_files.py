from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from sb3_hpo.utils.errors import UserError
from sb3_hpo.utils.files import (
    copy_atomically,
    format_yaml,
    parse_yaml,
    read_yaml_mapping,
    write_atomically,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 0.001), ("-2E+4", -20000.0), (".5e1", 5.0), ("1.e2", 100.0), ("3", 3)],
)
def test_parse_yaml_number_is_a_number(text: str, value: float) -> None:
    parsed = parse_yaml(text)
    assert (type(parsed), parsed) == (type(value), value)


@pytest.mark.parametrize("text", ["e3", "1e", "v1e3"])
def test_parse_yaml_almost_a_number_is_text(text: str) -> None:
    assert parse_yaml(text) == text


@pytest.mark.parametrize(
    "values",
    [{"b": 1e-05, "a": [1, None, True], "c": {"d": "é"}}, {"text": "1e-3"}, {"inf": float("inf")}],
)
def test_format_yaml_parses_to_equal_values_in_order(values: dict[str, Any]) -> None:
    parsed = parse_yaml(format_yaml(values))
    assert list(parsed.items()) == list(values.items())


def test_read_yaml_mapping_gives_the_mapping(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("algo: ppo\nfixed: {learning_rate: 1e-3}\n")
    assert read_yaml_mapping(path) == {"algo": "ppo", "fixed": {"learning_rate": 0.001}}


def test_read_yaml_mapping_empty_file_is_empty(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("# nothing yet\n")
    assert read_yaml_mapping(tmp_path / "a.yaml") == {}


def test_read_yaml_mapping_list_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("- 1\n")
    with pytest.raises(UserError, match=r"a\.yaml must hold `key: value` lines, but holds a list"):
        read_yaml_mapping(tmp_path / "a.yaml")


def test_read_yaml_mapping_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read .*a\.yaml: No such file or directory"):
        read_yaml_mapping(tmp_path / "a.yaml")


def test_read_yaml_mapping_bad_yaml_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: [1,\n")
    with pytest.raises(UserError, match=r"a\.yaml is not YAML: while parsing") as caught:
        read_yaml_mapping(tmp_path / "a.yaml")
    assert "\n" not in str(caught.value)


def test_read_yaml_mapping_binary_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.zip").write_bytes(b"PK\x03\x04\xff\xfe")
    with pytest.raises(UserError, match=r"model\.zip is not "):
        read_yaml_mapping(tmp_path / "model.zip")


def test_write_atomically_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "best.yaml"
    path.write_text("old")
    write_atomically(path, "new é")
    assert path.read_text(encoding="utf-8") == "new é"
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_write_atomically_failing_keeps_the_old_content(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "best.yaml"
    path.write_text("old")

    def fail(self: Path, target: Path) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="no space left"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


_LAUGHS = "a0: &a0 [x, x]\n" + "".join(
    f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (_LAUGHS, "it stands for more than 100,000 values"),
        ("a: &a [*a]", "an alias holds itself"),
        ("a: &a {b: *a}", "an alias holds itself"),
        ("a: " + 5_000 * "[" + 5_000 * "]", "nested too deeply"),
        ("a: " + 60 * "[" + 60 * "]", "nested too deeply"),
        ("a: 2001-99-99", "month must be in 1..12"),
    ],
)
def test_read_yaml_mapping_explosive_file_is_refused_in_one_line(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read_yaml_mapping(tmp_path / "a.yaml")
    assert "\n" not in str(caught.value)


def test_parse_yaml_takes_aliases_and_merges_as_rl_zoo_has_them() -> None:
    text = "a: &a {gamma: 0.9, net: [64, 64]}\nb: {<<: *a, gamma: 0.8}\nc: *a"
    assert parse_yaml(text)["b"] == {"gamma": 0.8, "net": [64, 64]}
    assert parse_yaml(text)["c"] == {"gamma": 0.9, "net": [64, 64]}


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_write_atomically_obeys_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "a", "x")
        copy_atomically(tmp_path / "a", tmp_path / "b")
    finally:
        os.umask(before)
    for name in "ab":
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o666 & ~umask


def test_copy_atomically_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "new").write_text("new")
    (tmp_path / "model.zip").write_text("old")

    def fill_the_disk(source: Path, copy: Path) -> None:
        copy.write_text("")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", fill_the_disk)
    with pytest.raises(OSError, match="No space"):
        copy_atomically(tmp_path / "new", tmp_path / "model.zip")
    assert (tmp_path / "model.zip").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.zip", "new"]


def test_write_atomically_removes_what_a_killed_writer_has_left(tmp_path: Path) -> None:
    old, young = tmp_path / ".a.yaml.0123.tmp", tmp_path / ".a.yaml.4567.tmp"
    old.write_text("half")
    young.write_text("half")
    os.utime(old, (0, 0))
    write_atomically(tmp_path / "a.yaml", "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == [young.name, "a.yaml"]
