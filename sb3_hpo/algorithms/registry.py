"""The algorithms by name: a plain table, so that naming one costs no import of torch."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sb3_hpo.utils.errors import UserError, check_installed
from sb3_hpo.utils.import_strings import load_reference, reference

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm


@dataclass(frozen=True)
class Algorithm:
    """What has to be known of an algorithm before its class is imported.

    Attributes:
        reference: Where the class is, as `module:Class`.
        action_spaces: Names of the Gymnasium spaces it can act in; empty if not known.
        n_timesteps: Default budget of one training run, in environment steps.
        n_envs: Default number of parallel training environments.
        n_trials: Default number of trials of a study: more where they are short.
        supports_her: Whether it can learn from relabelled goals (hindsight experience replay).
        needs_action_masks: Whether the environment must tell which actions are valid.
    """

    reference: str
    action_spaces: tuple[str, ...]
    n_timesteps: int
    n_envs: int
    n_trials: int = 40
    supports_her: bool = False
    needs_action_masks: bool = False

    @property
    def is_contrib(self) -> bool:
        """Whether the class is in sb3-contrib, which the extra `contrib` installs."""
        return self.reference.startswith("sb3_contrib:")


_ANY = ("Box", "Discrete", "MultiBinary", "MultiDiscrete")
_COUNTABLE = ("Discrete", "MultiBinary", "MultiDiscrete")

ALGORITHMS = {
    "a2c": Algorithm("stable_baselines3:A2C", _ANY, 40_000, 8, n_trials=100),
    # Long: one iteration of the default takes sixteen episodes.
    "ars": Algorithm("sb3_contrib:ARS", ("Box", "Discrete"), 200_000, 1),
    "crossq": Algorithm("sb3_contrib:CrossQ", ("Box",), 10_000, 1),
    "ddpg": Algorithm("stable_baselines3:DDPG", ("Box",), 10_000, 1, supports_her=True),
    "dqn": Algorithm("stable_baselines3:DQN", ("Discrete",), 50_000, 1, supports_her=True),
    "maskable_ppo": Algorithm(
        "sb3_contrib:MaskablePPO", _COUNTABLE, 40_000, 8, needs_action_masks=True
    ),
    "ppo": Algorithm("stable_baselines3:PPO", _ANY, 40_000, 8, n_trials=60),
    "qrdqn": Algorithm("sb3_contrib:QRDQN", ("Discrete",), 50_000, 1, supports_her=True),
    "recurrent_ppo": Algorithm("sb3_contrib:RecurrentPPO", _ANY, 40_000, 8),
    "sac": Algorithm("stable_baselines3:SAC", ("Box",), 10_000, 1, supports_her=True),
    "td3": Algorithm("stable_baselines3:TD3", ("Box",), 10_000, 1, supports_her=True),
    "tqc": Algorithm("sb3_contrib:TQC", ("Box",), 10_000, 1, supports_her=True),
    "trpo": Algorithm("sb3_contrib:TRPO", _ANY, 40_000, 8),
}

ALIASES = {"ppo_lstm": "recurrent_ppo"}
"""RL Zoo's names, where they differ from the table's."""

_SPELLINGS = {name.replace("_", ""): name for name in ALGORITHMS}  # the classes', in lower case
_SPELLINGS |= {name: name for name in ALGORITHMS} | ALIASES


def resolve_alias(name: str) -> str:
    """Return an algorithm's name in the table; other names come back as they are.

    Args:
        name: A key of the table, an alias, or `package.module:Class`.

    Returns:
        The name under which everything else knows the algorithm.

    >>> resolve_alias("ppo_lstm"), resolve_alias("PPO"), resolve_alias("MaskablePPO")
    ('recurrent_ppo', 'ppo', 'maskable_ppo')
    """
    return name if ":" in name else _SPELLINGS.get(name.lower(), name)


def known_algorithm(value: Any) -> str | None:
    """Return the name of what the option `algo` got, unchecked; None for what it will refuse.

    Args:
        value: A name, an alias, a class, or anything else.
    """
    try:
        name = resolve_alias(reference(value))
    except UserError:
        return None
    return name if ":" in name or name in ALGORITHMS else None


def find_algorithm(name: str) -> Algorithm:
    """Return the table's entry, or one made for the user's own class.

    Args:
        name: A key of the table, an alias, or `package.module:Class`.

    >>> find_algorithm("my_package:MyPPO").reference
    'my_package:MyPPO'
    >>> find_algorithm("ppo_lstm").reference
    'sb3_contrib:RecurrentPPO'
    """
    if ":" in name:
        # Whether a user's class can relabel goals shows in its constructor.
        return Algorithm(name, (), 40_000, 1, supports_her=True)
    return ALGORITHMS[resolve_alias(name)]


def check_algorithm_installed(name: str) -> None:
    """Refuse an algorithm of sb3-contrib where that package is missing.

    Args:
        name: A key of the table, an alias, or `package.module:Class`.

    Raises:
        UserError: Says how to install it.
    """
    if find_algorithm(name).is_contrib:
        check_installed(f"algo: {name}", ["sb3_contrib"], extra="contrib")


def load_algorithm(algo: str) -> type[BaseAlgorithm]:
    """Import the class of an algorithm.

    Args:
        algo: A name of the table, or `package.module:Class`.

    Raises:
        UserError: It is not there.
    """
    check_algorithm_installed(algo)
    try:
        algorithm: type[BaseAlgorithm] = load_reference(find_algorithm(algo).reference)
    except UserError as error:
        raise UserError(f"algo: {error}") from error
    return algorithm


def default_gamma(algorithm_class: type[BaseAlgorithm]) -> float:
    """Return the discount that an algorithm has when none is given."""
    parameter = inspect.signature(algorithm_class).parameters.get("gamma")
    return 0.99 if parameter is None else float(parameter.default)


def takes_masks(model: BaseAlgorithm | type[BaseAlgorithm]) -> bool:
    """Return whether an algorithm's policy asks which actions are valid."""
    return "action_masks" in inspect.signature(model.predict).parameters
