"""Consolidation: what each policy does, that it may run again, and that forgetting reaches what it made."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

import remanence.store as stores
from remanence.errors import UsageError
from remanence.store.database.sqlite import SqliteDatabase
from remanence.store.store import Store


class Hashed:
    """Words hashed into a few dimensions: texts with the same words have the same vector."""

    name, dimension = "hashed#64", 64

    def encode(self, texts):
        found = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for place, text in enumerate(texts):
            for word in text.lower().split():
                found[place, sum(word.encode()) * 31 % self.dimension] += 1
        return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)


class Clock:
    def __init__(self):
        self.at = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self):
        self.at += timedelta(microseconds=1)
        return int(self.at.timestamp()) * 1_000_000 + self.at.microsecond


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(tmp_path, clock):
    with Store(SqliteDatabase(tmp_path / "m.db"), Hashed(), background=False, clock=clock) as opened:
        yield opened


def test_what_says_the_same_becomes_one_and_stays_in_history(store):
    first = store.write("I live in Lisbon.", speaker="Ana")
    again = store.write("I live in lisbon", speaker="Ana")
    other = store.write("I live in Lisbon.", speaker="Bruno")
    numbers = store.write("I have 2 cats and one big brown dog at home", speaker="Ana")
    more = store.write("I have 3 cats and one big brown dog at home", speaker="Ana")
    assert store.consolidate("merge") == {"merged": 1}
    assert {record.id for record in store.list()} == {first.id, other.id, numbers.id, more.id}
    assert len(store.history(again.id)) == 2
    assert [link.relation for link in store.links(first.id)] == ["same as"]
    assert store.get(first.id).strength == 2
    assert store.consolidate("merge") == {"merged": 0}


def test_nothing_is_merged_across_scopes(store):
    store.write("I live in Lisbon.", scope="a")
    store.write("I live in Lisbon.", scope="a/b")
    assert store.consolidate("merge") == {"merged": 0}


def test_links_join_what_is_alike(store):
    a = store.write("red apple tree garden")
    b = store.write("red apple tree orchard")
    c = store.write("quantum chromodynamics lecture")
    assert store.consolidate("link", near=0.6)["linked"] == 2
    assert [record.id for record in store.neighbours(a.id)] == [b.id]
    assert not store.neighbours(c.id)


def test_strength_halves_without_use_and_two_runs_equal_one(store, clock):
    idle = store.write("idle")
    used = store.write("used often enough")
    store.read("used often enough", k=1, mode="text", reinforce=True)
    clock.at += timedelta(days=45)
    store.consolidate("decay", half_life=90)
    clock.at += timedelta(days=45)
    store.consolidate("decay", half_life=90)
    assert store.get(idle.id).strength == pytest.approx(0.5, abs=1e-4)
    assert store.get(used.id).strength == pytest.approx(0.5**0.5, abs=1e-4)
    assert store.consolidate("decay", forget_below=0.6)["forgotten"] == 1
    assert [record.id for record in store.list()] == [used.id]


def test_a_note_for_each_source_goes_with_what_it_was_made_from(store):
    told = [store.write(f"We planted tree number {k} in the garden.", source="diary", speaker="Ana") for k in range(6)]
    assert store.consolidate("summarise")["summarised"] == 1
    note = store.list(where={"kind": "note"})[0]
    assert note.source == "diary"
    assert store.consolidate("summarise")["summarised"] == 0
    store.write("The garden is full of apples now.", source="diary", speaker="Ana")
    assert store.consolidate("summarise")["summarised"] == 1
    assert store.get(note.id).version == 2
    receipt = store.forget(told[0].id)
    assert note.id in receipt.ids
    assert not store.list(where={"kind": "note"})


def test_facts_come_out_of_what_is_used_often_and_go_with_it(store):
    told = store.write("I live in Lisbon.", speaker="Ana")
    for _ in range(3):
        store.read("Lisbon", k=1, mode="text", reinforce=True)
    assert store.consolidate("promote")["promoted"] == 1
    fact = store.list(where={"kind": "fact"})[0]
    assert "Lisbon" in fact.text
    assert fact.parent == told.id
    assert store.consolidate("promote")["promoted"] == 0
    store.forget(told.id)
    assert not store.list()


def test_mistakes_are_named(store):
    store.write("one", scope="a")
    for wrong, says in (
        (lambda: store.consolidate("marge"), "did you mean 'merge'"),
        (lambda: store.consolidate("merge", alik=1), "has a setting 'alik'"),
        (lambda: store.consolidate("merge", alike=2), "alike must be"),
        (lambda: store.consolidate("merge", scope="b"), "nothing was written under the scope 'b'"),
    ):
        with pytest.raises(UsageError, match=says):
            wrong()


def test_policies_of_ones_own_run_beside_the_others(store):
    class Count:
        def run(self, store, scope, progress=None):
            return {"seen": store.count(scope=scope)}

    store.write("one")
    assert store.consolidate([Count(), "decay"]) == {"seen": 1, "decayed": 1, "forgotten": 0}


def test_without_an_encoder_it_works_by_words(tmp_path):
    with stores.open(tmp_path / "m.db", encoder=None) as store:
        store.write("Same words.")
        store.write("same words")
        assert store.consolidate() == {"merged": 1, "linked": 0, "decayed": 1, "forgotten": 0}
