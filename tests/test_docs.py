"""What README and docs/ show is run: a page's examples in their order, in one folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

import samplers
import sb3_hpo
from sb3_hpo.algorithms.registry import ALGORITHMS
from sb3_hpo.config.study_config import StudyConfig

ROOT = Path(__file__).parents[1]
PAGES = {path.stem: path for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}
_BLOCK = re.compile(
    r"(?:^<!-- (example|not run): ([^\n]+) -->\n)?^```(\S*)\n(.*?)^```$", re.M | re.S
)
_LANGUAGES = {".py": "python", ".sh": "bash", ".yaml": "yaml", ".yml": "yaml"}
# Below the options of an example, so that what it says itself counts.
SHORT = """
n_timesteps: 1000
n_trials: 2
n_workers: 1
n_eval_episodes: 2
reevaluate: false
test_seeds: 2
test_episodes: 5
"""
SHORTER = {  # in an example: what takes long, and what is run instead
    "first_command.sh": [
        ('pip install -c constraints.txt -e ".[report]" && ', ""), ("v1", "v1 --reevaluate")
    ],
    "first_study.sh": [("v1", "v1 --reevaluate")],
    "own_script.py": [("learn(10_000", "learn(2_000")],
    "tune_my_env.py": [("tune(", "tune(n_timesteps=2_000, test_episodes=20, ")],
    "more_trials.sh": [("--n-trials 100", "--n-trials 3")],
    "train_again.sh": [("--seeds 3", "--seeds 1 --episodes 5")],
    "tune_pendulum.py": [
        ("n_timesteps=40_000, n_trials=60",
         "n_timesteps=1_000, n_trials=2, n_workers=1, test_seeds=2, test_episodes=5")
    ],
    "optuna_script.py": [("N_TIMESTEPS, N_ENVS = 30_000", "N_TIMESTEPS, N_ENVS = 2_000"),
                         ("n_trials=20", "n_trials=2")],
    "edit.sh": [("--yaml", "--n-timesteps 2_000 --yaml"),
                ("--space my_space.yaml", "--n-timesteps 2_000 --space my_space.yaml")],
    "enqueue.sh": [("v1", "v1 --n-envs 1 --n-timesteps 2_000")],
    "table.sh": [("--n-timesteps 40_000", "--n-timesteps 2_000")],
    "any_study.sh": [("--top 5 --seeds 10", "--top 1 --seeds 2")],
    "zoo_study.sh": [("-n 40000", "-n 1000"), ("--n-timesteps 40000", "--n-timesteps 1000"),
                     ("--n-trials 30", "--n-trials 1"), ("--top 3", "--top 1 --test-seeds 1"),
                     ("--n-evaluations 10", "--n-evaluations 2")],
    "cleanrl.sh": [("--n-timesteps 100_000", "--n-timesteps 2_000")],
    "hydra.sh": [("--n-trials 20", "--n-trials 2")],
    "my_study.py": [("learn(20_000", "learn(2_000"), ("n_trials=30", "n_trials=2")],
    "my_answer.sh": [("20_000", "2_000 --config short.yaml")],
    "my_search.sh": [("--n-timesteps 20_000", "--n-timesteps 2_000")],
}  # fmt: skip


@dataclass(frozen=True)
class Block:
    """A piece of code in a page.

    Attributes:
        kind: "example", "not run", or nothing.
        label: The example's name, or why it is not run.
        language: Of the code.
        code: As it is printed.
    """

    kind: str
    label: str
    language: str
    code: str


def blocks(page: str) -> list[Block]:
    return [Block(*found) for found in _BLOCK.findall(PAGES[page].read_text())]


def examples(page: str) -> dict[str, str]:
    return {item.label: item.code for item in blocks(page) if item.kind == "example"}


SHORT_PAGES = ("README",)  # the others take a quarter of an hour
WITH_EXAMPLES = [page for page in PAGES if examples(page)]


def shorten(name: str, code: str) -> str:
    """Return an example as it is printed, but for what takes long."""
    for long, short in SHORTER.get(name, []):
        assert long in code, name
        code = code.replace(long, short)
    return re.sub(r"(-m sb3_hpo\.optimize)(?! --(join|stop))", r"\1 --config short.yaml", code)


def run_page(page: str, folder: Path) -> dict[str, str]:
    """Run a page's examples; return what each of them has printed."""
    (folder / "short.yaml").write_text(SHORT)
    python = folder / "bin" / "python"  # what examples call is this very Python
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    environment = os.environ | {"PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}
    printed = {}
    for name, code in examples(page).items():
        (folder / name).write_text(shorten(name, code))
        runner = {".py": ["python"], ".sh": ["bash", "-e"]}.get(Path(name).suffix)
        if runner is not None:
            command = [*runner, name]
            done = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"
            printed[name] = done.stdout + done.stderr
    return printed


@pytest.mark.parametrize("page", PAGES)
def test_code_in_a_page_is_an_example_or_says_why_not(page: str) -> None:
    for block in blocks(page):
        if block.kind == "example":
            assert _LANGUAGES[Path(block.label).suffix] == block.language
        elif block.kind != "not run":
            is_doctest = block.language == "python" and block.code.startswith(">>> ")
            assert is_doctest or block.language in (
                "text",
                "{toctree}",
                "{glossary}",
                "{eval-rst}",
            )


def test_names_of_examples_are_different_and_all_shortened_ones_exist() -> None:
    names = [name for page in PAGES for name in examples(page)]
    assert len(names) == len(set(names))
    assert set(SHORTER) <= set(names)


def statements(code: str) -> int:
    return sum(
        bool(line.strip()) and not line.strip().startswith("#") for line in code.splitlines()
    )


def test_examples_are_as_short_as_promised() -> None:
    assert len(PAGES["README"].read_text().splitlines()) <= 200
    readme = examples("README")
    assert set(readme) == {"first_command.sh", "own_script.py", "tune_my_env.py"}
    assert statements(readme["tune_my_env.py"]) <= 14  # under 15 lines
    assert statements(readme["own_script.py"]) <= 19
    assert statements(examples("tutorial")["miniature.py"]) <= 30


def test_two_commands_stand_in_readme_each_with_its_set_up() -> None:
    commands = [block.code.strip() for block in blocks("README") if block.language == "bash"]
    tune = "python -m sb3_hpo.optimize --algo ppo --env Pendulum-v1"
    assert commands == [
        f'pip install -c constraints.txt -e ".[report]" && {tune}',
        'pip install -c constraints.txt -e ".[test]" && pytest -n 2',
    ]


@pytest.mark.parametrize("page", WITH_EXAMPLES)
def test_scripts_may_be_imported_by_workers(page: str) -> None:
    for code in (code for name, code in examples(page).items() if name.endswith(".py")):
        before, guard, after = code.partition('if __name__ == "__main__":')
        if guard:
            assert not re.search(r"^(\w+ = )?(tune\(|study)", before, re.MULTILINE)
            assert all(line.startswith("    ") for line in after.strip("\n").splitlines())
        else:
            assert "tune(" not in code


@pytest.mark.parametrize("page", [*PAGES, "CONTRIBUTING"])
def test_files_and_links_in_a_page_exist(page: str) -> None:
    path = PAGES.get(page, ROOT / "CONTRIBUTING.md")
    text = _BLOCK.sub("", path.read_text())
    for name in re.findall(r"`((?:sb3_hpo|samplers|scripts|tests|docs)/[\w./]*)`", text):
        assert (ROOT / name).exists(), name
    for target, anchor in re.findall(r"\]\((?!http)([^)#]*)#?([^)]*)\)", text):
        linked = path.parent / target if target else path
        assert linked.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.*)$", linked.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", t).lower().replace(" ", "-") for t in titles}


