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

from samplers import (
    a2c,
    ars,
    crossq,
    ddpg,
    dqn,
    maskable_ppo,
    ppo,
    qrdqn,
    recurrent_ppo,
    sac,
    td3,
    tqc,
    trpo,
)
from samplers._shared import SearchSpace, Size, SpaceContext, TrialLike
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
    "SearchSpace",
    "Size",
    "SpaceContext",
    "TrialLike",
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

SEARCH_SPACES: dict[str, SearchSpace] = {
    "a2c": SearchSpace(
        sample=sample_a2c_params,
        default_params=a2c.DEFAULT_PARAMS,
        min_rollout=a2c.MIN_ROLLOUT,
    ),
    "ars": SearchSpace(
        sample=sample_ars_params,
        default_params=ars.DEFAULT_PARAMS,
        min_rollout=ars.MIN_ROLLOUT,
    ),
    "crossq": SearchSpace(
        sample=sample_crossq_params,
        default_params=crossq.DEFAULT_PARAMS,
        min_rollout=crossq.MIN_ROLLOUT,
    ),
    "ddpg": SearchSpace(
        sample=sample_ddpg_params,
        default_params=ddpg.DEFAULT_PARAMS,
        min_rollout=ddpg.MIN_ROLLOUT,
    ),
    "dqn": SearchSpace(
        sample=sample_dqn_params,
        default_params=dqn.DEFAULT_PARAMS,
        min_rollout=dqn.MIN_ROLLOUT,
        first_points=dqn.FIRST_POINTS,
    ),
    "maskable_ppo": SearchSpace(
        sample=sample_maskable_ppo_params,
        default_params=maskable_ppo.DEFAULT_PARAMS,
        min_rollout=maskable_ppo.MIN_ROLLOUT,
        first_points=maskable_ppo.FIRST_POINTS,
    ),
    "ppo": SearchSpace(
        sample=sample_ppo_params,
        default_params=ppo.DEFAULT_PARAMS,
        min_rollout=ppo.MIN_ROLLOUT,
        first_points=ppo.FIRST_POINTS,
    ),
    "qrdqn": SearchSpace(
        sample=sample_qrdqn_params,
        default_params=qrdqn.DEFAULT_PARAMS,
        min_rollout=qrdqn.MIN_ROLLOUT,
        first_points=qrdqn.FIRST_POINTS,
    ),
    "recurrent_ppo": SearchSpace(
        sample=sample_recurrent_ppo_params,
        default_params=recurrent_ppo.DEFAULT_PARAMS,
        min_rollout=recurrent_ppo.MIN_ROLLOUT,
        first_points=recurrent_ppo.FIRST_POINTS,
    ),
    "sac": SearchSpace(
        sample=sample_sac_params,
        default_params=sac.DEFAULT_PARAMS,
        min_rollout=sac.MIN_ROLLOUT,
    ),
    "td3": SearchSpace(
        sample=sample_td3_params,
        default_params=td3.DEFAULT_PARAMS,
        min_rollout=td3.MIN_ROLLOUT,
    ),
    "tqc": SearchSpace(
        sample=sample_tqc_params,
        default_params=tqc.DEFAULT_PARAMS,
        min_rollout=tqc.MIN_ROLLOUT,
    ),
    "trpo": SearchSpace(
        sample=sample_trpo_params,
        default_params=trpo.DEFAULT_PARAMS,
        min_rollout=trpo.MIN_ROLLOUT,
    ),
}
"""The algorithms that can be tuned, by the name used on the command line."""
