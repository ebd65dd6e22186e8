from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from sb3_hpo.config.command_line import OPTIMIZE, Options, read_options
from sb3_hpo.utils.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from sb3_hpo.config.study_config import StudyConfig

BASE = ("--algo", "ppo", "--env", "Pendulum-v1")


def command(*argv: str) -> Options:
    return read_options([*BASE, *argv], OPTIMIZE)


def parse(*argv: str) -> StudyConfig:
    return command(*argv).config()


def mistakes(*argv: str) -> str:
    with pytest.raises(UserError, match=r"^[^\n]+$") as caught:
        parse(*argv)
    return str(caught.value)


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    "argv",
    [("--n-trials", "7"), ("--n_trials", "7"), ("--n-trials=7",), ("--n_trials=7",)],
)
def test_read_options_dashes_or_underscores_mean_the_same(argv: tuple[str, ...]) -> None:
    assert parse(*argv).n_trials == 7


def test_read_options_underscores_in_values_stay() -> None:
    config = parse("--wrapper=my_module:Own_Wrapper", "--study_name", "a_b")
    assert (config.wrapper, config.study_name) == (("my_module:Own_Wrapper",), "a_b")


@pytest.mark.parametrize(
    ("argv", "fixed"),
    [
        (("--fixed.gamma", "0.95"), {"gamma": 0.95}),
        (("--fixed.gamma=0.95",), {"gamma": 0.95}),
        (("--fixed.learning_rate", "1e-3"), {"learning_rate": 0.001}),
        (("--fixed.log_std_init", "-2"), {"log_std_init": -2}),
        (("--fixed.activation_fn", "tanh"), {"activation_fn": "tanh"}),
        (("--fixed.net_arch", "[64, 64]"), {"net_arch": [64, 64]}),
        (("--fixed.a=b=c",), {"a": "b=c"}),
        (("--fixed.a", "[1, ",), {"a": "[1, "}),
        (("--fixed.a", "1", "--fixed.b", "true", "--fixed.a", "2"), {"a": 2, "b": True}),
    ],
)  # fmt: skip
def test_read_options_mapping_flag_gives_plain_values(
    argv: tuple[str, ...], fixed: dict[str, object]
) -> None:
    assert parse(*argv).fixed == fixed


def test_read_options_dotted_key_makes_inner_mappings() -> None:
    config = parse(
        "--policy-kwargs.optimizer_kwargs.eps", "1e-5",
        "--policy_kwargs.optimizer_kwargs.weight_decay=0.1",
        "--env-kwargs.g", "9.81",
    )  # fmt: skip
    expected = {"optimizer_kwargs": {"eps": 1e-05, "weight_decay": 0.1}}
    assert config.policy_kwargs == expected
    assert config.env_kwargs == {"g": 9.81}


def test_read_options_wrapper_repeated_keeps_all_in_order() -> None:
    assert parse("--wrapper", "a:B", "--wrapper=c:D").wrapper == ("a:B", "c:D")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--algo", "sac"), "algo: given twice, as ppo and as sac; give it once"),
        (
            ("--n-trials", "3", "--n_trials=4"),
            "n_trials: given twice, as 3 and as 4; give it once",
        ),
    ],
)
def test_read_options_value_given_twice_is_refused(argv: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}$"):
        parse(*argv)


@pytest.mark.parametrize(
    ("argv", "normalize"), [((), False), (("--normalize",), True), (("--no-normalize",), False)]
)
def test_read_options_boolean_flag_has_a_negation(argv: tuple[str, ...], normalize: bool) -> None:
    assert parse(*argv).normalize is normalize


def test_read_options_negated_flag_wins_over_file(tmp_path: Path) -> None:
    file = write(tmp_path / "a.yaml", "normalize: true\n")
    assert parse("--config", file).normalize is True
    assert parse("--config", file, "--no-normalize").normalize is False


def test_read_options_later_file_wins_over_earlier(tmp_path: Path) -> None:
    first = write(tmp_path / "1.yaml", "seed: 1\nn_trials: 11\n")
    second = write(tmp_path / "2.yaml", "seed: 2\n")
    config = parse("--config", first, "--config", second)
    assert (config.seed, config.n_trials) == (2, 11)


@pytest.mark.parametrize("flag_first", [True, False])
def test_read_options_flag_wins_over_file_wherever_it_stands(
    tmp_path: Path, flag_first: bool
) -> None:
    file = ["--config", write(tmp_path / "a.yaml", "seed: 1\nn_trials: 11\n")]
    flag = ["--seed", "5"]
    config = parse(*(flag + file if flag_first else file + flag))
    assert (config.seed, config.n_trials) == (5, 11)


def test_read_options_mappings_are_merged_over_files(tmp_path: Path) -> None:
    text = "fixed: {gamma: 0.9, n_epochs: 5}\npolicy_kwargs: {optimizer_kwargs: {eps: 0.1}}\n"
    config = parse(
        "--config", write(tmp_path / "a.yaml", text),
        "--fixed.gamma", "0.95", "--policy-kwargs.optimizer_kwargs.weight_decay", "0.2",
    )  # fmt: skip
    assert config.fixed == {"gamma": 0.95, "n_epochs": 5}
    assert config.policy_kwargs == {"optimizer_kwargs": {"eps": 0.1, "weight_decay": 0.2}}


