"""What to do next, from a study's own data: plain sentences with the flag to change.

- `rules`: all advice
- `range_rules`: about the search space: ranges to widen
- `evidence`: the trials that count, and where their values lie in their ranges
"""

__all__ = ["evidence", "rules"]
