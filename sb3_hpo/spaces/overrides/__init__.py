"""The user's changes to a search space.

- `changes`: what the user wants, from options or from a file
- `resolve`: that in the dimensions of a space, checked
- `trial_proxy`: a trial that answers so, whatever the space
"""

__all__ = ["changes", "resolve", "trial_proxy"]
