"""What runs, trials and re-evaluations leave behind: data, which needs no training stack.

- `run_record`: what one training run left
- `trials`: what a study's trials say about themselves
- `reevaluation_runs`: runs of the re-evaluation, and the file that keeps them
- `study_result`: who won, how good that is, and what it cost
"""

__all__ = ["reevaluation_runs", "run_record", "study_result", "trials"]
