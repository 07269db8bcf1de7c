"""BM25: words decide, by stems, and no vector is made."""

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


def test_words_decide_and_what_shares_none_is_not_found(store):
    memory = told(stores.memory("bm25", store))
    assert [hit.text for hit in memory.read("Where do parrots sleep?", 3)] == [SAID[0]]
    assert {hit.text for hit in memory.read("the kitchen", 3)} == {SAID[0], SAID[2]}
    assert not memory.read("submarine", 3)


def test_a_rarer_word_counts_for_more(store):
    memory = told(stores.memory("bm25", store))
    assert memory.read("yellow kitchen parrots painted", 2)[0].text == SAID[2]
