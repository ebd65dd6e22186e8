"""The command line: flags from the configuration's fields, YAML files, and who wins.

argparse and pydantic share the work: jsonargparse, tyro and pydantic-settings each miss half of
the contract (repeatable files below all flags, all mistakes at once, dashes and underscores).
"""

from __future__ import annotations

import argparse
import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, get_origin

import yaml

from sb3_hpo.algorithms.kwargs import merge
from sb3_hpo.config.fields import group_of
from sb3_hpo.config.search_config import SearchConfig
from sb3_hpo.config.study_config import StudyConfig, make_config
from sb3_hpo.utils.errors import UserError, unknown_name
from sb3_hpo.utils.files import parse_yaml, read_yaml_mapping

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FIELDS = StudyConfig.model_fields
_SEARCH_ALONE = SearchConfig.model_fields.keys() - {
    name for name, field in _FIELDS.items() if group_of(field) == "space"
}
_MAPPINGS = [name for name, field in _FIELDS.items() if get_origin(field.annotation) is dict]
_FLAGS = {"callbacks": "--callback"}  # the others' are their names
_LISTS = [name for name, field in _FIELDS.items() if get_origin(field.annotation) is tuple]


@dataclass(frozen=True)
class Program:
    """What `--help` says of a command.

    Attributes:
        name: Its module.
        usage: What it needs at least.
        description: What it does, in a sentence or two.
        actions: Flags that say what to do instead, with their texts.
        searches: Whether options that only a search needs are among its own.
    """

    name: str
    usage: str
    description: str
    actions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    searches: bool = True


EXAMPLE = "for instance --algo ppo --env Pendulum-v1"
OPTIMIZE = Program(
    "optimize",
    "--algo ALGO --env ENV [options]",
    "Tune an SB3 algorithm. The same command again goes on where it stopped.",
    {
        "join": "add workers to the study that --storage and --study-name name; nothing else is "
        "needed, its configuration is in it",
        "stop": "end that study's search everywhere; running trials are handed back",
    },
)


@dataclass(frozen=True)
class Options:
    """What the user wrote.

    Attributes:
        values: Fields of the configuration.
        mistakes: Words that are no options.
        print_config: Whether only to print the configuration.
        action: What to do instead of the command's own work, or None.
    """

    values: dict[str, Any]
    mistakes: tuple[str, ...]
    print_config: bool
    action: str | None = None

    def config(self, below: Mapping[str, Any] | None = None) -> StudyConfig:
        """Return the configuration.

        Args:
            below: Values that the user's own win over, for instance those of a study.

        Raises:
            UserError: All mistakes in one line.
        """
        mistakes = list(self.mistakes)
        try:
            config = make_config(merge(below or {}, self.values))
        except UserError as error:
            mistakes.append(str(error))
        if mistakes:
            hint = "" if self.values else f": {EXAMPLE}; --help lists all options"
            raise UserError("; ".join(mistakes) + hint)
        return config


def read_options(argv: Sequence[str], program: Program) -> Options:
    """Read flags and configuration files, unchecked.

    Args:
        argv: The arguments. Flags win over all files wherever they stand; later files win over
            earlier ones; mappings such as `fixed` are merged.
        program: The command that they are for.

    Raises:
        UserError: A flag has no value, or a file cannot be read.

    >>> words = ["--algo", "ppo", "--env=Pendulum-v1", "--fixed.gamma", "0.9"]
    >>> read_options(words, OPTIMIZE).config().fixed
    {'gamma': 0.9}
    """
    words = [_canonical(word) for word in argv]
    options, unknown = _build_parser(words, program).parse_known_args(words)
    flags = vars(options)
    mistakes = [_say_unknown(word) for word in unknown if word.startswith("-")]
    if unknown and not mistakes:
        mistakes = [f"unexpected {unknown[0]!r}: every option has a name"]
    print_config = flags.pop("print_config", False)
    actions = [name for name in program.actions if flags.pop(name, False)]
    if len(actions) > 1:
        raise UserError(f"give one of {' and '.join(_flag(name) for name in actions)}")
    values: dict[str, Any] = {}
    for path in flags.pop("config", []):
        values = merge(values, read_yaml_mapping(Path(path)))
    for path, text in flags.items():
        values = merge(values, _nested(path, text))
    return Options(values, tuple(mistakes), print_config, actions[0] if actions else None)


