from __future__ import annotations

from typing import TYPE_CHECKING

import optuna
import pytest
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True, scope="session")
def _one_quiet_thread() -> Iterator[None]:
    # More threads than cores make small networks slower.
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(verbosity)
    torch.set_num_threads(n_threads)
