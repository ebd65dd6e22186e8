"""How much of what RL Zoo's authors have tuned by hand lies inside the search spaces.

    python scripts/check_reachability.py            # table and what is out of reach
    python scripts/check_reachability.py --values another.json

For every entry of RL Zoo's hyperparameter files, at its own budget and number of environments
(ten evaluations), the point of the full space next to it is sampled: each dimension answers with
the wanted value or, outside its range, with the nearest one. A value is reached if the keyword
arguments that come back hold it, together with all others of the entry. What they leave out is
the constructor's default. "ours %" also counts replay buffers larger than the budget, all of
which train the same agent; "literal %" does not. A gradient_steps of -1 means one update per
environment step, and is reached where that is.

The same is asked of RL Zoo's own search spaces where `rl_zoo3` is installed. What they do not
search RL Zoo takes from the entry itself; here it is the constructor's default, as it is for an
environment that nobody has tuned before.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a script knows no package

from samplers import SEARCH_SPACES
from scripts.zoo_points import (
    NearestTrial,
    is_never_full,
    is_reached,
    make_context,
    to_point,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

VALUES = Path(__file__).resolve().parents[1] / "tests" / "samplers_tests" / "zoo_values.json"


@dataclass(frozen=True)
class Reach:
    """What of one entry a search space reaches.

    Attributes:
        entry: The entry.
        literal: By value's name, whether it comes back.
        effective: The same, a replay buffer that is never full counted as any other such.
    """

    entry: Mapping[str, Any]
    literal: dict[str, bool]
    effective: dict[str, bool]

    @classmethod
    def of(cls, entry: Mapping[str, Any], kwargs: Mapping[str, Any]) -> Reach:
        """Compare an entry with the keyword arguments of the point next to it."""
        literal = {name: is_reached(entry, name, kwargs) for name in entry["values"]}
        effective = {
            name: reached or is_never_full(entry, name, kwargs)
            for name, reached in literal.items()
        }
        return cls(entry, literal, effective)


def reach_ours(entry: Mapping[str, Any]) -> Reach:
    """Look for an entry's values in the full space of its algorithm.

    Args:
        entry: One entry of the values file.

    Returns:
        What was found.
    """
    space = SEARCH_SPACES[entry["algo"]]
    trial = NearestTrial(to_point(entry), space.default_params)
    return Reach.of(entry, space.sample(trial, context=make_context(entry), size="full"))


def reach_of_zoo(entry: Mapping[str, Any]) -> Reach | None:
    """Look for an entry's values in RL Zoo's own search space.

    Args:
        entry: One entry of the values file.

    Returns:
        What was found, or None if RL Zoo has no search space for the algorithm.
    """
    from rl_zoo3.hyperparams_opt import HYPERPARAMS_SAMPLER

    name = "ppo_lstm" if entry["algo"] == "recurrent_ppo" else entry["algo"]
    if name not in HYPERPARAMS_SAMPLER:
        return None
    point = to_point(entry)
    if "noise_type" in point:
        point["noise_type"] = entry["values"]["noise_type"]
    extra = {"using_her_replay_buffer": entry["her"], "her_kwargs": {}}
    sample: Any = HYPERPARAMS_SAMPLER[name]  # takes less than the Optuna trial it is typed with
    return Reach.of(entry, sample(NearestTrial(point, {}), 1, entry["n_envs"], extra))


def why(name: str, entry: Mapping[str, Any]) -> str:
    """Return the reason for which a value is left out of reach.

    Args:
        name: The value's name.
        entry: One entry of the values file.

    Returns:
        The rule of the search spaces that it is at odds with.
    """
    value = entry["values"][name]
    if name == "batch_size" and value > entry["values"]["n_steps"] * entry["n_envs"]:
        return "more than a rollout"
    reasons = {
        "batch_size": "more updates per step than four times the default",
        "buffer_size": "never full, and the largest on offer never is either",
        "ent_coef": "counted as 0",
        "gradient_steps": "not a power of two times the steps",
        "learning_starts": "more than a tenth of the budget",
        "n_steps": "a rollout of fewer than 32 samples",
        "net_arch": "layers of other widths are not searched",
        "train_freq": "episodes have no length that a grid of evaluations could be planned with",
    }
    return reasons.get(name, "not searched")


def share(flags_by_entry: Iterable[Mapping[str, bool]]) -> float:
    """Return the share of the values that are reached, in percent."""
    flags = [flag for flags in flags_by_entry for flag in flags.values()]
    return 100 * sum(flags) / len(flags)


def read_by_algorithm(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Read the tuned values.

    Args:
        path: The values file.

    Returns:
        Its entries by algorithm.
    """
    by_algo: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for entry in json.loads(path.read_text(encoding="utf-8")):
        by_algo[entry["algo"]].append(entry)
    return dict(sorted(by_algo.items()))


def _row(algo: str, ours: list[Reach], zoo: list[Reach]) -> str:
    n_values = sum(len(item.literal) for item in ours)
    literal = share(item.literal for item in ours)
    effective = share(item.effective for item in ours)
    whole = sum(all(item.effective.values()) for item in ours)
    zoo_share = f"{share(item.effective for item in zoo):8.1f}" if zoo else f"{'-':>8}"
    return (
        f"{algo:14} {len(ours):7} {n_values:6} {literal:9.1f} {effective:6.1f} {zoo_share}"
        f" {whole:13}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--values", type=Path, default=VALUES, help="file of the tuned values")
    by_algo = read_by_algorithm(parser.parse_args(argv).values)
    has_zoo = importlib.util.find_spec("rl_zoo3") is not None
    columns = (
        "algorithm",
        "entries",
        "values",
        "literal %",
        "ours %",
        "RL Zoo %",
        "whole entries",
    )
    print("{:14} {} {} {} {} {} {}".format(*columns))
    missed: list[Reach] = []
    for algo, entries in by_algo.items():
        ours = [reach_ours(entry) for entry in entries]
        zoo = [reach_of_zoo(entry) for entry in entries] if has_zoo else []
        print(_row(algo, ours, [item for item in zoo if item is not None]))
        missed += ours
    print("\nOut of reach:")
    for item in missed:
        entry = item.entry
        for name in (name for name, reached in item.effective.items() if not reached):
            print(
                f"  {entry['algo']} {entry['entry']} (T={entry['n_timesteps']}, "
                f"n_envs={entry['n_envs']}): {name} = {entry['values'][name]}; {why(name, entry)}"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
