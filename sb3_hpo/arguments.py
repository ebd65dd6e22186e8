"""The command line: flags from the configuration's fields, YAML files, and who wins.

argparse and pydantic share the work: jsonargparse, tyro and pydantic-settings each miss half of
the contract (repeatable files below all flags, all mistakes at once, dashes and underscores).
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, get_origin

import yaml

from sb3_hpo.codec import merge
from sb3_hpo.config import StudyConfig, make_config
from sb3_hpo.errors import UserError, unknown_name
from sb3_hpo.files import parse_yaml, read_yaml_mapping

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_FIELDS = StudyConfig.model_fields
_MAPPINGS = [name for name, field in _FIELDS.items() if get_origin(field.annotation) is dict]
_LISTS = [name for name, field in _FIELDS.items() if get_origin(field.annotation) is tuple]


@dataclass(frozen=True)
class Command:
    """What the user asked for.

    Attributes:
        config: The configuration.
        print_config: Whether to print it and do nothing else.
    """

    config: StudyConfig
    print_config: bool


def parse_command(argv: Sequence[str]) -> Command:
    """Read flags and configuration files.

    Args:
        argv: The arguments. Flags win over all files wherever they stand; later files win over
            earlier ones; mappings such as `fixed` are merged.

    Returns:
        The command.

    Raises:
        UserError: All mistakes in one line.

    >>> parse_command(["--algo", "ppo", "--env=Pendulum-v1", "--fixed.gamma", "0.9"]).config.fixed
    {'gamma': 0.9}
    """
    options, unknown = _build_parser().parse_known_args(_canonical(argv))
    flags = vars(options)
    mistakes = [_say_unknown(word) for word in unknown if word.startswith("-")]
    if unknown and not mistakes:
        mistakes = [f"unexpected {unknown[0]!r}: every option has a name"]
    print_config = flags.pop("print_config")
    values: dict[str, Any] = {}
    for path in flags.pop("config"):
        values = merge(values, read_yaml_mapping(Path(path)))
    try:
        config = make_config(merge(values, flags))
    except UserError as error:
        raise UserError("; ".join([*mistakes, str(error)])) from error
    if mistakes:
        raise UserError("; ".join(mistakes))
    return Command(config, print_config)


def _say_unknown(word: str) -> str:
    flags = [_flag(name) for name in [*_FIELDS, "config", "print_config"]]
    return unknown_name("flag", word.partition("=")[0], flags).partition(" Known:")[0]


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _canonical(argv: Sequence[str]) -> list[str]:
    """Write `--n_trials` as `--n-trials` and `--fixed.gamma 0.9` as `--fixed gamma=0.9`."""
    words: list[str] = []
    rest = iter(argv)
    for word in rest:
        flag, equals, value = word.partition("=")
        name, dot, key = flag.partition(".")
        name = name.replace("_", "-")
        if not word.startswith("--"):
            words.append(word)
        elif dot and name in map(_flag, _MAPPINGS):
            words += [name, f"{key}={value if equals else _value(rest)}"]
        else:
            words.append(f"{name}{dot}{key}{equals}{value}")
    return words


def _value(rest: Iterator[str]) -> str:
    """Return the next word; nothing where the next flag stands."""
    word = next(rest, "")
    if word.startswith("--"):
        return ""
    return word


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(message)


class _Mapping(argparse.Action):
    """Collects `key=value`; dots in the key make inner mappings."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002 - argparse's signature
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        path, equals, text = str(values).partition("=")
        if not (path and equals and text):
            raise UserError(f"{option_string}.{path or 'NAME'} needs a value")
        try:
            value = parse_yaml(text)
        except yaml.YAMLError:
            value = text
        for key in reversed(path.split(".")):
            value = {key: value}
        setattr(namespace, self.dest, merge(getattr(namespace, self.dest, {}), value))


def _build_parser() -> _Parser:
    parser = _Parser(
        prog="python -m sb3_hpo.optimize",
        usage="%(prog)s --algo ALGO --env ENV [options]",
        description="Tune a Stable-Baselines3 algorithm on an environment. "
        "The same command again goes on where it stopped.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=28, width=98),
    )
    groups: dict[str, Any] = {}
    for name, field in _FIELDS.items():
        extra: Any = field.json_schema_extra
        if extra["group"] not in groups:
            groups[extra["group"]] = parser.add_argument_group(extra["group"])
        _add_flag(groups[extra["group"]], name, field)
    files = parser.add_argument_group("files")
    files.add_argument(
        "--config",
        action="append",
        default=[],
        metavar="FILE",
        help="YAML file of these options; repeatable, later files and all flags win",
    )
    files.add_argument(
        "--print-config",
        action="store_true",
        default=False,
        help="print the whole configuration as YAML and stop",
    )
    return parser


def _add_flag(group: Any, name: str, field: Any) -> None:
    text = field.description.replace("%", "%%")
    default = field.default
    if isinstance(default, int | float | str) and not isinstance(default, bool):
        text += (
            f" (default: {default:g})" if isinstance(default, float) else f" (default: {default})"
        )
    options: dict[str, Any] = {"help": text}
    if field.annotation is bool:
        options["action"] = argparse.BooleanOptionalAction
    elif name in _MAPPINGS:
        options |= {"action": _Mapping, "metavar": "NAME=VALUE"}
    else:
        options |= {"action": "append" if name in _LISTS else "store"}
        options |= {"metavar": name.rpartition("_")[2].upper()}
    group.add_argument(_flag(name), **options)
