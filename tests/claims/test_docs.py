"""The pages about claims: generated, deterministic, and never losing a verdict."""

import dataclasses
import os
import re
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from remanence.claims.engine import command, results
from remanence.claims.engine.docs import index, page, write
from remanence.claims.engine.prove import prove
from remanence.claims.engine.registry import claims
from remanence.claims.engine.verdict import RULES
from remanence.errors import StateError


@pytest.fixture(scope="module")
def verdict(tmp_path_factory):
    from remanence.arena.trials import TrialStore
    from remanence.claims.engine.claim import Claim

    claim = Claim(
        "er",
        "naive",
        "Rehearsal keeps | more.",
        {"source": "digits", "scenarios": [["split", {"experiences": 2}]]},
        training={"model": "mlp:10", "limit": 60},
    )
    return prove(claim, at=TrialStore(tmp_path_factory.mktemp("docs")))


def test_a_verdict_is_kept_in_a_file_of_its_own_and_read_back(verdict, tmp_path):
    results.write(verdict, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["er.json"]
    assert results.read(tmp_path) == {"er": verdict}
    assert results.read_one("er", tmp_path) == verdict
    assert results.read_one("ewc", tmp_path) is None


def test_no_text_of_a_verdict_is_changed_by_how_its_lists_are_laid_out(verdict, tmp_path):
    odd = dataclasses.replace(verdict, why='a [ list ] of\n[ 1,\n 2 ] and "[ quotes\n ]"')
    results.write(odd, tmp_path)
    assert results.read_one("er", tmp_path) == odd


def test_pages_tell_what_a_verdict_holds(verdict, tmp_path):
    write(tmp_path, {"er": verdict})
    text = (tmp_path / "claims" / "weights-replay.md").read_text()
    for word in ("`er`", "`naive`", verdict.difference, "digits / split", "1902.10486", "Rehearsal keeps \\| more."):
        assert word in text
    assert f"| {verdict.difference} | **{verdict.verdict}** |" in (tmp_path / "claims.md").read_text()


def test_every_page_that_the_index_links_is_there(verdict, tmp_path):
    write(tmp_path, {"er": verdict})
    linked = set(re.findall(r"\((claims/[^)]*)\)", (tmp_path / "claims.md").read_text()))
    assert linked == {f"claims/{path.name}" for path in (tmp_path / "claims").iterdir()}


def test_docs_do_not_depend_on_the_order_of_running(verdict, tmp_path):
    other = dataclasses.replace(verdict, name="naive")
    write(tmp_path / "a", {"er": verdict})
    write(tmp_path / "a", {"er": verdict, "naive": other}, ["naive"])
    write(tmp_path / "b", {"naive": other, "er": verdict}, ["er"])
    write(tmp_path / "b", {"naive": other, "er": verdict}, ["naive"])
    for name in ("claims.md", "claims/weights.md"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    write(tmp_path / "a", {"er": verdict, "naive": other})
    before = {path: path.read_bytes() for path in (tmp_path / "a").rglob("*.md")}
    write(tmp_path / "a", {"naive": other, "er": verdict})
    assert {path: path.read_bytes() for path in (tmp_path / "a").rglob("*.md")} == before


def test_every_row_of_a_table_has_as_many_cells(verdict):
    for text in (page("weights/replay", {"er": verdict, "er-ace": None}), index({"er": verdict})):
        lines = [line for line in text.splitlines() if line.startswith("|")]
        assert len({line.replace("\\|", "").count("|") for line in lines}) == 1
    assert sum(line.startswith("| [") for line in index({"er": verdict}).splitlines()) == len(claims())


def test_a_verdict_by_earlier_rules_is_marked_in_the_index(verdict):
    row = next(
        line
        for line in index({"er": dataclasses.replace(verdict, rules=RULES - 1)}).splitlines()
        if line.startswith("| [`er`]")
    )
    assert row.endswith("† |")
    assert "† Judged by earlier rules" in index({"er": dataclasses.replace(verdict, rules=RULES - 1)})
    assert "†" not in index({"er": dataclasses.replace(verdict, rules=RULES)})


def test_a_claim_that_was_never_run_is_listed_as_such():
    assert index({}).count("not run yet") == len(claims())
    assert page("weights/replay", {"er": None}).count("not run yet") == 1


def test_the_pages_in_the_docs_are_those_of_the_kept_results(tmp_path):
    docs = Path(__file__).parents[2] / "docs"
    write(tmp_path, results.read())
    assert (docs / "claims.md").read_text(encoding="utf-8") == (tmp_path / "claims.md").read_text(encoding="utf-8")
    made = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "claims").iterdir()}
    assert {path.name: path.read_text(encoding="utf-8") for path in (docs / "claims").iterdir()} == made


def test_a_foreign_file_is_refused(verdict, tmp_path):
    (tmp_path / "er.json").write_text('{"other": 1}\n')
    with pytest.raises(StateError, match=r"er\.json cannot be read"):
        results.read(tmp_path)
    results.write(verdict, tmp_path)
    (tmp_path / "er.json").rename(tmp_path / "ewc.json")
    with pytest.raises(StateError, match=r"its name is er\.json"):
        results.read(tmp_path)


def test_a_crash_loses_no_verdict_that_was_reached(verdict, tmp_path, monkeypatch):
    def crash(claim, *args, **kwargs):
        if claim.name != "er":
            raise KeyboardInterrupt
        return verdict

    monkeypatch.setattr(command, "prove", crash)
    console = Console(file=StringIO())
    with pytest.raises(KeyboardInterrupt):
        command.prove_all(["er", "g-acil"], docs=tmp_path, kept=tmp_path / "results", console=console)
    assert set(results.read(tmp_path / "results")) == {"er"}
    monkeypatch.setattr(command, "prove", lambda claim, *a, **k: dataclasses.replace(verdict, name=claim.name))
    command.prove_all(["g-acil"], docs=tmp_path, kept=tmp_path / "results", console=console)
    assert set(results.read(tmp_path / "results")) == {"er", "g-acil"}


def test_an_unknown_name_is_one_line_and_exit_code_2(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-m", "remanence.claims", "--only", "gacil", "--docs", str(tmp_path)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=Path(tmp_path),
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == "remanence: there is no claim about 'gacil': did you mean 'g-acil'?\n"
