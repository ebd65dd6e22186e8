"""Algorithms of sb3-contrib, goals, masks, memory and stacked frames in training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest
from sb3_contrib import ARS, MaskablePPO, RecurrentPPO
from sb3_contrib.common.maskable.evaluation import evaluate_policy as evaluate_masked
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv
from stable_baselines3.her.her_replay_buffer import HerReplayBuffer

from sb3_hpo.config.study_config import StudyConfig, make_config
from sb3_hpo.envs.factory import make_evaluation_envs, make_training_envs
from sb3_hpo.envs.problem import probe_env
from sb3_hpo.study.callback import TrialEvalCallback
from sb3_hpo.training.evaluation_episodes import EpisodePlan, run_episodes
from sb3_hpo.training.hooks import Hooks, RunRequest
from sb3_hpo.training.train import train
from tests.support.envs import MaskedEnv, TargetEnv

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sb3_hpo.training.run import TrainedRun

SEEDS = (11, 12, 13)
OFF_POLICY = {"learning_starts": 40, "buffer_size": 400, "batch_size": 16, "train_freq": 8}
ON_POLICY = {"n_steps": 16, "batch_size": 16}
CASES: dict[str, tuple[str, dict[str, Any]]] = {  # environment, arguments
    "ars": ("TargetEnv", {"n_delta": 2, "n_top": 1}),
    "crossq": ("TargetEnv", OFF_POLICY),
    "maskable_ppo": ("MaskedEnv", {**ON_POLICY, "n_epochs": 2}),
    "qrdqn": ("make_discrete_env", {**OFF_POLICY, "target_update_interval": 50}),
    "recurrent_ppo": ("TargetEnv", {**ON_POLICY, "n_epochs": 2}),
    "tqc": ("TargetEnv", OFF_POLICY),
    "trpo": ("TargetEnv", ON_POLICY),
}
for_every_algorithm = pytest.mark.parametrize("algo", CASES)


def config(algo: str, env: str, **values: Any) -> StudyConfig:
    defaults = {"n_timesteps": 320, "n_envs": 1, "n_eval_episodes": 3, "n_evaluations": 8}
    return make_config({**defaults, "algo": algo, "env": f"tests.support.envs:{env}", **values})


def run(config_: StudyConfig, kwargs: Mapping[str, Any], hooks: Hooks | None = None) -> TrainedRun:
    (trained,) = train(config_, [RunRequest(kwargs, 1)], SEEDS, hooks)
    return trained


@for_every_algorithm
def test_train_gives_a_whole_curve(algo: str) -> None:
    env, kwargs = CASES[algo]
    trained = run(config(algo, env), kwargs)
    record = trained.record
    assert record.outcome == "finished"
    assert [e.nominal_step for e in record.evaluations] == [40 * k for k in range(1, 9)]
    assert all(e.actual_step >= e.nominal_step for e in record.evaluations)
    assert record.n_steps >= 320
    assert record.n_updates > 0
    assert trained.model is not None
    assert type(trained.model).__name__.lower() == algo.replace("_", "")


@for_every_algorithm
def test_train_stops_where_it_is_dropped(algo: str) -> None:
    env, kwargs = CASES[algo]
    record = run(config(algo, env), kwargs, Hooks(on_evaluation=lambda _, __: (0,))).record
    assert (record.outcome, len(record.evaluations)) == ("dropped", 1)
    # ARS evaluates after all of its candidates, four episodes of ten steps.
    assert 40 <= record.n_steps <= 80


@pytest.mark.parametrize("n_envs", [1, 3])
def test_recurrent_evaluation_equals_sb3_s(n_envs: int) -> None:
    config_ = config("recurrent_ppo", "TargetEnv", n_eval_envs=n_envs)
    model = run(config_, {**ON_POLICY, "n_epochs": 1}).model
    assert model is not None
    ours = run_episodes(
        model, make_evaluation_envs(config_, 100), EpisodePlan(episode_seeds=SEEDS)
    )
    theirs = []
    for seed in SEEDS:
        venv = DummyVecEnv([lambda: Monitor(TargetEnv())])
        venv.seed(seed)
        returns, _ = evaluate_policy(model, venv, 1, return_episode_rewards=True)
        theirs += list(returns)  # type: ignore[arg-type]
    assert ours.returns == pytest.approx(theirs, abs=1e-5)


def test_masked_evaluation_equals_sb3_contrib_s() -> None:
    config_ = config("maskable_ppo", "MaskedEnv")
    trained = run(config_, {**ON_POLICY, "n_epochs": 1})
    assert isinstance(trained.model, MaskablePPO)
    mean, _ = evaluate_masked(trained.model, DummyVecEnv([lambda: Monitor(MaskedEnv())]), 5)
    assert 0 < float(np.mean(mean)) < 10  # it raises where an action is not valid
    assert trained.record.evaluations[-1].lengths == (10, 10, 10)


def test_callback_evaluates_with_masks() -> None:
    trial = optuna.create_study(direction="maximize").ask()
    callback = TrialEvalCallback(MaskedEnv(), trial, n_evaluations=4, n_eval_episodes=3)
    MaskablePPO("MlpPolicy", MaskedEnv(), n_steps=16, batch_size=16).learn(64, callback)
    assert [e.nominal_step for e in callback.learning_curve] == [16, 32, 48, 64]


class PrunesAtOnce(optuna.pruners.BasePruner):
    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        return True


@pytest.mark.parametrize(
    ("model", "most_steps"),
    [
        (ARS("MlpPolicy", TargetEnv(), n_delta=2, n_top=1), 160),
        (RecurrentPPO("MlpLstmPolicy", TargetEnv(), n_steps=16, batch_size=16), 120),
    ],
    ids=["ars", "recurrent_ppo"],
)
def test_callback_ends_a_pruned_trial(model: Any, most_steps: int) -> None:
    study = optuna.create_study(direction="maximize", pruner=PrunesAtOnce())

    def objective(trial: optuna.Trial) -> float:
        callback = TrialEvalCallback(TargetEnv(), trial, n_evaluations=8, n_eval_episodes=2)
        model.learn(800, callback)
        assert callback.is_pruned
        raise optuna.TrialPruned

    study.optimize(objective, n_trials=1)
    (trial,) = study.trials
    assert trial.state is optuna.trial.TrialState.PRUNED
    assert list(trial.intermediate_values) == [100]
    assert model.num_timesteps <= most_steps


def test_hindsight_replay_learns_from_goals() -> None:
    config_ = config("sac", "make_goal_env", her=True, metric="is_success")
    kwargs = {"replay_buffer_class": HerReplayBuffer,
              "replay_buffer_kwargs": {"n_sampled_goal": 2}, "learning_starts": 40,
              "batch_size": 16}  # fmt: skip
    trained = run(config_, kwargs)
    assert trained.model is not None
    buffer = trained.model.replay_buffer  # type: ignore[attr-defined]
    assert isinstance(buffer, HerReplayBuffer)
    assert buffer.her_ratio == pytest.approx(2 / 3)
    metrics = [evaluation.metric or (None,) for evaluation in trained.record.evaluations]
    assert set().union(*metrics) <= {0, 1}
    assert trained.record.n_updates > 200


def test_frame_stack_shows_the_last_observations() -> None:
    config_ = config("ppo", "StepEnv", frame_stack=3, n_envs=2, n_eval_envs=2)
    for venv in (make_training_envs(config_, 0.99), make_evaluation_envs(config_, 100)):
        actions = np.zeros((2, 1))
        first = np.asarray(venv.reset())
        second, third = (np.asarray(venv.step(actions)[0]) for _ in range(2))
        assert first[0].tolist() == [0] * 6
        assert second[0].tolist() == pytest.approx([0] * 4 + [0.1] * 2)
        assert third[1].tolist() == pytest.approx([0] * 2 + [0.1] * 2 + [0.2] * 2)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize(("algo", "kwargs"), [("ppo", ON_POLICY), ("sac", OFF_POLICY)])
def test_frame_stack_trains(algo: str, kwargs: dict[str, Any], normalize: bool) -> None:
    config_ = config(algo, "StepEnv", frame_stack=3, normalize=normalize)
    trained = run(config_, kwargs)
    assert trained.record.outcome == "finished"
    assert trained.model is not None
    assert trained.model.observation_space.shape == (6,)
    assert probe_env(config_).observation_space.shape == (6,)


def test_probe_knows_masks_goals_and_the_longest_episode() -> None:
    known = [
        (problem.has_action_masks, problem.has_goals, problem.longest_episode)
        for problem in (probe_env(config("ppo", env)) for env in ("MaskedEnv", "make_goal_env"))
    ]
    assert known == [(True, False, None), (False, True, 10)]
