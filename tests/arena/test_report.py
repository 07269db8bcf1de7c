"""The report: table, figures, and a page that works from disk without a network."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from made_up_results import made_up, made_up_prequential

from remanence.arena.folder import environment
from remanence.arena.report import Report
from remanence.arena.result import Result
from remanence.errors import StateError

VOID = {"meta", "link", "img", "br", "line", "path", "circle", "polyline"}


class Checker(HTMLParser):
    """Reads a page and remembers whether its tags close in order and what it refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.references: list[str] = []
        self.without_text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.references += [v for k, v in attrs if k in ("src", "href", "action", "data") and v]
        if tag == "img" and not given.get("alt"):
            self.without_text.append(tag)
        if tag == "svg" and not (given.get("aria-label") or given.get("aria-hidden")):
            self.without_text.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in VOID

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, tag


def check(text: str) -> Checker:
    checker = Checker()
    checker.feed(text)
    assert not checker.open
    assert all(reference.startswith("data:") for reference in checker.references)
    assert not checker.without_text
    assert "http://" not in text and "https://" not in text
    return checker


def test_frame_is_best_first_and_ends_with_the_reference() -> None:
    results = made_up(6, 4)
    frame = Report(results).frame()
    assert frame.index[-1] == "joint" and bool(frame.loc["joint", "reference"])
    assert frame["accuracy"][:-1].is_monotonic_decreasing
    mine = [r.accuracy for r in results if r.learner == "er"]
    assert frame.loc["er", "accuracy"] == pytest.approx(np.mean(mine))
    assert frame.loc["er", "accuracy_std"] == pytest.approx(np.std(mine, ddof=1))
    assert frame.loc["er", "bytes"] == 88_000
    assert "intransigence" in frame.columns and np.isnan(frame.loc["joint", "intransigence"])


def test_diverged_seeds_are_counted_and_left_out() -> None:
    report = Report(made_up(12, 3, probes=3))
    assert report.frame().loc["gem", "diverged"] == 1
    assert "1 of 3 diverged" in report._page()
    alone = Report([Result("er", 0, status="diverged")])
    assert alone.frame().loc["er", "diverged"] == 1
    check(alone._page())


def test_lower_errors_come_first() -> None:
    frame = Report(made_up_prequential()).frame()
    assert frame.index[0] == "ridge"
    assert frame["accuracy"].is_monotonic_increasing


@pytest.mark.parametrize(
    "results",
    [
        made_up(12, 10, probes=8),
        made_up(3, 1),
        made_up(3, 2, experiences=30, probes=2),
        made_up_prequential(),
        made_up_prequential(2, 1, 40),
        [Result("er", 0, accuracy=0.5)],
        [],
    ],
    ids=["many", "one seed", "thirty experiences", "prequential", "long prequential", "bare", "none"],
)
def test_page_stands_alone(results: list[Result], tmp_path: Path) -> None:
    path = Report(results, {"stream": "digits", "lr": 0.03, "none": None}, environment()).html(tmp_path / "report.html")
    text = path.read_text("utf-8")
    check(text)
    assert len(text) < 1_000_000
    for result in results:
        assert result.learner in text


def test_long_runs_stay_small() -> None:
    assert len(Report(made_up(12, 1, experiences=20, probes=100))._page()) < 1_000_000


def test_names_are_escaped() -> None:
    nasty = '<script>alert("x")</script>'
    [result] = made_up(1, 1)
    page = Report([replace(result, learner=nasty, notes={nasty: nasty})], {"stream": nasty})._page()
    assert nasty not in page
    check(page)


def test_dips_survive_thinning() -> None:
    [result] = made_up(1, 1, probes=400)
    low = result.probes[1000]
    probes = [replace(p, scores=[0.0321] * 5) if p is low else p for p in result.probes]
    report = Report([replace(result, probes=probes)])
    updates, scores = report.rows[0].curves
    assert scores[updates == low.update].min() == pytest.approx(0.0321)
    dipped = report._page().split('data-name="classes 0 and 1" points="')[1].split('"')[0]
    lowest = max(float(point.split(",")[1]) for point in dipped.split()[5:])
    assert lowest == pytest.approx(250 - 34 - 0.0321 * (250 - 34 - 10), abs=0.1)


