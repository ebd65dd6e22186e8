"""From numbers to conclusions.

- `score_rules`: from a learning curve to the value of a trial
- `statistics`: interquartile means and intervals over seeds and episodes
"""

__all__ = ["score_rules", "statistics"]
