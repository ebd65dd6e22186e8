from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from torch import nn

from sb3_hpo.algorithms.kwargs import serialize_kwargs
from sb3_hpo.config.study_config import StudyConfig, make_config
from sb3_hpo.config.training_config import TrainingConfig
from sb3_hpo.export.recipe import (
    Recipe,
    load_best,
    load_trial,
    read_recipe,
    recipe_of,
    write_recipe,
)
from sb3_hpo.results.run_record import Evaluation, Outcome, RunRecord
from sb3_hpo.spaces.enqueue.enqueued_point import read_enqueued
from sb3_hpo.storages.open import open_storage
from sb3_hpo.study.preflight import prepare
from sb3_hpo.utils.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

COMPLETE, PRUNED, FAIL = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL


def config(**values: Any) -> StudyConfig:
    return make_config({"algo": "ppo", "env": "Pendulum-v1", "seed": 3, **values})


def training(**values: Any) -> TrainingConfig:
    return TrainingConfig.model_validate({"algo": "ppo", "env": "Pendulum-v1", **values})


def trial(
    state: TrialState, value: float | None, *, gamma: float = 0.9, outcome: Outcome = "finished"
) -> FrozenTrial:
    run = RunRecord(
        seed=17,
        outcome=outcome,
        reason=None,
        evaluations=(
            Evaluation(nominal_step=1, actual_step=1, returns=(2.0, 3.0), lengths=(1, 1)),
        ),
        n_steps=600,
        n_updates=1,
        seconds=90.0,
        kwargs={"gamma": gamma},
        n_threads=1,
        versions={"torch": "2.13.0"},
    )
    return create_trial(
        state=state,
        value=value,
        params={"one_minus_gamma": 1 - gamma},
        distributions={"one_minus_gamma": FloatDistribution(0, 1)},
        user_attrs={"run": json.loads(json.dumps(run.to_dict()))},
    )


def study_of(
    *trials: FrozenTrial, config_: StudyConfig | None = None, **kwargs: Any
) -> optuna.Study:
    study = optuna.create_study(direction="maximize", **{"study_name": "s", **kwargs})
    study.add_trials(trials)
    study.set_user_attr("config", (config_ or config()).model_dump(mode="json"))
    return study


def journal(path: Path, *names: str) -> Path:
    storage = open_storage(str(path))
    for name in names:
        study_of(trial(COMPLETE, 1.0), storage=storage, study_name=name)
    return path


def test_write_and_read_round_trip_is_exact(tmp_path: Path) -> None:
    kwargs = {
        "learning_rate": 1e-05,
        "ent_coef": "auto",
        "target_kl": None,
        "max_grad_norm": float("inf"),
        "train_freq": (1, "episode"),
        "policy_kwargs": {"activation_fn": nn.Tanh, "net_arch": {"pi": [64], "vf": [64, 64]}},
    }
    recipe = Recipe(
        config=training(env_kwargs={"g": 9.81}, wrapper=["a.b:C"], normalize=True, device="cpu"),
        kwargs=serialize_kwargs(kwargs),
        study="1e-3",  # text that YAML would take for a number
        trial=0,
        trial_value=-0.1 - 0.2,
        seed=2**32 - 1,
        root_seed=7,
        params={"x": 1e22, "use_sde": False, "arch": "small", "none": None},
        versions={"torch": "2.13"},
        reevaluated={"iqm": [-183.25, -200.0, -170.0], "n_seeds": 10},
    )
    write_recipe(tmp_path / "best.yaml", recipe)
    again = read_recipe(tmp_path / "best.yaml")
    assert again == recipe
    assert again.build_kwargs() == kwargs
    assert again.build_kwargs()["policy_kwargs"] is not again.build_kwargs()["policy_kwargs"]


def test_write_says_how_to_use_the_file(tmp_path: Path) -> None:
    recipe = Recipe(config=training(), kwargs={}, root_seed=0, study="s", trial=4)
    write_recipe(tmp_path / "best.yaml", recipe)
    header = [
        line for line in (tmp_path / "best.yaml").read_text().splitlines() if line.startswith("#")
    ]
    assert header == [
        "# PPO on Pendulum-v1, trial 4 of study s",
        "# Train it again:          python -m sb3_hpo.train best.yaml --seeds 3",
        (
            "# Try it first in a study: python -m sb3_hpo.optimize --algo ppo --env Pendulum-v1 "
            "--enqueue best.yaml"
        ),
        "# Not re-evaluated: a trial value is the luckiest of many noisy scores.",
    ]


def test_write_of_the_reevaluated_does_not_warn(tmp_path: Path) -> None:
    recipe = Recipe(config=training(), kwargs={}, root_seed=0, reevaluated={"mean": -1.0})
    write_recipe(tmp_path / "best.yaml", recipe)
    text = (tmp_path / "best.yaml").read_text()
    assert text.startswith("# PPO on Pendulum-v1\n")
    assert "Not re-evaluated" not in text


