"""Made-up studies and reruns, small enough that every number of them is known."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from sb3_hpo.config.study_config import StudyConfig, make_config
from sb3_hpo.results.reevaluation_runs import (
    Candidate,
    ReevaluationRequest,
    ReevaluationRun,
    make_request,
)
from sb3_hpo.results.run_record import Evaluation, Outcome, RunRecord
from sb3_hpo.results.trials import DEFAULT_POINT, OUTCOME, RUN, SOURCE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sb3_hpo.results.reevaluation_runs import Stage

STEPS, SECONDS = 1000, 2.0  # of every made-up run


def small_config(**values: Any) -> StudyConfig:
    """Return a configuration of four test seeds with two episodes each."""
    small = {"score": "final", "pruner": "none", "n_evaluations": 2, "n_eval_episodes": 2}
    test = {"test_seeds": 4, "test_episodes": 2}
    return make_config({"algo": "ppo", "env": "Pendulum-v1", **small, **test, **values})


def candidate(trial: int, value: float | None = None) -> Candidate:
    """Return a candidate whose arguments are its own."""
    return Candidate(trial=trial, kwargs={"n_epochs": trial}, trial_value=value)


def evaluation(returns: Sequence[float], metric: Sequence[float] | None = None) -> Evaluation:
    return Evaluation(
        nominal_step=STEPS,
        actual_step=STEPS,
        returns=tuple(returns),
        lengths=(200,) * len(returns),
        metric=None if metric is None else tuple(metric),
    )


def record(
    kwargs: dict[str, Any],
    evaluations: Sequence[Evaluation],
    outcome: Outcome = "finished",
    seed: int = 0,
) -> RunRecord:
    return RunRecord(
        seed=seed,
        outcome=outcome,
        reason=None if outcome == "finished" else "made up",
        evaluations=tuple(evaluations),
        n_steps=STEPS,
        n_updates=1,
        seconds=SECONDS,
        kwargs=kwargs,
        n_threads=1,
        versions={},
    )


def made_run(
    config: StudyConfig, request: ReevaluationRequest, value: float | None
) -> ReevaluationRun:
    """Return a run that is judged by two episodes around a value, or that diverged if None."""
    outcome: Outcome = "diverged" if value is None else "finished"
    curve = [] if value is None else [evaluation((value, value))]
    final = None
    if request.stage == "test" and value is not None:
        final = evaluation((value - 1, value + 1))
    return ReevaluationRun(
        key=request.key(config),
        stage=request.stage,
        trial=request.candidate.trial,
        seed_index=request.seed_index,
        record=record(request.candidate.kwargs, curve, outcome, request.seed),
        final=final,
    )


def made_runs(
    config: StudyConfig, stage: Stage, who: Candidate, values: Sequence[float | None]
) -> list[ReevaluationRun]:
    """Return a candidate's runs of one stage, one a value."""
    return [
        made_run(config, make_request(config, stage, who, index), value)
        for index, value in enumerate(values)
    ]


def trial_of(number: int, value: float, kwargs: dict[str, Any] | None = None) -> FrozenTrial:
    """Return a COMPLETE trial with the arguments of `candidate(number)`, or with others."""
    kwargs = {"n_epochs": number} if kwargs is None else kwargs
    run = record(kwargs, [evaluation((value, value))])
    return create_trial(state=TrialState.COMPLETE, value=value, user_attrs=_attrs(run))


def ended_trial(outcome: Outcome) -> FrozenTrial:
    """Return a PRUNED trial."""
    return create_trial(state=TrialState.PRUNED, user_attrs=_attrs(record({}, [], outcome)))


def default_trial(value: float) -> FrozenTrial:
    """Return the first trial of a study, the default point of its space."""
    trial = trial_of(0, value)
    trial.user_attrs = {**trial.user_attrs, SOURCE: DEFAULT_POINT}
    return trial


def study_of(trials: Sequence[FrozenTrial]) -> optuna.Study:
    study = optuna.create_study(direction="maximize", study_name="made-up")
    study.add_trials(trials)
    return study


def study_with_values(values: Sequence[float], n_pruned: int = 0) -> optuna.Study:
    """Return a study whose trial i is `candidate(i, values[i])`, then pruned ones."""
    trials = [trial_of(number, value) for number, value in enumerate(values)]
    return study_of([*trials, *(ended_trial("dropped") for _ in range(n_pruned))])


def _attrs(run: RunRecord) -> dict[str, Any]:
    return {OUTCOME: run.outcome, RUN: json.loads(json.dumps(run.to_dict()))}
