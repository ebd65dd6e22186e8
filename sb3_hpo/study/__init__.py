"""One study: checked, created or resumed, and what becomes of a trial.

- `study`: created or resumed
- `preflight`: what is checked before anything is written
- `rehearsal`: the environment and the score rule, tried out before they cost a training run
- `objective`: from a trial to its value; which outcome is which state
- `callback`: evaluates while training, reports to the trial, obeys the pruner
- `trial_runs`: the runs of one trial from several seeds
- `search`: Optuna samplers and pruners
"""

__all__ = ["callback", "objective", "preflight", "rehearsal", "search", "study"]
