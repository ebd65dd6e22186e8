from __future__ import annotations

import os

import pytest

# Before torch is imported, and inherited by the workers that tests start.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"))


@pytest.fixture(autouse=True, scope="session")
def one_torch_thread() -> None:
    """Results depend on the thread count, and more threads than cores make tests crawl."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def quiet_optuna() -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
