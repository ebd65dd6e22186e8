"""Functions of one member, vectorised over members and traced into graphs without Python."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch.utils import _pytree as pytree

from sb3_hpo.training.batch.structure import CannotBatch

if TYPE_CHECKING:
    from collections.abc import Callable

Tree = Any  # nested dicts and tuples of tensors

_logger = logging.getLogger(__name__)
# What goes wrong in torch, and in a user's module that meets a tracer in place of its tensors.
_ERRORS = (RuntimeError, TypeError, ValueError, AttributeError, LookupError)


class Graph:
    """A function of one member as a graph for all members, of fixed shapes.

    `torch.func.vmap` alone spends its time in dispatching: for a gradient step of eight PPO
    members 10 ms, the traced graph 6.6 ms by its Python and 3.9 ms by torch's own interpreter,
    where one step of SB3 took 4.9 ms (a loaded core; only the ratios mean something).
    """

    def __init__(self, function: Callable[..., Tree], arguments: tuple[Tree, ...]) -> None:
        """Trace.

        Args:
            function: From the arguments of one member to a tree of tensors; pure.
            arguments: Trees of tensors with the members as their first dimension, as examples.

        Raises:
            CannotBatch: Something in it cannot be vectorised.
        """
        flat, structure = pytree.tree_flatten(arguments)
        outputs: list[pytree.TreeSpec] = []

        def for_all(*leaves: torch.Tensor) -> tuple[torch.Tensor, ...]:
            given = pytree.tree_unflatten(leaves, structure)
            result, spec = pytree.tree_flatten(torch.func.vmap(function)(*given))
            outputs.append(spec)
            return tuple(result)

        validates = torch.distributions.Distribution._validate_args
        # The checks would branch on values. Members check their actions where SB3 would.
        torch.distributions.Distribution.set_default_validate_args(False)
        try:
            self._call = _without_python(_traced(for_all, flat), flat)
        except _ERRORS as error:
            _logger.debug("a pass could not be traced", exc_info=True)
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise CannotBatch(f"torch cannot vectorise the networks ({reason})") from error
        finally:
            torch.distributions.Distribution.set_default_validate_args(validates)
        self._output = outputs[0]

    def __call__(self, *arguments: Tree) -> Tree:
        """Compute it for all members.

        Args:
            *arguments: As the examples, with other values.
        """
        with torch.no_grad():
            results = self._call(*pytree.tree_leaves(arguments))
        return pytree.tree_unflatten(list(results), self._output)


def _traced(function: Any, arguments: list[torch.Tensor]) -> torch.fx.GraphModule:
    try:  # here, as a torch without this private module can do all else
        from torch.fx.experimental.proxy_tensor import make_fx
    except ImportError as error:
        raise CannotBatch(f"torch {torch.__version__} cannot trace a pass ({error})") from error
    graph = make_fx(function)(*arguments)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph


def _without_python(graph: torch.fx.GraphModule, arguments: list[torch.Tensor]) -> Any:
    trace: Any = torch.jit.trace
    with warnings.catch_warnings():
        # Deprecated for torch.compile, which needs a C++ compiler on the user's machine.
        warnings.filterwarnings("ignore", ".*torch.jit", DeprecationWarning)
        return trace(graph, tuple(arguments), check_trace=False)
