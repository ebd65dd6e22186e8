from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState, create_trial

import samplers
from sb3_hpo.algorithms.kwargs import serialize_kwargs
from sb3_hpo.config.study_config import make_config
from sb3_hpo.reevaluation.candidates import pick_candidates, replay_through
from sb3_hpo.reevaluation.race import Round
from sb3_hpo.results.reevaluation_runs import Candidate
from sb3_hpo.spaces.bound_space import SIZES
from sb3_hpo.study.preflight import prepare
from sb3_hpo.utils.errors import UserError
from tests.support.reevaluations import (
    candidate,
    ended_trial,
    small_config,
    study_of,
    study_with_values,
    trial_of,
)

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from samplers import Size


CONFIG = small_config()


def test_pick_candidates_takes_the_best_by_value() -> None:
    study = study_with_values([1.0, 5.0, 3.0, 4.0, 2.0])
    candidates, rounds = pick_candidates(study, small_config(top=3))
    assert candidates == [candidate(1, 5.0), candidate(3, 4.0), candidate(2, 3.0)]
    assert rounds[0] == Round(3, 1)


def test_pick_candidates_equal_arguments_are_one_candidate() -> None:
    same: dict[str, Any] = {"gamma": 0.9, "policy_kwargs": {"net_arch": [64]}}
    turned = {"policy_kwargs": {"net_arch": [64]}, "gamma": 0.9}
    study = study_of([trial_of(0, 1.0), trial_of(1, 3.0, same), trial_of(2, 2.0, turned)])
    candidates, _ = pick_candidates(study, small_config(top=2))
    assert [each.trial for each in candidates] == [1, 0]


def test_pick_candidates_top_one_does_not_race() -> None:
    candidates, rounds = pick_candidates(study_with_values([1.0] * 30), small_config(top=1))
    assert candidates == [candidate(0, 1.0)]
    assert rounds == ()


def test_pick_candidates_top_larger_than_there_are_is_refused() -> None:
    study = study_with_values([1.0, 2.0, 3.0], n_pruned=9)
    text = r"^top: `top <= COMPLETE trials that differ` must hold, but got 4 > 3$"
    with pytest.raises(UserError, match=text):
        pick_candidates(study, small_config(top=4))


def test_pick_candidates_without_complete_trial_is_refused() -> None:
    study = study_of([ended_trial("dropped"), ended_trial("diverged")])
    text = r"^study 'made-up' has no COMPLETE trial to be re-evaluated; run more trials$"
    with pytest.raises(UserError, match=text):
        pick_candidates(study, CONFIG)


def constrained_study(worst: dict[float, float]) -> optuna.Study:
    """Return a plain Optuna study of trials with these values and a constraint each."""
    study = optuna.create_study(study_name="tight", direction="maximize")
    for value, excess in worst.items():
        trial = study.ask()
        trial.suggest_float("rate", value, value)
        trial.set_constraint("safe", -1.0)
        trial.set_constraint("cost", excess)
        study.tell(trial, value)
    return study


def replay_rate(trial: FrozenTrial) -> dict[str, object]:
    return {"learning_rate": trial.params["rate"]}


def test_pick_candidates_leaves_out_trials_that_break_a_constraint() -> None:
    study = constrained_study({1.0: 0.0, 9.0: 0.5, 2.0: -3.0})
    candidates, _ = pick_candidates(study, small_config(top=2), replay_rate)
    assert [(each.trial, each.kwargs) for each in candidates] == [
        (2, {"learning_rate": 2.0}),
        (0, {"learning_rate": 1.0}),
    ]
    assert candidates[0].trial == study.best_trial.number


@pytest.mark.filterwarnings("ignore:.*constraints_func")
def test_pick_candidates_knows_constraints_of_the_sampler_too() -> None:
    sampler = optuna.samplers.TPESampler(
        seed=0, constraints_func=lambda trial: (trial.params["rate"] - 0.5,)
    )
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for rate in (0.9, 0.4, 0.8, 0.3):
        study.enqueue_trial({"rate": rate})
    study.optimize(lambda trial: trial.suggest_float("rate", 0.0, 1.0), n_trials=4)
    candidates, _ = pick_candidates(study, small_config(top=2), replay_rate)
    assert [each.trial for each in candidates] == [1, 3]


def test_pick_candidates_without_feasible_trial_is_refused() -> None:
    text = (
        r"^study 'tight' has no feasible COMPLETE trial to be re-evaluated: all 2 break a "
        r"constraint \(a value above 0\); run more trials or relax the constraint$"
    )
    with pytest.raises(UserError, match=text):
        pick_candidates(constrained_study({1.0: 2.0, 3.0: 0.1}), CONFIG, replay_rate)


@pytest.mark.parametrize(("n_trials", "races"), [(23, False), (24, True)])
def test_pick_candidates_few_trials_do_not_race(n_trials: int, races: bool) -> None:
    study = study_with_values([float(i) for i in range(10)], n_pruned=n_trials - 10)
    candidates, rounds = pick_candidates(study, CONFIG)
    assert candidates[0] == candidate(9, 9.0)
    assert (len(candidates) > 1, rounds != ()) == (races, races)


def test_pick_candidates_fewer_different_ones_than_planned_race_all_the_same() -> None:
    study = study_with_values([1.0, 2.0], n_pruned=30)
    candidates, rounds = pick_candidates(study, CONFIG)
    assert candidates == [candidate(1, 2.0), candidate(0, 1.0)]
    assert [round_.n_candidates for round_ in rounds] == [2, 2]


