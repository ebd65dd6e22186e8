"""The best trials again, from fresh seeds: a race among them, and a test of its winner.

- `race_and_test`: both, for a study
- `candidates`: the best trials, as arguments of the algorithm
- `race`: which of them is best, with as few runs as will do
- `schedule`: which runs are still due
- `executor`: runs trained while somebody watches
- `pool`: the processes that train them
- `retrain`: one such run
- `__main__`: one such process
"""

__all__ = ["candidates", "executor", "pool", "race_and_test", "schedule"]