def test_written_file_can_be_enqueued(tmp_path: Path) -> None:
    study = study_of(trial(COMPLETE, 1.0))
    write_recipe(tmp_path / "best.yaml", recipe_of(study, config(), study.trials[0]))
    point = read_enqueued(tmp_path / "best.yaml", prepare(config()))
    assert point.kwargs == {"gamma": 0.9}
    assert point.params == {"one_minus_gamma": pytest.approx(0.1)}


def test_read_needs_three_keys_only(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "training: {algo: ppo, env: Pendulum-v1}\nkwargs: {gamma: 0.9}\nroot_seed: 0\n"
    )
    assert read_recipe(path) == Recipe(config=training(), kwargs={"gamma": 0.9}, root_seed=0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "training: {algo: ppo, env: P-v1}\nkwarg: {}\nroot_seed: 0\n",
            (
                "kwargs: missing; unknown key 'kwarg'; did you mean 'kwargs'? Known: kwargs, "
                "params, reevaluated, root_seed, seed, study, training, trial, trial_value, "
                "versions"
            ),
        ),
        (
            (
                "training: {algo: ppoo, env: P-v1, n_env: 2, n_timesteps: many}\nkwargs: {}\n"
                "root_seed: -1\n"
            ),
            (
                "training.algo: unknown algorithm 'ppoo'; did you mean 'ppo'? Known: a2c, ars, "
                "crossq, ddpg, dqn, maskable_ppo, ppo, qrdqn, recurrent_ppo, sac, td3, tqc, trpo; "
                "training.n_timesteps: Input should be a valid integer, "
                "unable to parse string as an integer, but got 'many'; "
                "training: unknown key 'n_env'"
            ),
        ),
        (
            "training: {algo: ppo, env: P-v1, n_env: 2}\nkwargs: {}\nroot_seed: -1\n",
            "training: unknown key 'n_env'; did you mean 'n_envs'?",
        ),
        (
            "training: {algo: ppo, env: P-v1}\nkwargs: []\nroot_seed: -1\ntrial: true\n",
            (
                "trial: Input should be a valid integer, but got True; "
                "kwargs: Input should be a valid dictionary, but got []; "
                "root_seed: Input should be greater than or equal to 0, but got -1"
            ),
        ),
        (
            "training: {algo: ppo, env: P-v1}\nkwargs: {}\n",
            "root_seed: missing",
        ),
        ("algo: ppo\nenv: P-v1\n", "is a study's configuration; give the best.yaml beside it"),
    ],
)
def test_read_names_file_key_and_repair_on_one_line(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "best.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_recipe(path)
    assert str(caught.value).startswith(f"{path}")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_read_missing_file_says_where_there_is_one(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"no file .*none\.yaml; .* leaves a best\.yaml in its run"
    ):
        read_recipe(tmp_path / "none.yaml")


def test_recipe_of_takes_run_and_configuration() -> None:
    config_ = config(n_timesteps=5_000, n_trials=7, policy_kwargs={"ortho_init": False})
    study = study_of(trial(COMPLETE, -150.5), config_=config_)
    assert recipe_of(study, config_, study.trials[0]) == Recipe(
        config=training(n_timesteps=5_000, policy_kwargs={"ortho_init": False}),
        kwargs={"gamma": 0.9},
        study="s",
        trial=0,
        trial_value=-150.5,
        seed=17,
        root_seed=3,
        params={"one_minus_gamma": pytest.approx(0.1)},
        versions={"torch": "2.13.0"},
    )


def test_recipe_of_pruned_has_no_trial_value() -> None:
    study = study_of(trial(PRUNED, -1.0, outcome="dropped"))
    assert recipe_of(study, config(), study.trials[0]).trial_value is None


@pytest.mark.parametrize("state", [FAIL, TrialState.WAITING])
def test_recipe_of_unfinished_says_its_state(state: TrialState) -> None:
    study = study_of(trial(state, None) if state is FAIL else create_trial(state=state))
    with pytest.raises(UserError, match=f"trial 0 of study 's' is {state.name} and has no run"):
        load_trial(study, 0)


def test_load_best_of_a_study_is_the_largest_complete_value() -> None:
    study = study_of(trial(COMPLETE, 1.0), trial(PRUNED, 9.0), trial(COMPLETE, 3.0, gamma=0.8))
    best = load_best(study)
    assert (best.trial, best.trial_value, best.kwargs) == (2, 3.0, {"gamma": 0.8})


def test_load_best_of_a_study_prefers_the_reevaluated_answer_in_its_run_folder(
    tmp_path: Path,
) -> None:
    study = study_of(
        trial(COMPLETE, 1.0), trial(COMPLETE, 3.0), config_=config(run_dir=str(tmp_path))
    )
    winner = Recipe(
        config=training(), kwargs={}, root_seed=3, study="s", trial=0, reevaluated={"mean": 1.0}
    )
    write_recipe(tmp_path / "best.yaml", winner)
    assert load_best(study) == winner


@pytest.mark.parametrize("stale", [{"study": "other", "reevaluated": {}}, {"study": "s"}])
def test_load_best_of_a_study_ignores_a_file_of_another_or_without_test(
    tmp_path: Path, stale: dict[str, Any]
) -> None:
    study = study_of(trial(COMPLETE, 1.0), config_=config(run_dir=str(tmp_path)))
    recipe = Recipe(config=training(), kwargs={}, root_seed=3, trial=5, **stale)
    write_recipe(tmp_path / "best.yaml", recipe)
    assert load_best(study).trial == 0


def test_load_best_without_complete_trial_says_what_there_is() -> None:
    study = study_of(trial(PRUNED, 1.0, outcome="dropped"))
    with pytest.raises(UserError, match=r"no COMPLETE trial yet \(0 running, 1 pruned\)"):
        load_best(study)


def test_load_trial_zero_is_a_trial() -> None:
    study = study_of(trial(COMPLETE, 1.0), trial(COMPLETE, 3.0, gamma=0.8))
    assert (load_trial(study, 0).trial, load_trial(study, 0).kwargs) == (0, {"gamma": 0.9})
    assert (load_trial(study, 1).trial, load_trial(study, 1).kwargs) == (1, {"gamma": 0.8})


@pytest.mark.parametrize("number", [-1, 1])
def test_load_trial_unknown_number_says_which_there_are(number: int) -> None:
    with pytest.raises(UserError, match=f"'s' has no trial {number}: it has trials 0 to 0"):
        load_trial(study_of(trial(COMPLETE, 1.0)), number)


def test_load_trial_of_an_empty_study() -> None:
    with pytest.raises(UserError, match="it has no trials yet"):
        load_trial(study_of(), 0)


def test_load_of_a_foreign_study_says_what_is_missing() -> None:
    study = optuna.create_study(study_name="theirs")
    with pytest.raises(UserError, match="'theirs' was not made by sb3_hpo: params alone do not"):
        load_trial(study, 0)
    with pytest.raises(UserError, match="'theirs' was not made by sb3_hpo: params alone do not"):
        load_best(study)


def test_load_from_a_run_folder(tmp_path: Path) -> None:
    journal(tmp_path / "study.journal", "s")
    with pytest.raises(UserError, match=r"no best\.yaml in .*: its study has not ended; give "):
        load_best(tmp_path)
    recipe = Recipe(config=training(), kwargs={"gamma": 0.5}, root_seed=1)
    write_recipe(tmp_path / "best.yaml", recipe)
    assert load_best(tmp_path) == load_best(str(tmp_path / "best.yaml")) == recipe
    assert load_trial(str(tmp_path), 0).kwargs == {"gamma": 0.9}


def test_load_from_a_journal(tmp_path: Path) -> None:
    path = journal(tmp_path / "my.log", "s")
    assert load_best(path) == load_trial(path, 0)
    assert load_best(path).kwargs == {"gamma": 0.9}


def test_load_from_a_journal_of_several_studies_lists_them(tmp_path: Path) -> None:
    path = journal(tmp_path / "my.log", "b", "a")
    with pytest.raises(UserError, match=r"^study_name: say which study of .*; it has: a, b$"):
        load_trial(path, 0)
    assert load_trial(path, 0, "b").study == load_best(path, "b").study == "b"


def test_load_from_an_empty_or_missing_journal(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no study in"):
        load_best(journal(tmp_path / "my.log"))
    with pytest.raises(UserError, match=r"there is no file .*gone\.log"):
        load_trial(tmp_path / "gone.log", 0)
    assert not (tmp_path / "gone.log").exists()


def test_load_trial_from_a_recipe_says_what_to_use() -> None:
    with pytest.raises(UserError, match="holds one recipe: use load_best"):
        load_trial("best.yaml", 0)


def test_reading_a_strangers_recipe_imports_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "strange_nets.py").write_text("from torch.nn import Tanh as Net\n")
    strange = {"$import": "strange_nets:Net"}
    text = f"{{policy_kwargs: {{activation_fn: {json.dumps(strange)}}}}}"
    path = tmp_path / "best.yaml"
    path.write_text(
        "training: {algo: ppo, env: 'strange_nets:make', env_kwargs: "
        f"{{x: {json.dumps(strange)}}}}}\nkwargs: {text}\nroot_seed: 0\n"
    )
    recipe = read_recipe(path)
    with pytest.raises(UserError, match=r"strange_nets:Net would be imported[^\n]* --trust"):
        recipe.build_kwargs()
    with pytest.raises(UserError, match=r"strange_nets:Net, strange_nets:make would be imported"):
        recipe.check_trusted()
    assert "strange_nets" not in sys.modules
    assert recipe.build_kwargs(trust=True) == {"policy_kwargs": {"activation_fn": nn.Tanh}}
    write_recipe(path, recipe)
    assert "train best.yaml --seeds 3 --trust\n" in path.read_text()


def test_import_needs_no_training_stack() -> None:
    code = (
        "import sys, sb3_hpo.export.recipe, sb3_hpo.export.zoo_entry; "
        "print([name for name in ('torch', 'stable_baselines3') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
