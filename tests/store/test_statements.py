"""What one call asks of the database, in statements: work that does not depend on how busy a machine is."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

import remanence.store as stores

WRITE, READ = 15, 13
"""Statements of a write that waits for its vector, and of a reading of what nobody has changed."""


@pytest.fixture
def store(tmp_path, word_encoder):
    with stores.open(tmp_path / "memory.db", encoder=word_encoder(), background=False) as made:
        for number in range(12):
            made.write(f"Ana fed heron {number} by the river", speaker="Ana", source="walk")
        made.encode()
        made.read("Which heron did Ana feed?")
        yield made


@contextmanager
def counted(store):
    said: list[str] = []
    driver = store.database.connection.driver
    driver.set_trace_callback(said.append)
    yield said
    driver.set_trace_callback(None)
    # what FTS5 does below a statement is marked, and a trigger of it tells the statement again
    ours = [one for one in said if not one.startswith("--")]
    said[:] = [one for one, before in zip(ours, ["", *ours], strict=False) if one != before]


def test_a_write_that_waits_for_its_vector_takes_a_few_statements(store):
    with counted(store) as said:
        store.write("a stork came to the river", wait=True)
    assert len(said) <= WRITE, said


def test_a_read_takes_as_many_statements_however_many_words_and_neighbours_there_are(store):
    with counted(store) as short:
        store.read("heron?")
    with counted(store) as long:
        store.read("Which heron, stork, river, bank, reed or pond did Ana see or feed on that walk?", k=10)
    assert len(short) <= READ, short
    assert len(long) <= READ, long


def test_a_read_after_writes_takes_over_what_was_written_and_is_then_as_cheap_as_before(store):
    store.write_many([f"crane {number} flew" for number in range(5)], wait=True)
    store.read("Which crane flew?")
    with counted(store) as said:
        store.read("Which crane flew?")
    assert len(said) <= READ, said


def test_many_words_are_looked_up_whatever_their_number(store):
    question = " ".join(f"word{number}" for number in range(900)) + " heron"
    assert store.read(question, mode="text")[0].record.text.startswith("Ana fed heron")
