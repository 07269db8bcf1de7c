"""Forgotten bytes are in no file of a store in SQLite, whatever happened before, and whoever reads."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import string
import subprocess
import sys

import numpy as np
import pytest

import remanence.store as stores
from remanence.store.database import care


@pytest.fixture
def path(tmp_path):
    return tmp_path / "memory.db"


@pytest.fixture
def opened(path, word_encoder):
    with stores.open(path, encoder=word_encoder(), background=False) as store:
        yield store


def held(path, texts):
    """Which of the texts' bytes occur in any file in the folder of a store; looked at by another process, since a
    file that is closed in this one takes SQLite's locks with it."""
    code = "import pathlib, sys, json; folder, *texts = json.load(sys.stdin)\n" + (
        "contents = [file.read_bytes() for file in pathlib.Path(folder).rglob('*') if file.is_file()]\n"
        "print(json.dumps([text for text in texts if any(text.encode() in content for content in contents)]))"
    )
    said = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code],
        input=json.dumps([str(path.parent), *texts]),
        capture_output=True,
        text=True,
    )
    found: list[str] = json.loads(said.stdout)
    return found


def unlikely(random, length):
    """A random text that nothing else says."""
    return "".join(random.choices(string.ascii_letters + string.digits, k=length))


def forget_and_look(path, word_encoder, seed, steps):
    """Random operations; after each forgetting no file holds what was forgotten."""
    chance = random.Random(seed)
    forgotten, alive = [], {}
    with stores.open(path, encoder=word_encoder(), background=False) as store:
        for step in range(steps):
            what = chance.choice(["write", "write", "many", "revise", "revise", "forget", "read", "encode", "scope"])
            if what == "write" or not alive:
                text = unlikely(chance, chance.choice([8, 30, 200, 1000, 9000]))
                speaker, source = unlikely(chance, 12), unlikely(chance, 12)
                one = store.write(
                    f"{text} and words", speaker=speaker, source=source, tags=[tag := unlikely(chance, 10)],
                    metadata={"m": (meta := unlikely(chance, 10))}, scope=(scope := unlikely(chance, 9)),
                )  # fmt: skip
                alive[one.id] = [text, speaker, source, tag, meta, scope]
            elif what == "many":
                texts = [unlikely(chance, chance.choice([10, 100, 700])) for _ in range(chance.randrange(1, 60))]
                alive |= {i: [text] for i, text in zip(store.write_many(texts), texts, strict=True)}
            elif what == "revise":
                one = chance.choice(list(alive))
                alive[one].append(text := unlikely(chance, chance.choice([8, 60, 800, 5000])))
                store.revise(one, text)
            elif what == "forget":
                gone = chance.sample(list(alive), min(len(alive), chance.choice([1, 1, 3, 20])))
                receipt = store.forget(gone)
                assert receipt.complete, receipt
                fresh = [text for one in gone for text in alive.pop(one)]
                forgotten += fresh
                assert held(path, fresh) == [], f"step {step}"
            elif what == "read":
                store.read(alive[chance.choice(list(alive))][0][:60], k=3, scope="*")
            elif what == "encode":
                store.encode()
            else:
                store.consolidate("decay", scope="*")
        assert held(path, forgotten) == []
        assert store.check() == []
        kept = [text for texts in alive.values() for text in texts]
        store.forget(scope="*")
        assert held(path, kept) == []
    assert held(path, forgotten + kept) == []


@pytest.mark.parametrize("seed", range(4))
def test_forgotten_bytes_are_in_no_file_after_random_operations(path, word_encoder, seed):
    forget_and_look(path, word_encoder, seed, 40)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 140))
def test_forgotten_bytes_are_in_no_file_after_many_random_operations(path, word_encoder, seed):
    forget_and_look(path, word_encoder, seed, 200)


def test_vectors_of_the_forgotten_are_in_no_file(path, opened, word_encoder):
    opened.write_many(f"note {n}" for n in range(200))
    gone = opened.write("an unlikely heron")
    opened.read("unlikely heron", mode="dense")
    vector = word_encoder().encode(["an unlikely heron"])[0].tobytes()
    codes = np.clip(np.rint(word_encoder().encode(["an unlikely heron"])[0] * 127), -127, 127).astype(np.int8).tobytes()
    assert any(vector in file.read_bytes() for file in path.parent.rglob("*") if file.is_file())
    assert opened.forget(gone.id).complete
    for file in (file for file in path.parent.rglob("*") if file.is_file()):
        assert vector not in file.read_bytes() and codes not in file.read_bytes()


def test_words_of_the_forgotten_leave_the_full_text_index(path, opened):
    opened.write_many(f"note {n} about herons" for n in range(100))
    gone = opened.write("xylophonist zyzzyva")
    assert held(path, ["xylophonist", "zyzzyva"])
    opened.forget(gone.id)
    assert held(path, ["xylophonist", "zyzzyva", "xylophon", "ylophonist"]) == []


def test_a_text_that_is_kept_elsewhere_does_not_leave_a_forgetting_pending(opened):
    opened.write("see: the secret words", speaker="the secret words", tags=["the secret words"])
    gone = opened.write("the secret words")
    tiny = opened.write("ok")
    assert opened.forget(gone.id).complete and opened.forget(tiny.id).complete
    assert opened.database.unpurged() is None


READER = """
import sqlite3, sys
reader = sqlite3.connect(sys.argv[1], isolation_level=None)
reader.execute("BEGIN"); reader.execute("SELECT count(*) FROM records").fetchall()
print("reading", flush=True)
sys.stdin.readline()
reader.execute("COMMIT")
"""


def test_a_reader_that_holds_the_log_leaves_it_pending_until_the_next_opening(path, word_encoder):
    secret = "a secret that nobody shall find 7f3a"
    with stores.open(path, encoder=word_encoder(), background=False) as store:
        kept = store.write("something that stays", wait=True)
        gone = store.write(secret, wait=True)
        reader = subprocess.Popen(
            [sys.executable, "-c", READER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            assert reader.stdout.readline() == "reading\n"
            receipt = store.forget(gone.id)
            assert receipt.places["log"] == "pending" and not receipt.complete
            assert store.list() == [store.get(kept.id)]
            assert all(hit.id == kept.id for hit in store.read("secret that nobody"))
            assert held(path, [secret]) == [secret], "the reader still sees it"
            assert store.database.unpurged() is not None
            with stores.open(path, encoder=word_encoder(), background=False) as other:
                assert other.database.unpurged() is not None, "it is blocked still"
        finally:
            reader.communicate("go on\n", timeout=30)
    with stores.open(path, encoder=word_encoder(), background=False) as store:
        assert store.database.unpurged() is None
        assert held(path, [secret]) == []
        assert store.get(kept.id).text == "something that stays"


def test_a_kill_in_the_middle_of_a_purge_is_finished_at_the_next_opening(path, word_encoder, monkeypatch):
    secret = "another secret, 91bc"
    with stores.open(path, encoder=word_encoder(), background=False) as store:
        store.write("stays")
        gone = store.write(secret, wait=True)

    def dies(*_):
        os._exit(9)

    def child():
        monkeypatch.setattr(care, "purge", dies)
        with stores.open(path, encoder=word_encoder(), background=False) as store:
            store.forget(gone.id)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(60)
    assert process.exitcode == 9
    with stores.open(path, encoder=word_encoder(), background=False) as store:
        assert [record.text for record in store.list()] == ["stays"] and store.database.unpurged() is None
        assert held(path, [secret]) == []
