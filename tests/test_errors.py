from __future__ import annotations

import pytest

from sb3_hpo.errors import UserError, unknown_name


def test_unknown_name_misspelt_suggests_the_nearest() -> None:
    text = unknown_name("algorithm", "ppoo", ["sac", "ppo"])
    assert text == "unknown algorithm 'ppoo'; did you mean 'ppo'? Known: ppo, sac"


def test_unknown_name_far_from_all_only_lists() -> None:
    text = unknown_name("sampler", "xyzzy", ("tpe", "gp"))
    assert text == "unknown sampler 'xyzzy'; Known: gp, tpe"


def test_user_error_is_a_value_error() -> None:
    with pytest.raises(ValueError, match=r"^mend me$"):
        raise UserError("mend me")
