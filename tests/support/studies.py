"""Synthetic studies with all that a real one leaves behind: records, outcomes, re-evaluations."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState, create_trial

from sb3_hpo.config.study_config import StudyConfig, make_config
from sb3_hpo.results.reevaluation_runs import (
    BASELINE,
    Candidate,
    ReevaluationRequest,
    ReevaluationRun,
    make_request,
)
from sb3_hpo.results.run_record import Evaluation, Outcome, RunRecord
from sb3_hpo.results.study_result import StudyResult, read_result
from sb3_hpo.results.trials import (
    CONFIG,
    DEFAULT_POINT,
    ERROR,
    OUTCOME,
    REASON,
    RUN,
    SOURCE,
    best_trials,
)
from sb3_hpo.scoring.score_rules import score_rule

if TYPE_CHECKING:
    from collections.abc import Sequence

SPACE: dict[str, BaseDistribution] = {
    "learning_rate": FloatDistribution(1e-5, 3e-3, log=True),
    "n_steps_pow": IntDistribution(3, 8),
    "n_epochs": IntDistribution(1, 20, log=True),
    "clip_range": FloatDistribution(0.1, 0.4),
    "one_minus_gamma": FloatDistribution(1e-4, 0.2, log=True),
    "one_minus_gae_lambda": FloatDistribution(5e-4, 0.25, log=True),
    "ent_coef": FloatDistribution(1e-8, 0.1, log=True),
    "max_grad_norm": FloatDistribution(0.3, 5.0, log=True),
    "activation_fn": CategoricalDistribution(("tanh", "relu")),
    "net_arch": CategoricalDistribution(("tiny", "small", "medium")),
}
DEFAULT_PARAMS: dict[str, Any] = {
    "learning_rate": 3e-4,
    "n_steps_pow": 8,
    "n_epochs": 10,
    "clip_range": 0.2,
    "one_minus_gamma": 0.01,
    "one_minus_gae_lambda": 0.05,
    "ent_coef": 1e-8,
    "max_grad_norm": 0.5,
    "activation_fn": "tanh",
    "net_arch": "small",
}
VERSIONS = {"python": "3.11.7", "torch": "2.6.0", "stable_baselines3": "2.9.0"}
LOWEST, HIGHEST = -1450.0, -150.0  # as on Pendulum


def flags_with(flags: Sequence[str], *changes: str) -> list[str]:
    """Return flags of a command with others put in the place of those of the same name."""
    names = {word for word in changes if word.startswith("--")}
    kept: list[str] = []
    skips = False
    for word in flags:
        skips = word in names if word.startswith("--") else skips
        if not skips:
            kept.append(word)
    return [*kept, *changes]


def study_config(**values: Any) -> StudyConfig:
    """Return a configuration whose re-evaluation is small."""
    small = {
        "n_trials": 40, "test_seeds": 5, "test_episodes": 8, "n_eval_episodes": 4,
        "study_name": "made-up",
    }  # fmt: skip
    return make_config({"algo": "ppo", "env": "Pendulum-v1", **small, **values})


def make_study(config: StudyConfig, n_trials: int = 40) -> optuna.Study:
    """Return a study: the default point first, a third pruned, some diverged, lost or failed."""
    rng = np.random.default_rng(config.seed)
    study = optuna.create_study(direction="maximize", study_name=config.name())
    study.set_user_attr(CONFIG, config.model_dump(mode="json"))
    study.add_trials([_trial(config, number, rng) for number in range(n_trials)])
    return study


def _trial(config: StudyConfig, number: int, rng: np.random.Generator) -> FrozenTrial:
    if number == 0:
        attrs = {SOURCE: DEFAULT_POINT}
        return finished_trial(config, DEFAULT_PARAMS, _curve(config, 0.25, rng), {}, attrs)
    params = {name: _draw(distribution, rng) for name, distribution in SPACE.items()}
    curve = _curve(config, _quality(params), rng)
    kwargs = kwargs_of(params)
    if number % 19 == 7:
        return ended_trial(config, params, curve[:2], "diverged", "policy weights are NaN")
    if number % 37 == 11:
        error = {OUTCOME: "error", ERROR: "ValueError: no <good> action & no plan"}
        return _add(params, TrialState.FAIL, error)
    if number % 41 == 13:
        return _add(params, TrialState.PRUNED, {OUTCOME: "lost", REASON: "its worker died"})
    if number > 8 and (number % 3 == 0 or _quality(params) < 0.3):
        return ended_trial(config, params, curve[:4], "dropped", "dropped by the pruner")
    return finished_trial(config, params, curve, kwargs, {})


def _draw(distribution: BaseDistribution, rng: np.random.Generator) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[int(rng.integers(len(distribution.choices)))]
    if not isinstance(distribution, FloatDistribution | IntDistribution):
        raise TypeError(distribution)
    low, high = float(distribution.low), float(distribution.high)
    value = float(rng.uniform(low, high))
    if distribution.log:
        value = math.exp(rng.uniform(math.log(low), math.log(high)))
    return round(value) if isinstance(distribution, IntDistribution) else value


def _quality(params: dict[str, Any]) -> float:
    """Return how good parameters are, 0 to 1: the learning rate and gamma decide."""
    rate = (math.log10(params["learning_rate"]) + 3.0) ** 2
    horizon = (math.log10(params["one_minus_gamma"]) + 1.2) ** 2
    return math.exp(-0.8 * rate - 0.3 * horizon) * (1.0 if params["n_steps_pow"] > 4 else 0.8)


def _curve(config: StudyConfig, quality: float, rng: np.random.Generator) -> list[float]:
    """Return mean returns at the evaluation grid."""
    parts = np.arange(1, config.n_evaluations + 1) / config.n_evaluations
    reached = quality * (1 - np.exp(-4 * parts * (0.3 + quality)))
    noise = rng.normal(0, 25, len(parts)) + rng.normal(0, 15)
    values = LOWEST + (HIGHEST - LOWEST) * reached + noise
    return [float(value) for value in np.minimum(values, HIGHEST + 20)]


def kwargs_of(params: dict[str, Any]) -> dict[str, Any]:
    """Return the description of SB3's arguments that the made-up space stands for."""
    sizes = {"tiny": [64], "small": [64, 64], "medium": [256, 256]}
    activation = {"tanh": "torch.nn:Tanh", "relu": "torch.nn:ReLU"}[params["activation_fn"]]
    same = ("learning_rate", "n_epochs", "clip_range", "ent_coef", "max_grad_norm")
    return {
        **{name: params[name] for name in same},
        "n_steps": 2 ** params["n_steps_pow"],
        "gamma": 1 - params["one_minus_gamma"],
        "gae_lambda": 1 - params["one_minus_gae_lambda"],
        "policy_kwargs": {
            "activation_fn": {"$import": activation},
            "net_arch": {"pi": sizes[params["net_arch"]], "vf": sizes[params["net_arch"]]},
        },
    }


