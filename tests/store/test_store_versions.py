"""Revisions, history, and the two times, against a model in plain Python, in both databases."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remanence.errors import Conflict, UsageError

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = 86_400_000_000


def day(number: int) -> datetime:
    return START + timedelta(days=number)


class Clock:
    """A store's clock that a test sets, in days."""

    def __init__(self, store) -> None:
        self.at = 0
        self.zero = int(START.timestamp() * 1_000_000)
        store.clock = lambda: self.zero + self.at * DAY


@dataclass
class Version:
    """What the model knows of a version: when it was recorded, from when until when it is true."""

    text: str
    recorded: int
    starts: int | None
    ends: int | None


class Model:
    """Records as lists of versions; what is true at a time is what the latest version known by then says of it."""

    def __init__(self) -> None:
        self.records: list[list[tuple[Version, int | None]]] = []

    def write(self, text: str, at: int, starts: int | None, ends: int | None) -> None:
        self.records.append([(Version(text, at, starts, ends), None)])

    def revise(self, number: int, text: str, at: int, starts: int | None, ends: int | None, correction: bool) -> None:
        versions = self.records[number]
        old = versions[-1][0]
        if correction:
            closes = -(10**9) if old.starts is None else old.starts
            starts = old.starts if starts is None else starts
            ends = old.ends if ends is None else ends
        else:
            closes = starts = at if starts is None else starts
        versions[-1] = (old, closes)
        versions.append((Version(text, at, starts, ends), None))

    def true(self, at: int, known: int) -> set[str]:
        found = set()
        for versions in self.records:
            seen = [(version, closes) for version, closes in versions if version.recorded <= known]
            for place, (version, closes) in reversed(list(enumerate(seen))):
                ends = version.ends
                if place + 1 < len(seen):
                    ends = closes if ends is None else min(ends, closes)
                if (version.starts is None or version.starts <= at) and (ends is None or at < ends):
                    found.add(version.text)
                    break
        return found


TIME = st.none() | st.integers(0, 14)
WRITE = st.tuples(st.just("write"), st.just(0), TIME, TIME, st.just(False))
REVISE = st.tuples(st.just("revise"), st.integers(0, 3), TIME, TIME, st.booleans())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    operations=st.lists(WRITE | REVISE, min_size=1, max_size=7),
    asked=st.lists(st.integers(-1, 15), min_size=3, max_size=3),
)
def test_what_was_true_and_what_was_known_are_what_the_model_says(store, operations, asked):
    clock, model, ids = Clock(store), Model(), []
    scope = f"example {len(store.scopes())}"
    store.write("the scope is there", scope=scope, valid_to=day(-99))
    for number, (what, which, starts, ends, correction) in enumerate(operations):
        clock.at = 2 * number
        given = {"valid_from": None if starts is None else day(starts), "valid_to": None if ends is None else day(ends)}
        text = f"operation {number}"
        if what == "write":
            if starts is not None and ends is not None and ends < starts:
                continue
            ids.append(store.write(text, scope=scope, **given).id)
            model.write(text, clock.at, starts, ends)
        elif which < len(ids):
            given = {name: value for name, value in given.items() if value is not None}
            try:
                store.revise(ids[which], text, correction=correction, **given)
            except UsageError as error:
                assert "valid_to lies before valid_from" in str(error)
                continue
            model.revise(which, text, clock.at, starts, ends, correction)
    clock.at = 2 * len(operations)
    for at in asked:
        assert {record.text for record in store.list(scope=scope, as_of=day(at))} == model.true(at, clock.at), (
            f"true on day {at}"
        )
        assert {record.text for record in store.list(scope=scope, known_at=day(at))} == model.true(at, at), (
            f"known on day {at}"
        )
        for known in asked:
            found = {record.text for record in store.list(scope=scope, as_of=day(at), known_at=day(known))}
            assert found == model.true(at, known), f"true on day {at}, as known on day {known}"
    for record_id, versions in zip(ids, model.records, strict=True):
        history = store.history(record_id)
        assert [record.text for record in history] == [version.text for version, _ in versions]
        assert [record.version for record in history] == list(range(1, len(history) + 1))
        assert [record.current for record in history] == [False] * (len(history) - 1) + [True]


