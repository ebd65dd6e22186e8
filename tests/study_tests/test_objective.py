from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from sb3_hpo.config.study_config import StudyConfig, make_config
from sb3_hpo.results.run_record import RunRecord
from sb3_hpo.study.objective import Objective
from sb3_hpo.training.hooks import StopRun
from sb3_hpo.utils.seeding import Stream, derive_seed, derive_seeds
from tests.support.envs import sample_target_params, start_of


def config(env: str = "TargetEnv", **values: Any) -> StudyConfig:
    defaults = {"algo": "ppo", "n_timesteps": 320, "n_envs": 2, "n_eval_episodes": 3}
    return make_config({**defaults, "env": f"tests.support.envs:{env}", **values})


def new_study(pruner: optuna.pruners.BasePruner | None = None) -> optuna.Study:
    return optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.RandomSampler(seed=0),
        pruner=pruner or optuna.pruners.NopPruner(),
    )


class PruneEverything(optuna.pruners.BasePruner):
    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        return True


def test_run_trial_finished_trial_is_complete_with_the_score_of_its_curve() -> None:
    study = new_study()
    outcome = Objective(config(), sample_target_params).run_trial(study.ask())
    assert outcome.state is TrialState.COMPLETE
    means = [evaluation.value for evaluation in outcome.record.evaluations]
    assert outcome.value == pytest.approx(np.mean(means[5:]))


def test_run_trial_records_the_run_in_the_trial() -> None:
    study = new_study()
    outcome = Objective(config(seed=5), sample_target_params).run_trial(study.ask())
    (trial,) = study.trials
    assert RunRecord.from_dict(trial.user_attrs["run"]) == outcome.record
    assert outcome.record.seed == derive_seed(5, Stream.SEARCH_TRAINING, 0)
    assert outcome.record.kwargs["learning_rate"] == trial.params["learning_rate"]
    assert trial.user_attrs["outcome"] == "finished"
    steps_and_values = {e.nominal_step: e.value for e in outcome.record.evaluations}
    assert trial.intermediate_values == steps_and_values


def test_run_trials_see_the_same_episodes() -> None:
    study = new_study()
    objective = Objective(config("KnownReturnEnv", seed=5), sample_target_params)
    records = [objective.run_trial(study.ask()).record for _ in range(2)]
    expected = [10 * start_of(seed) for seed in derive_seeds(5, Stream.SEARCH_EPISODES, 3)]
    for record in records:
        assert record.evaluations[-1].returns == pytest.approx(expected, abs=1e-6)
    assert records[0].seed != records[1].seed


def test_run_trial_pruned_trial() -> None:
    study = new_study(PruneEverything())
    outcome = Objective(config(), sample_target_params).run_trial(study.ask())
    assert (outcome.state, outcome.value) == (TrialState.PRUNED, None)
    assert list(study.trials[0].intermediate_values) == [32]
    assert study.trials[0].user_attrs["outcome"] == "dropped"
    assert study.trials[0].constraints == {}


@pytest.mark.parametrize(
    ("env", "env_kwargs", "outcome"),
    [("NanRewardEnv", {}, "diverged"), ("RaisingEnv", {"error": "MemoryError"}, "oom")],
)
def test_run_trial_infeasible_trial_is_pruned_with_a_constraint(
    env: str, env_kwargs: dict[str, str], outcome: str
) -> None:
    study = new_study()
    objective = Objective(config(env, env_kwargs=env_kwargs), sample_target_params)
    assert objective.run_trial(study.ask()).state is TrialState.PRUNED
    assert study.trials[0].constraints == {outcome: 1.0}
    assert study.trials[0].user_attrs["outcome"] == outcome
    assert study.trials[0].user_attrs["reason"]


@pytest.mark.parametrize(
    ("outcome", "state", "constraints"),
    [("timeout", TrialState.PRUNED, {"timeout": 1.0}), ("interrupted", TrialState.FAIL, {})],
)
def test_run_trial_stopped_trial(
    outcome: Any, state: TrialState, constraints: dict[str, float]
) -> None:
    def stop(n_steps: int) -> None:
        if n_steps > 100:
            raise StopRun(outcome, "enough")

    study = new_study()
    made = Objective(config(), sample_target_params, on_step=stop).run_trial(study.ask())
    assert made.state is state
    assert study.trials[0].constraints == constraints
    assert study.trials[0].user_attrs["outcome"] == outcome
    assert len(made.record.evaluations) == 3


def test_run_trial_bug_passes_through() -> None:
    objective = Objective(config("RaisingEnv"), sample_target_params)
    with pytest.raises(ValueError, match="the gripper is gone"):
        objective.run_trial(new_study().ask())


def test_run_trial_override_replaces_the_sampled_kwargs_but_keeps_the_parameters() -> None:
    study = new_study()
    override = {"n_steps": 32, "batch_size": 32, "gamma": 0.77}
    study.enqueue_trial({"learning_rate": 0.001}, user_attrs={"kwargs_override": override})
    outcome = Objective(config(), sample_target_params).run_trial(study.ask())
    assert outcome.record.kwargs == override
    assert study.trials[0].params == {"learning_rate": 0.001}


def test_run_trial_score_rule_of_the_user_must_be_finite() -> None:
    objective = Objective(
        config(score="tests.study_tests.test_objective:nan_score"), sample_target_params
    )
    with pytest.raises(ValueError, match=r"the score rule .*nan_score' returned nan"):
        objective.run_trial(new_study().ask())


def nan_score(values: list[float]) -> float:
    return float("nan")


def test_objective_follows_optunas_protocol() -> None:
    study = new_study()
    study.optimize(Objective(config(), sample_target_params), n_trials=2)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 2
    pruned = new_study(PruneEverything())
    pruned.optimize(Objective(config(), sample_target_params), n_trials=1)
    assert [trial.state for trial in pruned.trials] == [TrialState.PRUNED]


def test_objective_metric_is_what_the_study_maximises() -> None:
    study = new_study()
    objective = Objective(config("KnownReturnEnv", metric="is_success"), sample_target_params)
    outcome = objective.run_trial(study.ask())
    starts = [start_of(seed) for seed in derive_seeds(0, Stream.SEARCH_EPISODES, 3)]
    assert outcome.value == pytest.approx(np.mean([start > 0.5 for start in starts]))
