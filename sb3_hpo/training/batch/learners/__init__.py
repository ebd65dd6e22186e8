"""How the models of each algorithm learn together.

- `registry`: which learner serves which algorithm
- `learner`: what all of them share
- `on_policy`: PPO and A2C
- `off_policy`: what algorithms with a replay buffer share
- `q_learning`: DQN and QR-DQN
- `delayed_actor`: TD3 and DDPG
- `soft_actor`: SAC and TQC
"""

__all__ = ["learner", "registry"]