def test_seeds_of_different_lengths_are_joined_by_update() -> None:
    first, second = made_up(1, 2)
    report = Report([first, replace(second, probes=second.probes[::3])])
    updates, scores = report.rows[0].curves
    assert len(updates) == len(scores)
    assert {probe.update for probe in first.probes} <= set(updates)


def test_learners_with_different_numbers_of_updates_stand_side_by_side() -> None:
    [quick] = made_up(1, 1)
    slow = replace(quick, learner="slow", probes=[replace(p, update=p.update * 10) for p in quick.probes])
    report = Report([quick, slow])
    (a, scores_a), (b, scores_b) = (row.seen_so_far for row in report.rows)
    assert a[-1] == b[-1] == 5
    assert a == pytest.approx(b, abs=0.05)
    assert scores_a == pytest.approx(scores_b)


def test_the_end_of_an_experience_is_drawn_where_it_differs_from_the_last_probe() -> None:
    [result] = made_up(1, 1)
    matrix = [[0.77] * 5 for _ in result.matrix]
    passed, scores = Report([replace(result, matrix=matrix)]).rows[0].seen_so_far
    assert passed[-1] == 5 and scores[-1] == pytest.approx(0.77)


def test_save_load_round_trip(tmp_path: Path) -> None:
    report = Report(made_up(4, 2), {"stream": "digits"}, {"torch": "2"})
    (tmp_path / "results.json").write_text(json.dumps([r.as_dict() for r in report.results]))
    (tmp_path / "config.toml").write_text('stream = "digits"\n')
    (tmp_path / "environment.json").write_text('{"torch": "2"}')
    loaded = Report.load(tmp_path)
    assert loaded._page() == report._page()
    page = loaded.save(tmp_path)
    written = {path.name for path in tmp_path.iterdir()}
    assert {"report.html", "learning.png", "bytes.png", "matrices.png", "experiences.png"} <= written
    assert page == tmp_path / "report.html"
    assert (tmp_path / "bytes.png").read_bytes().startswith(b"\x89PNG")
    assert loaded._repr_html_().startswith("<iframe")


@pytest.mark.parametrize("text", [None, "[{", '{"a": 1}', '[{"learner": "er"}]'])
def test_unreadable_results(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "results.json").write_text(text)
    with pytest.raises(StateError, match="results"):
        Report.load(tmp_path)


def test_areas_over_budgets() -> None:
    base = made_up(1, 1)[0]
    megabyte = 1024**2
    runs = [
        replace(base, learner=f"er@{size}MB", accuracy=score, notes={"budget": size * megabyte})
        for size, score in ((1, 0.5), (3, 0.7))
    ]
    assert Report(runs).areas()["er"]["auc_l"] == pytest.approx(1.2)
    assert Report(runs).areas()["er"]["mean_l"] == pytest.approx(0.6)
    assert "AUC-L" in Report(runs)._page()


def test_opens_in_a_browser_without_network_or_errors(tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("chromium is not installed")
    path = Report(made_up(12, 2), {"stream": "digits"}).html(tmp_path / "report.html")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        requests: list[str] = []
        problems: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(path.as_uri())
        chart = page.locator("svg.lines").first
        chart.hover(position={"x": 300, "y": 100})
        tip = page.locator("#tip")
        assert tip.evaluate("tip => getComputedStyle(tip).visibility") == "visible"
        assert "Experiences passed" in tip.inner_text() and "er" in tip.inner_text()
        page.locator("ul.legend button").first.click()
        assert page.locator("svg.lines.one polyline.on").count() == 1
        page.set_viewport_size({"width": 420, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        browser.close()
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
    assert problems == []
