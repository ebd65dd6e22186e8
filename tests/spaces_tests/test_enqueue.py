from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from sb3_hpo.algorithms.kwargs import deserialize_kwargs, serialize_kwargs
from sb3_hpo.config.study_config import make_config
from sb3_hpo.envs.problem import Problem
from sb3_hpo.spaces.bind import bind_space
from sb3_hpo.spaces.enqueue.enqueued_point import EnqueuedPoint, read_enqueued
from sb3_hpo.spaces.points import draw_at, nearest_point
from sb3_hpo.study.preflight import try_points
from sb3_hpo.utils.errors import UserError
from tests.support.envs import KnownReturnEnv

if TYPE_CHECKING:
    from pathlib import Path

    from sb3_hpo.spaces.bound_space import BoundSpace

ZOO_PPO = """
defaults: &defaults
  n_timesteps: 1e5
  policy: MlpPolicy
Pendulum-v1:
  <<: *defaults
  n_envs: 4
  normalize: "dict(norm_obs=True, norm_reward=False)"
  env_wrapper:
    - gymnasium.wrappers.TimeAwareObservation
  n_steps: 512
  batch_size: 64
  gamma: 0.9
  gae_lambda: 1.0
  ent_coef: 0.0
  learning_rate: lin_1e-3
  clip_range: lin_0.3
  use_sde: True
  policy_kwargs: "dict(log_std_init=-2, ortho_init=False, activation_fn=nn.ReLU,
    net_arch=dict(pi=[256, 256], vf=[256, 256]))"
"""


def bind(algo: str = "ppo", **values: Any) -> BoundSpace:
    env = KnownReturnEnv("discrete" if algo == "dqn" else "box")
    config = make_config({"algo": algo, "env": "Pendulum-v1", **values})
    return bind_space(config, Problem(env.observation_space, env.action_space))


def read(text: str, tmp_path: Path, space: BoundSpace | None = None) -> EnqueuedPoint:
    path = tmp_path / "zoo.yml"
    path.write_text(text)
    return read_enqueued(path, bind() if space is None else space)


@pytest.mark.parametrize(
    "text",
    [
        "Pendulum-v1: {policy: M, ent_coef: {$call: 'subprocess:getoutput', cmd: touch mark}}",
        "Pendulum-v1: {policy: M, policy_kwargs: \"dict(activation_fn='FILE:Net')\"}",
        "{params: {}, kwargs: {policy_kwargs: {activation_fn: {$import: 'FILE:Net'}}}}",
        "policy_kwargs.activation_fn: FILE:Net",
    ],
)
def test_read_enqueued_runs_no_code(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    strange = tmp_path / "evil.py"
    strange.write_text(
        "__import__('pathlib').Path('mark').touch()\nfrom torch.nn import Tanh as Net\n"
    )
    text = text.replace("FILE", str(strange))
    assert "would be imported" in refusal(text, tmp_path)
    assert not (tmp_path / "mark").exists()


def refusal(text: str, tmp_path: Path, space: BoundSpace | None = None) -> str:
    with pytest.raises(UserError, match=r"^enqueue: [^\n]+$") as caught:
        read(text, tmp_path, space)
    return str(caught.value).removeprefix(f"enqueue: {tmp_path / 'zoo.yml'}: ")


def test_file_takes_sb3_names_and_dimensions(tmp_path: Path) -> None:
    point = read("gamma: 0.9\nn_steps: 128\nlearning_rate: 1e-3\n", tmp_path)
    assert (point.source, point.kwargs) == ("zoo.yml", None)
    assert point.params == {
        "one_minus_gamma": pytest.approx(0.1),
        "n_steps_pow": 7,
        "learning_rate": 0.001,
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("n_steps: 100", "n_steps: n_steps_pow = 6.64386 is not in the space (3 to 8, who"),
        ("learning_rate: 5.0", "learning_rate: learning_rate = 5 is not in the space (1e-"),
    ],
)
def test_point_outside_the_space_is_refused(tmp_path: Path, line: str, message: str) -> None:
    assert refusal(line, tmp_path).startswith(message)


