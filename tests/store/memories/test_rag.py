"""RAG: passages carry their speaker, and the ranking is that of inner products."""

import numpy as np
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


def test_the_ranking_is_that_of_inner_products(store, word_encoder):
    memory = told(stores.memory("rag", store))
    question = "parrot kitchen"
    passages = [f"Ana: {text}" for text in SAID]
    vectors = word_encoder().encode([question, *passages])
    expected = [passages[place] for place in np.argsort(-(vectors[1:] @ vectors[0]), kind="stable")]
    assert [hit.text for hit in memory.read(question, 3)] == expected
    assert [hit.text for hit in memory.read(question, 1)] == expected[:1]


def test_what_nobody_said_stays_as_it_is(store):
    memory = stores.memory("rag", store)
    memory.write({"text": SAID[0]})
    assert memory.read("parrot", 1)[0].text == SAID[0]
