"""The algorithms by name: a plain table, so that naming one costs no import of torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Algorithm:
    """What has to be known of an algorithm before its class is imported.

    Attributes:
        reference: Where the class is, as `module:Class`.
        action_spaces: Names of the Gymnasium spaces it can act in; empty if not known.
        n_timesteps: Default budget of one training run, in environment steps.
        n_envs: Default number of parallel training environments.
    """

    reference: str
    action_spaces: tuple[str, ...]
    n_timesteps: int
    n_envs: int


_ANY = ("Box", "Discrete", "MultiBinary", "MultiDiscrete")

ALGORITHMS = {
    "a2c": Algorithm("stable_baselines3:A2C", _ANY, 40_000, 8),
    "ddpg": Algorithm("stable_baselines3:DDPG", ("Box",), 10_000, 1),
    "dqn": Algorithm("stable_baselines3:DQN", ("Discrete",), 50_000, 1),
    "ppo": Algorithm("stable_baselines3:PPO", _ANY, 40_000, 8),
    "sac": Algorithm("stable_baselines3:SAC", ("Box",), 10_000, 1),
    "td3": Algorithm("stable_baselines3:TD3", ("Box",), 10_000, 1),
}


def find_algorithm(name: str) -> Algorithm:
    """Return the table's entry, or one made for the user's own class.

    Args:
        name: A key of the table, or `package.module:Class`.

    Returns:
        The entry.

    >>> find_algorithm("my_package:MyPPO").reference
    'my_package:MyPPO'
    """
    if ":" in name:
        return Algorithm(name, (), 40_000, 1)
    return ALGORITHMS[name]
