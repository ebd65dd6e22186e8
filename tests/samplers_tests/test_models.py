"""Points of the spaces become models: without complaint, and with the values asked for."""

from __future__ import annotations

import pytest
from optuna.trial import FixedTrial

from samplers import SEARCH_SPACES, Size
from tests.samplers_tests.arrivals import ARRIVALS, Arrival
from tests.samplers_tests.random_points import (
    MODEL_PROBLEMS,
    build,
    check_point,
    check_points,
    context_of,
)
from tests.samplers_tests.support import ALGORITHMS, DISCRETE_ONLY, SIZES, draw, make_context

SMALL_PROBLEMS = [(algo, kind) for algo, kind in MODEL_PROBLEMS if kind in ("box", "discrete")]
# Images take nine tenths of the time: one point of each in the fast tests, many by hand.
PROBLEMS_WITHOUT_IMAGES = [
    (a, kind) for a, kind in MODEL_PROBLEMS if kind not in ("dict", "image")
]


@pytest.mark.parametrize(("algo", "kind"), SMALL_PROBLEMS)
@pytest.mark.parametrize("size", SIZES)
def test_random_points_of_usual_budgets_are_valid(algo: str, kind: str, size: Size) -> None:
    gammas = set()
    for seed, n_envs in enumerate((1, 8)):
        context = context_of(algo, kind, n_envs, 20_000)
        for point in draw(algo, context, size, 2, seed):
            model = build(algo, point.kwargs, kind=kind, n_envs=n_envs)
            gammas.add(getattr(model, "gamma", seed))
            assert getattr(model, "gamma", seed) == point.kwargs.get("gamma", seed)
    assert len(gammas) == (2 if algo == "ars" else 4)


@pytest.mark.parametrize(("algo", "kind"), MODEL_PROBLEMS)
def test_random_point_is_updated_once(algo: str, kind: str) -> None:
    context = context_of(algo, kind, 4, 640)
    for point in draw(algo, context, "full", 1, seed=3):
        check_point(algo, kind, point.kwargs, 4)


@pytest.mark.slow
@pytest.mark.parametrize(("algo", "kind"), PROBLEMS_WITHOUT_IMAGES)
def test_many_random_points_are_updated_once(algo: str, kind: str) -> None:
    assert check_points(algo, kind, n_points=1) == 4


@pytest.mark.parametrize(
    ("algo", "arrival"),
    [
        pytest.param(algo, arrival, id=f"{algo}-{arrival.dimension}")
        for algo, arrivals in ARRIVALS.items()
        for arrival in arrivals
    ],
)
def test_value_arrives_in_the_model(algo: str, arrival: Arrival) -> None:
    space = SEARCH_SPACES[algo]
    base = {**space.default_params, "buffer_size": 54_321}
    assert arrival.value != base.get(arrival.dimension)
    params = {**base, **arrival.given, arrival.dimension: arrival.value}
    context = make_context(algo, n_timesteps=100_000)
    kwargs = space.sample(FixedTrial(params), context=context, size="full")
    model = build(algo, kwargs, kind="discrete" if algo in DISCRETE_ONLY else "box")
    assert arrival.read(model) == arrival.expected


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_arrival_of_every_dimension_is_tested(algo: str) -> None:
    context = make_context(algo, n_timesteps=100_000)
    sampled = set().union(*(point.params for point in draw(algo, context, "full", 100)))
    assert {arrival.dimension for arrival in ARRIVALS[algo]} == sampled
