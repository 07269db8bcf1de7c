"""What cannot be used gets one clear sentence, and nothing is lost, in both databases."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pytest

import remanence.store as stores
from remanence.errors import MissingExtra, StateError, UsageError


def refused(error, match, call, *given, **named):
    """That a call is refused in one sentence."""
    with pytest.raises(error, match=match) as caught:
        call(*given, **named)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"text": ""}, "empty"),
        ({"text": " \n\t"}, "empty"),
        ({"text": None}, "expected a string"),
        ({"text": b"bytes"}, "expected a string"),
        ({"text": "x", "kind": "song"}, "the kind is 'song'"),
        ({"text": "x", "colour": "red"}, "no field 'colour'"),
        ({"text": "x", "version": 2}, "no field 'version'"),
        ({"text": "x", "said_at": "last May"}, "no ISO 8601 time"),
        ({"text": "x", "said_at": "2026-13-01"}, "no ISO 8601 time"),
        ({"text": "x", "said_at": 17}, "expected a datetime"),
        ({"text": "x", "valid_from": "2026-02-01", "valid_to": "2026-01-01"}, "valid_to lies before"),
        ({"text": "x", "speaker": 7}, "the speaker"),
        ({"text": "x", "source": "s" * 1001}, "at most 1,000"),
        ({"text": "x", "tags": "home"}, "the tags"),
        ({"text": "x", "tags": [1]}, "the tags"),
        ({"text": "x", "metadata": [1]}, "expected a mapping"),
        ({"text": "x", "metadata": {"a": object()}}, "as JSON"),
        ({"text": "x", "metadata": {"a": float("nan")}}, "as JSON"),
        ({"text": "x", "strength": -0.1}, "the strength"),
        ({"text": "x", "strength": float("nan")}, "the strength"),
        ({"text": "x", "strength": "strong"}, "the strength"),
        ({"text": "x", "strength": 10**400}, "the strength"),
        ({"text": "x", "parent": "nobody"}, "is no id"),
        ({"text": "x", "id": "0" * 31}, "is no id"),
    ],
)
def test_a_record_that_cannot_be_written_is_refused(store, fields, match):
    refused(UsageError, match, store.write, **fields)
    refused(UsageError, match, store.write_many, ["one", fields])
    assert len(store) == 0 and list(store.scopes()) == []


def test_ten_megabytes_of_text_are_refused(store):
    refused(UsageError, "at most 1,000,000 can be remembered", store.write, "x" * 10_000_000)
    refused(UsageError, "at most 20,000 can be asked", store.read, "x " * 5_000_000)
    record = store.write("x")
    refused(UsageError, "at most 1,000,000", store.revise, record.id, "x" * 10_000_000)
    assert store.get(record.id) == record


@pytest.mark.parametrize("text", ["word{} " * 90_000, "слово{} " * 80_000, "x" * 1_000_000, "東" * 1_000_000])
def test_a_million_characters_can_be_remembered_and_forgotten(store, text):
    long = "".join(text.replace("{}", str(n), 1) for n in range(1)) if "{}" not in text else _numbered(text)
    record = store.write(long)
    assert store.get(record.id).text == long
    if "{}" in text:
        assert [hit.id for hit in store.read(text.split("{")[0] + "77", mode="text")] == [record.id]
    assert store.forget(record.id).complete and store.read("word77") == []


def _numbered(text):
    parts = text.split("{}")
    return "".join(f"{part}{n}" for n, part in enumerate(parts))[:1_000_000]


def test_control_characters_are_kept(store):
    text = "".join(map(chr, range(1, 32))) + "\x7f\x80\x9f\u202e\ufeff text"
    record = store.write(text, metadata={"c": text})
    assert store.get(record.id).text == text and store.get(record.id).metadata == {"c": text}
    assert store.read("text", mode="text")[0].id == record.id


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"question": ""}, "empty"),
        ({"question": " \n"}, "empty"),
        ({"question": 7}, "empty"),
        ({"question": "x", "k": 0}, "k is 0"),
        ({"question": "x", "k": "5"}, "k is '5'"),
        ({"question": "x", "k": True}, "k is True"),
        ({"question": "x", "mode": "psychic"}, "mode"),
        ({"question": "x", "colour": "red"}, "no setting 'colour'"),
        ({"question": "x", "as_of": "someday"}, "no ISO 8601 time"),
        ({"question": "x", "known_at": 7}, "expected a datetime"),
        ({"question": "x", "scope": "nowhere"}, "nothing was written under the scope"),
        ({"question": "x", "where": {"colour": "red"}}, "no field 'colour'"),
    ],
)
def test_a_question_that_cannot_be_asked_is_refused(store, options, match):
    store.write("x")
    refused(UsageError, match, store.read, **options)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("2026", datetime(2026, 1, 1, tzinfo=UTC)),
        ("2026-05", datetime(2026, 5, 1, tzinfo=UTC)),
        ("2026-05-03T10:00Z", datetime(2026, 5, 3, 10, tzinfo=UTC)),
        ("2026-05-03T10:00:00.123456+02:00", datetime(2026, 5, 3, 8, 0, 0, 123456, tzinfo=UTC)),
        (date(2026, 5, 3), datetime(2026, 5, 3, tzinfo=UTC)),
        (datetime(2026, 5, 3, 10), datetime(2026, 5, 3, 10, tzinfo=UTC)),
        (datetime(2026, 5, 3, 10, tzinfo=timezone(timedelta(hours=-5))), datetime(2026, 5, 3, 15, tzinfo=UTC)),
        ("0001-01-01", datetime(1, 1, 1, tzinfo=UTC)),
        ("9999-12-31T23:59:59.999999Z", datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
    ],
)
def test_times_are_taken_as_utc_to_the_microsecond(store, given, expected):
    record = store.write("x", said_at=given)
    assert store.get(record.id).said_at == expected and store.list(where={"said_at": given}) == [record]


@pytest.mark.parametrize("given", [("0001-01-01T00:00+14:00"), ("9999-12-31T23:59-12:00")])
def test_times_beyond_the_calendar_are_refused(store, given):
    refused(UsageError, "said_at", store.write, "x", said_at=given)


def test_another_encoder_is_refused_and_nothing_changes(address, word_encoder):
    with stores.open(address, encoder=word_encoder(), background=False) as store:
        store.write("x", wait=True)
    refused(StateError, "are from the encoder 'words-32', it was opened with 'other'", stores.open, address,
            encoder=word_encoder(16, "other"))  # fmt: skip
    refused(StateError, "gives vectors of 16 numbers, the store holds 32", stores.open, address,
            encoder=word_encoder(16, "words-32"))  # fmt: skip
    with stores.open(address, encoder=word_encoder(), background=False) as store:
        assert store.read("x")[0].text == "x"


def test_vectors_of_a_wrong_shape_are_refused(store):
    row = store.write("x").row
    space = store.encoding.serving
    rows = np.array([row], dtype=np.int64)
    for wrong in (np.ones((1, 31), np.float32), np.ones((2, 32), np.float32), np.ones(32, np.float32)):
        refused(UsageError, "shape", store.database.put_vectors, space, rows, wrong)
    assert store.database.queue_length(space) == 1


class Broken:
    name, dimension = "broken", 8

    def __init__(self, answer):
        self.answer = answer

    def encode(self, texts):
        return self.answer(len(texts))


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        (lambda n: np.zeros((n, 9), np.float32), "gave an array of"),
        (lambda n: np.zeros((n + 1, 8), np.float32), "gave an array of"),
        (lambda n: np.full((n, 8), np.nan, np.float32), "not finite"),
    ],
)
def test_an_encoder_that_answers_nonsense_loses_nothing(address, answer, match):
    with stores.open(address, encoder=Broken(answer), background=False) as store:
        record = store.write("a heron")
        refused(StateError, match, store.read, "heron")
        assert store.read("heron", mode="text")[0].id == record.id
        assert store.statistics()["queued"] == 1


def test_changing_the_encoder_keeps_every_record(address, word_encoder):
    with stores.open(address, encoder=word_encoder(), background=False) as store:
        records = [store.write(f"a heron in pool {n}", wait=True) for n in range(5)]
        store.revise(records[0].id, "a stork in pool 0")
        store.change_encoder(word_encoder(16, "words-16"))
        assert store.statistics()["encoder"] == "words-16"
        assert {hit.id for hit in store.read("heron pool", k=9, mode="dense")} == {record.id for record in records}
        assert store.check() == []
    refused(StateError, "are from the encoder 'words-16'", stores.open, address, encoder=word_encoder())


def test_a_store_that_was_opened_before_the_encoder_changed_says_so(address, word_encoder):
    with (
        stores.open(address, encoder=word_encoder(), background=False) as old,
        stores.open(address, encoder=word_encoder(), background=False) as new,
    ):
        old.write("a heron", wait=True)
        new.change_encoder(word_encoder(16, "words-16"))
        refused(StateError, "open it again", old.read, "heron")
        old.write("written by the old one")
        assert len(new.read("heron old", k=5, mode="dense")) == 2


@pytest.mark.parametrize(
    ("where", "match"),
    [
        ("", "the address of a store"),
        ("mysql://localhost/x", "cannot lie at mysql://"),
        ("postgresql://user:%zz@", "cannot be read"),
        ("/no/such/folder/memory.db", "does not exist"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused(where, match):
    refused(UsageError, match, stores.open, where, encoder=None)


def test_a_store_that_shall_not_be_made_is_missed(new_address):
    refused(UsageError, "there is no store", stores.open, new_address(), encoder=None, create=False)


def test_an_encoder_that_is_none_is_refused(address):
    refused(UsageError, "given as the encoder", stores.open, address, encoder=7)
    refused(UsageError, "encoder", stores.open, address, encoder="no-such-encoder")
    refused(UsageError, "the precision", stores.open, address, encoder=None, precision="float8")


def test_without_psycopg_the_extra_is_named(tmp_path):
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "import remanence.store as stores\n"
        "try: stores.open('postgresql://localhost/x', encoder=None)\n"
        "except ImportError as error: print(type(error).__name__, error)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "MissingExtra" in said.stdout and "remanence-memory[postgres]" in said.stdout, said.stderr
    assert issubclass(MissingExtra, ImportError)


def test_what_is_nested_too_deeply_is_refused(store):
    deep = where = {"speaker": "Ana"}
    for _ in range(3000):
        deep, where = {"a": deep}, {"not": where}
    refused(UsageError, "nested too deeply", store.write, "x", metadata=deep)
    refused(UsageError, "nested more than", store.list, where=where)
    assert len(store) == 0


def test_a_filter_of_too_many_conditions_is_refused(store):
    store.write("x", speaker="7", metadata={"n": 7})
    many = [str(n) for n in range(2000)]
    refused(UsageError, "at most 500", store.list, where={"any": [{"speaker": one} for one in many]})
    refused(UsageError, "at most 500", store.list, where={"metadata.n": {"in": many}})
    assert len(store.list(where={"any": [{"speaker": one} for one in many[:500]]})) == 1
    assert len(store.list(where={"metadata.n": {"in": list(range(500))}})) == 1
    assert len(store.list(where={"speaker": {"in": many}})) == 1, "a list counts as one"


@pytest.mark.parametrize("given", ["a text", b"x", {"text": "x"}, 5, None])
def test_what_is_not_several_is_not_written_letter_by_letter(store, given):
    refused(UsageError, "expected several", store.write_many, given)
    assert len(store) == 0


def test_more_hits_than_can_be_counted_are_refused(store):
    store.write("x")
    refused(UsageError, "at most 1,000,000,000", store.read, "x", k=10**30)
    assert len(store.read("x", k=10**9)) == 1


@pytest.mark.parametrize("path", ["", None, 5])
def test_what_is_no_path_is_refused_by_export_and_import(store, path):
    refused(UsageError, "is no path", store.export, path)
    refused(UsageError, "is no path", store.import_, path)


def test_an_export_replaces_neither_a_store_nor_what_is_no_file(store, tmp_path):
    with stores.open(tmp_path / "other.db", encoder=None) as other:
        other.write("kept")
    refused(UsageError, "is a database", store.export, tmp_path / "other.db")
    refused(UsageError, "no regular file", store.export, "/dev/null")
    with stores.open(tmp_path / "other.db", encoder=None) as other:
        assert other.list()[0].text == "kept"
