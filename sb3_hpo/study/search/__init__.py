"""Optuna samplers and pruners, and what they see of a study.

- `samplers`: by name
- `pruners`: by name
- `grid`: every combination of choices once, over all workers
- `custom`: the user's own
- `shown_trials`: a study as GP and CMA-ES must see it
"""

__all__ = ["custom", "grid", "pruners", "samplers", "shown_trials"]
