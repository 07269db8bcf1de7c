"""The plain store as a memory answers as the store does."""

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


def test_it_reads_and_writes_as_the_store_does(store):
    memory = told(stores.memory("plain-store", store))
    for question in ("Where does the parrot sleep?", "the kitchen's colour"):
        mine, own = memory.read(question, 3), store.read(question, 3)
        assert [(hit.text, hit.score) for hit in mine] == [(hit.text, hit.score) for hit in own]
    assert [record.speaker for record in store.list()] == ["Ana"] * 3
