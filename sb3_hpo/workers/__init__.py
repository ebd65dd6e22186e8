"""Many trials in many processes, here and on other machines.

- `session`: one command's part in a search; `--join` and `--stop`
- `pool`: worker processes of this machine
- `__main__`: one worker process
- `loop`: asks, runs and tells trials
- `ask`: asking a study for trials, so that totals are exact
- `monitor`: why a worker should stop, and its beats
- `lost_trials`: trials whose worker is gone
- `progress`: what a person sees meanwhile
"""

__all__ = ["lost_trials", "pool", "session"]
