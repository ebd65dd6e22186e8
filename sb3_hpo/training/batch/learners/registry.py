"""Which learner serves which algorithm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sb3_hpo.training.batch.learners.own_modules import check_classes, check_modules
from sb3_hpo.training.batch.structure import CannotBatch
from sb3_hpo.utils.import_strings import load_reference

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from sb3_hpo.training.batch.learners.learner import Learner

# Tracing takes about as long as a thousand gradient steps; each of them is then two to four times
# as fast, and a step in the environments somewhat.
_FEW_PASSES = 3000
# Only these very classes: what a derived class changes is not known.
LEARNERS = {
    "stable_baselines3.ppo.ppo:PPO": "sb3_hpo.training.batch.learners.on_policy:PPOLearner",
    "stable_baselines3.a2c.a2c:A2C": "sb3_hpo.training.batch.learners.on_policy:A2CLearner",
    "stable_baselines3.dqn.dqn:DQN": "sb3_hpo.training.batch.learners.q_learning:DQNLearner",
    "sb3_contrib.qrdqn.qrdqn:QRDQN": "sb3_hpo.training.batch.learners.q_learning:QRDQNLearner",
    "stable_baselines3.sac.sac:SAC": "sb3_hpo.training.batch.learners.soft_actor:SACLearner",
    "sb3_contrib.tqc.tqc:TQC": "sb3_hpo.training.batch.learners.soft_actor:TQCLearner",
    "stable_baselines3.td3.td3:TD3": "sb3_hpo.training.batch.learners.delayed_actor:TD3Learner",
    "stable_baselines3.ddpg.ddpg:DDPG": "sb3_hpo.training.batch.learners.delayed_actor:TD3Learner",
}


def find_learner(kind: type[Any]) -> type[Learner]:
    """Return what serves models of a class.

    Args:
        kind: The class.

    Raises:
        CannotBatch: Nothing does.
    """
    reference = LEARNERS.get(f"{kind.__module__}:{kind.__qualname__}")
    if reference is None:
        raise CannotBatch(f"{kind.__name__} has no batched form")
    learner: type[Learner] = load_reference(reference)
    return learner


def pays(model: Any, n_timesteps: int) -> bool:
    """Say whether a model that is alone learns long enough to trace its graphs.

    Args:
        n_timesteps: For how many environment steps it will learn.
    """
    n_vec_steps = n_timesteps // int(model.n_envs)
    n_gradient_steps = find_learner(type(model)).n_gradient_steps(model, n_vec_steps)
    return n_vec_steps + n_gradient_steps >= _FEW_PASSES


def make_learner(models: Sequence[Any], randomness: Sequence[np.random.RandomState]) -> Learner:
    """Make what lets models learn together.

    Args:
        models: The models, before they have learned anything.
        randomness: What each of them draws from in place of `numpy.random`.

    Returns:
        The learner, rehearsed.

    Raises:
        CannotBatch: They cannot; the message says why.
    """
    make: Any = find_learner(type(models[0]))
    for model in models:
        check_classes(model)
    learner: Learner = make(models, randomness)
    check_modules(models[0].policy)
    learner.rehearse()
    return learner
