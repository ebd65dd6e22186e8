from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from sb3_hpo.report.pages import assemble as pages
from sb3_hpo.report.pages.assemble import make_sections, write_pages
from sb3_hpo.report.pages.document import Code, Facts, Items, Picture, Section, Table, Text
from sb3_hpo.report.pages.html import to_html
from sb3_hpo.report.pages.markdown import to_markdown
from sb3_hpo.results.reevaluation_runs import BASELINE, make_request
from sb3_hpo.results.study_result import CAUTION, StudyResult, read_result
from sb3_hpo.results.trials import best_trials
from sb3_hpo.scoring.statistics import Estimate
from sb3_hpo.utils.errors import UserError
from sb3_hpo.utils.files import parse_yaml
from sb3_hpo.utils.formatting import number
from tests.support.studies import (
    candidates,
    make_result,
    make_run,
    make_runs,
    make_study,
    no_result,
    study_config,
)

if TYPE_CHECKING:
    from pathlib import Path

    from sb3_hpo.config.study_config import StudyConfig

CONFIG = study_config()
PICTURES = [
    "every-seed-of-test-and-race", "learning-curves-of-the-test-runs", "history",
    "learning-curves-of-all-trials", "importances", "slices", "parallel-coordinates",
]  # fmt: skip
TITLES = [
    "The answer", "Race and test", "The search", "The search space", "Advice", "What it cost",
    "What was run", "Use it",
]  # fmt: skip


@dataclass(frozen=True)
class Advised:
    """What `write_pages` needs of a piece of advice."""

    rule: str
    text: str


@pytest.fixture(scope="module")
def study() -> optuna.Study:
    return make_study(CONFIG, 60)


@pytest.fixture(scope="module")
def result(study: optuna.Study) -> StudyResult:
    return make_result(study, CONFIG)


@pytest.fixture(scope="module")
def markdown(study: optuna.Study, result: StudyResult) -> str:
    return markdown_of(study, result)


def markdown_of(study: optuna.Study, result: StudyResult, config: StudyConfig = CONFIG) -> str:
    return to_markdown("title", make_sections(study, config, result, []))


