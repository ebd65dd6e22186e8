"""One study: checked, created or resumed, and what becomes of a trial.

- `create_or_resume`: the study in its storage, with its configuration and first points
- `preflight`: what is checked before anything is written
- `rehearsal`: the environment and the score rule, tried out before they cost a training run
- `try_out`: the process that does so
- `objective`: from a trial to its value; which outcome is which state
- `callback`: evaluates while training, reports to the trial, obeys the pruner
- `trial_runs`: the runs of one trial from several seeds
- `pruners`: by name, and the default one
- `sampling`: Optuna samplers by name, and what they see of a study
- `own_classes`: samplers and pruners of the user's own
"""

__all__ = [
    "callback",
    "create_or_resume",
    "objective",
    "preflight",
    "pruners",
    "rehearsal",
    "sampling",
]
