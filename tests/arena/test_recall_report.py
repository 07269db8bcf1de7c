"""Exact match, several budgets in one run, and the curves of recall against distance and bytes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from made_up_recall import BUDGETS, made_up_recall
from made_up_results import made_up
from test_report import check
from typer.testing import CliRunner

import remanence as rm
from remanence.answer import Answer
from remanence.arena.config import RunConfig
from remanence.arena.distance import by_lag, charts, section
from remanence.arena.evaluate import wrong_texts
from remanence.arena.report import Report
from remanence.arena.styles import budget_lines, styles
from remanence.cli import app
from remanence.errors import UsageError
from remanence.streams.text_rows import pack_texts, unpack_texts
from small_language_model import folder as small_model

STREAM = ["recall", "--scenario", "planted:experiences=3,tokens=300,facts=2,filler=talk"]


def test_exact_match_passes_over_blanks_around_an_answer_and_nothing_else() -> None:
    right = pack_texts(["9933", "in May", "Ça va", ""])
    answer = Answer(torch.zeros(4, 1), (), None, (" 9933\n", "in may", "Ça va", "x"))
    assert unpack_texts(right) == ["9933", "in May", "Ça va", ""]
    assert wrong_texts(answer, right) == 2


def test_an_answer_without_texts_is_refused() -> None:
    with pytest.raises(UsageError, match="0 texts for 1 questions"):
        wrong_texts(Answer(torch.zeros(1, 1)), pack_texts(["yes"]))
    with pytest.raises(UsageError, match="zero byte"):
        pack_texts(["a\x00b"])


def test_records_have_no_answers_to_be_scored_by_online() -> None:
    stream = rm.streams.planted("recall", experiences=2, tokens=300, facts=1, filler="talk")
    with pytest.raises(UsageError, match="leave online out"):
        rm.run("bm25", rm.streams.changing("facts", sessions=2, people=1), online=True)
    with pytest.raises(UsageError, match="leave online out"):
        rm.run(rm.make("bm25", stream, language_model=small_model()), stream, online=True)


def test_recall_by_lag_against_a_loop() -> None:
    [result, *_] = made_up_recall(())
    for lag, found in enumerate(by_lag(result)):
        pairs = [(k, j) for k in range(8) for j in range(8) if k - j == lag]
        assert found == pytest.approx(np.mean([result.matrix[k][j] for k, j in pairs]))
    assert by_lag(replace(result, matrix=[[None, 0.0], [0.5, None]], distances=[1.0, 2.0])) == pytest.approx(
        [np.nan, 0.5], nan_ok=True
    )


def test_a_chart_for_every_budget_and_a_line_for_every_learner() -> None:
    results = made_up_recall()
    report = Report(results)
    found = charts(report.rows)
    assert [name for name, _ in found] == list(BUDGETS)
    for name, curves in found:
        assert {curve.name for curve in curves} == {"attention-sinks", "rag", "bm25", "fine-tuning"}
        mine = [by_lag(r) for r in results if r.learner == f"rag@{name}"]
        [curve] = [curve for curve in curves if curve.name == "rag"]
        assert curve.mean == pytest.approx(np.mean(mine, 0))
        assert curve.deviation == pytest.approx(np.std(mine, 0, ddof=1))
        assert curve.distance == pytest.approx([1000 + 2000 * k for k in range(8)])
    alone = [replace(r, learner="upper", notes={}) for r in made_up_recall((), seeds=1)[:1]]
    assert all("upper" in {c.name for c in curves} for _, curves in charts(Report(results + alone).rows))


def test_budgets_of_one_learner_share_a_colour_and_are_joined_from_few_bytes_to_many() -> None:
    rows = Report(made_up_recall()).rows
    style = styles(rows)
    assert len({(row.family, one.colour) for row, one in zip(rows, style, strict=True)}) == 4
    assert all(len({one.line for row, one in zip(rows, style, strict=True) if row.family == f}) == 3 for f in ("rag",))
    for places in budget_lines(rows):
        assert [rows[place].at for place in places] == list(BUDGETS)
    assert budget_lines(Report(made_up(4, 2)).rows) == []


@pytest.mark.parametrize("budgets", [(), ("64KB",), tuple(BUDGETS)])
def test_the_page_and_the_pictures(budgets: tuple[str, ...], tmp_path: Path) -> None:
    # Few experiences: most of the time goes into writing the numbers of the matrices of every learner
    report = Report(made_up_recall(budgets, seeds=2, experiences=3), {"stream": "recall"})
    page = report.save(tmp_path).read_text("utf-8")
    check(page)
    assert "Recall against distance" in page and "Recall against bytes" in page
    assert {"distance.png", "bytes.png"} <= {path.name for path in tmp_path.iterdir()}
    assert set(report.plot()) >= {"distance", "bytes"}


def test_other_streams_have_no_distances() -> None:
    report = Report(made_up(3, 1))
    assert section(report.rows, report.unit) == ""
    assert "distance" not in report.plot()
    assert "Recall" not in report._page()


def test_several_budgets_are_entries_with_labels() -> None:
    config = RunConfig.read({"stream": "digits", "learners": ["er", "joint"], "budget": "72KB, 80KB"})
    assert config.entries() == [("er@72KB", "er", 72_000), ("er@80KB", "er", 80_000), ("joint", "joint", None)]
    assert RunConfig.read({"stream": "digits", "learners": ["er"], "budget": "72KB"}).entries() == [
        ("er", "er", 72_000)
    ]
    assert RunConfig.read({"stream": "digits", "learners": ["er"]}).entries() == [("er", "er", None)]
    for wrong, says in (("72KB,72 KB", "named twice"), ("72KB,", "is not a number of bytes"), ("a,b", "not a number")):
        with pytest.raises(UsageError, match=says):
            RunConfig.read({"stream": "digits", "learners": ["er"], "budget": wrong})


def _run(*more: str) -> list[dict]:
    done = CliRunner().invoke(app, ["run", *STREAM, "--jobs", "1", "--json", *more], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_recall_runs_from_the_command_line_under_several_budgets(tmp_path: Path) -> None:
    model = [f"--set={name}.language_model={small_model()}" for name in ("bm25", "fine-tuning")]
    model += ["--set=fine-tuning.optimizer=sgd", "--set=fine-tuning.epochs=1"]
    given = ["--learners", "bm25,fine-tuning", "--seeds", "2", "--budget", "100,20KB", *model]
    found = _run(*given, "--out", str(tmp_path / "run"))
    status = {result["learner"]: result["status"] for result in found}
    # A record takes more than 100 bytes, and so does a block
    assert list(status.items()) == [
        ("bm25@100", "refused"),
        ("bm25@20KB", "finished"),
        ("fine-tuning@100", "refused"),
        ("fine-tuning@20KB", "finished"),
    ]
    kept = [result for result in found if result["status"] == "finished"]
    assert all(result["bytes"]["total"] <= 20_000 == result["notes"]["budget"] for result in kept)
    assert all(len(result["distances"]) == 3 for result in kept)
    assert 'budget = "100,20KB"' in (tmp_path / "run" / "config.toml").read_text()
    assert _run(*given, "--out", str(tmp_path / "run")) == found
    assert (tmp_path / "run" / "distance.png").exists()


def test_where_no_budget_suffices_the_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(rm.errors.BudgetError, match=r"fine-tuning holds .* raise --budget"):
        _run("--learners", "fine-tuning", "--budget", "10,1KB", f"--set=fine-tuning.language_model={small_model()}")
