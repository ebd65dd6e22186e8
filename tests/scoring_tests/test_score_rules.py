from __future__ import annotations

import pytest

from sb3_hpo.scoring.score_rules import score_rule
from sb3_hpo.utils.errors import UserError


@pytest.mark.parametrize(
    ("name", "score"),
    [
        ("last_half", 6.0),  # (8 + 6 + 4) / 3: the odd one in the middle counts
        ("final", 4.0),
        ("best", 10.0),
        ("auc", 6.0),
        ("last_1", 4.0),
        ("last_2", 5.0),
        ("last_4", 7.0),
        ("last_99", 6.0),
        ("statistics:median", 6.0),
    ],
)
def test_score_rule_of_five_values_is_as_computed_by_hand(name: str, score: float) -> None:
    assert score_rule(name)([2.0, 10.0, 8.0, 6.0, 4.0]) == score


@pytest.mark.parametrize("name", ["last_half", "final", "best", "auc", "last_3"])
def test_score_rule_of_one_value_is_the_value(name: str) -> None:
    assert score_rule(name)([-3.0]) == -3.0


def test_score_rule_last_half_of_even_length_is_the_second_half() -> None:
    assert score_rule("last_half")([0.0, 0.0, 1.0, 2.0]) == 1.5


@pytest.mark.parametrize("name", ["last_haf", "last_0", "last_-1", "last_02"])
def test_score_rule_unknown_name_lists_the_rules(name: str) -> None:
    known = r"Known: auc, best, final, last_<k>, last_half, module:function$"
    with pytest.raises(UserError, match=f"unknown score '{name}'; .*{known}"):
        score_rule(name)


def test_score_rule_missing_function_is_refused() -> None:
    with pytest.raises(UserError, match="statistics:medium: unknown name 'medium'; did you mean"):
        score_rule("statistics:medium")
