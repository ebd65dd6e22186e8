from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from sb3_hpo.report.pages.assemble import write_pages
from tests.support.studies import make_result, make_study, no_result, study_config

if TYPE_CHECKING:
    from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]

SABOTAGED = """<!doctype html><meta charset="utf-8">
<div id="figure" class="plotly-graph-div"></div>
<link rel="stylesheet" href="https://fonts.example/css"><img src="http://127.0.0.1:9/x.png">
<script>console.error("oops"); undefined_function();</script>
"""


@dataclass(frozen=True)
class Visit:
    """What a browser did with a page: its final content, its console, what it asked for."""

    dom: str
    console: list[str]
    requests: set[str]


def visit(page: Path, folder: Path, width: int = 1200) -> Visit:
    """Open a page in Chromium, which can reach no host."""
    log = folder / "net.json"
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
             "--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND",
             "--enable-logging=stderr", "--virtual-time-budget=10000",
             f"--window-size={width},2000",
             f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}"]  # fmt: skip
    command = [str(CHROMIUM), *flags, "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    events = json.loads(log.read_text())
    start = events["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    asked = [event["params"] for event in events["events"] if event["type"] == start]
    # The browser's own requests (time, updates) have no origin; a page's have one, if an opaque.
    requests = {
        params["url"]
        for params in asked
        if "url" in params and params.get("initiator") != "not an origin"
    }
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    return Visit(dom=done.stdout, console=console, requests=requests)


def drawn_sizes(dom: str) -> dict[str, tuple[float, float]]:
    """Return width and height of each figure's first drawing; (0, 0) if there is none."""
    body = dom[dom.index("</head>") :]
    sizes = {}
    for part in re.split(r'(?=<div id="[\w-]+" class="[^"]*plotly-graph-div)', body)[1:]:
        key = re.search(r'id="([\w-]+)"', part)
        svg = re.search(r'<svg class="main-svg"[^>]* width="([\d.]+)" height="([\d.]+)"', part)
        assert key is not None
        sizes[key[1]] = (float(svg[1]), float(svg[2])) if svg else (0.0, 0.0)
    return sizes


def test_visit_of_a_sabotaged_page_sees_what_is_wrong(tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text(SABOTAGED.replace('<meta charset="utf-8">', "<head></head>"))
    seen = visit(page, tmp_path)
    assert seen.requests == {"https://fonts.example/css", "http://127.0.0.1:9/x.png"}
    assert '"oops"' in seen.console[0]
    assert "undefined_function is not defined" in seen.console[1]
    assert drawn_sizes(seen.dom) == {"figure": (0.0, 0.0)}


@pytest.mark.parametrize("guarded", [True, False])
def test_report_renders_without_request_or_console_message(tmp_path: Path, guarded: bool) -> None:
    config = study_config(study_name="a <script>alert(1)</script> & study")
    study = make_study(config, 60)
    page = write_pages(tmp_path, study, config, make_result(study, config), [])[1]
    if not guarded:  # nothing may be asked for even if it were allowed
        text = page.read_text()
        policy = re.search(r"<meta http-equiv=[^>]*>", text)
        assert policy is not None
        page.write_text(text.replace(policy[0], ""))
    seen = visit(page, tmp_path)
    assert seen.requests == set()
    assert seen.console == []
    sizes = drawn_sizes(seen.dom)
    assert len(sizes) == 7
    assert all(width > 900 and height > 200 for width, height in sizes.values())


def test_report_on_a_narrow_screen_fits_or_scrolls(tmp_path: Path) -> None:
    config = study_config()
    study = make_study(config, 60)
    page = write_pages(tmp_path, study, config, make_result(study, config), [])[1]
    measure = (
        "const root = document.documentElement, facts = document.querySelector('.facts');"
        "setTimeout(() => { document.title = [root.clientWidth, root.scrollWidth,"
        " getComputedStyle(facts).gridTemplateColumns] }, 8000)"
    )
    page.write_text(page.read_text().replace("</body>", f"<script>{measure}</script></body>"))
    seen = visit(page, tmp_path, 500)  # a window is no narrower
    title = re.search("<title>(.*?)</title>", seen.dom)
    assert title is not None
    width, scrolled, columns = title[1].split(",")
    assert (scrolled, len(columns.split())) == (width, 2)
    sizes = {key: width for key, (width, _) in drawn_sizes(seen.dom).items()}
    assert sizes.pop("slices") == sizes.pop("parallel-coordinates") == 760
    assert all(300 < size < float(width) for size in sizes.values())


def test_report_in_an_old_browser_says_why_there_are_no_pictures(tmp_path: Path) -> None:
    config = study_config()
    study = make_study(config, 12)
    page = write_pages(tmp_path, study, config, no_result(study, config), [])[1]
    old = page.read_text().replace("<head>", "<head><script>delete DecompressionStream</script>")
    for text, hidden in ((page.read_text(), True), (old, False)):
        page.write_text(text)
        dom = visit(page, tmp_path).dom
        assert ('<p id="undrawn" hidden="">' in dom) == hidden
        assert ('class="main-svg"' in dom) == hidden


def test_report_draws_dots_and_names_the_winner(tmp_path: Path) -> None:
    config = study_config()
    study = make_study(config, 30)
    page = write_pages(tmp_path, study, config, make_result(study, config), [])[1]
    dom = visit(page, tmp_path).dom
    assert re.search(r"trial \d+ \(winner\)</text>", dom)
    assert dom.count('class="point"') > 100  # dots of scores, history and slices


def test_report_of_an_empty_study_renders_without_figures(tmp_path: Path) -> None:
    config = study_config()
    study = make_study(config, 0)
    page = write_pages(tmp_path, study, config, no_result(study, config), [])[1]
    seen = visit(page, tmp_path)
    assert seen.requests == set()
    assert seen.console == []
    assert drawn_sizes(seen.dom) == {}
    assert "There is no answer yet: no trial is COMPLETE." in seen.dom
