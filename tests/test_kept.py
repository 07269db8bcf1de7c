"""What an earlier release wrote is opened, and answers as it did; what a later one wrote is refused by name."""

import json
import shutil
import sqlite3
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import remanence as rm
from kept.write import LEARNERS, QUESTION, model, pixels, read_on
from remanence import state
from remanence.arena import folder as run_folder
from remanence.arena.report import Report
from remanence.errors import StateError
from remanence.formats import Format

RELEASES = sorted(path for path in (Path(__file__).parent / "kept").iterdir() if (path / "answers.json").exists())


@pytest.fixture(params=RELEASES, ids=lambda path: path.name)
def kept(request, tmp_path):
    """A copy of what a release wrote: opening may change files."""
    return Path(shutil.copytree(request.param, tmp_path / "kept"))


@pytest.fixture
def answers(kept):
    return json.loads((kept / "answers.json").read_text("utf-8"))


@pytest.mark.parametrize("name", LEARNERS)
def test_a_learner_answers_as_when_it_was_saved_and_learns_on(kept, answers, name, digits):
    learner = rm.load(kept / f"{name}.safetensors")
    scores = learner.predict(pixels()).scores.float()
    torch.testing.assert_close(scores, torch.tensor(answers[name]), atol=1e-3, rtol=1e-3)
    learner.learn(list(digits.experiences())[2])
    assert set(learner.predict(pixels()).classes) == set(range(6))


def test_a_cache_reads_on(kept, answers):
    llama = model()
    cache = rm.context.reopen(kept / "cache.safetensors", model=llama)
    assert cache.seen == 30
    torch.testing.assert_close(
        torch.tensor(read_on(cache, llama)), torch.tensor(answers["cache"]), atol=1e-3, rtol=1e-3
    )


def test_a_store_finds_what_it_held_and_keeps_more(kept, answers):
    with rm.store.open(kept / "memory.db", encoder=None) as store:
        assert [hit.text for hit in store.read(QUESTION, k=2, scope="user/42")] == answers["store"]
        store.write("Ana moved to Faro", scope="user/42")
        assert "Faro" in store.read("Where did Ana move?", k=1, scope="user/42")[0].text


def test_an_export_is_imported(kept, answers):
    with rm.store.open(kept / "fresh.db", encoder=None) as store:
        assert store.import_(kept / "memory.jsonl") == 3
        assert [hit.text for hit in store.read(QUESTION, k=2, scope="user/42")] == answers["store"]


def test_a_run_is_reported(kept, answers):
    assert Report.load(kept / "run").results[0].accuracy == pytest.approx(answers["run"])


def refused(told, what, open_it):
    with pytest.raises(StateError, match=f"was written by a newer version of .*{what}.*: upgrade") as error:
        open_it()
    assert told in str(error.value) and "\n" not in str(error.value)


def test_what_a_newer_version_wrote_is_refused_by_name(tmp_path):
    newest = RELEASES[-1]
    header = {"format": "remanence/99", "structure": "{}"}
    save_file({"a": torch.zeros(1)}, tmp_path / "newer.safetensors", header)
    refused("remanence/99", "newer|format", lambda: rm.load(tmp_path / "newer.safetensors"))
    refused("remanence/99", "format", lambda: rm.context.reopen(tmp_path / "newer.safetensors", model=model()))
    shutil.copytree(newest / "run", tmp_path / "run")
    (tmp_path / "run/environment.json").write_text('{"format": "remanence-run/99"}')
    refused("remanence-run/99", "format", lambda: Report.load(tmp_path / "run"))
    refused("remanence-run/99", "format", lambda: run_folder.check_format(tmp_path / "run"))
    shutil.copy(newest / "memory.db", tmp_path / "memory.db")
    with sqlite3.connect(tmp_path / "memory.db") as database:
        database.execute("PRAGMA user_version = 99")
    refused("schema 99", "schema", lambda: rm.store.open(tmp_path / "memory.db", encoder=None))
    lines = (newest / "memory.jsonl").read_text("utf-8").replace("remanence-store/1", "remanence-store/99")
    (tmp_path / "memory.jsonl").write_text(lines, "utf-8")
    with rm.store.open(tmp_path / "fresh.db", encoder=None) as store:
        refused("remanence-store/99", "format", lambda: store.import_(tmp_path / "memory.jsonl"))


def test_an_older_state_is_led_on_step_by_step(tmp_path, monkeypatch):
    state.write_state(tmp_path / "old.safetensors", {"a": torch.ones(2)}, {"names": ["a"]})
    monkeypatch.setattr(state, "FORMAT", Format("remanence", 3))
    monkeypatch.setitem(state.UPGRADES, 1, lambda read: ({"b": read[0]["a"]}, {"names": ["b"]}))
    monkeypatch.setitem(state.UPGRADES, 2, lambda read: (read[0], {**read[1], "counted": 1}))
    tensors, structure = state.read_state(tmp_path / "old.safetensors")
    assert tensors["b"].tolist() == [1, 1] and structure == {"names": ["b"], "counted": 1}
    assert state.read_structure(tmp_path / "old.safetensors") == structure