def test_unknown_names_are_all_reported(tmp_path: Path) -> None:
    text = refusal("learning_rat: 1\nclip: 2\nn_epochs: many\n", tmp_path)
    for part in (
        "unknown parameter 'learning_rat'; did you mean 'learning_rate'?",
        "unknown parameter 'clip'",
        "n_epochs: must be a number, but got 'many'",
    ):
        assert part in text


def test_best_yaml_gives_the_nearest_params_and_its_own_kwargs(tmp_path: Path) -> None:
    best = {"params": {"learning_rate": 0.5, "other": 1}, "kwargs": {"learning_rate": 0.5}}
    point = read(yaml.safe_dump(best), tmp_path)
    assert (point.params, point.kwargs) == ({"learning_rate": 0.003}, {"learning_rate": 0.5})


def test_zoo_entry_is_tried_as_it_is(tmp_path: Path) -> None:
    space = bind(space_size="full")
    point = read(ZOO_PPO, tmp_path, space)
    linear = "stable_baselines3.common.utils:LinearSchedule"
    assert point.kwargs == {
        "n_steps": 512,
        "batch_size": 64,
        "gamma": 0.9,
        "gae_lambda": 1.0,
        "ent_coef": 0.0,
        "learning_rate": {"$call": linear, "start": 0.001, "end": 0.0, "end_fraction": 1.0},
        "clip_range": {"$call": linear, "start": 0.3, "end": 0.0, "end_fraction": 1.0},
        "use_sde": True,
        "policy_kwargs": {
            "log_std_init": -2,
            "ortho_init": False,
            "activation_fn": {"$import": "torch.nn:ReLU"},
            "net_arch": {"pi": [256, 256], "vf": [256, 256]},
        },
    }


def test_zoo_entry_s_params_replay_to_what_the_space_has_of_it(tmp_path: Path) -> None:
    space = bind(space_size="full", n_timesteps=100_000, n_envs=4)
    point = read(ZOO_PPO, tmp_path, space)
    assert point.kwargs is not None
    made = serialize_kwargs(space.sample(draw_at(point.params)))
    wanted = serialize_kwargs(deserialize_kwargs(point.kwargs))
    assert {key: made[key] for key in wanted if key != "policy_kwargs"} == {
        key: value for key, value in wanted.items() if key != "policy_kwargs"
    }
    assert wanted["policy_kwargs"].items() <= made["policy_kwargs"].items()
    assert point.params["n_minibatches_pow"] == 5  # 512 * 4 / 64
    assert point.params["learning_rate_schedule"] == "linear"


def test_zoo_entry_that_differs_from_the_study_is_told_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        read(ZOO_PPO, tmp_path, bind(space_size="full"))
    (record,) = caplog.records
    assert record.getMessage() == (
        f"{tmp_path / 'zoo.yml'}: Pendulum-v1: the trial runs as the study does, not as the entry "
        "says: n_envs 8 here, 4 there, n_timesteps 40,000 here, 100,000 there, normalize false "
        "here, {'norm_obs': True, 'norm_reward': False} there, wrapper none here, "
        "gymnasium.wrappers.TimeAwareObservation there"
    )


