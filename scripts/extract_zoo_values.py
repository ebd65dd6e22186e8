"""Write the tuned values of RL Zoo's hyperparameter files as plain JSON.

    python scripts/extract_zoo_values.py tests/samplers_tests/zoo_values.json

The numbers are read from the installed `rl_zoo3`; what an entry says about its environment
(wrappers, normalisation, frame stacking) is left out. The result is the test data of
`scripts/check_reachability.py`.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import yaml

if TYPE_CHECKING:
    from collections.abc import Sequence

# Not hyperparameters of the algorithm, or arguments that SB3 does not have any more.
_LEFT_OUT = {
    "env_wrapper", "frame_stack", "max_episode_length", "model_class", "n_envs", "n_timesteps",
    "normalize", "online_sampling", "optimize_memory_usage", "policy", "replay_buffer_class",
}  # fmt: skip
_MAPPINGS = ("policy_kwargs", "replay_buffer_kwargs")
_ALGORITHMS = {"ppo_lstm": "recurrent_ppo"}
# Time limits of goal environments that are not in Gymnasium's registry.
_LONGEST_EPISODES = {"Fetch": 50, "Panda": 50, "parking": 100, "Neck": 1000}


def read_entries(folder: Path) -> list[dict[str, Any]]:
    """Read all hyperparameter files of RL Zoo.

    Args:
        folder: Where they are.

    Returns:
        One mapping per entry: file, entry, algorithm, n_timesteps, n_envs, her, longest_episode
        and `values`, by SB3's names, those of `policy_kwargs` and `replay_buffer_kwargs` beside
        the others.
    """
    entries = []
    for path in sorted(folder.glob("*.yml")):
        for name, raw in yaml.safe_load(path.read_text(encoding="utf-8")).items():
            algo = raw.get("model_class", path.stem)
            her = "replay_buffer_class" in raw or "model_class" in raw
            entries.append(
                {
                    "file": path.name,
                    "entry": name,
                    "algo": _ALGORITHMS.get(algo, algo),
                    "n_timesteps": int(float(raw["n_timesteps"])),
                    "n_envs": int(raw.get("n_envs", 1)),
                    "her": her,
                    "longest_episode": _longest_episode(name),
                    "values": _values(raw),
                }
            )
    return entries


def _values(raw: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if raw["policy"] == "LinearPolicy":
        values["net_arch"] = []  # which is what it means
    for name, value in raw.items():
        if name in _MAPPINGS:
            values |= value if isinstance(value, dict) else read_dict(value)
        elif name not in _LEFT_OUT:
            values[name] = _number(value)
    return values


def _number(value: Any) -> Any:
    """Turn numbers that YAML takes for text, such as 1e-3, into numbers."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def read_dict(text: str) -> dict[str, Any]:
    """Read what RL Zoo writes for a dict of arguments, without evaluating it.

    Args:
        text: For instance `dict(net_arch=[64, 64], activation_fn=nn.ReLU)`.

    Returns:
        The dict; classes are their names.

    >>> read_dict("dict(net_arch=dict(pi=[64], vf=[64]), activation_fn=nn.ReLU)")
    {'net_arch': {'pi': [64], 'vf': [64]}, 'activation_fn': 'ReLU'}
    """
    read: dict[str, Any] = _read(ast.parse(text, mode="eval").body)
    return read


def _read(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict":
        return {str(keyword.arg): _read(keyword.value) for keyword in node.keywords}
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ast.literal_eval(node)


def _longest_episode(name: str) -> int | None:
    if name in gym.registry:
        return gym.registry[name].max_episode_steps
    return next((n for start, n in _LONGEST_EPISODES.items() if name.startswith(start)), None)


def main(argv: Sequence[str] | None = None) -> int:
    """Write the file; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path, help="JSON file to write")
    arguments = parser.parse_args(argv)
    spec = importlib.util.find_spec("rl_zoo3")
    if spec is None or spec.origin is None:
        print("rl_zoo3 is missing: pip install rl_zoo3", file=sys.stderr)
        return 2
    entries = read_entries(Path(spec.origin).parent / "hyperparams")
    lines = ",\n".join(json.dumps(entry) for entry in entries)
    arguments.path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    print(f"{len(entries)} entries")
    return 0


if __name__ == "__main__":
    sys.exit(main())