def test_read_options_file_alone_is_enough(tmp_path: Path) -> None:
    file = write(tmp_path / "a.yaml", "algo: sac\nenv: Pendulum-v1\ntimeout: 10m\n")
    config = read_options(["--config", file], OPTIMIZE).config()
    assert (config.algo, config.timeout) == ("sac", 600.0)


def test_read_options_missing_file_is_named(tmp_path: Path) -> None:
    assert "cannot read" in mistakes("--config", str(tmp_path / "no.yaml"))


def test_read_options_unknown_flag_is_told_with_all_other_mistakes() -> None:
    text = mistakes("--n-trails", "5", "--samplr=gp", "--n-envs", "0", "--pruner", "halvin")
    for part in (
        "unknown flag '--n-trails'; did you mean '--n-trials'?",
        "unknown flag '--samplr'; did you mean '--sampler'?",
        "n_envs: Input should be greater than 0, but got '0'",
        "pruner: unknown pruner 'halvin'; did you mean 'halving'?",
    ):
        assert part in text


def test_read_options_unknown_mapping_flag_suggests() -> None:
    assert mistakes("--fixd.gamma", "0.9").startswith(
        "unknown flag '--fixd.gamma'; did you mean '--fixed.NAME'?"
    )


def test_read_options_shortened_flag_is_unknown() -> None:
    assert mistakes("--n-tri", "5").startswith("unknown flag '--n-tri'; did you mean '--n-tri")


def test_read_options_word_without_flag_is_refused() -> None:
    assert mistakes("sac") == "unexpected 'sac': every option has a name"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--seed",), "argument --seed: expected one argument"),
        (("--fixed.gamma",), "argument --fixed.gamma: expected one argument"),
        (("--fixed.gamma", "--normalize"), "argument --fixed.gamma: expected one argument"),
        (("--fixed", "1"), "unknown flag '--fixed'; did you mean '--fixed.NAME'?"),
    ],
)
def test_read_options_missing_value_is_refused(argv: tuple[str, ...], message: str) -> None:
    assert mistakes(*argv) == message


def test_read_options_nothing_is_answered_with_an_example() -> None:
    with pytest.raises(UserError, match=r"^algo: missing; env: missing: for instance --algo ppo"):
        read_options([], OPTIMIZE).config()


def test_read_options_print_config_is_told_apart() -> None:
    assert command("--print-config").print_config is True
    assert command().print_config is False


@pytest.mark.parametrize(
    ("argv", "action"), [((), None), (("--join",), "join"), (("--stop",), "stop")]
)
def test_read_options_action_is_told_apart(argv: tuple[str, ...], action: str | None) -> None:
    assert command(*argv).action == action


def test_read_options_one_action_at_a_time() -> None:
    with pytest.raises(UserError, match=r"^give one of --join and --stop$"):
        command("--stop", "--join")


def test_read_options_episodes_as_text_decide_eval_envs() -> None:
    assert parse("--n-eval-episodes", "5").n_eval_envs == 5


def test_read_options_help_lists_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        read_options(["--help"], OPTIMIZE)
    text = capsys.readouterr().out
    for part in ("--algo ALGO", "--fixed.NAME VALUE", "--no-normalize", "--config FILE"):
        assert part in text
    words = " ".join(text.split())
    assert "finished trials wanted in the study, over all workers and resumes" in words
    assert "training seeds of each trial, whose value is their mean (default: 1)" in words


def test_help_exits_0_without_importing_torch() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "sb3_hpo.optimize", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert done.returncode == 0
    assert "--n-trials" in done.stdout
    assert "sb3_hpo.config.study_config" in modules
    assert not modules & {"torch", "stable_baselines3", "gymnasium", "optuna"}


def test_read_options_callbacks_are_repeated_and_have_arguments(tmp_path: Path) -> None:
    words = ("--callback", "my.py:Log", "--callback", "my.py:Save: {every: 3, to: [a, b]}")
    entries: tuple[dict[str, Any], ...] = (
        {"my.py:Log": {}},
        {"my.py:Save": {"every": 3, "to": ["a", "b"]}},
    )
    assert parse(*words).callbacks == entries
    text = "callbacks:\n- my.py:Log\n- my.py:Save: {every: 3, to: [a, b]}\n"
    assert parse("--config", write(tmp_path / "c.yaml", text)).callbacks == entries
    assert mistakes("--callbacks", "a:B").startswith(
        "unknown flag '--callbacks'; did you mean '--callback'?"
    )


def test_read_options_goals_may_be_negative() -> None:
    config = parse("--stop-at", "-150.5", "--stop-after", "20")
    assert (config.stop_at, config.stop_after) == (-150.5, 20)
    assert mistakes("--stop-after", "0").startswith("stop_after: Input should be greater than 0")
