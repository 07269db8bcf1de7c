"""A-MEM: what a note holds, that it is linked to what belongs with it, and that it rewrites that."""

import pytest

import remanence.store as stores
from remanence.store.memories.a_mem import RELATION, AMem


@pytest.fixture
def store(tmp_path):
    with stores.open(tmp_path / "m.db", encoder=None) as opened:
        yield opened


CHOIR = (
    {"text": "The choir rehearses in the old church.", "speaker": "Ana"},
    {"text": "The choir sings in the old church on Sunday.", "speaker": "Ana"},
)


def test_a_note_is_found_by_content_keywords_tags_and_context(store):
    memory = AMem().bind(store)
    (made,) = memory.write(
        {"text": "The choir rehearses in the old church.", "speaker": "Ana", "metadata": {"rows": [3]}}
    )
    note = store.get(made)
    assert note.kind == "note"
    assert note.metadata["rows"] == [3]
    assert note.metadata["content"] == "Ana: The choir rehearses in the old church."
    assert note.text.startswith(note.metadata["content"])
    assert all(word in note.text for word in note.metadata["keywords"])


def test_what_belongs_together_is_linked_and_the_older_note_rewritten(store):
    memory = AMem().bind(store)
    first = memory.write(CHOIR[0])[0]
    second, *changed = memory.write(CHOIR[1])
    assert [(link.source, link.target, link.relation) for link in store.links()] == [(second, first, RELATION)]
    versions = store.history(first)
    assert changed == ([first] if len(versions) == 2 else [])
    assert {version.metadata["content"] for version in versions} == {"Ana: The choir rehearses in the old church."}


def test_linked_notes_share_the_places_of_an_answer(store):
    memory = AMem(evolve=False, direct=0.5).bind(store)
    first = memory.write(CHOIR[0])[0]
    other = store.write("Ana: The tenor has a cold.", kind="note", metadata={"content": "x"}).id
    store.link(other, first, RELATION)
    hits = memory.read("choir rehearses", 2)
    assert [hit.id for hit in hits] == [first, other]
    assert "linked" in hits[1].explain


def test_switched_off_it_is_a_store_of_plain_notes(store):
    memory = AMem(link=False, evolve=False).bind(store)
    for given in CHOIR:
        memory.write(given)
    assert not store.links()
    assert all(record.version == 1 for record in store.list())
