"""Many trials in many processes, here and on other machines.

- `search`: one command's part in a study's search; `--join` and `--stop`
- `pool`: worker processes of this machine
- `__main__`: one worker process
- `loop`: asks, runs and tells trials
- `ask`: asking a study for trials, so that totals are exact
- `trial_monitor`: why a worker should stop, and the beats of its trials
- `stop_rules`: when a search has found enough
- `lost_trials`: trials whose worker is gone
- `progress`: what a person sees meanwhile
- `notebook_view`: the same in a notebook's output
"""

__all__ = ["lost_trials", "pool", "search"]
