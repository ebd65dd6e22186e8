"""What files and studies may name: whoever reads one of a stranger runs no code of theirs.

A module is imported if the user has named it, on the command line or in their configuration. Of
the libraries below only classes that a run is made of are taken, by the kind of the object that a
name leads to and by the module that has defined it: `torch:os.system` and `PPO.load` are nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sb3_hpo.algorithms.callbacks import callback_entries
from sb3_hpo.algorithms.kwargs import CALLS
from sb3_hpo.utils.errors import UserError
from sb3_hpo.utils.import_strings import ENV_ID, load_reference, reference

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from pydantic import ValidationInfo

_LIBRARIES = (
    "gymnasium", "optuna", "rl_zoo3", "samplers", "sb3_contrib", "stable_baselines3", "torch",
)  # fmt: skip
_KINDS = {  # by name: reports, which need no torch, read recipes
    "gymnasium.core:Env",
    "gymnasium.core:Wrapper",
    "optuna.pruners._base:BasePruner",
    "optuna.samplers._base:BaseSampler",
    "stable_baselines3.common.base_class:BaseAlgorithm",
    "stable_baselines3.common.buffers:BaseBuffer",
    "stable_baselines3.common.noise:ActionNoise",
    "torch.nn.modules.module:Module",
    "torch.optim.optimizer:Optimizer",
    *CALLS,
}
# Options; `callbacks` is another, whose names have arguments below them.
_NAMING = ("algo", "env", "wrapper", "space", "score", "sampler", "pruner")


def named_modules(options: Mapping[str, Any]) -> frozenset[str] | None:
    """Return the modules and files that a user's options name; None for all, with `--trust`.

    Args:
        options: Values by option.
    """
    if options.get("trust"):
        return None
    return frozenset(map(_module, _references(options)))


def may_import(info: ValidationInfo) -> bool:
    """Return whether options may be imported to be checked: not where a study is only read.

    Args:
        info: What pydantic tells a validator.
    """
    return info.context is None or bool(info.context["imports"])


def check_trusted(values: Any, named: Collection[str] | None, what: str) -> None:
    """Refuse plain values that name code which the user has not.

    Args:
        values: From a file or a study: descriptions of arguments at any depth, and the options
            of a configuration.
        named: `named_modules` of what the user wrote.
        what: Where they are from, the first word of the message.

    Raises:
        UserError: Says all that is not trusted.
    """
    if named is None:
        return
    mistakes = []
    if strange := strangers(values, named):
        mistakes.append(
            f"{', '.join(strange)} would be imported, and with it whatever code is there: pass "
            "--trust (in Python trust=True) if you trust where this is from"
        )
    mistakes += [
        f"{name} is no class that a model or an environment is made of"
        for name in _names(values)
        if name not in strange and not _is_part(name, named)
    ]
    if mistakes:
        raise UserError(f"{what}: {'; '.join(mistakes)}")


def strangers(values: Any, named: Collection[str] = ()) -> list[str]:
    """Return what plain values name in modules that the user has not, and no library.

    Args:
        values: As for `check_trusted`.
        named: As for `check_trusted`.
    """
    # SB3's, too: with arguments of a stranger's they write files where they are told to.
    callbacks = _callbacks(values) if isinstance(values, dict) else ()
    return [
        name
        for name in _names(values)
        if _module(name) not in named and (not _is_library(_module(name)) or name in callbacks)
    ]


def _names(values: Any) -> list[str]:
    options = _references(values) if isinstance(values, dict) else ()
    return [*dict.fromkeys([*_described(values), *options])]


def _references(options: Mapping[str, Any]) -> Iterator[str]:
    """Yield what options name that is to be imported."""
    for option in _NAMING:
        value = options.get(option)
        for item in value if isinstance(value, list | tuple) else [value]:
            if (isinstance(item, str) and ":" in item) or callable(item):
                yield reference(item)
    yield from _callbacks(options)


def _callbacks(options: Mapping[str, Any]) -> list[str]:
    return [name for entry in callback_entries(options.get("callbacks", ())) for name in entry]


def _described(values: Any, *, is_class: bool = False) -> Iterator[str]:
    """Yield what descriptions of arguments name, also in the short way that people write it."""
    if isinstance(values, dict):
        for key, value in values.items():
            names_class = is_class or str(key).endswith(("_fn", "_class", "$import", "$call"))
            yield from _described(value, is_class=names_class)
    elif isinstance(values, list | tuple):
        for value in values:
            yield from _described(value, is_class=is_class)
    elif is_class and isinstance(values, str) and ":" in values:
        yield values


def _module(name: str) -> str:
    module = name.rpartition(":")[0]
    return str(Path(module).expanduser().resolve()) if module.endswith(".py") else module


def _is_library(module: str) -> bool:
    return not module.endswith(".py") and module.partition(".")[0] in _LIBRARIES


def _is_part(name: str, named: Collection[str]) -> bool:
    """Say whether a name that may be imported leads to something of which runs are made."""
    if ENV_ID.fullmatch(name.rpartition(":")[2]):
        return True  # an environment's: the module is imported, and nothing called
    target = load_reference(name)
    home = _module(reference(target)) if hasattr(target, "__qualname__") else ""
    if home in named:
        return True
    ancestors = getattr(target, "__mro__", ())
    names = {f"{ancestor.__module__}:{ancestor.__qualname__}" for ancestor in ancestors}
    return _is_library(home) and not _KINDS.isdisjoint(names)
