"""A search space bound to a problem, with the user's changes to it.

- `bind`: which space it is (a shipped one of `samplers`), made valid for the problem
- `bound_space`: what comes of it
- `file_space`: a space made from the entries of a file
- `dimensions`: in which dimension an argument of SB3 lives
- `points`: points of a space, drawn, and the nearest to given ones
- `overrides`: `--fixed`, `--range`, `--choices`, `--drop` and files based on a space
- `enqueue`: points of the user's to be tried first
- `__main__`: the command `python -m sb3_hpo.spaces`, a space as a table or as YAML
"""

__all__ = [
    "bind",
    "bound_space",
    "dimensions",
    "enqueue",
    "file_space",
    "overrides",
    "points",
]