def record_of_curve(
    config: StudyConfig, curve: list[float], kwargs: dict[str, Any], outcome: Outcome = "finished"
) -> RunRecord:
    """Return the record of a run with this learning curve; each episode is 10 off the mean."""
    grid = [config.n_timesteps * (k + 1) // config.n_evaluations for k in range(len(curve))]
    n = config.n_eval_episodes
    return RunRecord(
        seed=17,
        outcome=outcome,
        reason=None if outcome == "finished" else f"made up: {outcome}",
        evaluations=tuple(
            Evaluation(
                nominal_step=step,
                actual_step=step + 48,
                returns=tuple(value + (10.0 if i % 2 else -10.0) for i in range(n)),
                lengths=(200,) * n,
            )
            for step, value in zip(grid, curve, strict=True)
        ),
        n_steps=grid[-1] + 48 if grid else 0,
        n_updates=len(curve),
        seconds=1.5 * len(curve),
        kwargs=kwargs,
        n_threads=1,
        versions=VERSIONS,
    )


def finished_trial(
    config: StudyConfig,
    params: dict[str, Any],
    curve: list[float],
    kwargs: dict[str, Any],
    attrs: dict[str, Any],
) -> FrozenTrial:
    """Return a COMPLETE trial with its record."""
    record = record_of_curve(config, curve, kwargs)
    attrs = {**attrs, OUTCOME: "finished", RUN: json.loads(json.dumps(record.to_dict()))}
    value = float(score_rule(config.score)(curve))
    return _add(params, TrialState.COMPLETE, attrs, record=record, value=value)


def ended_trial(
    config: StudyConfig, params: dict[str, Any], curve: list[float], outcome: Outcome, reason: str
) -> FrozenTrial:
    """Return a PRUNED trial with its record."""
    record = record_of_curve(config, curve, kwargs_of(params), outcome)
    attrs = {OUTCOME: outcome, REASON: reason, RUN: json.loads(json.dumps(record.to_dict()))}
    return _add(params, TrialState.PRUNED, attrs, record=record)


def _add(
    params: dict[str, Any],
    state: TrialState,
    attrs: dict[str, Any],
    record: RunRecord | None = None,
    value: float | None = None,
) -> FrozenTrial:
    evaluations = () if record is None else record.evaluations
    return create_trial(
        state=state,
        value=value,
        params=params,
        distributions={name: SPACE[name] for name in params},
        user_attrs=attrs,
        intermediate_values={e.nominal_step: e.value for e in evaluations},
    )


def make_run(
    config: StudyConfig, request: ReevaluationRequest, curve: list[float]
) -> ReevaluationRun:
    """Return the run of a spec with this learning curve; its last value judges a test run."""
    record = replace(record_of_curve(config, curve, request.candidate.kwargs), seed=request.seed)
    final = None
    if request.stage == "test":
        n = len(request.final_seeds)
        returns = tuple(curve[-1] + (30.0 if i % 2 else -30.0) for i in range(n))
        step = config.n_timesteps
        final = Evaluation(
            nominal_step=step, actual_step=step + 48, returns=returns, lengths=(200,) * n
        )
    return ReevaluationRun(
        key=request.key(config),
        stage=request.stage,
        trial=request.candidate.trial,
        seed_index=request.seed_index,
        record=record,
        final=final,
    )


def make_runs(
    study: optuna.Study, config: StudyConfig, *, top: int = 4, race_seeds: int = 3
) -> list[ReevaluationRun]:
    """Race the best trials, then test the best of all and SB3's default."""
    rng = np.random.default_rng(config.seed + 1)
    all_runs = []
    for rank, candidate in enumerate(candidates(study, top)):
        for index in range(race_seeds if rank < top / 2 else 2):
            request = make_request(config, "race", candidate, index)
            quality = 0.93 - 0.05 * rank + rng.normal(0, 0.02)
            all_runs.append(make_run(config, request, _curve(config, quality, rng)))
    pair = (candidates(study, 1)[0], 0.93), (BASELINE, 0.25)
    for candidate, quality in pair:
        for index in range(config.test_seeds):
            curve = _curve(config, quality + rng.normal(0, 0.02), rng)
            all_runs.append(
                make_run(config, make_request(config, "test", candidate, index), curve)
            )
    return all_runs


def candidates(study: optuna.Study, n: int) -> list[Candidate]:
    """Return the n best trials as candidates."""
    return [
        Candidate(trial=t.number, kwargs=t.user_attrs[RUN]["kwargs"], trial_value=t.value)
        for t in best_trials(study, n)
    ]


def make_result(study: optuna.Study, config: StudyConfig, **options: Any) -> StudyResult:
    """Return the answer after the re-evaluation of `make_runs`."""
    all_runs = make_runs(study, config, **options)
    return read_result(study, config, all_runs, candidates(study, 1)[0])


def no_result(study: optuna.Study, config: StudyConfig) -> StudyResult:
    """Return what is known without any re-evaluation."""
    return read_result(study, config, [], None)
