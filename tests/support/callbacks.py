"""SB3 callbacks as users write them, which leave behind what tests look at."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from stable_baselines3.common.callbacks import BaseCallback

HERE = "tests.support.callbacks"


class Counts(BaseCallback):
    """Counts calls; all that were trained with are in `started`."""

    started: ClassVar[list[Counts]] = []

    def __init__(self, every: int = 1, net_class: type[Any] = torch.nn.Tanh) -> None:
        super().__init__()
        self.every, self.net_class = every, net_class
        self.n_counted = self.n_ends = 0

    def _on_training_start(self) -> None:
        self.started.append(self)

    def _on_step(self) -> bool:
        self.n_counted += self.n_calls % self.every == 0
        return True

    def _on_training_end(self) -> None:
        self.n_ends += 1


class Raises(BaseCallback):
    """Has a bug."""

    def _on_step(self) -> bool:
        raise KeyError("no such layer")


class Stops(Counts):
    """Ends the training from within."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def _on_step(self) -> bool:
        return self.num_timesteps < self.at


class Sets(BaseCallback):
    """Makes a policy that hits the target between rollouts; in rollouts it is another one."""

    def _on_rollout_start(self) -> None:
        self._set_action(0.5)

    def _on_step(self) -> bool:
        self._set_action(-1.0)
        return True

    def _on_training_end(self) -> None:
        self._set_action(0.25)

    def _set_action(self, value: float) -> None:
        with torch.no_grad():
            last: Any = self.model.policy.action_net
            last.weight.zero_()
            last.bias.fill_(value)


class Poisons(BaseCallback):
    """Leaves a policy of NaN at the end."""

    def _on_step(self) -> bool:
        return True

    def _on_training_end(self) -> None:
        with torch.no_grad():
            next(self.model.policy.parameters()).fill_(float("nan"))


def make_counts() -> BaseCallback:
    return Counts(every=7)


def make_nothing() -> None:
    return None


def fail() -> BaseCallback:
    raise OSError("no tracking server")
