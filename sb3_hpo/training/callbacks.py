"""The user's SB3 callbacks, made anew for each run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stable_baselines3.common.callbacks import BaseCallback

from sb3_hpo.algorithms.kwargs import deserialize_kwargs
from sb3_hpo.utils.errors import UserError, one_line
from sb3_hpo.utils.import_strings import load_reference

if TYPE_CHECKING:
    from sb3_hpo.config.training_config import TrainingConfig


def make_callbacks(config: TrainingConfig) -> list[BaseCallback]:
    """Make the callbacks of one run.

    Args:
        config: Names them, with their arguments.

    Raises:
        UserError: One cannot be imported or made, or is no callback.
    """
    made = []
    for name, kwargs in (pair for entry in config.callbacks for pair in entry.items()):
        try:
            callback = load_reference(name)(**deserialize_kwargs(kwargs))
        except UserError as error:
            raise UserError(f"callbacks: {error}") from error
        except Exception as error:
            text = one_line(error, site=True)
            raise UserError(f"callbacks: making {name} failed: {text}") from error
        if not isinstance(callback, BaseCallback):
            raise UserError(
                f"callbacks: {name} must be a subclass of SB3's BaseCallback, or a function that "
                f"returns such a callback, but it made an object of {type(callback).__name__}"
            )
        made.append(callback)
    return made
