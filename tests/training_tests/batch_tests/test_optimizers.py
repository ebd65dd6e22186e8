from __future__ import annotations

from typing import Any

import pytest
import torch
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike

from sb3_hpo.training.batch.optimizers import Optimizer
from sb3_hpo.training.batch.rows import Rows
from sb3_hpo.training.batch.structure import CannotBatch

KINDS = [
    (torch.optim.Adam, {}),
    (torch.optim.Adam, {"weight_decay": 0.1, "betas": (0.8, 0.95), "eps": 1e-5}),
    (torch.optim.RMSprop, {"alpha": 0.9, "eps": 1e-5}),
    (torch.optim.RMSprop, {"weight_decay": 0.1}),
    (RMSpropTFLike, {"alpha": 0.9, "eps": 1e-5, "weight_decay": 0.1}),
]
RATES = (1e-3, 1e-1, 0.0)


def modules() -> list[torch.nn.Module]:
    torch.manual_seed(3)
    return [torch.nn.Linear(3, 2) for _ in RATES]


def gradients(step: int) -> list[list[torch.Tensor]]:
    generator = torch.Generator().manual_seed(step)
    shapes = [(2, 3), (2,)]
    return [[torch.randn(shape, generator=generator) for shape in shapes] for _ in RATES]


def optimizers_of(kind: Any, settings: dict[str, Any], parts: list[torch.nn.Module]) -> list[Any]:
    pairs = zip(parts, RATES, strict=True)
    return [kind(part.parameters(), lr=rate, **settings) for part, rate in pairs]


def rate_at(step: int, rate: float) -> float:
    return rate / (1 + step)


def steps_of_torch(kind: Any, settings: dict[str, Any], n: int) -> tuple[list[Any], list[Any]]:
    parts = modules()
    optimizers = optimizers_of(kind, settings, parts)
    for step in range(n):
        for member, gradient in enumerate(gradients(step)):
            optimizers[member].param_groups[0]["lr"] = rate_at(step, RATES[member])
            for parameter, part in zip(parts[member].parameters(), gradient, strict=True):
                parameter.grad = part
            optimizers[member].step()
    return parts, optimizers


def steps_of_rows(kind: Any, settings: dict[str, Any], n: int) -> tuple[Any, Any, list[Any]]:
    parts = modules()
    rows = Rows("some", parts)
    own = optimizers_of(kind, settings, parts)
    optimizer = Optimizer(rows, own)
    for step in range(n):
        for member, rate in enumerate(RATES):
            own[member].param_groups[0]["lr"] = rate_at(step, rate)
        flat = [torch.cat([p.flatten() for p in gradient]) for gradient in gradients(step)]
        values, state = torch.func.vmap(optimizer.update)(
            rows.values, torch.stack(flat), optimizer.state, optimizer.rates()
        )
        rows.values.copy_(values)
        optimizer.state = state
    return optimizer, rows, parts


@pytest.mark.parametrize(("kind", "settings"), KINDS)
def test_optimizer_makes_the_steps_of_torch(kind: Any, settings: dict[str, Any]) -> None:
    theirs, _ = steps_of_torch(kind, settings, 8)
    _, _, ours = steps_of_rows(kind, settings, 8)
    for one, other, start in zip(ours, theirs, modules(), strict=True):
        for name, value in other.state_dict().items():
            torch.testing.assert_close(one.state_dict()[name], value, rtol=1e-6, atol=1e-7)
            moved = not torch.equal(value, start.state_dict()[name])
            assert moved == (other is not theirs[2])  # whose rate is 0


@pytest.mark.parametrize(("kind", "settings"), KINDS)
def test_write_back_gives_each_its_state(kind: Any, settings: dict[str, Any]) -> None:
    _, theirs = steps_of_torch(kind, settings, 5)
    optimizer, _, _ = steps_of_rows(kind, settings, 5)
    own = optimizer.optimizers
    for row in range(len(RATES)):
        assert not own[row].state
        optimizer.write_back(row)
        state, wanted = own[row].state_dict()["state"], theirs[row].state_dict()["state"]
        assert state.keys() == wanted.keys() == {0, 1}
        for index in wanted:
            torch.testing.assert_close(state[index], wanted[index], rtol=1e-6, atol=1e-7)


def test_write_back_before_the_first_step_leaves_a_fresh_optimizer() -> None:
    optimizer, _, _ = steps_of_rows(torch.optim.Adam, {}, 0)
    optimizer.write_back(0)
    assert not optimizer.optimizers[0].state


def test_keep_keeps_states_and_rates_of_these_rows() -> None:
    optimizer, rows, _ = steps_of_rows(torch.optim.Adam, {}, 3)
    before = {name: value.clone() for name, value in optimizer.state.items()}
    rows.keep([2, 0])
    optimizer.keep([2, 0])
    assert optimizer.rates().tolist() == [0.0, rate_at(2, RATES[0])]
    for name, value in optimizer.state.items():
        assert torch.equal(value, before[name][[2, 0]])


def refusing(match: str, parts: list[torch.nn.Module], optimizers: list[Any]) -> None:
    with pytest.raises(CannotBatch, match=match):
        Optimizer(Rows("some", parts), optimizers)


def test_optimizer_refuses_what_it_does_not_know() -> None:
    parts = modules()
    adam, sgd = torch.optim.Adam, torch.optim.SGD
    refusing("the optimizer SGD has no batched form", parts, optimizers_of(sgd, {}, parts))
    for settings in ({"amsgrad": True}, {"maximize": True}):
        refusing("has no batched form", parts, optimizers_of(adam, settings, parts))
    momentum = optimizers_of(torch.optim.RMSprop, {"momentum": 0.9}, parts)
    refusing("momentum=0.9", parts, momentum)
    mixed = [*optimizers_of(adam, {}, parts)[:2], sgd(parts[2].parameters(), lr=1.0)]
    refusing("the optimizers differ: Adam and SGD", parts, mixed)
    other = [adam(part.parameters(), eps=10.0**-i) for i, part in enumerate(parts)]
    refusing("differ in more than their learning rates", parts, other)
    groups = [adam([{"params": [p]} for p in part.parameters()]) for part in parts]
    refusing("several groups", parts, groups)
    _, stepped = steps_of_torch(adam, {}, 1)
    refusing("have made steps already", parts, stepped)
    partly = [adam([next(part.parameters())]) for part in parts]
    refusing("does not have exactly the parameters", parts, partly)
