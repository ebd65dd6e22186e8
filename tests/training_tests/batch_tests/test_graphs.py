from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING

import pytest
import torch

from sb3_hpo.training.batch import graphs
from sb3_hpo.training.batch.graphs import Graph
from sb3_hpo.training.batch.structure import CannotBatch

if TYPE_CHECKING:
    from collections.abc import Callable


def double(given: torch.Tensor) -> torch.Tensor:
    return 2 * given


def test_graph_computes_for_all() -> None:
    graph = Graph(double, (torch.ones(3, 2),))
    assert graph(torch.arange(6.0).reshape(3, 2)).tolist() == [[0, 2], [4, 6], [8, 10]]


def test_without_the_private_modules_of_torch_there_are_no_graphs_but_all_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "torch.fx.experimental.proxy_tensor", None)
    spec = importlib.util.spec_from_file_location("other_graphs", graphs.__file__)
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    with pytest.raises(CannotBatch, match="cannot trace a pass"):
        Graph(double, (torch.ones(3, 2),))


def attribute(given: torch.Tensor) -> torch.Tensor:
    missing: torch.Tensor = given.missing  # type: ignore[attr-defined]
    return missing


def key(given: torch.Tensor) -> torch.Tensor:
    return {"a": given}["b"]


def index(given: torch.Tensor) -> torch.Tensor:
    return (given,)[len(given.shape)]


def kind(given: torch.Tensor) -> torch.Tensor:
    return given + "1"  # type: ignore[operator]


@pytest.mark.parametrize("function", [attribute, key, index, kind])
def test_errors_while_tracing_are_refusals_that_are_logged(
    function: Callable[..., torch.Tensor], caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level("DEBUG", "sb3_hpo.training.batch.graphs"),
        pytest.raises(CannotBatch, match="torch cannot vectorise the networks"),
    ):
        Graph(function, (torch.ones(3, 2),))
    (record,) = [item for item in caplog.records if item.name == graphs.__name__]
    assert record.exc_info is not None
    assert f"in {function.__name__}" in caplog.text
