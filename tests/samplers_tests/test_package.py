from __future__ import annotations

import subprocess
import sys

import samplers


def test_import_does_not_load_the_heavy_libraries() -> None:
    code = (
        "import sys, samplers; "
        "print({'torch', 'stable_baselines3', 'gymnasium', 'sb3_hpo'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_exported_names_exist_and_are_sorted() -> None:
    assert all(hasattr(samplers, name) for name in samplers.__all__)
    assert list(samplers.__all__) == sorted(samplers.__all__)


def test_table_has_every_exported_search_space() -> None:
    functions = {name for name in samplers.__all__ if name.startswith("sample_")}
    in_table = {f"sample_{algo}_params" for algo in samplers.SEARCH_SPACES}
    assert functions == in_table
    for algo, space in samplers.SEARCH_SPACES.items():
        assert space.sample is getattr(samplers, f"sample_{algo}_params")
