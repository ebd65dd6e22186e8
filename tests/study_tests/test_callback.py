from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest
import torch
from stable_baselines3 import PPO, TD3
from stable_baselines3.common.callbacks import BaseCallback, StopTrainingOnRewardThreshold
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from sb3_hpo import TrialEvalCallback
from sb3_hpo.scoring.score_rules import score_rule
from sb3_hpo.utils.errors import UserError
from sb3_hpo.utils.seeding import Stream, derive_seeds
from tests.support.envs import EndlessEnv, KnownReturnEnv, TargetEnv, start_of

if TYPE_CHECKING:
    from pathlib import Path

PPO_KWARGS: dict[str, Any] = {"n_steps": 16, "batch_size": 16, "n_epochs": 1, "device": "cpu"}


class PruneAt(optuna.pruners.BasePruner):
    def __init__(self, step: int) -> None:
        self.step = step

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        return trial.last_step == self.step


def new_trial(pruner: optuna.pruners.BasePruner | None = None) -> optuna.Trial:
    study = optuna.create_study(direction="maximize", pruner=pruner or optuna.pruners.NopPruner())
    return study.ask()


def frozen(trial: optuna.Trial) -> optuna.trial.FrozenTrial:
    return trial.study.trials[trial.number]


def learn(callback: BaseCallback, n_envs: int = 2, n_timesteps: int = 640) -> PPO:
    model = PPO("MlpPolicy", make_vec_env(TargetEnv, n_envs=n_envs), seed=1, **PPO_KWARGS)
    return model.learn(n_timesteps, callback=callback)


def test_callback_reports_at_nominal_steps_whatever_the_number_of_envs() -> None:
    for n_envs in (1, 2, 4):
        trial = new_trial()
        learn(TrialEvalCallback(TargetEnv(), trial, n_evaluations=5), n_envs=n_envs)
        assert list(frozen(trial).intermediate_values) == [128, 256, 384, 512, 640]


def test_callback_reported_values_are_exact() -> None:
    trial = new_trial()
    env = KnownReturnEnv()
    callback = TrialEvalCallback(env, trial, n_eval_episodes=4, n_evaluations=2, seed=7)
    learn(callback)
    seeds = derive_seeds(7, Stream.SEARCH_EPISODES, 4)
    expected = np.mean([10 * start_of(seed) for seed in seeds])
    assert frozen(trial).intermediate_values == pytest.approx({320: expected, 640: expected})


def test_callback_eval_freq_counts_callback_calls_as_in_sb3() -> None:
    trial = new_trial()
    learn(TrialEvalCallback(TargetEnv(), trial, eval_freq=100))  # 2 environments: 200 steps
    assert list(frozen(trial).intermediate_values) == [200, 400, 600, 640]


def test_callback_trial_value_is_the_score_of_the_curve() -> None:
    trial = new_trial()
    callback = TrialEvalCallback(TargetEnv(), trial, n_evaluations=6, score="final")
    learn(callback)
    curve = list(frozen(trial).intermediate_values.values())
    assert callback.trial_value == curve[-1] == callback.last_mean_reward
    assert score_rule("last_half")(curve) == pytest.approx(np.mean(curve[3:]))


def test_callback_trial_value_before_learning_raises() -> None:
    with pytest.raises(UserError, match="there is no evaluation yet"):
        _ = TrialEvalCallback(TargetEnv(), new_trial()).trial_value


def test_callback_pruned_trial_stops_training_one_step_later() -> None:
    callback = TrialEvalCallback(TargetEnv(), new_trial(PruneAt(128)), n_evaluations=5)
    model = learn(callback)
    assert callback.is_pruned
    assert model.num_timesteps == 130
    assert [e.nominal_step for e in callback.learning_curve] == [128]


def test_callback_last_evaluation_never_prunes() -> None:
    callback = TrialEvalCallback(TargetEnv(), new_trial(PruneAt(640)), n_evaluations=5)
    learn(callback)
    assert not callback.is_pruned
    assert len(callback.learning_curve) == 5


def test_callback_diverged_weights_prune_with_a_constraint() -> None:
    class Poison(BaseCallback):
        def _on_step(self) -> bool:
            with torch.no_grad():
                next(self.model.policy.parameters()).fill_(float("nan"))
            return True

    trial = new_trial()
    callback = TrialEvalCallback(TargetEnv(), trial, n_evaluations=5)
    model = TD3("MlpPolicy", make_vec_env(TargetEnv), buffer_size=100, device="cpu")
    model.learn(100, callback=[Poison(), callback])
    assert callback.is_pruned
    assert frozen(trial).constraints == {"diverged": 1.0}
    assert frozen(trial).user_attrs["outcome"] == "diverged"


