"""Links between records, in both databases."""

from __future__ import annotations

import pytest

from remanence.errors import UsageError


def test_links_join_records_both_ways(store):
    a, b, c = (store.write(text).id for text in "abc")
    made = store.link(a, b, "supports")
    store.link(c, a, "contradicts", weight=0.5)
    assert (made.source, made.target, made.relation, made.weight) == (a, b, "supports", 1.0)
    assert {(link.source, link.target, link.relation, link.weight) for link in store.links(a)} == {
        (a, b, "supports", 1.0),
        (c, a, "contradicts", 0.5),
    }
    assert {record.id for record in store.neighbours(a)} == {b, c}
    assert [record.id for record in store.neighbours(a, "contradicts")] == [c]
    assert [record.id for record in store.neighbours(b)] == [a]
    assert len(store.links()) == 2


def test_a_link_that_exists_takes_the_new_weight(store):
    a, b = (store.write(text).id for text in "ab")
    store.link(a, b, "like", 0.1)
    store.link(a, b, "like", 0.9)
    store.link(a, b, "unlike")
    assert {link.relation: link.weight for link in store.links()} == {"like": 0.9, "unlike": 1.0}


def test_links_can_be_taken_back(store):
    a, b = (store.write(text).id for text in "ab")
    store.link(a, b, "like")
    assert store.unlink(a, b, "like") and not store.unlink(a, b, "like")
    assert list(store.links()) == []


def test_links_outlive_revisions_and_a_record_may_point_to_itself(store):
    a, b = (store.write(text).id for text in "ab")
    store.link(a, b, "like")
    store.link(a, a, "repeats")
    store.revise(b, "b again")
    assert [(record.id, record.version) for record in store.neighbours(a)] == [(b, 2)]


def test_links_end_with_their_records(store):
    a, b, c = (store.write(text).id for text in "abc")
    store.link(a, b, "like")
    store.link(b, c, "like")
    store.forget(b)
    assert list(store.links()) == [] and list(store.neighbours(a)) == []


def test_a_link_to_nothing_is_refused(store):
    a = store.write("a").id
    with pytest.raises(UsageError, match="no record"):
        store.link(a, "0" * 32, "like")
    with pytest.raises(UsageError, match="is no id"):
        store.link(a, "b", "like")
    with pytest.raises(UsageError, match="relation"):
        store.link(a, a, "  ")
    assert list(store.links()) == []


def test_relations_are_data(store):
    a, b = (store.write(text).id for text in "ab")
    hostile = "'); DROP TABLE records; --"
    store.link(a, b, hostile)
    assert [record.id for record in store.neighbours(a, hostile)] == [b]
    store.link(a, b, "with \x00 and \ud800")
    assert [link.relation for link in store.links(a) if "with" in link.relation] == ["with \ufffd and \ufffd"]


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), "heavy"])
def test_a_weight_is_a_number(store, weight):
    a, b = (store.write(text).id for text in "ab")
    with pytest.raises(UsageError, match="weight"):
        store.link(a, b, "like", weight)
