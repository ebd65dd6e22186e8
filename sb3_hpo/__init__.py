"""Hyperparameter tuning for Stable-Baselines3 on Optuna, with an answer that retrains.

- `samplers`: search spaces, trial -> keyword arguments of an SB3 algorithm
- `sb3_hpo.spaces`: which space, and the user's overrides
- `sb3_hpo.training.train`: keyword arguments, seed, budget -> learning curve and policy
- `sb3_hpo.callback`: evaluate while training, report to the trial, prune
- `sb3_hpo.objective`: trial -> value; what counts as pruned, diverged, failed
- `sb3_hpo.study`, `sb3_hpo.loop`, `sb3_hpo.workers`: many trials in many processes
- `sb3_hpo.reevaluate`: the best trials again, from fresh seeds
- `sb3_hpo.report`: the answer
- `sb3_hpo.train`: the answer trained again
- `sb3_hpo.optimize`: the command, `python -m sb3_hpo.optimize`
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sb3_hpo.callback import TrialEvalCallback
    from sb3_hpo.config.study_config import StudyConfig, make_config
    from sb3_hpo.objective import Objective
    from sb3_hpo.optimize import tune
    from sb3_hpo.recipes import Recipe, load_best, load_trial
    from sb3_hpo.search import QuantilePruner
    from sb3_hpo.spaces.shipped import (
        sample_a2c_params,
        sample_ars_params,
        sample_crossq_params,
        sample_ddpg_params,
        sample_dqn_params,
        sample_maskable_ppo_params,
        sample_ppo_params,
        sample_qrdqn_params,
        sample_recurrent_ppo_params,
        sample_sac_params,
        sample_td3_params,
        sample_tqc_params,
        sample_trpo_params,
    )
    from sb3_hpo.utils.errors import UserError

__all__ = [
    "Objective",
    "QuantilePruner",
    "Recipe",
    "StudyConfig",
    "TrialEvalCallback",
    "UserError",
    "load_best",
    "load_trial",
    "make_config",
    "sample_a2c_params",
    "sample_ars_params",
    "sample_crossq_params",
    "sample_ddpg_params",
    "sample_dqn_params",
    "sample_maskable_ppo_params",
    "sample_ppo_params",
    "sample_qrdqn_params",
    "sample_recurrent_ppo_params",
    "sample_sac_params",
    "sample_td3_params",
    "sample_tqc_params",
    "sample_trpo_params",
    "tune",
]

_HOMES = {
    "Objective": "objective",
    "QuantilePruner": "search",
    "Recipe": "recipes",
    "StudyConfig": "config.study_config",
    "TrialEvalCallback": "callback",
    "UserError": "utils.errors",
    "load_best": "recipes",
    "load_trial": "recipes",
    "make_config": "config.study_config",
    "tune": "optimize",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `--help` must not wait for torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"sb3_hpo.{_HOMES.get(name, 'spaces.shipped')}"), name)
