"""Writing, reading and listing records, in both databases."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import remanence.store as stores
from remanence.errors import UsageError

EVERY_DATABASE = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=200).filter(str.strip)


def test_a_record_comes_back_as_it_was_written(store):
    other = store.write("the first one")
    fields = {
        "text": "I moved to Lisbon in May",
        "kind": "fact",
        "scope": "user/42",
        "speaker": "Ana",
        "said_at": datetime(2026, 5, 3, 10, tzinfo=UTC),
        "valid_from": datetime(2026, 5, 1, tzinfo=UTC),
        "valid_to": datetime(2100, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
        "source": "session 7",
        "tags": ("home", "cities, old & new"),
        "metadata": {"city": "Lisbon", "nested": {"list": [1, 2.5, None, True]}, "zero": 0},
        "strength": 2.5,
        "parent": other.id,
    }
    written = store.write(**fields)
    assert written == store.get(written.id)
    assert {name: getattr(written, name) for name in fields} == fields
    assert written.version == 1 and written.current and len(written.id) == 32
    assert abs(written.recorded_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert len(store) == 2 and store.count(scope="user/42") == 1


@EVERY_DATABASE
@given(text=TEXTS, speaker=st.none() | TEXTS, tags=st.lists(TEXTS, unique=True, max_size=3))
def test_any_text_comes_back(store, text, speaker, tags):
    written = store.write(text, speaker=speaker, tags=tags)
    back = store.get(written.id)
    assert (back.text, back.speaker, back.tags) == (text, speaker, tuple(tags))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


@EVERY_DATABASE
@given(metadata=st.dictionaries(TEXTS, JSON, max_size=4))
def test_any_metadata_comes_back(store, metadata):
    assert store.get(store.write("x", metadata=metadata).id).metadata == metadata


def test_what_no_database_can_hold_is_replaced_and_still_searched(store):
    written = store.write("a\x00b \ud800 c", speaker="\x00", metadata={"k\x00": ["v\x00", "\\u0000 is no character"]})
    back = store.get(written.id)
    assert back == written
    assert (back.text, back.speaker) == ("a\ufffdb \ufffd c", "\ufffd")
    assert back.metadata == {"k\ufffd": ["v\ufffd", "\\u0000 is no character"]}
    assert store.list(where={"speaker": "\x00", "text": {"contains": "A\x00B"}}) == [back]
    assert store.count(where={"metadata.city": "nowhere"}) == 0
    assert store.read("what is \x00 or \ud800 c?")[0].record == back


def test_reading_finds_by_meaning_by_words_and_both(store):
    store.write_many([f"note number {n} about nothing" for n in range(30)])
    wanted = store.write("The harbour of Lisbon lies on the Tagus")
    for mode in ("hybrid", "dense", "text"):
        hits = store.read("Which harbour lies on the Tagus?", k=3, mode=mode)
        assert hits[0].id == wanted.id
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        assert hits.pending == 0
    assert store.read("harbours", mode="text")[0].id == wanted.id, "words are stemmed"
    assert store.read("HARBOUR", mode="text")[0].id == wanted.id
    assert store.read("Which harbour?", k=1, explain=True)[0].explain


def test_accents_and_other_alphabets_are_words_too(store):
    records = {word: store.write(text).id for word, text in WORDS.items()}
    store.write("nothing of the kind")
    for word, wanted in records.items():
        assert [hit.id for hit in store.read(word, mode="text")] == [wanted]


WORDS = {
    "ecole": "Elle va à l'École du village",
    "naive": "What a naïve idea",
    "москва": "МОСКВА — столица",
    "東京": "東京 に行きます",
    "3110": "room 3110, second floor",
}


def test_a_read_encodes_what_waits_in_its_scope(store):
    written = store.write("a lighthouse by the sea", scope="a")
    store.write("another", scope="b")
    assert store.statistics()["queued"] == 2
    assert store.read("lighthouse sea", scope="a", mode="dense")[0].id == written.id
    assert store.statistics()["queued"] == 1
    store.write("encoded before it returns", wait=True)
    assert store.statistics()["queued"] == 0


def test_a_background_thread_encodes_what_was_written(address, word_encoder):
    with stores.open(address, encoder=word_encoder()) as store:
        for number in range(20):
            store.write(f"text {number}")
    with stores.open(address, encoder=word_encoder(), background=False) as store:
        store.encode()
        assert store.statistics()["queued"] == 0 and len(store.read("text 3", k=20, mode="dense")) == 20


def test_many_are_written_in_order_and_all_or_none(store):
    seen = []
    ids = store.write_many(
        ({"text": f"text {n}", "source": "s"} for n in range(6000)),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert len(set(ids)) == 6000 and seen == [(5000, 0), (6000, 6000)]
    assert [record.id for record in store.list(limit=6000, newest=False)] == ids
    with pytest.raises(UsageError, match="empty"):
        store.write_many([*(f"more {n}" for n in range(5500)), "  "])
    assert len(store) == 6000
    with pytest.raises(UsageError, match="is taken"):
        store.write_many(["fresh", {"text": "again", "id": ids[0]}])
    with pytest.raises(UsageError, match="same id"):
        store.write_many([{"text": "one", "id": "7" * 32}, {"text": "two", "id": "7" * 32}])
    assert len(store) == 6000 and store.write_many([]) == []


def test_rows_are_never_used_twice(store):
    first = store.write("one")
    last = store.write("two")
    store.forget(last.id)
    assert store.write("three").row > last.row > first.row


def test_uses_are_counted_only_on_request(store):
    written = store.write("counted")
    store.read("counted")
    assert store.get(written.id).uses == 0
    store.read("counted", reinforce=True)
    store.read("counted", reinforce=True)
    back = store.get(written.id)
    assert back.uses == 2 and back.used_at is not None and back.version == 1


def test_records_are_listed_by_order_of_writing(store):
    ids = store.write_many(f"text {n}" for n in range(10))
    assert [record.id for record in store.list(limit=3)] == ids[:-4:-1]
    assert [record.id for record in store.list(newest=False, limit=4)] == ids[:4]


def test_neighbours_are_of_the_same_scope_and_source(store):
    from remanence.store.where import Filter

    a = [store.write(f"a {n}", scope="s", source="one").row for n in range(4)]
    b = [store.write(f"b {n}", scope="s", source="two").row for n in range(3)]
    c = store.write("c", scope="s").row
    found = store.database.neighbours_in_order(_rows(a[1], b[0], c), 2, Filter(scope="s", now=store.clock()))
    assert found.tolist() == [[a[0], 0, a[2], a[3]], [0, 0, b[1], b[2]], [0, 0, 0, 0]]


def _rows(*rows):
    import numpy as np

    return np.array(rows, dtype=np.int64)


def test_words_are_ranked_as_bm25_ranks_them(store):
    rare = store.write("a heron in the reeds by the water")
    store.write_many(f"the water in pool {n} is cold" for n in range(60))
    twice = store.write("water and more water, water everywhere")
    hits = store.read("is there a heron in the water?", k=62, mode="text")
    assert hits[0].id == rare.id, "a rare word says more than a common one"
    assert len(hits) == 62
    assert twice.id in [hit.id for hit in store.read("everywhere water", k=1, mode="text")]


def test_frequencies_count_versions_that_hold_a_word(store):
    store.write_many(["a heron", "herons and a heron", "a stork"])
    assert store.database.frequencies(["heron", "stork", "absent"]) in ([2, 1, 0], [1, 1, 0])


def test_twins_for_async_code(store):
    async def session():
        a, b = await asyncio.gather(store.awrite("Lisbon lies on the Tagus"), store.awrite("Porto lies on the Douro"))
        await store.alink(a.id, b.id, "like")
        assert [one.id for one in await store.aneighbours(a.id)] == [b.id]
        await store.arevise(a.id, "Lisbon lies on the river Tagus", expected_version=1)
        hits = await store.aread("What lies on the Tagus?", k=1)
        assert hits[0].id == a.id and len(await store.ahistory(a.id)) == 2
        assert len(await store.awrite_many(["x", "y"])) == 2 and await store.aencode() >= 0
        assert len(await store.alist()) == 4 and (await store.aget(b.id)).id == b.id
        assert (await store.aforget(a.id)).records == 1

    asyncio.run(session())
    assert store.count() == 3


def test_a_store_keeps_what_it_was_told_when_it_is_opened_again(address, word_encoder):
    with stores.open(address, encoder=word_encoder(), background=False) as store:
        written = store.write("kept", wait=True)
    with stores.open(address, encoder=word_encoder(), background=False) as store:
        assert store.get(written.id) == written and store.read("kept")[0].id == written.id
        assert store.check() == []
        assert store.statistics()["records"] == 1


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_vectors_are_kept_in_the_precision_asked_for(address, word_encoder, precision):
    import numpy as np

    with stores.open(address, encoder=word_encoder(), precision=precision, background=False) as store:
        row = store.write("a heron in the reeds", wait=True).row
        space = store.encoding.serving
        rows, vectors = store.database.vectors(space, _rows(row, 99))
        assert rows.tolist() == [row] and vectors.dtype == np.float32 and space.precision == precision
        expected = word_encoder().encode(["a heron in the reeds"])
        assert np.abs(vectors - expected).max() <= (0 if precision == "float32" else 1e-3)
        assert store.read("heron", mode="dense")[0].record.row == row
