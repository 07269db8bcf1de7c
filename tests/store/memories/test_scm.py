"""SCM: the controller, the ranking by relevance and recency, flash memory, and room."""

import pytest

import remanence.store as stores
from remanence.store.memories.scm import SCM


@pytest.fixture
def store(tmp_path):
    with stores.open(tmp_path / "m.db", encoder=None) as opened:
        yield opened


def told(memory, *texts):
    for text in texts:
        memory.write({"text": text, "speaker": "Ana"})


def test_where_no_memory_is_needed_the_latest_turn_is_all(store):
    memory = SCM().bind(store)
    told(memory, "The key is under the mat.", "It rains.")
    needless = next(q for q in ("Thanks!", "Hello there!", "What is 2 + 2?") if not memory.language.needs_memory(q))
    assert [hit.text for hit in memory.read(needless, 3)] == ["Ana: It rains."]


def test_of_two_as_relevant_the_later_comes_first(store):
    memory = SCM(recency=1.0, half_life=1.0, controller=False).bind(store)
    told(memory, "The key is here.", "Some talk.", "The key is here.", "More talk.")
    first, second = memory.read("key", 2)
    assert first.record.row > second.record.row
    assert first.explain["recency"] == pytest.approx(0.5)
    assert second.explain["recency"] == pytest.approx(0.125)


def test_the_latest_turn_is_always_at_hand_if_there_is_room(store):
    memory = SCM(controller=False).bind(store)
    told(memory, "The key is under the mat.", "It rains.")
    assert memory.read("Where is the key?", 3)[-1].text == "Ana: It rains."


def test_summaries_stand_for_texts_where_room_is_short_and_they_suffice(store):
    memory = SCM(long=20, budget=10, controller=False).bind(store)
    long = "The key is under the mat. " + "The weather stayed as it was for days and nobody spoke of it. " * 5
    told(memory, long, "It rains.")
    hits = memory.read("Where is the key?", 2)
    summary = hits[0].record.metadata["summary"]
    assert memory.language.suffices("Where is the key?", summary) == (hits[0].text == summary)
    roomy = SCM(long=20, budget=1000, controller=False).bind(store)
    assert roomy.read("Where is the key?", 2)[0].text.startswith("Ana: The key")