def test_options_in_pages_exist() -> None:
    text = "".join(path.read_text() for path in PAGES.values())
    options = {f"--{name.replace('_', '-')}" for name in StudyConfig.model_fields}
    options |= {f"--no-{name.replace('_', '-')}" for name in StudyConfig.model_fields}
    commands = {"--config", "--print-config", "--join", "--stop", "--help", "--fix", "--yaml",
                "--seeds", "--episodes", "--size", "--callback"}  # fmt: skip
    others = {  # of RL Zoo, CleanRL, Hydra
        *("--max-total-trials", "--n-jobs", "--eval-episodes", "--gym-packages", "--conf-file"),
        *("--no-optim-plots", "--env-id", "--total-timesteps", "--num-envs", "--num-steps"),
        *("--num-minibatches", "--update-epochs", "--learning-rate", "--anneal-lr"),
        *("--clip-coef", "--clip-vloss", "--ent-coef", "--vf-coef", "--max-grad-norm", "--gamma"),
        *("--gae-lambda", "--target-kl", "--norm-adv", "--multirun"),
    }
    shown = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z]", text))
    assert shown - options - commands - others == set()


def test_api_has_every_public_name() -> None:
    text = PAGES["api"].read_text()
    documented = set(re.findall(r"^\.\. auto\w+:: ([\w.]+)", text, re.MULTILINE))
    wanted = {f"sb3_hpo.{name}" for name in sb3_hpo.__all__ if not name.startswith("sample_")}
    wanted |= {f"samplers.sample_{algo}_params" for algo in samplers.SEARCH_SPACES}
    assert wanted - documented == set()


