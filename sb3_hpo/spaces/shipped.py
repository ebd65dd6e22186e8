"""The shipped search spaces, for those who import `sb3_hpo` only."""

from samplers import (
    SpaceContext,
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

__all__ = [
    "SpaceContext",
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