def test_pick_candidates_one_different_one_is_not_challenged() -> None:
    study = study_of([trial_of(0, 1.0, {}), trial_of(1, 2.0, {}), *[ended_trial("dropped")] * 30])
    candidates, rounds = pick_candidates(study, CONFIG)
    assert [each.trial for each in candidates] == [1]
    assert rounds == ()


SPACE: dict[str, BaseDistribution] = {
    "rate": FloatDistribution(1e-5, 1e-2, log=True),
    "n_steps": IntDistribution(8, 64),
    "net": CategoricalDistribution(("small", "big")),
}
PARAMS: dict[str, Any] = {"rate": 1e-3, "n_steps": 32, "net": "big"}


def sample(trial: Any) -> dict[str, Any]:
    """A search space that is not ours."""
    arch = {"small": (8,), "big": (64, 64)}[trial.suggest_categorical("net", ("small", "big"))]
    return {
        "learning_rate": trial.suggest_float("rate", 1e-5, 1e-2, log=True),
        "n_steps": trial.suggest_int("n_steps", 8, 64),
        "policy_kwargs": {"net_arch": arch},
    }


REPLAYED = {
    "learning_rate": 1e-3,
    "n_steps": 32,
    "policy_kwargs": {"net_arch": {"$tuple": [64, 64]}},
}


def foreign_trial(**changes: Any) -> FrozenTrial:
    """Return a COMPLETE trial of a plain Optuna study; a change to None leaves a value out."""
    params = {name: value for name, value in {**PARAMS, **changes}.items() if value is not None}
    wide: dict[str, BaseDistribution] = {
        **SPACE,
        "rate": FloatDistribution(1e-9, 1.0, log=True),
        "n_steps": IntDistribution(1, 10_000),
        "net": CategoricalDistribution(("small", "big", "huge")),
        "gamma": FloatDistribution(0.0, 1.0),
        "tau": FloatDistribution(0.0, 1.0),
    }
    distributions = {name: wide[name] for name in params}
    return create_trial(
        state=TrialState.COMPLETE, value=1.0, params=params, distributions=distributions
    )


def test_replay_through_describes_what_the_space_makes_of_the_parameters() -> None:
    assert replay_through(sample)(foreign_trial()) == REPLAYED


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"rate": None}, r": it has no parameter 'rate'"),
        ({"rate": 0.5}, r": parameter 'rate': The value 0\.5 .* is out of the range of .*"),
        ({"n_steps": 65}, r": parameter 'n_steps': The value 65 .* is out of the range of .*"),
        ({"net": "huge"}, r": parameter 'net': 'huge' not in \('small', 'big'\)"),
        ({"tau": 0.5, "gamma": 0.9}, r", which knows no gamma, tau"),
    ],
)
def test_replay_through_another_space_says_which_and_why(changes: Any, why: str) -> None:
    text = (
        rf"^trial -1 does not replay through this search space{why}; "
        r"pass the --space it was sampled from$"
    )
    with pytest.raises(UserError, match=text) as caught:
        replay_through(sample)(foreign_trial(**changes))
    assert "\n" not in str(caught.value)


def test_replay_through_space_that_optuna_warns_of_anyway_is_replayed() -> None:
    def uneven(trial: Any) -> dict[str, Any]:
        return {"n_steps": trial.suggest_int("n_steps", 8, 65, step=8)}

    study = optuna.create_study(direction="maximize")
    with pytest.warns(UserWarning, match="not divisible"):
        study.optimize(lambda trial: float(uneven(trial)["n_steps"]), n_trials=1)
    with pytest.warns(UserWarning, match="not divisible"):
        assert replay_through(uneven)(study.trials[0]) == study.trials[0].params


def test_replay_through_arguments_that_cannot_be_written_down_say_so() -> None:
    text = "^trial -1 does not replay .*: <object object at .*> cannot be written down: use"
    with pytest.raises(UserError, match=text):
        replay_through(lambda _: {"rate": object()})(foreign_trial())


def test_pick_candidates_of_a_foreign_study_are_replayed() -> None:
    config = small_config(policy_kwargs={"ortho_init": False})
    study = study_of([foreign_trial()])
    candidates, _ = pick_candidates(study, config, replay_through(sample))
    policy_kwargs = {"net_arch": {"$tuple": [64, 64]}, "ortho_init": False}
    expected = {**REPLAYED, "policy_kwargs": policy_kwargs}
    assert candidates == [Candidate(trial=0, kwargs=expected, trial_value=1.0)]


def test_pick_candidates_of_a_foreign_study_without_space_is_refused() -> None:
    text = "^trial 0 has no record of what was trained: say which search space its"
    with pytest.raises(UserError, match=text):
        pick_candidates(study_of([foreign_trial()]), CONFIG)


@pytest.mark.parametrize("algo", sorted(samplers.SEARCH_SPACES))
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("is_bare", [True, False])
def test_replay_makes_what_was_sampled_with_or_without_a_context(
    algo: str, size: Size, is_bare: bool
) -> None:
    """In the order of `reevaluate`, for README's bare function and for one with our context."""
    env = {"dqn": "make_discrete_env", "qrdqn": "make_discrete_env", "maskable_ppo": "MaskedEnv"}
    space = prepare(
        make_config(
            {
                "algo": algo, "env": f"tests.support.envs:{env.get(algo, 'TargetEnv')}",
                "n_timesteps": 10_000, "n_envs": 2, "space_size": size,
            }
        )
    )  # fmt: skip
    shipped = partial(samplers.SEARCH_SPACES[algo].sample, size=size)
    sample = shipped if is_bare else space.sample
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=3))
    made = [serialize_kwargs(sample(study.ask())) for _ in range(10)]
    replay = replay_through(space.sample, *space.bare)
    assert [replay(trial) for trial in study.trials] == made
