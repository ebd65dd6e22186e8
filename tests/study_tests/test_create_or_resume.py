from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from sb3_hpo.config.study_config import StudyConfig, make_config
from sb3_hpo.results.trials import trials_of
from sb3_hpo.spaces.enqueue.enqueued_point import read_enqueued
from sb3_hpo.storages.study_location import StudyLocation
from sb3_hpo.study.create_or_resume import create_or_resume, is_owner, open_study
from sb3_hpo.study.preflight import prepare, try_model
from sb3_hpo.utils.errors import UserError

FIRST = ["default_point", "first_point", "first_point"]  # of PPO


def config(run_dir: Path, **values: Any) -> StudyConfig:
    defaults = {
        "algo": "ppo",
        "env": "tests.support.envs:TargetEnv",
        "n_timesteps": 640,
        "n_envs": 2,
    }
    return make_config({**defaults, "run_dir": str(run_dir), **values})


def create(config_: StudyConfig) -> optuna.Study:
    space = prepare(config_)
    points = [read_enqueued(Path(path), space) for path in config_.enqueue]
    return create_or_resume(config_, StudyLocation.of(config_), space, points)


def test_place_defaults_to_a_folder_named_like_the_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    location = StudyLocation.of(make_config({"algo": "ppo", "env": "Pendulum-v1"}))
    assert location.name.startswith("ppo-Pendulum-v1-s0-")
    assert location.run_dir == tmp_path / "runs" / location.name
    assert location.file == location.address.journal == location.run_dir / "study.journal"
    assert list(tmp_path.iterdir()) == []


def test_create_enqueues_the_default_and_then_the_files_and_then_its_own_points(
    tmp_path: Path,
) -> None:
    (tmp_path / "mine.yaml").write_text("gamma: 0.9\n")
    study = create(config(tmp_path / "run", enqueue=[str(tmp_path / "mine.yaml")]))
    first, second, far, near = trials_of(study)
    assert {trial.state for trial in trials_of(study)} == {TrialState.WAITING}
    points = [trial.system_attrs["fixed_params"] for trial in (far, near)]
    assert [point["one_minus_gamma"] for point in points] == [0.01, 0.1]
    assert [point["learning_rate"] for point in points] == [0.001, 0.001]
    assert far.user_attrs == near.user_attrs == {"source": "first_point"}
    assert first.user_attrs == {"source": "default_point"}
    assert first.system_attrs["fixed_params"]["learning_rate"] == 0.0003
    assert second.user_attrs == {"source": "mine.yaml"}
    assert second.system_attrs["fixed_params"] == {"one_minus_gamma": pytest.approx(0.1)}


def test_create_default_trial_respects_fixed_values(tmp_path: Path) -> None:
    study = create(config(tmp_path, fixed={"gamma": 0.8}))
    first, point = trials_of(study)  # without gamma, PPO's first points are one
    for trial in (first, point):
        assert "one_minus_gamma" not in trial.system_attrs["fixed_params"]


def test_create_maximises_and_carries_its_config(tmp_path: Path) -> None:
    config_ = config(tmp_path)
    study = create(config_)
    assert study.direction is optuna.study.StudyDirection.MAXIMIZE
    assert make_config(study.user_attrs["config"]) == config_


def test_resume_enqueues_nothing_again(tmp_path: Path) -> None:
    create(config(tmp_path))
    study = create(config(tmp_path, n_trials=80))
    assert [trial.user_attrs["source"] for trial in trials_of(study)] == FIRST
    assert study.user_attrs["config"]["n_trials"] == 80


def test_resume_with_another_value_is_refused_and_shown(tmp_path: Path) -> None:
    create(config(tmp_path, study_name="mine"))
    with pytest.raises(UserError) as error:
        create(config(tmp_path, study_name="mine", seed=4, fixed={"gamma": 0.9}))
    text = str(error.value)
    assert "seed: 0 in the study, 4 now" in text
    assert "fixed: {} in the study, {'gamma': 0.9} now" in text
    assert "another --study-name" in text


def test_resume_of_a_foreign_study_is_refused(tmp_path: Path) -> None:
    config_ = config(tmp_path, study_name="mine")
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "study.journal")))
    optuna.create_study(storage=storage, study_name="mine", direction="maximize").ask()
    with pytest.raises(UserError, match="was not made by sb3_hpo; use another --study-name"):
        create(config_)


