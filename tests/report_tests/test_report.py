from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from rich.console import Console

from sb3_hpo.config.study_config import make_config
from sb3_hpo.export.recipe import read_recipe
from sb3_hpo.report.__main__ import main
from sb3_hpo.report.deliver import deliver, make_recipe, write_result
from sb3_hpo.results.reevaluation_runs import ReevaluationLog
from sb3_hpo.utils.files import format_yaml
from tests.support.studies import (
    candidates,
    make_result,
    make_runs,
    make_study,
    no_result,
    study_config,
)

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

CONFIG = study_config()
MODEL = ("MlpPolicy", "cpu")
FILES = ["best.yaml", "train_best.py", "zoo.yml", "report.md", "report.html"]


def test_make_recipe_is_the_tested_winner_with_its_test() -> None:
    study = make_study(CONFIG)
    result = make_result(study, CONFIG)
    recipe = make_recipe(study, CONFIG, result)
    winner = result.winner
    assert recipe is not None
    assert winner is not None
    assert winner.candidate.trial is not None
    trial = study.trials[winner.candidate.trial]
    assert (recipe.trial, recipe.trial_value) == (trial.number, trial.value)
    assert recipe.kwargs == winner.candidate.kwargs
    assert recipe.params == trial.params
    assert recipe.seed == trial.user_attrs["run"]["seed"]
    assert recipe.reevaluated is not None
    assert recipe.reevaluated["iqm"] == winner.iqm.value
    assert recipe.reevaluated["iqm_interval"] == [winner.iqm.low, winner.iqm.high]
    assert recipe.reevaluated["mean"] == winner.mean
    assert recipe.reevaluated["n_timesteps"] == winner.n_steps
    assert recipe.reevaluated["n_seeds"] == CONFIG.test_seeds
    assert recipe.reevaluated["optimism"] == result.optimism
    assert make_config({**recipe.config.model_dump(), "pruner": "none"}).n_envs == CONFIG.n_envs


def test_make_recipe_before_a_test_is_the_best_trial() -> None:
    study = make_study(CONFIG)
    recipe = make_recipe(study, CONFIG, no_result(study, CONFIG))
    assert recipe is not None
    assert (recipe.trial, recipe.reevaluated) == (study.best_trial.number, None)


def test_make_recipe_of_an_empty_study_is_none() -> None:
    study = make_study(CONFIG, n_trials=0)
    assert make_recipe(study, CONFIG, no_result(study, CONFIG)) is None


def test_write_answer_writes_files_that_name_the_same_trial(tmp_path: Path) -> None:
    study = make_study(CONFIG)
    result = make_result(study, CONFIG)
    assert result.winner is not None
    paths = write_result(tmp_path, study, CONFIG, result, MODEL)
    assert [path.name for path in paths] == FILES
    name = result.winner.candidate.name
    assert read_recipe(tmp_path / "best.yaml").trial == result.winner.candidate.trial
    for file in FILES:
        assert name in (tmp_path / file).read_text(), file
    iqm = f"{result.winner.iqm.value:.1f}"
    for file in ("report.md", "report.html"):
        assert iqm in (tmp_path / file).read_text(), file


def test_deliver_says_where_the_files_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    study = make_study(CONFIG)
    result = make_result(study, CONFIG)
    deliver(Console(), tmp_path / "run", study, CONFIG, result, MODEL)
    assert f"{', '.join(FILES)} are in run" in capsys.readouterr().out


def _run_folder(tmp_path: Path) -> Path:
    """Lay down what a finished study leaves: journal, configuration, re-evaluation."""
    folder = tmp_path / "run"
    folder.mkdir()
    journal = JournalStorage(JournalFileBackend(str(folder / "study.journal")))
    made = make_study(CONFIG)
    study = optuna.create_study(storage=journal, study_name=made.study_name, direction="maximize")
    study.add_trials(made.trials)
    study.set_user_attr("config", CONFIG.model_dump(mode="json"))
    log = ReevaluationLog(folder / "reevaluation.jsonl")
    for run in make_runs(study, CONFIG):
        log.append(run)
    log.choose(candidates(study, 1)[0])
    return folder


def test_main_makes_the_pages_of_a_run_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = _run_folder(tmp_path)
    assert main([str(folder)]) == 0
    output = capsys.readouterr().out
    assert "The answer: trial" in output
    assert "fresh seeds" in (folder / "report.md").read_text()
    assert (folder / "report.html").exists()
    assert not (folder / "best.yaml").exists()


def test_main_without_plotly_says_what_is_left_out_and_how_to_get_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _run_folder(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert main([str(folder)]) == 0
    assert not (folder / "report.html").exists()
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith("report.html is left out, as it needs plotly: pip install ")
    assert "[report]'" in line


def test_main_does_not_let_optuna_talk_of_studies_in_memory(tmp_path: Path) -> None:
    folder = _run_folder(tmp_path)
    optuna.logging.set_verbosity(optuna.logging.INFO)
    assert main([str(folder)]) == 0
    assert optuna.logging.get_verbosity() == optuna.logging.WARNING


def test_main_prefers_what_the_study_was_last_re_evaluated_with(tmp_path: Path) -> None:
    folder = _run_folder(tmp_path)
    changed = CONFIG.model_copy(update={"test_episodes": 99})
    (folder / "config.yaml").write_text(format_yaml(changed.model_dump(mode="json")))
    assert main([str(folder)]) == 0
    assert "Not re-evaluated" in (folder / "report.md").read_text()


def test_main_reports_a_study_of_another_tool(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path / 'zoo.db'}"
    study = optuna.create_study(storage=url, study_name="zoo", direction="maximize")
    study.optimize(lambda trial: -trial.suggest_float("x", 0, 1), n_trials=3)
    assert main([url, "--run-dir", str(tmp_path / "out")]) == 0
    assert f"{study.best_value:.1f}" in capsys.readouterr().out
    text = (tmp_path / "out" / "report.md").read_text()
    assert "it was made by another tool" in text
    assert "| x" in text


def test_main_of_a_minimising_study_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path / 'loss.db'}"
    optuna.create_study(storage=url, study_name="loss")
    assert main([url]) == 2
    assert "study 'loss' minimises" in capsys.readouterr().err


def test_main_of_a_missing_study_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err == f"error: storage: there is no file {tmp_path / 'nowhere'}\n"
    assert list(tmp_path.iterdir()) == []


def test_import_does_not_import_the_training_stack() -> None:
    stack = "{'torch', 'stable_baselines3', 'gymnasium', 'plotly'}"
    code = f"import sys, sb3_hpo.report; print(sorted({stack} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_pages_have_no_password(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"storage": "postgresql://me:c4nary@h/db?password=c4nary"})
    study = make_study(config)
    for path in write_result(tmp_path, study, config, make_result(study, config), MODEL):
        assert "c4nary" not in path.read_text(), path
    assert "postgresql://***@h/db?password=***" in (tmp_path / "report.md").read_text()
