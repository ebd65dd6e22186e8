"""Hyperparameter tuning for Stable-Baselines3 on Optuna, with an answer that retrains.

The commands are modules of this package (`python -m sb3_hpo.optimize` and so on); the rooms below
them, from the top down:

- `workers`: many trials in many processes and machines
- `report`: pages, figures, advice
- `study`: one study: preflight, objective, callback, samplers and pruners
- `reevaluation`: the best trials again, from fresh seeds
- `export`: the answer as recipe, script and RL Zoo entry
- `training`: keyword arguments, seed, budget -> learning curve and policy
- `spaces`: a search space of `samplers` bound to a problem, with the user's changes
- `storages`: Optuna storages that survive
- `envs`, `results`, `config`, `space_syntax`, `algorithms`, `scoring`, `utils`: their ground
"""

from __future__ import annotations

import importlib
import importlib.metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from samplers import (
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
    from sb3_hpo.config.study_config import StudyConfig, make_config
    from sb3_hpo.export.recipe import Recipe, load_best, load_trial
    from sb3_hpo.study.callback import TrialEvalCallback
    from sb3_hpo.study.objective import Objective
    from sb3_hpo.study.pruners import QuantilePruner
    from sb3_hpo.tuning import tune
    from sb3_hpo.tuning_result import TuningResult
    from sb3_hpo.utils.errors import UserError

__all__ = [
    "Objective",
    "QuantilePruner",
    "Recipe",
    "StudyConfig",
    "TrialEvalCallback",
    "TuningResult",
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
    "Objective": "study.objective",
    "QuantilePruner": "study.pruners",
    "Recipe": "export.recipe",
    "StudyConfig": "config.study_config",
    "TrialEvalCallback": "study.callback",
    "UserError": "utils.errors",
    "load_best": "export.recipe",
    "load_trial": "export.recipe",
    "make_config": "config.study_config",
    "TuningResult": "tuning_result",
    "tune": "tuning",
}


def __dir__() -> list[str]:
    """Return the public names, whether they have been used or not."""
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `--help` must not wait for torch."""
    if name == "__version__":
        return importlib.metadata.version("sb3-hpo")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = f"sb3_hpo.{_HOMES[name]}" if name in _HOMES else "samplers"
    return getattr(importlib.import_module(home), name)
