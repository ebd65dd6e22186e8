from __future__ import annotations

from pathlib import Path

import pytest

from sb3_hpo.utils import errors
from sb3_hpo.utils.errors import UserError, check_installed, how_to_install, unknown_name


def test_unknown_name_misspelt_suggests_the_nearest() -> None:
    text = unknown_name("algorithm", "ppoo", ["sac", "ppo"])
    assert text == "unknown algorithm 'ppoo'; did you mean 'ppo'? Known: ppo, sac"


def test_unknown_name_far_from_all_only_lists() -> None:
    text = unknown_name("sampler", "xyzzy", ("tpe", "gp"))
    assert text == "unknown sampler 'xyzzy'; Known: gp, tpe"


def test_how_to_install_an_extra_works_from_a_checkout_and_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = Path(__file__).parents[2]
    assert how_to_install("redis") == f"pip install -e '{checkout}[redis]'"
    monkeypatch.setattr(errors, "_PACKAGE", tmp_path / "site-packages/sb3_hpo")
    assert how_to_install("redis") == "pip install 'sb3-hpo[redis]'"


def test_user_error_is_a_value_error() -> None:
    with pytest.raises(ValueError, match=r"^repair me$"):
        raise UserError("repair me")


def test_package_inside_of_one_that_is_missing_is_missing() -> None:
    with pytest.raises(UserError, match=r"^storage: grpc:// needs no_such.inner: pip install"):
        check_installed("storage: grpc://", ["no_such.inner"], extra="grpc")
