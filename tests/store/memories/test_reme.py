"""ReMe: which lessons are added, counted and deleted."""

import pytest

import remanence.store as stores
from remanence.store.memories.reme import ReMe


@pytest.fixture
def store(tmp_path):
    with stores.open(tmp_path / "m.db", encoder=None) as opened:
        yield opened


def task(text, action, reward=1):
    return {"text": text, "metadata": {"action": action, "reward": reward}}


def test_only_what_worked_becomes_a_lesson_unless_failures_are_asked_for(store):
    memory = ReMe(every=0).bind(store)
    assert memory.write(task("send the map", "plan_route"))
    assert memory.write(task("send the map", "book_payment", 0)) == []
    careful = ReMe(every=0, failures=True).bind(store)
    (made,) = careful.write(task("send the map", "book_payment", 0))
    assert store.get(made).metadata["do"].startswith("Avoid")
    assert all(hit.record.metadata["action"] == "plan_route" for hit in memory.read("send the map", 5))


def test_a_lesson_that_stops_helping_goes_and_one_that_helps_stays(store):
    memory = ReMe(retrieved=1, often=3, useful=0.5, every=1).bind(store)
    (old,) = memory.write(task("translate the poem", "old_way"))
    for _ in range(2):
        memory.write(task("translate the poem", "new_way", 0))  # tells nothing about the old way
    assert store.get(old)
    written = [memory.write(task("translate the poem", "new_way")) for _ in range(4)]
    left = {record.metadata["action"] for record in store.list()}
    assert left == {"new_way"}
    assert written[-1]
    assert all(seen <= 20 for seen, _ in memory.state()["counts"].values())


def test_without_refinement_the_pool_only_grows(store):
    memory = ReMe(retrieved=1, often=1, every=0).bind(store)
    for number in range(6):
        memory.write(task("translate the poem", f"way_{number}"))
    assert len(store) == 6


def test_counts_come_back(store):
    memory = ReMe(every=0).bind(store)
    for _ in range(3):
        memory.write(task("translate the poem", "new_way"))
    again = ReMe(every=0).bind(store)
    again.set_state(memory.state())
    assert again.state() == memory.state()
    assert again.state()["tasks"] == 3