def test_callback_writes_log_and_best_model(tmp_path: Path) -> None:
    callback = TrialEvalCallback(
        TargetEnv(), new_trial(), n_evaluations=4, n_eval_episodes=3,
        log_path=str(tmp_path), best_model_save_path=str(tmp_path),
    )  # fmt: skip
    learn(callback)
    log = np.load(tmp_path / "evaluations.npz")
    assert log["timesteps"].tolist() == [160, 320, 480, 640]
    assert log["results"].shape == (4, 3)
    assert log["results"].mean(axis=1).max() == pytest.approx(callback.best_mean_reward)
    assert PPO.load(tmp_path / "best_model").num_timesteps in (160, 320, 480, 640)


def test_callback_on_new_best_may_stop_training() -> None:
    stop = StopTrainingOnRewardThreshold(reward_threshold=-1e9, verbose=0)
    callback = TrialEvalCallback(
        TargetEnv(), new_trial(), n_evaluations=5, callback_on_new_best=stop
    )
    assert learn(callback).num_timesteps == 130
    assert not callback.is_pruned


def test_callback_after_eval_is_called_once_an_evaluation() -> None:
    class Count(BaseCallback):
        n = 0

        def _on_step(self) -> bool:
            self.n += 1
            return True

    count = Count()
    learn(TrialEvalCallback(TargetEnv(), new_trial(), n_evaluations=5, callback_after_eval=count))
    assert count.n == 5


def test_callback_accepts_monitored_env_and_vec_env() -> None:
    values = []
    for env in (TargetEnv(), Monitor(TargetEnv())):
        trial = new_trial()
        learn(TrialEvalCallback(env, trial, n_evaluations=2))
        values.append(frozen(trial).intermediate_values)
    assert values[0] == values[1]
    trial = new_trial()
    learn(TrialEvalCallback(make_vec_env(TargetEnv, n_envs=3), trial, n_evaluations=2))
    assert list(frozen(trial).intermediate_values) == [320, 640]


def test_callback_missing_vec_normalize_is_refused() -> None:
    model = PPO("MlpPolicy", VecNormalize(make_vec_env(TargetEnv)), **PPO_KWARGS)
    with pytest.raises(UserError, match="training uses VecNormalize but eval_env does not"):
        model.learn(32, callback=TrialEvalCallback(TargetEnv(), new_trial()))


def test_callback_both_cadences_are_refused() -> None:
    with pytest.raises(UserError, match="give either eval_freq or n_evaluations, not both"):
        TrialEvalCallback(TargetEnv(), new_trial(), eval_freq=10, n_evaluations=5)
    with pytest.raises(UserError, match="`n_evaluations >= 1` must hold, but got 0"):
        TrialEvalCallback(TargetEnv(), new_trial(), n_evaluations=0)


def test_callback_over_several_learn_calls_keeps_one_grid() -> None:
    trial = new_trial()
    callback = TrialEvalCallback(TargetEnv(), trial, n_evaluations=4, n_timesteps=640)
    model = PPO("MlpPolicy", make_vec_env(TargetEnv, n_envs=2), seed=1, **PPO_KWARGS)
    for _ in range(4):
        model.learn(160, callback=callback, reset_num_timesteps=False)
    assert [e.actual_step for e in callback.learning_curve] == [160, 320, 480, 640]
    assert list(frozen(trial).intermediate_values) == [160, 320, 480, 640]


def test_callback_training_ended_by_another_callback_leaves_a_full_curve() -> None:
    class StopEarly(BaseCallback):
        def _on_step(self) -> bool:
            return self.num_timesteps < 300

    trial = new_trial()
    callback = TrialEvalCallback(TargetEnv(), trial, n_evaluations=4)
    learn_list: Any = [StopEarly(), callback]
    learn(learn_list)
    assert [e.actual_step for e in callback.learning_curve] == [160, 300, 300, 300]
    assert not callback.is_pruned


def test_callback_takes_sb3s_own_arguments_and_fills_its_lists() -> None:
    callback = TrialEvalCallback(
        TargetEnv(), new_trial(), n_evaluations=2, n_eval_episodes=3, warn=True, verbose=0
    )
    learn(callback)
    assert callback.evaluations_timesteps == [320, 640]
    assert [len(returns) for returns in callback.evaluations_results] == [3, 3]


