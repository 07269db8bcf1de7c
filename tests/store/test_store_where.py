"""Filters are data: fields, operators and values, in both databases."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remanence.errors import UsageError

RECORDS = [
    {"text": "I moved to Lisbon", "speaker": "Ana", "kind": "episode", "said_at": "2026-01-05", "tags": ["home"]},
    {"text": "Porto is 100% nicer", "speaker": "Ben", "kind": "fact", "said_at": "2026-02-05", "strength": 2.0},
    {"text": "It's raining_now", "speaker": "Ana", "kind": "note", "tags": ["weather", "home"], "source": "s1"},
    {"text": "nobody said this", "metadata": {"city": "Lisbon", "n": 3, "deep": {"er": [1, 2]}, "yes": True}},
    {
        "text": "nor this",
        "metadata": {"city": "Porto", "n": 10, "yes": False, "none": None, "n.m": 1, "with space": "x"},
    },
    {"text": "nor that", "metadata": {"city": 7, "n": "10"}},
    {"text": "ÉCOLE", "speaker": "Zoë"},
]
CASES = [
    ({"speaker": "Ana"}, {0, 2}),
    ({"speaker": {"!=": "Ana"}}, {1, 3, 4, 5, 6}),
    ({"speaker": None}, {3, 4, 5}),
    ({"speaker": {"!=": None}}, {0, 1, 2, 6}),
    ({"speaker": {"in": ["Ana", "Ben"]}}, {0, 1, 2}),
    ({"speaker": {"in": []}}, set()),
    ({"speaker": {"not in": ["Ana"]}}, {1, 3, 4, 5, 6}),
    ({"speaker": {"not in": []}}, {0, 1, 2, 3, 4, 5, 6}),
    ({"speaker": {">": "Ana", "<=": "Ben"}}, {1}),
    ({"kind": "fact"}, {1}),
    ({"text": {"contains": "LISBON"}}, {0}),
    ({"text": {"contains": "école"}}, {6}),
    ({"text": {"contains": "100%"}}, {1}),
    ({"text": {"contains": "g_n"}}, {2}),
    ({"text": {"contains": "_"}}, {2}),
    ({"text": {"contains": "It's"}}, {2}),
    ({"said_at": {">=": "2026-02"}}, {1}),
    ({"said_at": datetime(2026, 1, 5, tzinfo=UTC)}, {0}),
    ({"said_at": {"!=": "2026-01-05"}}, {1, 2, 3, 4, 5, 6}),
    ({"said_at": None}, {2, 3, 4, 5, 6}),
    ({"strength": {">": 1}}, {1}),
    ({"strength": {"in": [2, 3.5]}}, {1}),
    ({"uses": 0, "version": 1, "strength": {"<": 2}}, {0, 2, 3, 4, 5, 6}),
    ({"tags": "home"}, {0, 2}),
    ({"tags": {"has": "home", "has not": "weather"}}, {0}),
    ({"tags": {"has not": "home"}}, {1, 3, 4, 5, 6}),
    ({"source": "s1"}, {2}),
    ({"metadata.city": "Lisbon"}, {3}),
    ({"metadata.city": {"!=": "Lisbon"}}, {0, 1, 2, 4, 5, 6}),
    ({"metadata.city": 7}, {5}),
    ({"metadata.city": {"in": ["Lisbon", 7]}}, {3, 5}),
    ({"metadata.city": {"not in": ["Lisbon", 7]}}, {0, 1, 2, 4, 6}),
    ({"metadata.city": {"contains": "ORT"}}, {4}),
    ({"metadata.city": {">": "Lisbon"}}, {4}),
    ({"metadata.n": {">": 3}}, {4}),
    ({"metadata.n": {">=": 3.0, "<": 10.5}}, {3, 4}),
    ({"metadata.n": "10"}, {5}),
    ({"metadata.yes": True}, {3}),
    ({"metadata.yes": False}, {4}),
    ({"metadata.yes": {"!=": None}}, {3, 4}),
    ({"metadata.none": None}, {0, 1, 2, 3, 4, 5, 6}),
    ({"metadata.with space": "x"}, {4}),
    ({"metadata.deep.er": {"!=": None}}, {3}),
    ({"metadata.deep.none": {"!=": None}}, set()),
    ({"any": [{"speaker": "Ana"}, {"metadata.n": 3}]}, {0, 2, 3}),
    ({"any": []}, set()),
    ({"not": {"speaker": "Ana"}}, {1, 3, 4, 5, 6}),
    ({"not": {}}, set()),
    ({"not": {"any": [{"speaker": "Ana"}, {"strength": {">": 1}}]}}, {3, 4, 5, 6}),
    ({"speaker": "Ana", "not": {"tags": "weather"}}, {0}),
    ([("speaker", "=", "Ana"), ("kind", "!=", "note")], {0}),
    ({}, {0, 1, 2, 3, 4, 5, 6}),
    ([], {0, 1, 2, 3, 4, 5, 6}),
]


@pytest.fixture
def ids(store):
    return store.write_many(RECORDS)


def test_every_field_and_operator(store, ids):
    for where, expected in CASES:
        found = {ids.index(record.id) for record in store.list(where=where)}
        assert found == expected, where
        assert store.count(where=where) == len(expected), where


def test_reading_admits_only_what_the_filter_does(store, ids):
    for where, expected in CASES:
        for mode in ("hybrid", "dense"):
            hits = store.read("Lisbon Porto raining nobody this that", k=20, where=where, mode=mode)
            assert {ids.index(hit.id) for hit in hits} <= expected, where
        dense = store.read("anything", k=20, where=where, mode="dense")
        assert {ids.index(hit.id) for hit in dense} == expected, where


def test_ids_and_parents(store):
    parent = store.write("parent").id
    child = store.write("child", parent=parent).id
    assert [record.id for record in store.list(where={"parent": parent})] == [child]
    assert [record.id for record in store.list(where={"parent": None})] == [parent]
    assert [record.id for record in store.list(where={"id": {"not in": [parent]}})] == [child]
    assert [record.id for record in store.list(where={"id": {"in": [parent, "0" * 32]}})] == [parent]
    assert [record.id for record in store.list(where={"id": {"!=": child}})] == [parent]


HOSTILE = [
    "'; DROP TABLE records; --",
    '"; DELETE FROM records; --',
    "x' OR '1'='1",
    "%",
    "_",
    "*",
    "?",
    "%s %(name)s {0} $1 :name",
    "\\",
    "\\' OR 1=1 --",
    "NEAR(a b)",
    "text:a AND NOT b*",
    '"unbalanced',
    "(((",
    "a & | ! <-> :*",
    "''",
    "\t\n\r\x07\x1b[31m",
    "^caret -minus +plus",
    "a\u2028b\ufeff",
    "foo_bar __init__ a.b@c.de http://x.y/z?q=1#f",
    "🦩" * 5,
]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_quotes_wildcards_and_commands_are_data(store, hostile):
    other = store.write("something else entirely").id
    kept = store.write(
        f"before {hostile} after", speaker=hostile, tags=[hostile], source=hostile, metadata={"k": hostile}
    ).id
    for where in (
        {"speaker": hostile},
        {"source": {"in": [hostile]}},
        {"tags": hostile},
        {"metadata.k": hostile},
        {"metadata.k": {"contains": hostile}},
        {"text": {"contains": hostile}},
        {"not": {"speaker": {"!=": hostile}}},
    ):
        assert [record.id for record in store.list(where=where)] == [kept], where
    for mode in ("hybrid", "dense", "text"):
        for question in (hostile, f"what is {hostile} before and after?"):
            if question.strip():
                assert {hit.id for hit in store.read(question, mode=mode)} <= {kept, other}
    assert store.read(f"{hostile} before", mode="text")[0].id == kept
    assert len(store) == 2 and store.check() == []


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(question=st.text(min_size=1, max_size=60).filter(str.strip))
def test_any_question_can_be_asked(store, question):
    if not len(store):
        store.write("a record")
    for mode in ("hybrid", "dense", "text"):
        store.read(question, mode=mode)
    store.list(where={"text": {"contains": question}, "speaker": question, "tags": question})


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"colour": "red"}, "there is no field 'colour' to filter by"),
        ({"speakr": "Ana"}, "did you mean 'speaker'"),
        ({"speaker; DROP TABLE records": "x"}, "there is no field"),
        ({"metadata.": "x"}, "no place in the metadata"),
        ({"metadata.a'b": "x"}, "no place in the metadata"),
        ({'metadata.a"b': "x"}, "no place in the metadata"),
        ({"speaker": {"LIKE": "A%"}}, "cannot be compared by 'LIKE'"),
        ({"tags": {"=": "home"}}, "cannot be compared by"),
        ({"said_at": {"contains": "2026"}}, "cannot be compared by"),
        ({"said_at": {">": "last May"}}, "no ISO 8601 time"),
        ({"said_at": {">": 7}}, "expected a datetime"),
        ({"strength": "strong"}, "expected a number"),
        ({"strength": True}, "expected a number"),
        ({"uses": {">": 10**30}}, "expected a number"),
        ({"metadata.n": {">": 10**30}}, "expected a number"),
        ({"strength": float("nan")}, "expected a number"),
        ({"strength": {">": None}}, "expected a number"),
        ({"said_at": {">": None}}, "only '=' and '!=' take None"),
        ({"speaker": {"<": None}}, "expected a string"),
        ({"id": {"in": [None]}}, "is no id"),
        ({"speaker": 7}, "expected a string"),
        ({"text": {"contains": None}}, "expected a string"),
        ({"tags": ["home"]}, "expected a string"),
        ({"speaker": {"in": "Ana"}}, "expected a list"),
        ({"speaker": {"in": [None]}}, "expected a string"),
        ({"metadata.n": [1]}, "expected a string, a number"),
        ({"kind": "song"}, "there is no kind 'song'"),
        ({"id": "xyz"}, "is no id"),
        ({"any": {"speaker": "Ana"}}, "expected a list of filters"),
        ("speaker = 'Ana'", "expected a mapping"),
        ([("speaker", "=")], "expected a mapping"),
        (7, "expected a mapping"),
        ({"any": [[1]]}, "expected a mapping"),
        ({7: "x"}, "there is no field '7'"),
    ],
)
def test_what_is_no_filter_is_refused_in_one_sentence(store, where, message):
    with pytest.raises(UsageError) as refused:
        store.list(where=where)
    assert message in str(refused.value) and "\n" not in str(refused.value)
