"""The table of claims: generated, deterministic, and never losing a verdict."""

import dataclasses
import json
import os
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from remanence.claims import command
from remanence.claims.docs import page, read, write
from remanence.claims.prove import prove
from remanence.claims.registry import claims
from remanence.errors import StateError


@pytest.fixture(scope="module")
def verdict(tmp_path_factory):
    from remanence.arena.trials import Workplace
    from remanence.claims.claim import Claim

    claim = Claim(
        "er",
        "naive",
        "Rehearsal keeps | more.",
        {"source": "digits", "scenarios": [["split", {"experiences": 2}]]},
        training={"model": "mlp:10", "limit": 60},
    )
    return prove(claim, at=Workplace(tmp_path_factory.mktemp("docs")))


def test_docs_are_written_and_read_back(verdict, tmp_path):
    write(tmp_path, {"er": verdict}, tmp_path / "verdicts.jsonl")
    assert read(tmp_path) == {"er": verdict}
    brief = [json.loads(line) for line in (tmp_path / "verdicts.jsonl").read_text().splitlines()]
    assert [(row["system"], row["verdict"]) for row in brief] == [("er", verdict.verdict)]
    text = (tmp_path / "claims.md").read_text()
    for word in ("`er`", "`naive`", verdict.difference, "digits / split", "1902.10486", "Rehearsal keeps \\| more."):
        assert word in text


def test_docs_do_not_depend_on_the_order_of_running(verdict, tmp_path):
    other = dataclasses.replace(verdict, name="naive")
    write(tmp_path / "a", {"er": verdict, "naive": other})
    write(tmp_path / "b", {"naive": other, "er": verdict})
    for name in ("claims.md", "claims.jsonl"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    write(tmp_path / "a", read(tmp_path / "a"))
    assert (tmp_path / "a" / "claims.md").read_bytes() == (tmp_path / "b" / "claims.md").read_bytes()


def test_every_row_of_the_table_has_as_many_cells(verdict):
    lines = [line for line in page({"er": verdict}).splitlines() if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1
    assert len(lines) == 2 + len(claims())


def test_a_claim_that_was_never_run_is_listed_as_such():
    assert page({}).count("not run yet") == len(claims())


def test_a_foreign_file_is_refused(tmp_path):
    (tmp_path / "claims.jsonl").write_text('{"other": 1}\n')
    with pytest.raises(StateError, match=r"claims\.jsonl cannot be read"):
        read(tmp_path)


def test_a_crash_loses_no_verdict_that_was_reached(verdict, tmp_path, monkeypatch):
    def crash(claim, *args, **kwargs):
        if claim.name != "er":
            raise KeyboardInterrupt
        return verdict

    monkeypatch.setattr(command, "prove", crash)
    console = Console(file=StringIO())
    with pytest.raises(KeyboardInterrupt):
        command.prove_all(["er", "g-acil"], docs=tmp_path, standings=None, console=console)
    assert set(read(tmp_path)) == {"er"}
    monkeypatch.setattr(command, "prove", lambda claim, *a, **k: dataclasses.replace(verdict, name=claim.name))
    command.prove_all(["g-acil"], docs=tmp_path, standings=None, console=console)
    assert set(read(tmp_path)) == {"er", "g-acil"}


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
