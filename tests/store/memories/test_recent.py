"""Recent: the latest records, whatever was asked."""

import pytest

import remanence.store as stores


@pytest.fixture
def store(tmp_path, word_encoder):
    with stores.open(tmp_path / "m.db", encoder=word_encoder()) as opened:
        yield opened


SAID = ("The parrot sleeps in the kitchen.", "Rain fell on the roof.", "The kitchen is painted yellow.")


def told(memory):
    for text in SAID:
        memory.write({"text": text, "speaker": "Ana"})
    return memory


def test_the_latest_come_first_whatever_is_asked(store):
    memory = told(stores.memory("recent", store))
    for question in ("parrot", "nothing of this"):
        assert [hit.text for hit in memory.read(question, 2)] == [SAID[2], SAID[1]]
    assert [hit.score for hit in memory.read("parrot", 3)] == [0.0, -1.0, -2.0]
