"""Environments: made, seeded and looked at before anything is trained in them.

- `factory`: environments from a configuration, for training and for evaluation
- `problem`: what an agent faces
- `seeded_episodes`: episodes from start states that are given in advance
"""

__all__ = ["factory", "problem", "seeded_episodes"]
