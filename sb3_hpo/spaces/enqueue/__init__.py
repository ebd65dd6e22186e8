"""The user's points to be tried first.

- `enqueued_point`: read from parameters, a `best.yaml` or an RL Zoo file
- `zoo_file`: RL Zoo's hyperparameter files
"""

__all__ = ["enqueued_point", "zoo_file"]
