"""`kill -9` at any time: every acknowledged operation is there, none is half there, indexes heal, bytes are gone."""

from __future__ import annotations

import json
import os
import random
import signal
import time
import uuid

import pytest

import remanence.store as stores
from remanence.store.database import care
from remanence.store.times import moment

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked and killed")

CHOICES = ["write"] * 5 + ["many", "revise", "revise", "revise", "forget", "forget", "link", "consolidate", "read"]


class Known:
    """What was acknowledged: each record's texts in order, links, and what was forgotten."""

    def __init__(self) -> None:
        self.texts: dict[str, list[str]] = {}
        self.links: set[tuple[str, str]] = set()
        self.forgotten: set[str] = set()

    def take(self, plan) -> None:
        if plan["what"] in ("write", "many"):
            self.texts |= {one: [text] for one, text in zip(plan["ids"], plan["texts"], strict=True)}
        elif plan["what"] == "revise":
            self.texts[plan["ids"][0]].append(plan["texts"][0])
        elif plan["what"] == "link":
            self.links.add(tuple(plan["ids"]))
        elif plan["what"] == "forget":
            for one in plan["ids"]:
                self.forgotten |= set(self.texts.pop(one))
                self.links = {link for link in self.links if one not in link}


def plans(random, known):
    """Operations without end, each said before it is done."""
    number = 0
    while True:
        what = random.choice(CHOICES)
        ids = list(known.texts)
        if what in ("revise", "forget", "link") and len(ids) < 2:
            what = "write"
        number += 1
        count = {"many": random.randrange(2, 40), "forget": random.choice([1, 1, 2]), "link": 2}.get(what, 1)
        texts = [f"note {uuid.UUID(int=random.getrandbits(128)).hex} of {what} {number} " + "x " * random.randrange(300)
                 for _ in range(count)]  # fmt: skip
        if what == "write" and ids and random.random() < 0.2:
            texts = [known.texts[random.choice(ids)][-1]]  # said again, for consolidation to merge
        chosen = random.sample(ids, count) if what in ("revise", "forget", "link") else []
        fresh = [uuid.UUID(int=random.getrandbits(128)).hex for _ in texts] if what in ("write", "many") else chosen
        yield {"what": what, "ids": fresh, "texts": texts if what != "forget" else []}


def work(path, encoder, seed, known, pipe):
    """The child: says a plan, does it, acknowledges it."""
    with stores.open(path, encoder=encoder, background=False) as store:
        os.write(pipe, b'{"ready": true}\n')
        for plan in plans(random.Random(seed), known):
            os.write(pipe, json.dumps(plan).encode() + b"\n")
            what, ids, texts = plan["what"], plan["ids"], plan["texts"]
            if what == "write":
                store.write(texts[0], id=ids[0], wait=seed % 2 == 0)
            elif what == "many":
                store.write_many({"text": text, "id": one} for one, text in zip(ids, texts, strict=True))
            elif what == "revise":
                store.revise(ids[0], texts[0])
            elif what == "forget":
                store.forget(ids)
            elif what == "link":
                store.link(ids[0], ids[1], "like")
            elif what == "consolidate":
                store.consolidate(["merge", "decay"])
            else:
                store.read(texts[0], k=3)
            known.take(plan)
            os.write(pipe, b'{"done": true}\n')


def run_and_kill(path, encoder, seed, known):
    """Let a child work for a while and kill it; the plan that it had begun, if any."""
    readable, writable = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(readable)
            work(path, encoder, seed, known, writable)
        finally:
            os._exit(1)
    os.close(writable)
    with os.fdopen(readable, "rb") as pipe:
        first = pipe.readline()
        time.sleep(random.Random(-seed).uniform(0, 0.3))
        os.kill(child, signal.SIGKILL)
        lines = [json.loads(line) for line in pipe.read().splitlines() if line.endswith(b"}")]
    _, status = os.waitpid(child, 0)
    assert first == b'{"ready": true}\n' and os.WIFSIGNALED(status), f"the child of seed {seed} ended by itself"
    begun = None
    for line in lines:
        if "done" in line:
            known.take(begun)
            begun = None
        else:
            begun = line
    return begun


def settle(store, begun, known):
    """Whether what was begun was done: all of it, or nothing."""
    if begun is None or begun["what"] in ("consolidate", "read"):
        return
    there = [told.id for told in store.database.current(begun["ids"])]
    if begun["what"] in ("write", "many"):
        assert there in ([], begun["ids"]), "a part of a write is there"
        done = bool(there)
    elif begun["what"] == "forget":
        assert there in ([], begun["ids"]), "a part of a forgetting was done"
        done = not there
    elif begun["what"] == "revise":
        done = begun["texts"][0] in [record.text for record in store.history(begun["ids"][0])]
    else:
        done = any((link.source, link.target) == tuple(begun["ids"]) for link in store.links(begun["ids"][0]))
    if done:
        known.take(begun)


def verify(path, encoder, begun, known):
    with stores.open(path, encoder=encoder, background=False) as store:
        settle(store, begun, known)
        assert store.database.unpurged() is None, "the opening finishes what was begun to be purged"
        found: dict[str, list] = {}
        for told in store.database.export_rows():
            found.setdefault(told.id, []).append(told)
        assert found.keys() == known.texts.keys()
        for one, versions in found.items():
            assert [told.version for told in versions] == list(range(1, len(versions) + 1))
            assert [told.replaced_at is None for told in versions] == [False] * (len(versions) - 1) + [True]
            said = list(dict.fromkeys(told.text for told in versions))
            assert said == list(dict.fromkeys(known.texts[one])), "a version is lost, or made up"
        links = {(link.source, link.target) for link in store.links() if link.relation == "like"}
        assert links == known.links
        for link in store.links():
            if link.relation == "same as":
                # what was merged may have been revised since, and is open again then
                ended = [told for told in found[link.source] if told.valid_to is not None]
                assert any(moment(told.recorded_at) <= link.made_at for told in ended), "half a merging is there"
        store.encode()
        if found:
            one = next(iter(found))
            text = found[one][-1].text
            near = store.read(text, k=50, where={"id": one}, mode="dense", as_of=store.get(one).valid_from)
            assert one in {hit.id for hit in near}
        assert store.check() == []
        kept = {text for texts in known.texts.values() for text in texts}
        gone = [text.encode()[:60] for text in known.forgotten - kept]
        assert care.holding(care.files(store.database.path), gone) == []


def kills(folder, encoder, seeds):
    path, known = folder / "memory.db", Known()
    for seed in seeds:
        begun = run_and_kill(path, encoder, seed, known)
        try:
            verify(path, encoder, begun, known)
        except BaseException as error:
            error.add_note(f"after the kill of seed {seed} during {begun and begun['what']}")
            raise


def test_twenty_kills_lose_nothing(tmp_path, word_encoder):
    kills(tmp_path, word_encoder(), range(1, 21))


@pytest.mark.soak
@pytest.mark.parametrize("first", range(100, 280, 20))
def test_a_hundred_and_eighty_more_kills_lose_nothing(tmp_path, word_encoder, first):
    kills(tmp_path, word_encoder(), range(first, first + 20))
