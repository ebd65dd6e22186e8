"""Training runs: keyword arguments, a seed and a budget in; learning curve and policy out.

- `train`: trains runs, together or one after the other; nothing else trains
- `run`: one run from start to end
- `batch`: runs trained together in one process
- `batch_checks`: whether runs can be trained together, and what that saves
- `callbacks`: the user's SB3 callbacks, made for a run
- `hooks`: what a caller asks for and is told
- `models`: class, policy, device and threads of a model, and whether it fits the problem
- `memory`: whether its replay buffer fits into memory
- `evaluator`: when and how a policy is evaluated while it trains
- `evaluation_episodes`: episodes from the same start states for every policy
"""

__all__ = [
    "batch",
    "batch_checks",
    "callbacks",
    "evaluation_episodes",
    "evaluator",
    "hooks",
    "memory",
    "models",
    "run",
    "train",
]