@pytest.mark.parametrize(
    ("theirs", "ours", "difference"),
    [
        ("a.b.Log", [], "callback none here, a.b.Log there"),
        ("", ["a.b:Log"], "callback a.b.Log here, none there"),
        ("[a.b.Log, {a.c.Save: {every: 3}}]", ["a.b:Log"],
         "callback a.b.Log here, a.b.Log, a.c.Save({'every': 3}) there"),
        ("a.b.Log", ["a.b:Log"], None),
        ("[{a.c.Save: {every: 3}}, a.b.Log]", [{"a.c:Save": {"every": 3}}, "a.b:Log"], None),
    ],
)  # fmt: skip
def test_zoo_entry_with_other_callbacks_is_told(
    theirs: str, ours: list[Any], difference: str | None,
    tmp_path: Path, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    text = f"Pendulum-v1: {{n_timesteps: 1000, policy: MlpPolicy, gamma: 0.9, callback: {theirs}}}"
    with caplog.at_level(logging.WARNING):
        read(text, tmp_path, bind("sac", n_timesteps=1000, callbacks=ours))
    told = [record.getMessage().partition("entry says: ")[2] for record in caplog.records]
    assert told == ([] if difference is None else [difference])


def test_zoo_entry_like_the_study_is_not_commented(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = "Pendulum-v1: {n_timesteps: 1000, policy: MlpPolicy, normalize: true, gamma: 0.9}"
    with caplog.at_level(logging.WARNING):
        point = read(text, tmp_path, bind("sac", n_timesteps=1000, normalize=True))
    assert (point.kwargs, caplog.records) == ({"gamma": 0.9}, [])


@pytest.mark.parametrize(
    ("kind", "name"),
    [("normal", "NormalActionNoise"), ("ornstein-uhlenbeck", "OrnsteinUhlenbeckActionNoise")],
)
def test_zoo_noise_becomes_an_object_of_the_actions_shape(
    tmp_path: Path, kind: str, name: str
) -> None:
    text = f"Pendulum-v1: {{policy: MlpPolicy, noise_type: {kind}, noise_std: 0.1}}"
    point = read(text, tmp_path, bind("td3"))
    call = f"stable_baselines3.common.noise:{name}"
    assert point.kwargs == {"action_noise": {"$call": call, "mean": [0.0], "sigma": [0.1]}}
    assert point.params["noise_type"] == {"normal": "normal"}.get(kind, "ou")
    assert point.params["noise_std"] == 0.1


def test_zoo_her_strings_and_episode_frequency_are_read(tmp_path: Path) -> None:
    text = """
    Pendulum-v1:
      policy: MultiInputPolicy
      replay_buffer_class: HerReplayBuffer
      replay_buffer_kwargs: "dict(goal_selection_strategy='future', n_sampled_goal=4,)"
      train_freq: [1, episode]
      gradient_steps: -1
      policy_kwargs: "dict(net_arch=[64, 64], optimizer_class=th.optim.AdamW,
        optimizer_kwargs=dict(eps=1e-5, betas=(0.9, 0.95)), activation_fn=torch.nn.ELU)"
    """
    point = read(text, tmp_path, bind("sac"))
    assert point.kwargs == {
        "replay_buffer_class": {"$import": "stable_baselines3:HerReplayBuffer"},
        "replay_buffer_kwargs": {"goal_selection_strategy": "future", "n_sampled_goal": 4},
        "train_freq": {"$tuple": [1, "episode"]},
        "gradient_steps": -1,
        "policy_kwargs": {
            "net_arch": [64, 64],
            "optimizer_class": {"$import": "torch.optim:AdamW"},
            "optimizer_kwargs": {"eps": 1e-5, "betas": {"$tuple": [0.9, 0.95]}},
            "activation_fn": {"$import": "torch.nn:ELU"},
        },
    }


def test_zoo_atari_entry_is_for_all_atari_games(tmp_path: Path) -> None:
    space = bind()
    ours = make_config({"algo": "ppo", "env": "ale_py:BreakoutNoFrameskip-v4"})
    space = replace(space, config=ours)
    point = read("atari: {policy: CnnPolicy, gamma: 0.98}", tmp_path, space)
    assert point.kwargs == {"gamma": 0.98}


def test_zoo_entry_that_says_nothing_of_the_run_is_known_by_its_environment(
    tmp_path: Path,
) -> None:
    point = read("Pendulum-v1:\n  gamma: 0.9\n", tmp_path)
    assert (point.source, point.kwargs) == ("zoo.yml", {"gamma": 0.9})


def test_zoo_file_without_the_environment_suggests_one(tmp_path: Path) -> None:
    text = refusal("Pendulum-v0: {policy: MlpPolicy}\nCartPole-v1: {n_timesteps: 1}", tmp_path)
    assert text == (
        "unknown entry 'Pendulum-v1'; did you mean 'Pendulum-v0'? Known: CartPole-v1, Pendulum-v0"
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("policy_kwargs: '__import__(\"os\").system(\"true\")'",
         "policy_kwargs: \"__import__('os').system('true')\" would have to be evaluated, "),
        ("""policy_kwargs: 'dict(net_arch=[int("64")])'""",
         "policy_kwargs: \"int('64')\" would have to be evaluated, which is not safe: "),
        ("policy_kwargs: 'dict(activation_fn=().__class__)'",
         "policy_kwargs: '().__class__' would have to be evaluated"),
        ("policy_kwargs: 'dict(net_arch=[2**99])'", "policy_kwargs: '2 ** 99' would have to"),
        ("policy_kwargs: 'dict(activation_fn=nn.Relu)'",
         "policy_kwargs: torch.nn:Relu: unknown name 'Relu'; did you mean"),
        ("policy_kwargs: 'dict(net_arch=['", "policy_kwargs: 'dict(net_arch=[' is not an "),
        ("normalize: 'open(1)'", "normalize: 'open(1)' would have to be evaluated"),
        ("learning_rat: 0.1", "learning_rat: unknown parameter 'learning_rat'; did you mean"),
        ("model_class: tqc", "model_class: unknown parameter 'model_class'"),
        ("gamma: 1.5", "gamma: must be between 0 and 1, but got 1.5"),
        ("learning_rate: exp_0.1", "learning_rate: must be a number, or lin_<number> for one"),
        ("noise_type: normal", "noise_type: unknown parameter 'noise_type'"),
    ],
)  # fmt: skip
def test_zoo_mistake_names_file_key_and_repair(line: str, message: str, tmp_path: Path) -> None:
    text = refusal(f"Pendulum-v1:\n  policy: MlpPolicy\n  {line}\n", tmp_path)
    assert text.startswith(f"Pendulum-v1.{message}")


def test_zoo_expression_is_not_evaluated(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    line = f"dict(net_arch=__import__('pathlib').Path({str(victim)!r}).touch())"
    refusal(yaml.safe_dump({"Pendulum-v1": {"policy": "x", "policy_kwargs": line}}), tmp_path)
    assert not victim.exists()


def test_nearest_point_is_on_steps_inside_and_among_the_choices() -> None:
    space = bind("sac", space_size="full", choices={"gamma": [0.5, 0.75], "use_sde": [True]})
    params = {"n_steps": 4.2, "one_minus_gamma": 0.3, "use_sde": False, "tau": 9, "unknown": 1}
    near = nearest_point(params, space.dimensions)
    assert near == {"n_steps": 5, "one_minus_gamma": 0.25, "tau": 0.08}


def test_params_of_leaves_out_what_the_space_cannot_say() -> None:
    space = bind()
    params = space.params_of({"policy_kwargs": {"net_arch": [7]}, "gamma": 0.9})
    assert "net_arch" not in params
    assert params["one_minus_gamma"] == pytest.approx(0.1)
    assert params["learning_rate"] == space.default_params["learning_rate"]


def test_try_points_names_the_choice_that_is_refused() -> None:
    space = bind(choices={"net_arch": ["tiny", [5]], "gamma": [0.9, 0.95]})

    def refuse_five(kwargs: dict[str, Any]) -> None:
        if kwargs["policy_kwargs"]["net_arch"] == [5]:
            raise ValueError("no fives")

    with pytest.raises(
        UserError, match=r"^ppo cannot .* and net_arch=\[5\]: ValueError: no fives"
    ):
        try_points(space, refuse_five)


def test_try_points_builds_every_choice_and_end_of_the_user_s() -> None:
    seen: list[dict[str, Any]] = []
    space = bind(choices={"gamma": [0.5, 0.75, 0.9]}, range={"learning_rate": [1e-4, 1e-3]})
    try_points(space, seen.append)
    assert len(seen) == 4  # a first sample, and three of the user's
    assert [kwargs["gamma"] for kwargs in seen[1:]] == [0.5, 0.75, 0.9]
    assert {1e-4, 1e-3} <= {kwargs["learning_rate"] for kwargs in seen}


def test_try_points_first_sample_of_a_shipped_space_is_all() -> None:
    seen: list[dict[str, Any]] = []
    try_points(bind(), seen.append)
    assert len(seen) == 1