def test_callback_of_a_trained_model_starts_its_grid_there() -> None:
    """Steps that were trained before are not filled with the present policy."""
    model = PPO("MlpPolicy", make_vec_env(TargetEnv, n_envs=2), seed=1, **PPO_KWARGS)
    model.learn(320)
    trial = new_trial()
    callback = TrialEvalCallback(TargetEnv(), trial, n_evaluations=4)
    model.learn(640, callback=callback, reset_num_timesteps=False)
    assert list(frozen(trial).intermediate_values) == [480, 640, 800, 960]
    assert [e.actual_step for e in callback.learning_curve] == [480, 640, 800, 960]


def test_callback_goes_on_where_a_later_learn_counts_anew() -> None:
    trial = new_trial()
    callback = TrialEvalCallback(TargetEnv(), trial, n_evaluations=4, n_timesteps=640)
    model = PPO("MlpPolicy", make_vec_env(TargetEnv, n_envs=2), seed=1, **PPO_KWARGS)
    for _ in range(2):
        model.learn(320, callback=callback)
        assert model.num_timesteps == 320
    assert [e.actual_step for e in callback.learning_curve] == [160, 320, 480, 640]


def test_callback_refuses_learn_beyond_its_grid() -> None:
    callback = TrialEvalCallback(TargetEnv(), new_trial(), n_evaluations=4)
    model = learn(callback)
    with pytest.raises(UserError, match=r"grid ends at step 640,.* pass n_timesteps="):
        model.learn(640, callback=callback, reset_num_timesteps=False)
    assert len(callback.learning_curve) == 4


def test_callback_refuses_a_second_model() -> None:
    callback = TrialEvalCallback(TargetEnv(), new_trial(), n_timesteps=1280)
    learn(callback)
    with pytest.raises(UserError, match=r"another model already.* a new TrialEvalCallback"):
        learn(callback)


def test_callback_refuses_a_minimising_study() -> None:
    loss = optuna.create_study(direction="minimize").ask()
    with pytest.raises(UserError, match='direction="maximize"'):
        TrialEvalCallback(TargetEnv(), loss)
    several = optuna.create_study(directions=["maximize", "maximize"]).ask()
    with pytest.raises(UserError, match="2 objectives"):
        TrialEvalCallback(TargetEnv(), several)


def test_callback_takes_a_fixed_trial() -> None:
    callback = TrialEvalCallback(TargetEnv(), optuna.trial.FixedTrial({}), n_evaluations=2)  # type: ignore[arg-type]
    learn(callback)
    assert len(callback.learning_curve) == 2


def test_callback_run_trained_to_its_end_is_never_pruned() -> None:
    """One rollout of the whole budget: all grid steps share the final evaluation."""
    trial = new_trial(PruneAt(160))
    callback = TrialEvalCallback(TargetEnv(), trial, n_evaluations=4)
    kwargs = {**PPO_KWARGS, "n_steps": 320}
    model = PPO("MlpPolicy", make_vec_env(TargetEnv, n_envs=2), seed=1, **kwargs)
    with pytest.warns(UserWarning, match=r"one rollout passed 4 steps .*context=SpaceContext"):
        model.learn(640, callback=callback)
    assert list(frozen(trial).intermediate_values) == [160, 320, 480, 640]
    assert not callback.is_pruned


def test_callback_scores_raw_rewards_of_a_normalizing_environment() -> None:
    """Each trial's own reward statistics would make their values incomparable."""
    training = VecNormalize(make_vec_env(KnownReturnEnv, n_envs=2))
    bare = VecNormalize(DummyVecEnv([KnownReturnEnv]))  # no Monitor inside knows the raw rewards
    trial = new_trial()
    callback = TrialEvalCallback(bare, trial, n_eval_episodes=1, n_evaluations=2, seed=7)
    PPO("MlpPolicy", training, seed=1, **PPO_KWARGS).learn(640, callback=callback)
    (seed,) = derive_seeds(7, Stream.SEARCH_EPISODES, 1)
    expected = 10 * start_of(seed)
    assert frozen(trial).intermediate_values == pytest.approx({320: expected, 640: expected})
    assert (bare.training, bare.norm_reward) == (True, True)
    assert vars(bare.ret_rms) == vars(training.ret_rms)  # it has seen no reward of its own


def test_callback_warns_once_of_an_episode_that_does_not_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sb3_hpo.training.evaluation_episodes.MIN_EPISODE_CAP", 30)
    callback = TrialEvalCallback(EndlessEnv(), new_trial(), n_evaluations=5, n_eval_episodes=1)
    with pytest.warns(UserWarning, match="was cut") as caught:
        learn(callback)
    texts = [str(w.message) for w in caught if "was cut" in str(w.message)]
    assert len(texts) == 1
    assert texts[0].startswith(
        "the evaluation at step 128 was cut, as an episode did not end: wrap"
    )
    assert len(callback.learning_curve) == 5
