"""The command `python -m sb3_hpo.spaces ALGO`: a search space as a table, or as YAML to edit."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from rich.console import Console
from rich.table import Table

from samplers import OneMinus, PowerOfTwo
from sb3_hpo.algorithms.registry import find_algorithm, load_algorithm
from sb3_hpo.config.study_config import make_config
from sb3_hpo.envs.problem import probe_env
from sb3_hpo.space_syntax.yaml_files import BASED_ON, SIZE
from sb3_hpo.spaces.bind import bind_space
from sb3_hpo.spaces.bound_space import SIZES, BoundSpace
from sb3_hpo.utils.console import quiet_optuna, run_command
from sb3_hpo.utils.files import format_yaml
from sb3_hpo.utils.formatting import plural

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from optuna.distributions import BaseDistribution

    from samplers import Dimension
    from sb3_hpo.config.study_config import StudyConfig

_MIN_WIDTH = 120


def space_table(spaces: Mapping[str, BoundSpace], size: str) -> Table:
    """Return a table of a search space's dimensions.

    Args:
        spaces: The space in each size.
        size: Whose ranges are shown; a dimension that it lacks is shown as in the next larger.

    Returns:
        Name, kind, range, scale, SB3's default, the smallest size that has it, and where the
        range comes from.
    """
    config = spaces[size].config
    table = Table(
        title=f"{config.algo} on {config.env}: {config.n_timesteps:,} steps, "
        f"{plural(config.n_envs, 'environment')}",
        title_justify="left",
    )
    for column in ("name", "kind", "range", "scale", "default", "size"):
        table.add_column(column, no_wrap=column != "range", min_width=10)
    table.add_column("source of the range", min_width=24)
    order = [size, *SIZES[SIZES.index(size) + 1 :]]
    for name in spaces["full"].dimensions:
        shown = next(item for item in order if name in spaces[item].dimensions)
        smallest = next(item for item in SIZES if name in spaces[item].dimensions)
        kind, extent, scale = _words(spaces[shown].declared[name], spaces[shown].dimensions[name])
        default = spaces[shown].default_params.get(name)
        style = None if name in spaces[size].dimensions else "dim"
        table.add_row(
            name,
            kind,
            extent,
            scale,
            _number(default),
            smallest,
            spaces[shown].declared[name].source,
            style=style,
        )
    return table


def _words(item: Dimension, distribution: BaseDistribution) -> tuple[str, str, str]:
    """Return kind, range and scale in words."""
    if isinstance(distribution, CategoricalDistribution):
        return "choice", ", ".join(_number(choice) for choice in distribution.choices), ""
    if not isinstance(distribution, FloatDistribution | IntDistribution):
        raise TypeError(distribution)
    kind = "int" if isinstance(distribution, IntDistribution) else "float"
    scale = "log" if distribution.log else "linear"
    argument = item.decides.removeprefix("policy_kwargs.")
    if isinstance(item, PowerOfTwo):
        scale = f"{argument} = 2^x"
    if isinstance(item, OneMinus):
        scale = f"{scale}, {argument} = 1 - x"
    if distribution.step not in (None, 1):
        scale = f"{scale}, steps of {distribution.step:g}"
    return kind, f"{_number(distribution.low)} to {_number(distribution.high)}", scale


def _number(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else f"{value}"


def space_yaml(space: BoundSpace, size: str) -> str:
    """Write a space as YAML that `--space` reads.

    Args:
        size: Its size.

    Returns:
        YAML; unchanged, it stands for the same space.
    """
    config = space.config
    entries: dict[str, Any] = {BASED_ON: config.algo, SIZE: size}
    for name, item in space.dimensions.items():
        if isinstance(item, CategoricalDistribution):
            entries[name] = {"choices": list(item.choices)}
        elif isinstance(item, FloatDistribution | IntDistribution):
            if item.low == item.high:
                entries[name] = item.low
                continue
            entries[name] = {"low": item.low, "high": item.high}
            entries[name] |= {"log": True} if item.log else {}
            entries[name] |= {"step": item.step} if item.step not in (None, 1) else {}
    return (
        f"# For {config.env}, {config.n_timesteps:,} steps, "
        f"{plural(config.n_envs, 'environment')}. Use it with --algo {config.algo} --space FILE.\n"
        "# Edit a range, or write one value; a line taken out leaves SB3's default.\n"
        f"{''.join(_line(name, entry) for name, entry in entries.items())}"
    )


def _line(name: str, entry: Any) -> str:
    if isinstance(entry, dict) and "choices" in entry:
        return f"{name}: {{{format_yaml(entry).strip()}}}\n"
    return format_yaml({name: entry}) if isinstance(entry, dict) else f"{name}: {entry}\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: The arguments; default: those of the process.

    Returns:
        The exit status: 2 for a mistake of the user.
    """
    return run_command(lambda: _command(sys.argv[1:] if argv is None else argv))


def _command(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="sb3-hpo spaces", description="Show the search space of an algorithm."
    )
    parser.add_argument("algo", metavar="ALGO", help="algorithm: ppo, sac, ...")
    parser.add_argument("--size", choices=SIZES, default="default", help="(default: default)")
    parser.add_argument("--env", help="as for optimize (default: CartPole-v1 or Pendulum-v1)")
    parser.add_argument("--n-envs", help="as for optimize; the ranges depend on it")
    parser.add_argument("--n-timesteps", help="likewise")
    parser.add_argument("--yaml", action="store_true", help="as a file for --space, to be edited")
    options = vars(parser.parse_args(argv))
    size, as_yaml = options.pop("size"), options.pop("yaml")
    quiet_optuna()
    config = _config(options)
    load_algorithm(config.algo)
    problem = probe_env(config)
    sizes = [size] if as_yaml else SIZES
    spaces = {
        name: bind_space(config.model_copy(update={"space_size": name}), problem) for name in sizes
    }
    if as_yaml:
        sys.stdout.write(space_yaml(spaces[size], size))
        return 0
    # Seven columns in less would be columns of syllables.
    console = Console(width=max(Console().width, _MIN_WIDTH))
    console.print(space_table(spaces, size))
    return 0


def _config(options: Mapping[str, Any]) -> StudyConfig:
    values = {name: value for name, value in options.items() if value is not None}
    config = make_config({"env": "Pendulum-v1", **values})
    if "env" not in values and "Box" not in find_algorithm(config.algo).action_spaces:
        return config.model_copy(update={"env": "CartPole-v1"})
    return config


if __name__ == "__main__":
    sys.exit(main())
