from __future__ import annotations

import pytest
import torch

from sb3_hpo.training.batch.rows import Rows
from sb3_hpo.training.batch.structure import CannotBatch

INPUT = torch.tensor([[1.0, -2.0, 0.5]])


def nets(n: int = 4) -> list[torch.nn.Module]:
    torch.manual_seed(5)
    return [
        torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
        for _ in range(n)
    ]


def test_rows_hold_the_parameters_in_order_and_modules_are_unchanged() -> None:
    parts, originals = nets(), nets()
    rows = Rows("some", parts)
    for row, (part, original) in enumerate(zip(parts, originals, strict=True)):
        flat = torch.cat([p.detach().flatten() for p in original.parameters()])
        assert torch.equal(rows.values[row], flat)
        assert torch.equal(part(INPUT), original(INPUT))
        named = rows.named(rows.values[row])
        assert named.keys() == dict(original.named_parameters()).keys()
        assert all(torch.equal(named[k], v) for k, v in original.named_parameters())
        assert [id(p) for p in rows.members(row)] == [id(p) for p in part.parameters()]
        assert all(isinstance(p, torch.nn.Parameter) for p in part.parameters())


def test_changed_row_changes_its_module_alone_and_the_other_way_round() -> None:
    parts, originals = nets(), nets()
    rows = Rows("some", parts)
    rows.values[1].fill_(0.5)
    assert all(bool((p == 0.5).all()) for p in parts[1].parameters())
    with torch.no_grad():
        for parameter in parts[2].parameters():
            parameter.fill_(0.25)
    assert bool((rows.values[2] == 0.25).all())
    assert torch.equal(parts[0](INPUT), originals[0](INPUT))
    assert torch.equal(parts[3](INPUT), originals[3](INPUT))


def test_released_module_keeps_its_values_and_is_no_longer_in_its_row() -> None:
    parts = nets()
    rows = Rows("some", parts)
    rows.values[1].fill_(0.5)
    output = parts[1](INPUT)
    rows.release(1)
    rows.values.zero_()
    assert torch.equal(parts[1](INPUT), output)
    assert parts[0](INPUT).tolist() == [[0.0, 0.0]]
    with torch.no_grad():
        next(parts[1].parameters()).fill_(7)
    assert float(rows.values.abs().sum()) == 0


def test_kept_rows_are_views_again_and_released_ones_stay_apart() -> None:
    parts, originals = nets(), nets()
    rows = Rows("some", parts)
    for row in (0, 2):
        rows.release(row)
    rows.keep([1, 3])
    assert rows.values.shape == (2, 4 * 3 + 4 + 2 * 4 + 2)
    for part, original in zip(parts, originals, strict=True):
        assert torch.equal(part(INPUT), original(INPUT))
    rows.values[1].fill_(0.5)
    assert all(bool((p == 0.5).all()) for p in parts[3].parameters())
    for member in (0, 1, 2):
        assert torch.equal(parts[member](INPUT), originals[member](INPUT))
    assert [id(p) for p in rows.members(1)] == [id(p) for p in parts[3].parameters()]


def test_rows_of_tensors() -> None:
    tensors = [torch.tensor([float(i)], requires_grad=True) for i in range(3)]
    rows = Rows("log_ent_coef", tensors)
    assert rows.values.tolist() == [[0.0], [1.0], [2.0]]
    assert rows.named(rows.values[2])[""].tolist() == [2.0]
    rows.values[1] = 9.0
    assert tensors[1].item() == 9.0
    assert tensors[1].requires_grad
    assert tensors[1].is_leaf


def test_module_in_a_row_still_learns_by_itself() -> None:
    parts, originals = nets(2), nets(2)
    rows = Rows("some", parts)
    for part in (parts[0], originals[0]):
        optimizer = torch.optim.SGD(part.parameters(), lr=0.1)
        part(INPUT).sum().backward()
        optimizer.step()
    assert torch.allclose(parts[0](INPUT), originals[0](INPUT))
    flat = torch.cat([p.detach().flatten() for p in parts[0].parameters()])
    assert torch.equal(rows.values[0], flat)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (torch.nn.Linear(3, 5), "the q networks differ in their shapes"),
        (torch.nn.Linear(3, 4, bias=False), "the q networks differ in their shapes"),
    ],
)
def test_rows_refuse_modules_of_other_shapes(other: torch.nn.Module, reason: str) -> None:
    with pytest.raises(CannotBatch, match=reason):
        Rows("q", [torch.nn.Linear(3, 4), other])


def test_rows_refuse_buffers_and_other_precisions() -> None:
    norms = [torch.nn.BatchNorm1d(3) for _ in range(2)]
    with pytest.raises(CannotBatch, match="the q network has buffers"):
        Rows("q", norms)
    with pytest.raises(CannotBatch, match="not in 32-bit floats"):
        Rows("q", [torch.nn.Linear(3, 4).double() for _ in range(2)])
