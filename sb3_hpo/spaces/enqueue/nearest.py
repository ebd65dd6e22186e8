"""The point of a search space that is next to given arguments of an algorithm."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from optuna.distributions import CategoricalDistribution, IntDistribution

from sb3_hpo.algorithms.kwargs import serialize_kwargs
from sb3_hpo.spaces.dimensions import is_shared, names_held_by, short_name, to_dimension
from sb3_hpo.spaces.points import draw_at, nearest_point
from sb3_hpo.utils.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from optuna.distributions import BaseDistribution

    from sb3_hpo.spaces.bound_space import BoundSpace

    Dimensions = Mapping[str, BaseDistribution]


_MAX_CANDIDATES = 64  # of one dimension, where its value is found by trying


def params_near(kwargs: Mapping[str, Any], space: BoundSpace) -> dict[str, Any]:
    """Find the point of a space whose arguments are next to given ones.

    Numbers are read through the names of the dimensions; what decides an argument in words of its
    own (a number of minibatches, a kind of noise) is found by trying its values.

    Args:
        kwargs: Description of keyword arguments; what it lacks has SB3's default.

    Returns:
        Parameters by dimension; what cannot be found is left out, for the sampler to draw.
    """
    target = {**kwargs.get("policy_kwargs", {}), **kwargs}
    params = dict(space.default_params)
    unread = []
    for name in space.dimensions:
        held = [key for key in names_held_by(name) if key in target]
        if held:
            params.pop(name, None)
            read = {} if is_shared(name) else _read(name, target[held[0]], space.dimensions)
            params.update(read)
            if not read:
                unread.append((name, held))
    for name, held in unread:
        params.update(_find(name, held, target, params, space))
    return nearest_point(params, space.dimensions)


def _read(name: str, value: Any, dimensions: Dimensions) -> dict[str, Any]:
    """Read a number through the name of its dimension; nothing if it is none."""
    if isinstance(value, dict) and "start" in value:  # a schedule
        value = value["start"]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return {}
    try:
        found = to_dimension(short_name(name), value, dimensions)
    except UserError:
        return {}
    return {} if found is None else nearest_point(dict([found]), dimensions)


def _find(
    name: str,
    held: list[str],
    target: Mapping[str, Any],
    params: Mapping[str, Any],
    space: BoundSpace,
) -> dict[str, Any]:
    """Find a dimension's value by trying: the one whose arguments differ least."""
    best: tuple[float, Any] = (1.0, None)
    for candidate in _candidates(name, held, target, space.dimensions[name]):
        trial = draw_at({**params, name: candidate})
        made = serialize_kwargs(space.sample(trial))
        made = {**made.get("policy_kwargs", {}), **made}
        if name in trial.params:
            distance = max(_distance(made.get(key), target[key]) for key in held)
            best = min(best, (distance, candidate), key=lambda pair: pair[0])
    return {} if best[1] is None else {name: best[1]}


def _candidates(
    name: str, held: list[str], target: Mapping[str, Any], distribution: BaseDistribution
) -> Iterator[Any]:
    """Yield the values of a dimension that may be the one."""
    if isinstance(distribution, CategoricalDistribution):
        yield from distribution.choices
    elif isinstance(distribution, IntDistribution):
        if distribution.high - distribution.low < _MAX_CANDIDATES:
            yield from range(distribution.low, distribution.high + 1, distribution.step)
    else:
        for key in held:
            value = target[key]
            if isinstance(value, dict) and "sigma" in value:
                value = value["sigma"][0]
            yield from nearest_point({name: value}, {name: distribution}).values()


def _distance(made: Any, wanted: Any) -> float:
    """Return how far two descriptions are apart: below 1 for different values of one kind."""
    made, wanted = _one_for_both(made), _one_for_both(wanted)
    if made == wanted:
        return 0.0
    if isinstance(made, dict) and isinstance(wanted, dict) and "$call" in made:
        return 0.5 if made["$call"] == wanted.get("$call") else math.inf
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (made, wanted))
    if not numbers or made <= 0 or wanted <= 0:
        return math.inf
    apart = abs(math.log(made / wanted))
    return apart / (1 + apart)


def _one_for_both(layers: Any) -> Any:
    """Return the layers of actor and critic as one list where they are the same."""
    if isinstance(layers, dict) and set(layers) in ({"pi", "vf"}, {"pi", "qf"}):
        first, second = layers.values()
        return first if first == second else layers
    return layers
