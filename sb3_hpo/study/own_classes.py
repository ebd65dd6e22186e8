"""The user's own samplers and pruners: made in each process by a class or function of theirs."""

from __future__ import annotations

import inspect
import warnings
from typing import Any, Literal

import optuna

from sb3_hpo.results.trials import STOP, USED_UP
from sb3_hpo.utils.errors import UserError
from sb3_hpo.utils.import_strings import load_reference

_KINDS = {"sampler": optuna.samplers.BaseSampler, "pruner": optuna.pruners.BasePruner}


def make_own(flag: Literal["sampler", "pruner"], text: str, seed: int) -> Any:
    """Make a sampler or pruner by the user's class or function.

    Args:
        flag: What it has to make.
        text: The reference of the class or function; it is called without arguments, or with
            `seed` where it takes one.
        seed: For this process.

    Returns:
        What it made.

    Raises:
        UserError: There is no such thing, it needs arguments, or it makes something else. An
            error inside it is the user's to see and passes through.
    """
    factory = load_reference(text)
    if not callable(factory):
        raise UserError(
            f"{flag}: {text} must be a class or a function that makes an Optuna {flag}, but is an "
            f"object of {type(factory).__name__}: name its class, or a function that returns it"
        )
    signature = inspect.signature(factory)
    arguments = {"seed": seed} if "seed" in signature.parameters else {}
    try:
        signature.bind(**arguments)
    except TypeError as error:
        raise UserError(
            f"{flag}: {text} is called without arguments but `seed`, but has others that must be "
            f"given ({error}): name a function of your own that passes them"
        ) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        made = factory(**arguments)
    if not isinstance(made, _KINDS[flag]):
        raise UserError(
            f"{flag}: {text} must make an Optuna {flag}, but made {type(made).__name__}"
        )
    return made


class SharedStudy(optuna.Study):
    """The same study, in which a sampler that has nothing left to try ends the whole search.

    Optuna's `stop` is for `optimize` alone and raises where trials are asked for and told.
    """

    def __init__(self, study: optuna.Study) -> None:
        """Share everything with the study."""
        vars(self).update(vars(study))

    def stop(self) -> None:
        """Let all workers end."""
        self.set_user_attr(STOP, USED_UP)
