"""The user's points to be tried first.

- `enqueued_point`: read from parameters, a `best.yaml` or an RL Zoo file
- `zoo_file`: RL Zoo's hyperparameter files
- `nearest`: the point of a space that is next to given arguments
"""

__all__ = ["enqueued_point", "nearest", "zoo_file"]