def test_tables_have_every_algorithm() -> None:
    text = PAGES["search_spaces"].read_text()
    assert {name for name in ALGORITHMS if f"`{name}`" not in text} == set()


def test_glossary_has_the_words_that_the_pages_use() -> None:
    text = PAGES["glossary"].read_text()
    for word in ("Answer", "Candidate", "member", "Race", "Test seeds", "Optimism", "Worker"):
        assert re.search(rf"^(\w[\w, ]*, )?{word}(,|$)", text, re.MULTILINE), word


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(
            page, marks=pytest.mark.slow if page in SHORT_PAGES else pytest.mark.integrations
        )
        for page in WITH_EXAMPLES
    ],
)
def test_examples_of_a_page_run_in_their_order(page: str, tmp_path: Path) -> None:
    printed = run_page(page, tmp_path)
    for name, words in PRINTED.get(page, {}).items():
        assert re.search(words, printed[name], re.MULTILINE), printed[name]
    if page == "README":
        check_own_environment(tmp_path)


PRINTED = {
    "README": {
        "first_command.sh": r"^The answer: trial \d, trained again for ",
        "own_script.py": r"^best trial [01]: \d+\.\d, \{'learning_rate': ",
        "tune_my_env.py": r"^6 trials finished",
    },
    "tutorial": {
        "miniature.py": r"\{'one_minus_gamma': 0\.\d+",
        "more_trials.sh": r"^study \S+ in runs/first$",
        "train_again.sh": r"best_model.zip is the policy of the median seed",
        "use_answer.py": r"^an episode: -\d+\.\d$",
    },
    "own_code": {"callbacks.sh": r"(?s)^new study (\S+) .*^study \1 ",
                 "tune_pendulum.py": r"^IQM -\d+\.\d, worst seed -\d+\.\d, 2 seeds$",
                 "optuna_script.py": r"^-\d+\.\d+ \{'learning_rate': "},
    "search_spaces": {"show.sh": r"n_steps = 2\^x", "check_space.py": "the contract holds"},
    "answer": {"any_study.sh": r"report\.md"},
    "running": {"config.sh": r"^n_timesteps: 60000$", "join.sh": r"^joining study ppo-",
                "stop_and_doctor.sh": r"^nothing to repair$"},
    "batches": {"batches.sh": r"^2 trials finished"},
    "migration": {
        "enqueue_zoo.sh": r"ppo\.yml",
        "zoo_study.sh": r"^The answer: ",
        "hydra.sh": "over 4 dimensions",
        "my_answer.sh": r"^The answer: ",
    },
}  # fmt: skip


def check_own_environment(folder: Path) -> None:
    (run_dir,) = folder.glob("runs/ppo-LightPendulum-s0-*")
    storage = JournalStorage(JournalFileBackend(str(run_dir / "study.journal")))
    study = optuna.load_study(study_name=run_dir.name, storage=storage)
    assert len([trial for trial in study.trials if trial.state.is_finished()]) == 6
    assert "tune_my_env.py:LightPendulum" in (run_dir / "config.yaml").read_text()


@pytest.mark.slow
def test_documentation_builds_without_a_warning(tmp_path: Path) -> None:
    pages = tmp_path / "docs"
    shutil.copytree(ROOT / "docs", pages, ignore=shutil.ignore_patterns("_build"))
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    done = subprocess.run(
        [*command, str(pages), str(tmp_path / "html")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer = (tmp_path / "html" / "answer.html").read_text()
    assert "<math" in answer  # formulas that a browser draws offline
    pages_text = "".join(path.read_text() for path in (tmp_path / "html").glob("*.html"))
    loaded = re.findall(r'(?:<script[^>]* src|<link[^>]* href)="(https?:[^"]*)"', pages_text)
    assert loaded == []
