"""Search spaces of Stable-Baselines3 algorithms (not search methods, Optuna's "samplers").

A search space says which hyperparameters are tried and in which ranges. Which point of it is tried
next (TPE, random search, ...) is up to what Optuna calls a "sampler".

Each function takes a trial and returns keyword arguments for the algorithm's constructor:

>>> import optuna
>>> from samplers import SpaceContext, sample_a2c_params
>>> trial = optuna.trial.FixedTrial(
...     {"learning_rate": 1e-3, "n_steps": 8, "one_minus_gamma": 0.05, "activation_fn": "relu"}
... )
>>> kwargs = sample_a2c_params(trial, context=SpaceContext(n_envs=4), size="small")
>>> kwargs["policy_kwargs"]["activation_fn"].__name__
'ReLU'
>>> kwargs["gamma"], trial.user_attrs["gamma"]
(0.95, 0.95)
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from samplers._dimensions import (
    Choice,
    Dimension,
    Float,
    Int,
    Number,
    OneMinus,
    PowerOfTwo,
    nearest,
)
from samplers._shared import Size, SpaceContext, TrialLike
from samplers._space import Finish, SearchSpace
from samplers.a2c import sample_a2c_params
from samplers.ars import sample_ars_params
from samplers.crossq import sample_crossq_params
from samplers.ddpg import sample_ddpg_params
from samplers.dqn import sample_dqn_params
from samplers.maskable_ppo import sample_maskable_ppo_params
from samplers.ppo import sample_ppo_params
from samplers.qrdqn import sample_qrdqn_params
from samplers.recurrent_ppo import sample_recurrent_ppo_params
from samplers.sac import sample_sac_params
from samplers.td3 import sample_td3_params
from samplers.tqc import sample_tqc_params
from samplers.trpo import sample_trpo_params

__all__ = [
    "SEARCH_SPACES",
    "Choice",
    "Dimension",
    "Finish",
    "Float",
    "Int",
    "Number",
    "OneMinus",
    "PowerOfTwo",
    "SearchSpace",
    "Size",
    "SpaceContext",
    "TrialLike",
    "nearest",
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
]

_MODULES = [
    import_module(f"{__name__}.{module.name}")
    for module in iter_modules(__path__)
    if not module.name.startswith("_")
]
SEARCH_SPACES: dict[str, SearchSpace] = {
    module.__name__.rpartition(".")[2]: module.SPACE
    for module in _MODULES
    if hasattr(module, "SPACE")
}
"""The search spaces by algorithm: a module with a `SPACE` is one, under its name."""