def test_open_study_has_the_configured_pruner(tmp_path: Path) -> None:
    config_ = config(tmp_path, pruner="median")
    create(config_)
    study = open_study(config_, StudyLocation.of(config_))
    assert isinstance(study.pruner, optuna.pruners.MedianPruner)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"env": "Pendulm-v1"}, "unknown environment 'Pendulm-v1'; did you mean 'Pendulum-v1'"),
        ({"env": "tests.support.envs:make_failing"}, "failed: RuntimeError: no licence server"),
        ({"env": "no_such_module:Env"}, "env: no module named 'no_such_module'"),
        ({"algo": "dqn"}, r"algo: dqn acts in Discrete spaces, but .* is Box"),
        ({"algo": "sac", "env": "CartPole-v1"}, r"algo: sac acts in Box spaces, .* is Discrete"),
        ({"algo": "td3", "env": "CartPole-v1"}, r"algo: td3 acts in Box spaces"),
        ({"algo": "ddpg", "env": "CartPole-v1"}, r"algo: ddpg acts in Box spaces"),
        ({"normalize": True, "env": "FrozenLake-v1"}, "normalize: needs Box or Dict observations"),
        ({"n_timesteps": 50}, "n_timesteps: `n_timesteps >= n_evaluations"),
        ({"fixed": {"gama": 0.9}}, "did you mean 'gamma'"),
        (
            {
                "algo": "tests.support.envs:no_algorithm",
                "space": "tests.support.envs:sample_target_params",
            },
            "algo: tests.support.envs:no_algorithm: unknown name",
        ),
        ({"device": "cuda:x"}, "device: 'cuda:x' is none: Invalid device string: 'cuda:x'"),
        ({"device": "gpu"}, "device: 'gpu' is none: Expected one of cpu, cuda,"),
        (
            {"device": "cuda"},
            "device: cuda is not there: torch .* sees 0 of them; leave --dev",
        ),
        (
            {"space": "tests.support.envs:sampl"},
            "space: tests.support.envs:sampl: unknown name 'sampl'",
        ),
    ],
)
def test_prepare_mistake_is_refused_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: dict[str, Any], message: str
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    config_ = config(tmp_path / "run", **values)
    with pytest.raises(UserError, match=message):
        prepare(config_)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"policy": "MlpPolicyy"}, r"cannot be built .* ValueError: Policy MlpPolicyy unknown"),
        ({"policy_kwargs": {"net_arc": [8]}}, r"TypeError: .* unexpected keyword argument"),
    ],
)
def test_try_model_refuses_what_no_trial_could_run(
    tmp_path: Path, values: dict[str, Any], message: str
) -> None:
    config_ = config(tmp_path / "run", **values)
    with pytest.raises(UserError, match=message):
        try_model(config_, prepare(config_))
    assert list(tmp_path.iterdir()) == []


def test_prepare_missing_tensorboard_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(UserError, match=r"needs tensorboard: pip install .*\[tensorboard\]'"):
        prepare(config(tmp_path, tensorboard=True))


def test_resume_enqueues_a_new_file_and_an_old_one_not_again(tmp_path: Path) -> None:
    for name, rate in (("a.yaml", 0.001), ("b.yaml", 0.002)):
        (tmp_path / name).write_text(f"learning_rate: {rate}")
    create(config(tmp_path / "run", enqueue=[str(tmp_path / "a.yaml")]))
    files = [str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml")]
    study = create(config(tmp_path / "run", enqueue=files))
    sources = [trial.user_attrs["source"] for trial in trials_of(study)]
    assert sources == [FIRST[0], "a.yaml", *FIRST[1:], "b.yaml"]


def test_resume_of_a_study_whose_creator_was_killed_at_once(tmp_path: Path) -> None:
    config_ = config(tmp_path)
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "study.journal")))
    optuna.create_study(storage=storage, study_name=config_.name(), direction="maximize")
    study = create(config_)
    assert [trial.user_attrs["source"] for trial in trials_of(study)] == FIRST
    assert make_config(study.user_attrs["config"]) == config_


def test_created_study_knows_its_home(tmp_path: Path) -> None:
    first, second = config(tmp_path / "a"), config(tmp_path / "b", storage=str(tmp_path / "j"))
    study = create(first)
    assert study.user_attrs["home"]["run_dir"] == str(tmp_path / "a")
    assert is_owner(study, StudyLocation.of(first))
    assert not is_owner(study, StudyLocation.of(second))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "config.yaml").touch()  # an earlier command found the answer here
    assert is_owner(study, StudyLocation.of(second))


def test_creator_killed_between_its_points_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sb3_hpo.study.create_or_resume._CREATOR_GRACE_S", 0.0)
    config_ = config(tmp_path)
    enqueue, left = optuna.Study.enqueue_trial, [1]

    def enqueue_one(self: optuna.Study, *args: Any, **kwargs: Any) -> None:
        if not left:
            raise KeyboardInterrupt
        left.pop()
        enqueue(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(optuna.Study, "enqueue_trial", enqueue_one)
        with pytest.raises(KeyboardInterrupt):
            create(config_)
    study = create(config_)
    assert [trial.user_attrs["source"] for trial in trials_of(study)] == FIRST


def test_commands_that_start_at_once_leave_the_first_points_to_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config_ = config(tmp_path)
    study = create(config_)
    home = study.user_attrs["home"]
    study.set_user_attr("home", None)
    pauses = []

    def create_meanwhile(_seconds: float) -> None:
        pauses.append(1)
        if len(pauses) == 2:
            study.set_user_attr("home", home)

    monkeypatch.setattr("sb3_hpo.study.create_or_resume.time.sleep", create_meanwhile)
    again = create(config_)
    assert len(pauses) == 2
    assert [trial.user_attrs["source"] for trial in trials_of(again)] == FIRST


def test_full_disk_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(UserError, match=r"^storage: 60 trials need about 22 MB, but only 0\.0 MB"):
        create(config(tmp_path / "run"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("first", "second", "shown"),
    [
        ([], ["my.py:Log"], r"callbacks: None in the study, \[\{'my.py:Log': \{\}\}\] now"),
        (["my.py:Log"], [], r"callbacks: \[\{'my.py:Log': \{\}\}\] in the study, None now"),
    ],
)
def test_resume_with_other_callbacks_is_refused(
    tmp_path: Path, first: list[str], second: list[str], shown: str
) -> None:
    create(config(tmp_path, study_name="s", callbacks=first))
    with pytest.raises(UserError, match=shown):
        create(config(tmp_path, study_name="s", callbacks=second))


def test_try_model_makes_the_callbacks(tmp_path: Path) -> None:
    config_ = config(tmp_path / "run", callbacks=["tests.support.callbacks:fail"])
    with pytest.raises(UserError, match=r"^callbacks: making tests.support.callbacks:fail failed"):
        try_model(config_, prepare(config_))
    assert list(tmp_path.iterdir()) == []
