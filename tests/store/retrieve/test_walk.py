"""Reading along a graph: names and links lead to records that the question's words and vector do not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from remanence.store import open as open_store
from remanence.store.retrieve.walk import names_of
from remanence.store.store import Store

FILLER = [f"Nobody number {n} knows anything of interest about a hotel." for n in range(30)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "memory.db", encoder=None) as made:
        yield made


def texts(store: Store, question: str, k: int = 3, **settings: object) -> list[str]:
    return [hit.text for hit in store.read(question, k, mode="graph", **settings)]  # type: ignore[arg-type]


def test_a_name_that_the_question_does_not_say_leads_on(store: Store) -> None:
    store.write_many([*FILLER, "Gisvi was born in Windhoek.", "The Kalahari Sands stands in Windhoek."])
    asked = "Which building is in the town where Gisvi was born?"
    assert texts(store, asked, 2) == ["Gisvi was born in Windhoek.", "The Kalahari Sands stands in Windhoek."]
    assert "The Kalahari Sands stands in Windhoek." not in [hit.text for hit in store.read(asked, 5, mode="text")]


def test_a_link_leads_on_however_it_points(store: Store) -> None:
    ana = store.write("Ana has a secret.")
    other = store.write("the treasure lies under an oak")
    store.write_many(FILLER)
    store.link(other.id, ana.id, "explains")
    assert texts(store, "What is the secret of Ana?", 2) == ["Ana has a secret.", "the treasure lies under an oak"]
    store.unlink(other.id, ana.id, "explains")
    assert "the treasure lies under an oak" not in texts(store, "What is the secret of Ana?", 9)


def test_explain_says_where_the_way_began_and_adds_up(store: Store) -> None:
    store.write_many([*FILLER, "Gisvi was born in Windhoek.", "The Kalahari Sands stands in Windhoek."])
    for hit in store.read("Where is Gisvi's hotel?", 5, mode="graph", explain=True):
        assert set(hit.explain) <= {"names", "passages"}
        assert sum(hit.explain.values()) == pytest.approx(hit.score)


def test_what_a_filter_bars_is_not_reached(store: Store) -> None:
    mine = store.write("Gisvi was born in Windhoek.", scope="mine")
    theirs = store.write("The Kalahari Sands stands in Windhoek.", scope="theirs")
    store.link(mine.id, theirs.id, "near")
    asked = "Which building is in the town where Gisvi was born?"
    assert texts(store, asked, 5, scope="mine") == [mine.text]
    assert set(texts(store, asked, 5, scope="*")) == {mine.text, theirs.text}


def test_nothing_found_is_no_hits(store: Store) -> None:
    assert texts(store, "Where is Gisvi?") == []
    store.write("lower case words alone")
    assert texts(store, "lower case") == ["lower case words alone"]


def test_a_revised_record_is_walked_as_it_is_now(store: Store) -> None:
    record = store.write("Gisvi was born in Windhoek.")
    store.write("The Kalahari Sands stands in Windhoek.")
    store.revise(record.id, "Gisvi was born in Oslo.")
    found = store.read("Which building is in the town where Gisvi was born?", 3, mode="graph")
    assert [hit.text for hit in found] == ["Gisvi was born in Oslo."]


def test_names_are_titles_capitals_and_quotes() -> None:
    assert names_of("Ana met Bob on 4 May 1999; 20 people saw „Little Boy“.") == ["ana", "bob", "little boy"]
    assert names_of("") == []
