"""Search spaces in YAML files: read into `argument: range, choices or value`, by dotted names."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sb3_hpo.algorithms.constructor import (
    check_limits,
    check_name,
    constructor_defaults,
    parse_kwarg,
    true_name,
    true_value,
)
from sb3_hpo.algorithms.registry import known_algorithm
from sb3_hpo.algorithms.trust import check_trusted, may_import, named_modules
from sb3_hpo.space_syntax.entries import Entry, is_spec
from sb3_hpo.space_syntax.hydra import parse_entry
from sb3_hpo.utils.errors import UserError
from sb3_hpo.utils.files import read_yaml_mapping
from sb3_hpo.utils.import_strings import reference

if TYPE_CHECKING:
    from pydantic import ValidationInfo

BASED_ON = "based_on"  # the shipped space that a file changes
SIZE = "size"  # of that one
_ENDINGS = (".yaml", ".yml")


class GivenSpace(NamedTuple):
    """What `--space` got, with all options as they were given: some say how to read it.

    Attributes:
        value: A YAML file, the contents of one, a reference or a function.
        options: Unchecked.
    """

    value: Any
    options: Mapping[str, Any]


def read_option(given: GivenSpace, info: ValidationInfo) -> Any:
    """Put the contents of a space file in the place of its name, as `--space` is validated.

    What a study depends on is then in its configuration: a file that changes later, or that
    another machine does not have, changes nothing.

    Returns:
        Plain entries by dotted name; or the reference.

    Raises:
        UserError: All mistakes of the file.
    """
    value, options = given
    is_file = isinstance(value, str | Path) and Path(value).suffix.lower() in _ENDINGS
    space = read_yaml_mapping(Path(value)) if is_file else value
    if not isinstance(space, Mapping):
        return reference(value)
    if not may_import(info):
        return dict(space)
    where, prefixes = f"{value}: " if is_file else "", options.get("space_prefix") or ()
    names = read_space(space, where, prefixes)
    if is_file:
        check_trusted(names, named_modules(options), str(value))
    algo = known_algorithm(options.get("algo"))
    if is_file and algo is not None and BASED_ON not in names:  # the file has its name here
        check_arguments(names, where, algo, options.get("policy"), prefixes)
    return names


def read_space(
    space: Mapping[str, Any], where: str, prefixes: Sequence[str] = ()
) -> dict[str, Any]:
    """Read a space, each of its entries checked by itself.

    Args:
        space: From YAML: names, dotted or nested, to entries; or a configuration of Hydra's
            Optuna sweeper, whose other settings have no meaning here.
        where: What messages begin with: the file and a colon, or nothing.
        prefixes: What to leave out at the beginning of names: `algo.hyperparams.`.

    Returns:
        Plain entries (`low` and `high`, `choices`, or a value) by dotted name.

    Raises:
        UserError: All mistakes in one line.
    """
    names: dict[str, Any] = {}
    mistakes = []
    for key, value in flatten(_find_params(space, where)).items():
        name = _strip(key, prefixes)
        if name in names:
            mistakes.append(f"{where}{key}: {name} is there twice: remove one")
        elif name in (BASED_ON, SIZE):
            names[name] = value
        elif name is not None:
            try:
                names[name] = parse_entry(value).plain()
            except UserError as error:
                mistakes.append(f"{where}{key}: {error}")
    if mistakes:
        raise UserError("; ".join(mistakes))
    if not names:
        raise UserError(f"{where}has no parameters; write lines such as gamma: interval(0.9, 1)")
    return names


def _find_params(space: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """Find the names in a file of Hydra, whose sweeper has had two places for them."""
    sweeper = space.get("hydra", space)
    sweeper = sweeper.get("sweeper", sweeper) if isinstance(sweeper, Mapping) else {}
    for part in ("hydra.sweeper.params", "params", "hydra.sweeper.search_space", "search_space"):
        found = sweeper.get(part) or space.get(part)
        if found:
            break
    else:
        found = None
    if isinstance(sweeper, Mapping) and sweeper.get("custom_search_space"):
        raise UserError(
            f"{where}custom_search_space: is Python: write it as a function of the trial and "
            "pass --space file.py:function"
        )
    if isinstance(found, Mapping):
        return found
    if "hydra" in space or sweeper is not space:
        raise UserError(f"{where}hydra.sweeper.params: must hold the search space, but is missing")
    return space


def flatten(names: Mapping[str, Any], group: str = "") -> dict[str, Any]:
    """Write nested names with dots.

    Args:
        names: Names, dotted or nested.
        group: What they are in.

    Returns:
        Values by dotted name; ranges, choices and objects' descriptions stay mappings.

    >>> flatten({"policy_kwargs": {"net_arch": [64]}, "gamma": {"low": 0.9, "high": 1}})
    {'policy_kwargs.net_arch': [64], 'gamma': {'low': 0.9, 'high': 1}}
    """
    flat: dict[str, Any] = {}
    for key, value in names.items():
        name = f"{group}{key}"
        described = isinstance(value, Mapping) and any(str(k).startswith("$") for k in value)
        if isinstance(value, Mapping) and value and not is_spec(value) and not described:
            flat.update(flatten(value, f"{name}."))
        else:
            flat[name] = value
    return flat


def _strip(key: str, prefixes: Sequence[str]) -> str | None:
    """Return the name without Hydra's signs and the user's prefixes; None for a deleted key.

    `+` and `++` say whether Hydra's configuration has the key already; `~` deletes it there, and
    here what a space does not name has SB3's default anyway.
    """
    if key.startswith("~"):
        return None
    name = key.lstrip("+")
    for prefix in sorted(prefixes, key=len, reverse=True):
        dotted = prefix.rstrip(".") + "."
        if name.startswith(dotted):
            return name.removeprefix(dotted)
    return name


def check_arguments(
    names: Mapping[str, Any],
    where: str,
    algo: str,
    policy: str | None = None,
    prefixes: Sequence[str] = (),
) -> None:
    """Refuse what an algorithm does not take.

    Args:
        names: Plain entries by dotted name.
        where: What messages begin with: the file and a colon, or nothing.
        policy: The user's policy.
        prefixes: Those that were left out.

    Raises:
        UserError: All mistakes in one line.
    """
    if not prefixes and (prefix := _common_prefix(names, algo)):
        raise UserError(f"{where}names begin with {prefix!r}: pass --space-prefix {prefix}")
    mistakes = []
    for name, value in names.items():
        try:
            check_name(algo, true_name(name), policy)
            _check_entry(name, parse_entry(value))
        except UserError as error:
            mistakes.append(f"{where}{name}: {error}")
    if "noise_std" in names and "noise_type" not in names:
        mistakes.append(f"{where}noise_std: has no effect without noise_type: add that")
    if mistakes:
        raise UserError("; ".join(mistakes))


def _check_entry(name: str, entry: Entry) -> None:
    true = true_name(name)
    for value in entry.values():
        if true != name and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise UserError(f"must be a number, but got {value!r}")
        check_limits(true, true_value(name, value))
        parse_kwarg(true, value)


def _common_prefix(names: Collection[str], algo: str) -> str:
    """Return a prefix that hides an argument of the algorithm, or nothing."""
    arguments = constructor_defaults(algo)
    for name in names:
        prefix, _, last = name.rpartition(".")
        if prefix and last in arguments and prefix.partition(".")[0] not in arguments:
            return "" if prefix.startswith("policy_kwargs") else prefix
    return ""