def test_the_example_of_moving_house(store):
    clock = Clock(store)
    home = store.write("Ana lives in Lisbon", valid_from=day(-100))
    clock.at = 10
    store.revise(home.id, "Ana lives in Porto", valid_from=day(5))
    clock.at = 20

    def says(**times):
        return [hit.text for hit in store.read("Where does Ana live?", **times)]

    assert says() == ["Ana lives in Porto"]
    assert says(as_of=day(2)) == ["Ana lives in Lisbon"]
    assert says(as_of=day(6)) == ["Ana lives in Porto"]
    assert says(as_of=day(6), known_at=day(8)) == ["Ana lives in Lisbon"], "the move was not known yet"
    assert says(known_at=day(8)) == ["Ana lives in Lisbon"]
    assert says(as_of=day(-200)) == []
    for mode in ("dense", "text", "hybrid"):
        assert says(as_of=day(2), mode=mode) == ["Ana lives in Lisbon"]


def test_a_revision_closes_the_old_version(store):
    clock = Clock(store)
    old = store.write("one", tags=["a"], metadata={"n": 1}, strength=3.0, source="s", scope="x")
    clock.at = 1
    new = store.revise(old.id, "two", tags=["b"])
    assert (new.version, new.id, new.text, new.tags, new.metadata) == (2, old.id, "two", ("b",), {"n": 1})
    assert (new.strength, new.source, new.scope, new.valid_from) == (3.0, "s", "x", day(1))
    first, second = store.history(old.id)
    assert second == new == store.get(old.id)
    assert (first.text, first.replaced_at, first.valid_to, first.version) == ("one", day(1), day(1), 1)
    assert len(store) == 1 and store.statistics()["versions"] == 2


def test_a_correction_takes_over_the_time_of_what_was_never_true(store):
    clock = Clock(store)
    wrong = store.write("Ana lives in Lisbon", valid_from=day(-10), valid_to=day(100))
    clock.at = 5
    right = store.revise(wrong.id, "Ana lives in Lagos", correction=True)
    assert (right.valid_from, right.valid_to) == (day(-10), day(100))
    assert [record.text for record in store.list(as_of=day(-5))] == ["Ana lives in Lagos"]
    assert [record.text for record in store.list(as_of=day(-5), known_at=day(2))] == ["Ana lives in Lisbon"]
    moved = store.revise(wrong.id, correction=True, valid_from=day(-20))
    assert (moved.valid_from, moved.valid_to) == (day(-20), day(100)), "the beginning itself can be corrected"
    assert [record.text for record in store.list(as_of=day(-15))] == ["Ana lives in Lagos"]


def test_a_revision_can_be_made_twice_at_one_instant(store):
    Clock(store)
    record = store.write("one")
    store.revise(record.id, "two")
    store.revise(record.id, "three")
    assert [one.text for one in store.list()] == ["three"]
    assert [one.version for one in store.history(record.id)] == [1, 2, 3]


def test_only_the_current_version_is_read(store):
    record = store.write("the heron stands in the reeds")
    store.revise(record.id, "the stork stands in the reeds")
    for mode in ("hybrid", "dense", "text"):
        assert [hit.text for hit in store.read("heron reeds", mode=mode)] == ["the stork stands in the reeds"]
    assert store.read("heron", mode="text") == []


def test_what_is_not_true_yet_or_no_longer_is_not_read(store):
    store.write("it was", valid_to=day(-3000))
    store.write("it will be", valid_from="2999-01-01")
    store.write("it is", valid_from=day(-3000), valid_to="2999-01-01")
    for mode in ("hybrid", "dense", "text"):
        assert [hit.text for hit in store.read("it was is will be", mode=mode)] == ["it is"]
    assert [hit.text for hit in store.read("it", as_of="2999-01-01")] == ["it will be"]


def test_an_expected_version_guards_a_revision(store):
    record = store.write("one")
    store.revise(record.id, "two", expected_version=1)
    with pytest.raises(Conflict, match="is at version 2, the change was made from version 1"):
        store.revise(record.id, "three", expected_version=1)
    assert store.get(record.id).text == "two" and len(store.history(record.id)) == 2


def test_a_failed_revision_leaves_nothing(store):
    record = store.write("one")
    for fields in ({"kind": "song"}, {"strength": -1}, {"colour": "red"}, {"valid_to": "yesterday"}):
        with pytest.raises(UsageError):
            store.revise(record.id, "two", **fields)
    with pytest.raises(UsageError, match="nothing to revise"):
        store.revise(record.id)
    with pytest.raises(UsageError, match="no record"):
        store.revise("0" * 32, "two")
    assert store.get(record.id) == record and len(store.history(record.id)) == 1


def test_the_use_of_a_record_outlives_its_revision(store):
    record = store.write("one")
    store.read("one", reinforce=True)
    revised = store.revise(record.id, "one more")
    assert revised.uses == 1 and revised.used_at == store.history(record.id)[0].used_at
