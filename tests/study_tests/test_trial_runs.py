"""Trials of several training seeds: their value is a mean, and they live and die together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from optuna.trial import TrialState
from stable_baselines3.common.callbacks import BaseCallback

from sb3_hpo.results.run_record import Evaluation, RunRecord
from sb3_hpo.study.objective import Objective
from sb3_hpo.study.trial_runs import TrialRunRouter, TrialRuns
from sb3_hpo.utils.seeding import Stream, derive_seed
from tests.study_tests.test_objective import PruneEverything, config, new_study
from tests.support.envs import sample_target_params

if TYPE_CHECKING:
    import optuna


def evaluation(step: int, *values: float) -> Evaluation:
    lengths = (10,) * len(values)
    return Evaluation(nominal_step=step, actual_step=step, returns=values, lengths=lengths)


def record(outcome: Any = "finished", reason: str | None = None, n_steps: int = 100) -> RunRecord:
    return RunRecord(
        seed=1, outcome=outcome, reason=reason, evaluations=(), n_steps=n_steps, n_updates=3,
        seconds=2.0, kwargs={"gamma": 0.9}, n_threads=1, versions={},
    )  # fmt: skip


def test_means_are_reported_once_all_seeds_have_come_to_a_step() -> None:
    trial = new_study().ask()
    group = TrialRuns(trial, 2, 100)
    group.report(0, evaluation(50, 1.0, 3.0))
    group.report(0, evaluation(100, 5.0, 5.0))
    assert trial.study.trials[0].intermediate_values == {}
    group.report(1, evaluation(50, 6.0, 10.0))
    assert trial.study.trials[0].intermediate_values == {50: 5.0}
    group.report(1, evaluation(100, 1.0, 1.0))
    assert trial.study.trials[0].intermediate_values == {50: 5.0, 100: 3.0}
    assert group.curves() == [[2.0, 5.0], [8.0, 1.0]]


def test_a_group_is_one_record_of_all_episodes_and_all_costs() -> None:
    group = TrialRuns(new_study().ask(), 2, 100)
    for seed, value in enumerate((1.0, 3.0)):
        group.report(seed, evaluation(50, value, value))
        group.end(seed, record())
    assert group.has_ended
    whole = group.record()
    assert (whole.n_steps, whole.n_updates, whole.seconds) == (200, 6, 4.0)
    (joined,) = whole.evaluations
    assert (joined.returns, joined.value) == ((1.0, 1.0, 3.0, 3.0), 2.0)


def test_why_a_callback_ended_one_of_the_seeds_is_the_trials_reason() -> None:
    group = TrialRuns(new_study().ask(), 3, 100)
    for seed, reason in enumerate((None, "a callback ended the training at step 9", None)):
        group.end(seed, record(reason=reason))
    whole = group.record()
    assert (whole.outcome, whole.reason) == ("finished", "a callback ended the training at step 9")


def test_seed_that_a_callback_ends_leaves_the_curves_of_the_others_whole() -> None:
    callbacks = ["tests.study_tests.test_trial_runs:StopsSeed"]
    config_ = config(n_seeds=2, callbacks=callbacks)
    trial = new_study().ask()
    StopsSeed.seed = derive_seed(config_.seed, Stream.SEARCH_TRAINING, 0)
    outcome = Objective(config_, sample_target_params).run_trial(trial)
    assert outcome.state is TrialState.COMPLETE
    grid = [e.nominal_step for e in outcome.record.evaluations]
    assert grid == list(trial.study.trials[0].intermediate_values)
    assert (len(grid), grid[-1]) == (config_.n_evaluations, config_.n_timesteps)
    first, second = trial.study.trials[0].user_attrs["seed_curves"]
    assert len(set(first[1:])) == 1
    assert len(set(second)) > 2
    assert outcome.record.evaluations[-1].value == pytest.approx((first[-1] + second[-1]) / 2)


class StopsSeed(BaseCallback):
    """Ends the run of one training seed after its first steps."""

    seed = -1

    def _on_step(self) -> bool:
        return self.model.seed != self.seed or self.num_timesteps < 70


def test_the_gravest_end_of_a_seed_is_the_trials() -> None:
    group = TrialRuns(new_study().ask(), 3, 100)
    group.end(0, record("dropped", "dropped at step 50"))
    group.end(1, record("diverged", "weights are not finite"))
    assert not group.has_ended
    group.end(2, record())
    whole = group.record()
    assert (whole.outcome, whole.reason) == ("diverged", "weights are not finite")


def test_trial_value_is_the_mean_over_its_seeds() -> None:
    study = new_study()
    outcome = Objective(config(seed=5, n_seeds=3), sample_target_params).run_trial(study.ask())
    (trial,) = study.trials
    curves = trial.user_attrs["seed_curves"]
    assert [len(curve) for curve in curves] == [10, 10, 10]
    assert len({tuple(curve) for curve in curves}) == 3
    for k, (step, value) in enumerate(trial.intermediate_values.items()):
        assert step == 32 * (k + 1)
        assert value == pytest.approx(sum(curve[k] for curve in curves) / 3)
    assert outcome.value == pytest.approx(sum(sum(curve[5:]) / 5 for curve in curves) / 3)
    assert outcome.record.n_steps == 3 * 320
    assert outcome.record.seed == derive_seed(5, Stream.SEARCH_TRAINING, 0)


def test_seeds_of_different_trials_are_different() -> None:
    study = new_study()
    objective = Objective(config(n_seeds=2), sample_target_params)
    seeds = {objective.run_trial(study.ask()).record.seed for _ in range(2)}
    assert seeds == {derive_seed(0, Stream.SEARCH_TRAINING, index) for index in (0, 2)}


def test_a_bad_configuration_is_pruned_with_all_its_seeds() -> None:
    study = new_study(PruneEverything())
    outcome = Objective(config(n_seeds=3), sample_target_params).run_trial(study.ask())
    assert outcome.state is TrialState.PRUNED
    assert list(study.trials[0].intermediate_values) == [32]
    assert outcome.record.n_steps < 3 * 64


def test_a_seed_that_diverges_ends_the_trial() -> None:
    study = new_study()
    objective = Objective(config("NanRewardEnv", n_seeds=2), sample_target_params)
    outcome = objective.run_trial(study.ask())
    assert (outcome.state, outcome.record.outcome) == (TrialState.PRUNED, "diverged")
    assert study.trials[0].constraints == {"diverged": 1.0}


def test_several_trials_at_once_get_their_own_verdicts() -> None:
    study = new_study()
    trials = [study.ask() for _ in range(3)]
    verdicts: dict[int, Any] = {}

    def take(trial: optuna.Trial, outcome: Any) -> None:
        verdicts[trial.number] = outcome

    objective = Objective(config(), sample_target_params)
    objective.run_trials(trials, take)
    assert sorted(verdicts) == [0, 1, 2]
    for trial in study.trials:
        run = verdicts[trial.number].record
        assert run.kwargs["learning_rate"] == trial.params["learning_rate"]
        assert run.seed == derive_seed(0, Stream.SEARCH_TRAINING, trial.number)
        assert run.n_together == 3
        steps_and_values = {e.nominal_step: e.value for e in run.evaluations}
        assert trial.intermediate_values == pytest.approx(steps_and_values)


def test_a_bug_in_one_run_ends_its_trial_once_and_drops_its_other_runs() -> None:
    study, concluded = new_study(), list[tuple[int, str]]()
    groups = [TrialRuns(study.ask(), 2, 100) for _ in range(2)]
    said = TrialRunRouter(
        groups, lambda group, error: concluded.append((group.trial.number, str(error)))
    )
    assert list(said.on_error(2, OSError("gone"))) == [2, 3]
    assert list(said.on_error(3, OSError("gone too"))) == [2, 3]
    assert list(said.on_end(0, record())) == []
    assert list(said.on_end(1, record())) == []
    assert concluded == [(1, "gone"), (0, "None")]


def test_judge_with_several_seeds_raises_their_first_error() -> None:
    objective = Objective(config("RaisingEnv", n_seeds=3), sample_target_params)
    with pytest.raises(ValueError, match="the gripper is gone"):
        objective.run_trial(new_study().ask())
