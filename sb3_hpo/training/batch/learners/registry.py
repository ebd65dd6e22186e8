"""Which learner serves which algorithm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sb3_hpo.training.batch.structure import CannotBatch
from sb3_hpo.utils.import_strings import load_reference

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from sb3_hpo.training.batch.learners.learner import Learner

_KNOWN = ("torch", "stable_baselines3", "sb3_contrib")
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
        _check_classes(model)
    learner: Learner = make(models, randomness)
    learner.rehearse()
    return learner


def _check_classes(model: Any) -> None:
    """Refuse buffers, policies and parts of them that are users' own.

    Parts of SB3's are used directly, and a graph goes on to compute what its trace has seen: one
    value of what a module counts or draws, and the mode that the trace was in.
    """
    buffers = [getattr(model, name, None) for name in ("rollout_buffer", "replay_buffer")]
    for part in (*filter(None, buffers), *model.policy.modules()):
        if type(part).__module__.split(".")[0] not in _KNOWN:
            raise CannotBatch(f"{type(part).__name__} is not one of SB3's or torch's classes")
