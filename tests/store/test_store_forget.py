"""Forgetting: out of text, search, history, links, vectors and queue, with what was made from it, in both databases."""

from __future__ import annotations

import pytest

import remanence.store as stores
from remanence.errors import UsageError

SERVER = {"dead rows", "log", "replicas", "backups"}


def everything(store):
    """All that a database still holds, by table."""
    database = store.database
    tables = ["records", "links", "queue", *(f"vectors_{space.number}" for space in database.spaces())]
    return {table: database.connection.run(f"SELECT count(*) FROM {table}")[0][0] for table in tables}


def test_a_forgotten_record_is_nowhere(store):
    kept = store.write("a stork in the meadow", wait=True)
    gone = store.write("a heron in the reeds", wait=True)
    store.revise(gone.id, "a grey heron in the reeds", wait=True)
    store.revise(gone.id, "a purple heron in the reeds")
    store.link(gone.id, kept.id, "near")
    receipt = store.forget(gone.id)
    assert (receipt.ids, receipt.records, receipt.versions) == ((gone.id,), 1, 3)
    assert receipt.complete and receipt.checked
    assert {"text", "full-text index", "vectors", "history", "links", "dense index"} <= receipt.places.keys()
    with pytest.raises(UsageError, match="no record"):
        store.get(gone.id)
    with pytest.raises(UsageError, match="no record"):
        store.history(gone.id)
    for mode in ("hybrid", "dense", "text"):
        assert all(hit.id == kept.id for hit in store.read("heron reeds", mode=mode))
        assert all(hit.id == kept.id for hit in store.read("heron", mode=mode, as_of=store.get(kept.id).recorded_at))
    assert store.list(where={"text": {"contains": "heron"}}) == []
    assert everything(store) == {"records": 1, "links": 0, "queue": 0, "vectors_1": 1}
    assert store.check() == [] and len(store) == 1


def test_the_receipt_says_what_a_server_may_still_hold(store):
    receipt = store.forget(store.write("x").id)
    may = {place for place, became in receipt.places.items() if became == "may hold it"}
    assert may == (SERVER if store.database.dialect == "postgres" else set())
    assert "pending" not in receipt.places.values()


def test_what_was_made_from_a_record_goes_with_it(store):
    a = store.write("Ana said: I moved to Lisbon")
    summary = store.write("Ana lives in Lisbon", parent=a.id)
    higher = store.write("Ana is in Portugal", parent=summary.id)
    linked = store.write("People move")
    store.link(linked.id, higher.id, "made from")
    other = store.write("Ben lives in Porto")
    store.link(other.id, a.id, "like")
    receipt = store.forget(a.id)
    assert set(receipt.ids) == {a.id, summary.id, higher.id, linked.id} and receipt.records == 4
    assert [record.id for record in store.list()] == [other.id]
    assert list(store.links()) == []


def test_what_was_made_from_each_other_in_a_circle_ends(store):
    a, b = store.write("a").id, store.write("b").id
    store.link(a, b, "made from")
    store.link(b, a, "made from")
    assert store.forget(a).records == 2 and len(store) == 0


def test_forgetting_by_filter_reaches_older_versions_and_replaced_times(store):
    a = store.write("the code is 1234", speaker="Ana")
    store.revise(a.id, "the code was changed")
    b = store.write("the code is 9999", speaker="Ben", valid_to="2020-01-01")
    c = store.write("no secret", speaker="Ana")
    assert set(store.forget(where={"text": {"contains": "the code is"}}).ids) == {a.id, b.id}
    assert [record.id for record in store.list()] == [c.id]


def test_a_scope_can_be_forgotten_and_everything(store):
    for path in ("user/1", "user/1/work", "user/11", ""):
        store.write("x", scope=path)
    assert store.forget(scope="user/1").records == 2
    assert list(store.scopes()) == ["", "user/11"]
    assert store.forget(scope="*").records == 2
    assert everything(store)["records"] == 0 and store.check() == []
    assert store.read("x") == [], "an empty store can be read"


def test_several_are_forgotten_or_none(store):
    ids = store.write_many(["a", "b", "c"])
    with pytest.raises(UsageError, match="never written, or is forgotten already"):
        store.forget([ids[0], "0" * 32])
    assert len(store) == 3
    assert store.forget([*ids[:2], ids[0]]).records == 2, "named twice is forgotten once"
    assert len(store) == 1


def test_nothing_is_forgotten_by_accident(store):
    store.write("x")
    with pytest.raises(UsageError, match="nothing was named"):
        store.forget()
    with pytest.raises(UsageError, match="no field"):
        store.forget(where={"speakr": "Ana"})
    with pytest.raises(UsageError, match="is no id"):
        store.forget("x")
    with pytest.raises(UsageError, match="the one or the other"):
        store.forget(store.list()[0].id, where={"speaker": "Nobody"})
    with pytest.raises(UsageError, match="expected an id"):
        store.forget(5)
    assert store.forget(where={"speaker": "Nobody"}).records == 0
    assert store.forget([]).records == 0
    assert len(store) == 1


def test_many_are_forgotten_at_once(store):
    store.write_many(f"text {n}" for n in range(1500))
    store.encode()
    assert store.forget(where={"text": {"contains": "1"}}).records == sum("1" in str(n) for n in range(1500))
    assert store.count() == sum("1" not in str(n) for n in range(1500)) == everything(store)["vectors_1"]
    assert store.check() == []


def test_a_text_that_another_record_says_too_stays_found(store):
    one, two = store.write("the same words").id, store.write("the same words").id
    assert store.forget(one).complete
    assert [hit.id for hit in store.read("same words")] == [two]


def test_a_record_forgotten_before_it_was_encoded_gets_no_vector(address, word_encoder):
    with stores.open(address, encoder=word_encoder(), background=False) as store:
        record = store.write("gone soon")
        batch = store.database.queued(store.encoding.serving, 10)
        store.forget(record.id)
        store.encoding._put(store.encoding.serving, batch)
        assert everything(store) == {"records": 0, "links": 0, "queue": 0, "vectors_1": 0}


class Remembering:
    """An encoder with a cache, as the packaged one has."""

    def __init__(self, inner, obeys=True) -> None:
        self.name, self.dimension, self.encode = inner.name, inner.dimension, inner.encode
        self.asked, self.obeys = [], obeys

    def fingerprint(self, text):
        return f"mark of {text}"

    def forget(self, fingerprints):
        self.asked += fingerprints
        return self.obeys


def test_the_encoders_cache_is_told(address, word_encoder):
    encoder = Remembering(word_encoder())
    with stores.open(address, encoder=encoder, background=False) as store:
        record = store.write("one")
        store.revise(record.id, "two")
        assert store.forget(record.id).places["encoder cache"] == "removed"
    assert sorted(encoder.asked) == ["mark of one", "mark of two"]


def test_what_could_not_be_finished_is_finished_at_the_next_opening(address, word_encoder):
    stubborn = Remembering(word_encoder(), obeys=False)
    with stores.open(address, encoder=stubborn, background=False) as store:
        receipt = store.forget(store.write("one").id)
        assert receipt.places["encoder cache"] == "pending" and not receipt.complete
        assert store.database.unpurged() == ["mark of one"]
    willing = Remembering(word_encoder())
    with stores.open(address, encoder=willing, background=False) as store:
        assert willing.asked == ["mark of one"] and store.database.unpurged() is None
