"""Which point is tried next.

- `optuna_samplers`: Optuna's samplers by name, and when they are built
- `grid`: every combination of choices once, over all workers
- `shown_trials`: a study as GP and CMA-ES must see it, with its pruned trials
"""

__all__ = ["grid", "optuna_samplers"]