def section_of(markdown: str, title: str) -> str:
    (found,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", markdown, re.DOTALL | re.MULTILINE)
    return str(found)


def rows_of(markdown: str) -> dict[str, list[str]]:
    """Return the cells of all tables by the first one of their row."""
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {row[0]: row[1:] for row in cells}


def interval(estimate: Estimate) -> str:
    return f"{number(estimate.low)} to {number(estimate.high)}"


def drawn_pictures(page: str) -> list[str]:
    return re.findall(r'Plotly\.newPlot\(\s*"([\w-]+)"', page)


# The answer.


def test_answer_gives_the_winners_numbers(
    study: optuna.Study, result: StudyResult, markdown: str
) -> None:
    tested, default = result.winner, result.default
    assert tested is not None
    assert default is not None
    assert result.improvement is not None
    rows = rows_of(section_of(markdown, "The answer"))
    assert rows["Re-evaluated IQM of the return"] == [
        number(tested.iqm.value), f"95 % interval {interval(tested.iqm)}, 5 seeds of 40,048 steps",
    ]  # fmt: skip
    assert list(rows)[2:7] == [
        "Re-evaluated IQM of the return", "SB3's default, IQM", "Median", "Worst seed",
        "P(a run beats one of SB3's default)",
    ]  # fmt: skip
    assert rows["Median"][0] == number(tested.median)
    assert rows["Worst seed"] == [number(tested.worst), "of 5"]
    assert rows["P(a run beats one of SB3's default)"][0] == "100 %"
    assert rows["SB3's default, IQM"][0] == number(default.iqm.value)
    value = best_trials(study, 1)[0].value or 0.0
    assert rows["Optimism"] == [
        number(value - tested.iqm.value), f"trial value {number(value)} less this IQM",
    ]  # fmt: skip


def test_answer_says_what_was_trained_and_judged(
    study: optuna.Study, result: StudyResult, markdown: str
) -> None:
    text = section_of(markdown, "The answer")
    winner = best_trials(study, 1)[0]
    assert f"hyperparameters of trial {winner.number}, trained again from 5 fresh seeds" in text
    assert "for 40,000 environment steps each; each final policy judged on 8 episodes" in text
    assert f"{result.counts.finished} of 40 trials are finished." in text
    assert CAUTION not in text


def test_answer_is_told_in_one_paragraph(study: optuna.Study, markdown: str) -> None:
    parts = section_of(markdown, "The answer").split("\n\n")
    told = [part.strip() for part in parts if part.strip() and "|" not in part]
    assert len(told) == 2
    for text in ("trained again from 5 fresh", "It beats SB3's default by", "are finished."):
        assert text in told[0]
    assert told[1] == f"Hyperparameters of trial {best_trials(study, 1)[0].number}:"


def test_answer_before_the_default_is_tested_has_a_place_for_it(
    study: optuna.Study, result: StudyResult
) -> None:
    for broken, text in (({}, "not tested yet"), ({"SB3's default": 5}, "all runs broke")):
        known = replace(result, default=None, gain=None, improvement=None, broken=broken)
        rows = rows_of(section_of(markdown_of(study, known), "The answer"))
        assert rows["SB3's default, IQM"] == ["-", text]


def test_answer_lists_the_winners_hyperparameters(study: optuna.Study, markdown: str) -> None:
    rows = rows_of(section_of(markdown, "The answer"))
    params = best_trials(study, 1)[0].params
    assert rows["learning_rate"] == [f"{params['learning_rate']:.4g}"]
    assert rows["n_steps"] == [str(2 ** params["n_steps_pow"])]
    assert rows["policy_kwargs.activation_fn"] == [
        {"tanh": "Tanh", "relu": "ReLU"}[params["activation_fn"]]
    ]


@pytest.mark.parametrize(
    ("gain", "text"),
    [
        (Estimate(10.0, (5.0, 15.0)), "It beats SB3's default by 10.0 (95 % interval 5 to 15.0)"),
        (
            Estimate(2.0, (-5.0, 15.0)),
            "It is not shown to beat SB3's default: the IQMs differ by 2",
        ),
        (Estimate(-9.0, (-15.0, -5.0)), "It is worse than SB3's default, by -9"),
        (None, "SB3's default has not been tested yet"),
    ],
)
def test_answer_judges_the_default(
    study: optuna.Study, result: StudyResult, gain: Estimate | None, text: str
) -> None:
    assert text in markdown_of(study, replace(result, gain=gain))


def test_answer_from_few_seeds_has_no_interval(study: optuna.Study) -> None:
    winner = candidates(study, 1)[0]
    all_runs = [
        make_run(CONFIG, make_request(CONFIG, "test", who, index), [value] * 10)
        for who, n, value in ((winner, 10, -200.0), (BASELINE, 3, -1000.0))
        for index in range(n)
    ]
    text = section_of(
        markdown_of(study, read_result(study, CONFIG, all_runs, winner)), "The answer"
    )
    assert rows_of(text)["SB3's default, IQM"] == [
        "-1,000",
        "3 seeds of 40,048 steps, too few for an interval",
    ]
    assert "each of its 10 runs is better than all 3 of the default" in text


def test_answer_with_broken_runs_says_how_they_count(study: optuna.Study) -> None:
    all_runs = make_runs(study, CONFIG)
    index = next(i for i, run in enumerate(all_runs) if run.stage == "test")
    all_runs[index] = replace(all_runs[index], final=None)
    text = markdown_of(study, read_result(study, CONFIG, all_runs, candidates(study, 1)[0]))
    assert "1 run broke (diverged or out of memory), to count with the lowest return" in text


def test_answer_whose_test_runs_all_broke_says_so(study: optuna.Study) -> None:
    winner = candidates(study, 1)[0]
    runs = [
        make_run(CONFIG, make_request(CONFIG, "test", winner, index), [-200.0] * 10)
        for index in range(2)
    ]
    bare = [
        replace(run, final=None, record=replace(run.record, evaluations=(), outcome="diverged"))
        for run in runs
    ]
    known = read_result(study, CONFIG, bare, winner)
    text = section_of(markdown_of(study, known), "The answer")
    assert f"All 2 test runs of {winner.name} diverged or ran out of memory. {CAUTION}" in text
    assert "Not re-evaluated." not in text


def test_answer_without_reevaluation_cautions(study: optuna.Study) -> None:
    text = section_of(markdown_of(study, no_result(study, CONFIG)), "The answer")
    best = best_trials(study, 1)[0]
    assert rows_of(text)["Best trial value, not re-evaluated"] == [
        number(best.value or 0.0), f"trial {best.number}",
    ]  # fmt: skip
    assert f"Not re-evaluated. {CAUTION}" in text
    assert "Re-evaluated IQM" not in text


def test_answer_of_a_running_study_says_so() -> None:
    study = optuna.create_study(direction="maximize")
    study.ask()
    study.enqueue_trial({"x": 1})
    text = section_of(markdown_of(study, no_result(study, CONFIG)), "The answer")
    assert "There is no answer yet: no trial is COMPLETE." in text
    assert "0 of 40 trials are finished; 1 running, 1 waiting." in text


# The other sections.


def test_sections_come_in_the_readers_order(markdown: str) -> None:
    assert re.findall(r"^## (.*)$", markdown, re.MULTILINE) == TITLES


def test_scores_section_tables_hold_test_and_race(result: StudyResult, markdown: str) -> None:
    text = section_of(markdown, "Race and test")
    default = result.default
    assert default is not None
    assert rows_of(text)["SB3's default"] == [
        number(default.iqm.value), interval(default.iqm), number(default.mean),
        number(default.median), number(default.worst), "5", "0",
    ]  # fmt: skip
    candidate, runs = result.raced[1]
    row = rows_of(text)[candidate.name]
    assert row[1:3] == [number(sum(runs) / len(runs)), str(len(runs))]
    assert row[3] == ", ".join(map(number, runs))


def test_scores_table_has_no_mean_beside_an_equal_iqm(study: optuna.Study) -> None:
    winner = candidates(study, 1)[0]
    headers = []
    for values in ((-200.0, -300.0, -700.0), (-200.0, -300.0, -310.0, -900.0)):
        all_runs = [
            make_run(CONFIG, make_request(CONFIG, "test", winner, index), [value] * 10)
            for index, value in enumerate(values)
        ]
        text = markdown_of(study, read_result(study, CONFIG, all_runs, winner))
        rows = rows_of(section_of(text, "Race and test"))
        headers.append(rows["test"])
        assert rows[winner.name][:2] == [number({3: -400.0, 4: -305.0}[len(values)]), "-"]
    others = ["median", "worst seed", "seeds", "broken"]
    assert headers == [
        ["IQM", "95 % interval", *others],
        ["IQM", "95 % interval", "mean", *others],
    ]


def test_search_section_is_told_in_one_paragraph(study: optuna.Study, markdown: str) -> None:
    told = section_of(markdown, "The search").split("\n\n")[0].strip()
    best = best_trials(study, 1)[0]
    assert told.startswith(
        "`ppo` on `Pendulum-v1`, sampler tpe, pruner quantile: 58 trials finished: 18 complete, "
    )
    assert told.endswith(
        f" minutes of training. Best trial value: {number(best.value or 0.0)}, of trial "
        f"{best.number}. The default point's: {number(study.trials[0].value or 0.0)}, of trial 0."
    )


def test_search_section_compares_the_best_trials(study: optuna.Study, markdown: str) -> None:
    text = section_of(markdown, "The search")
    best = best_trials(study, 5)
    second = best[1]
    last = list(second.intermediate_values.values())[-1]
    assert rows_of(text)[f"trial {second.number}"] == [
        number(second.value or 0.0), number(last),
    ]  # fmt: skip
    assert rows_of(text)["argument"] == [f"trial {trial.number}" for trial in best]
    assert rows_of(text)["gamma"] == [f"{1 - t.params['one_minus_gamma']:.4g}" for t in best]


def test_advice_is_listed(study: optuna.Study, result: StudyResult) -> None:
    advice: Any = [Advised("widen", "Widen `gamma`."), Advised("noise", "More seeds.")]
    sections = make_sections(study, CONFIG, result, advice)
    assert sections[4] == Section("Advice", (Items(("Widen `gamma`.", "More seeds.")),))


def test_cost_section_adds_up_all_runs(
    study: optuna.Study, result: StudyResult, markdown: str
) -> None:
    rows = rows_of(section_of(markdown, "What it cost"))
    spent = (result.search, result.race, result.test)
    steps = sum(part.n_steps for part in spent)
    assert rows["all"][:2] == [str(sum(part.n_runs for part in spent)), f"{steps:,}"]
    assert rows["race"][:2] == [str(result.race.n_runs), f"{result.race.n_steps:,}"]
    runs = [trial.user_attrs["run"] for trial in study.trials if "run" in trial.user_attrs]
    pruned = [run["n_steps"] for run in runs if run["outcome"] == "dropped"]
    assert rows["pruned"][:2] == [str(len(pruned)), f"{sum(pruned):,}"]
    assert rows["diverged (infeasible)"][0] == "3"
    assert rows["worker lost"][:2] == ["2", "not recorded"]
    assert rows["failed with an error"][0] == "2"


def test_cost_section_names_errors_once(markdown: str) -> None:
    text = section_of(markdown, "What it cost")
    assert r"- ValueError: no \<good> action & no plan (trial 11, 48)" in text


def test_cost_section_of_a_foreign_study_says_what_is_unknown() -> None:
    study = optuna.create_study(direction="maximize")
    study.add_trial(create_trial(value=1.0, intermediate_values={5: 0.0, 10: 1.0}))
    text = markdown_of(study, no_result(study, CONFIG))
    assert "1 trial left no record of the cost" in text
    assert "the last steps they reported add up to 10." in text
    assert "This study carries no configuration: it was made by another tool" in text
    assert rows_of(section_of(text, "What it cost"))["complete"][:2] == ["1", "not recorded"]


def test_setting_section_says_what_repeats_it(markdown: str) -> None:
    text = section_of(markdown, "What was run")
    rows = rows_of(text)
    assert rows["algorithm"] == ["ppo"]
    assert rows["budget T of one run"] == ["40,000 environment steps"]
    assert rows["torch"] == ["2.6.0"]
    assert rows["learning_rate"] == ["1e-05 to 0.003", "log"]
    assert rows["n_epochs"] == ["1 to 20", "log, whole numbers"]
    assert rows["net_arch"] == ["tiny, small, medium", "choice"]
    assert "Root seed 0." in text
    seeds = ", ".join(str(make_request(CONFIG, "test", BASELINE, i).seed) for i in range(3))
    assert rows["training of the test"] == [f"{seeds}, …"]
    written = re.search(r"### Configuration\n\n```\n(.*?)```", text, re.DOTALL)
    assert written is not None
    assert parse_yaml(written[1]) == CONFIG.model_dump(mode="json")


def test_setting_section_of_mixed_versions_shows_both(study: optuna.Study) -> None:
    all_runs = make_runs(study, CONFIG)
    newer = [
        replace(run, record=replace(run.record, versions={"torch": "9.9"})) for run in all_runs
    ]
    result = read_result(study, CONFIG, newer, candidates(study, 1)[0])
    text = section_of(markdown_of(study, result), "What was run")
    assert "Not all runs had the same versions:" in text
    assert rows_of(text)["torch"] == ["2.6.0", "9.9"]


def test_use_section_gives_commands(markdown: str) -> None:
    text = section_of(markdown, "Use it")
    assert "python -m sb3_hpo.train best.yaml --seeds 3 " in text
    assert "python train_best.py " in text


def test_sections_of_an_empty_study_say_what_is_missing() -> None:
    study = optuna.create_study(direction="maximize")
    sections = make_sections(study, CONFIG, no_result(study, CONFIG), [])
    assert not any(isinstance(block, Picture) for item in sections for block in item.blocks)
    text = to_markdown("title", sections)
    assert re.findall(r"^No.*$", text, re.MULTILINE) == [
        "Nothing has been re-evaluated yet.",
        "No trial has reported anything yet.",
        "No importances: they need 10 COMPLETE trials of the search space, but there are 0.",
        "Nothing to advise.",
        "No trial has sampled anything yet.",
    ]


@pytest.mark.parametrize("n_trials", [1, 2, 9])
def test_page_of_few_trials_is_drawn(tmp_path: Path, n_trials: int) -> None:
    study = make_study(CONFIG, n_trials)
    page = write_pages(tmp_path, study, CONFIG, no_result(study, CONFIG), [])[1].read_text()
    complete = len(best_trials(study))
    assert "No importances: they need 10 COMPLETE trials" in page
    assert drawn_pictures(page) == PICTURES[2:4] + PICTURES[5:] * (complete >= 2)


def test_sections_with_one_failed_trial_only_are_made() -> None:
    study = optuna.create_study(direction="maximize")
    study.add_trial(create_trial(state=TrialState.FAIL))
    assert rows_of(markdown_of(study, no_result(study, CONFIG)))["failed"][0] == "1"


# Files.


def test_write_pages_writes_both_files(
    tmp_path: Path, study: optuna.Study, result: StudyResult
) -> None:
    paths = write_pages(tmp_path, study, CONFIG, result, [])
    assert paths == [tmp_path / "report.md", tmp_path / "report.html"]
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    assert paths[0].read_text().startswith("# made-up\n")
    page = paths[1].read_text()
    assert re.findall(r"<h2>(.*?)</h2>", page) == TITLES
    assert drawn_pictures(page) == PICTURES
    assert result.winner is not None
    assert f"<dd>{number(result.winner.iqm.value)}</dd>" in page


def test_write_pages_without_plotly_writes_markdown_only(
    tmp_path: Path, study: optuna.Study, result: StudyResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    assert write_pages(tmp_path, study, CONFIG, result, []) == [tmp_path / "report.md"]
    assert [path.name for path in tmp_path.iterdir()] == ["report.md"]
    with pytest.raises(UserError, match=r"pip install .*\[report\]'"):
        pages.plotly_js()


def test_write_pages_escapes_names_and_errors(tmp_path: Path) -> None:
    config = study_config(study_name="<script>alert(1)</script> | & `x")
    study = make_study(config, 30)
    markdown, page = write_pages(tmp_path, study, config, make_result(study, config), [])
    html = page.read_text()
    assert "<script>alert" not in html
    assert "<h1>&lt;script&gt;alert(1)&lt;/script&gt; | &amp; `x</h1>" in html
    assert "no &lt;good&gt; action &amp; no plan" in html
    assert markdown.read_text().startswith("# \\<script>alert(1)\\</script> | & `x\n")


def test_title_is_the_studys_name_and_no_path(tmp_path: Path) -> None:
    config = study_config(env="/home/me/envs.py:make")
    study = make_study(config, 3)
    markdown, page = write_pages(tmp_path, study, config, no_result(study, config), [])
    assert markdown.read_text().startswith("# made-up\n\n")
    assert re.findall("<(?:title|h1)>(.*?)</", page.read_text()) == ["made-up", "made-up"]


def test_write_pages_of_200_trials_is_small(tmp_path: Path) -> None:
    config = study_config(test_seeds=10, test_episodes=200, n_eval_episodes=20)
    study = make_study(config, 200)
    page = write_pages(tmp_path, study, config, make_result(study, config, top=8), [])[1]
    assert page.stat().st_size <= 4_000_000


def test_page_names_no_other_host_but_in_plotly(study: optuna.Study, result: StudyResult) -> None:
    page = to_html("title", make_sections(study, CONFIG, result, []), "PLOTLY")
    assert re.findall(r"https?://|src=|@import|url\(", page) == []
    assert "default-src 'none'" in page


# Documents.


def picture_of(figure: Any, **more: Any) -> Picture:
    return Picture("Why", lambda: (figure, "A note."), "How to read it.", **more)


def test_to_html_of_hostile_data_stays_in_its_script() -> None:
    figure = {"data": [{"type": "scatter", "y": [1.0], "text": ["</script><b>"]}]}
    page = to_html("t", [Section("s", (picture_of(figure),))], "")
    assert "</script><b>" not in page
    assert r"\u003c\u002fscript\u003e\u003cb\u003e" in page


def test_to_html_leaves_gaps_for_what_is_not_finite() -> None:
    figure = {"data": [{"type": "scatter", "y": [1.25, float("nan"), float("-inf"), None]}]}
    page = to_html("t", [Section("s", (picture_of(figure),))], "")
    assert '"y":[1.25,null,null,null]' in page


def test_to_html_writes_every_block() -> None:
    blocks = (
        Text("Use `a<b`."),
        Items(("x",)),
        Facts((("IQM", "5", "of 10"),), is_result=False),
        Table(("name", "n"), (("a", "1,000"),)),
        picture_of({"data": []}),
        Code("a: <1>", "Folded"),
    )
    page = to_html("t", [Section("s", blocks)], "")
    for text in (
        "<p>Use <code>a&lt;b</code>.</p>",
        "<ul><li>x</li></ul>",
        '<dl class="facts unsure"><div><dt>IQM</dt><dd>5</dd><dd class="detail">of 10</dd>',
        '<td>a</td><td class="number">1,000</td>',
        '<h3>Why</h3><figure><div role="img" aria-label="Why">',
        "<figcaption>How to read it. A note.</figcaption>",
        "<details><summary>Folded</summary><pre>a: &lt;1&gt;</pre></details>",
    ):
        assert text in page


def test_to_markdown_writes_every_block() -> None:
    table = Table(("name", "n"), (("a|b", "1"), ("c", "20")))
    blocks = (
        Text("Use <b>\nnow."),
        Facts((("IQM", "5", "of 10"),)),
        picture_of(None, instead=table),
        Code("```\nx"),
    )
    assert to_markdown("t", [Section("s", blocks)]) == "\n".join(
        [
            "# t", "", "## s", "", r"Use \<b> now.", "",
            "|     |     |       |", "| --- | --: | ----- |", "| IQM |   5 | of 10 |", "",
            "| name |   n |", "| ---- | --: |", r"| a\|b |   1 |", "| c    |  20 |", "",
            "````", "```", "x", "````", "",
        ]
    )  # fmt: skip


def test_pages_import_does_not_import_the_training_stack() -> None:
    stack = "{'torch', 'stable_baselines3', 'gymnasium', 'plotly'}"
    code = f"import sys, sb3_hpo.report.pages; print(sorted({stack} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