def _say_unknown(word: str) -> str:
    flags = [_flag(name) + ".NAME" * (name in _MAPPINGS) for name in _FIELDS]
    flags += ["--config", "--print-config", "--join", "--stop"]
    return unknown_name("flag", word.partition("=")[0], flags).partition(" Known:")[0]


def _flag(name: str) -> str:
    return _FLAGS.get(name, f"--{name.replace('_', '-')}")


def _canonical(word: str) -> str:
    """Write `--n_trials=4` as `--n-trials=4`, but leave `--fixed.n_steps` its name."""
    name, end, rest = re.match(r"([^.=]*)([.=]?)(.*)", word, re.DOTALL).groups()  # type: ignore[union-attr]
    return f"{name.replace('_', '-')}{end}{rest}" if word.startswith("--") else word


def _nested(path: str, text: Any) -> dict[str, Any]:
    """Turn the flag `--fixed.gamma 0.9` into {"fixed": {"gamma": 0.9}}."""
    name, *keys = path.split(".")
    try:
        value = parse_yaml(text) if keys else text
    except yaml.YAMLError:
        value = text
    for key in reversed(keys):
        value = {key: value}
    return {name: value}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(message)


class _Once(argparse.Action):
    """Keeps a value that can be given once: which of two should count?"""

    def __call__(self, _parser: Any, found: Any, value: Any, _flag: str | None = None) -> None:
        if hasattr(found, self.dest):
            before = getattr(found, self.dest)
            raise UserError(f"{self.dest}: given twice, as {before} and as {value}; give it once")
        setattr(found, self.dest, value)


def _build_parser(words: Sequence[str], program: Program) -> _Parser:
    """Build the parser, with one flag for every `--fixed.<name>` among the words."""
    parser = _Parser(
        prog=f"sb3-hpo {program.name}",
        usage=f"%(prog)s {program.usage}",
        description=program.description,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=28, width=98),
    )
    groups: dict[str, Any] = {}
    for name, field in _FIELDS.items():
        group = group_of(field)
        if not program.searches and name in _SEARCH_ALONE:
            continue
        if group not in groups:
            groups[group] = parser.add_argument_group(group)
        _add_flag(groups[group], name, field)
    for flag in {word.partition("=")[0] for word in words if "." in word.partition("=")[0]}:
        name, _, path = flag.partition(".")
        if name in map(_flag, _MAPPINGS):
            dest = f"{name[2:].replace('-', '_')}.{path}"
            parser.add_argument(flag, dest=dest, help=argparse.SUPPRESS)
    files = parser.add_argument_group("files")
    text = "YAML file of options; repeatable, later files and all flags win"
    files.add_argument("--config", action="append", metavar="FILE", help=text)
    text = "print the whole configuration and stop"
    files.add_argument("--print-config", action="store_true", help=text)
    if program.actions:
        actions = parser.add_argument_group("a study that exists")
        for name, text in program.actions.items():
            actions.add_argument(_flag(name), action="store_true", help=text)
    return parser


def _add_flag(group: Any, name: str, field: Any) -> None:
    flag, text, metavar = _flag(name), field.description, name.rpartition("_")[2].upper()
    if field.annotation is bool:
        group.add_argument(flag, action=argparse.BooleanOptionalAction, help=text)
    elif name in _MAPPINGS:
        group.add_argument(f"{flag}.NAME", metavar="VALUE", help=text)
    else:
        action = "append" if name in _LISTS else _Once
        group.add_argument(flag, dest=name, action=action, metavar=metavar, help=text)
