"""The pictures of a report.

- `search`: the search's history and the learning curves of its trials
- `reevaluation`: scores of race and test, and the winner's learning curves
- `space`: which hyperparameters matter, and where the good values lie
- `plotting`: colours and axes that all pictures share
- `axes`: where the values of a hyperparameter lie on an axis
"""

__all__ = ["plotting", "reevaluation", "search", "space"]
