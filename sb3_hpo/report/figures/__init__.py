"""The pictures of a report, most of them Optuna's own; only what draws them needs plotly.

- `search`: the search's history and the learning curves of its trials
- `space`: which hyperparameters matter, and where the good values lie
- `reevaluation`: scores of race and test, and the winner's learning curves
- `plotting`: the look that all pictures share
"""

__all__ = ["plotting", "reevaluation", "search", "space"]
