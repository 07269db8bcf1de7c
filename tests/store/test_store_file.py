"""The file of a store in SQLite: what is none, what is damaged, what is newer."""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct

import pytest

import remanence.store as stores
from remanence.errors import RemanenceError, StateError, UsageError
from remanence.store.database import care, schema, sidecar
from remanence.store.database.sqlite_connection import in_a_sentence
from remanence.store.index import build


@pytest.fixture
def path(tmp_path):
    return tmp_path / "memory.db"


@pytest.fixture
def opened(path, word_encoder):
    with stores.open(path, encoder=word_encoder(), background=False) as store:
        yield store


def in_one_sentence(error, match, call, *given, **named):
    with pytest.raises(error, match=match) as caught:
        call(*given, **named)
    assert "\n" not in str(caught.value)


# What is no store


@pytest.mark.parametrize(
    "content", [b"hello, I am a letter\n" * 50, b"\x00" * 4096, b"SQLite format 3", os.urandom(5000)]
)
def test_a_file_that_is_no_store_is_refused_and_kept(path, content):
    path.write_bytes(content)
    in_one_sentence(StateError, "is not a store|cannot be read", stores.open, path, encoder=None)
    assert path.read_bytes() == content


def test_a_database_of_something_else_is_refused_and_kept(path):
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE songs (name TEXT)")
    other.close()
    before = path.read_bytes()
    in_one_sentence(StateError, "a SQLite file of something else", stores.open, path, encoder=None)
    # opening switched nothing but the journal's mode
    with sqlite3.connect(path) as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("songs",)]
    other.close()
    assert len(path.read_bytes()) == len(before)


def test_a_folder_is_refused(tmp_path):
    in_one_sentence(UsageError, "is a folder", stores.open, tmp_path, encoder=None)


def test_an_empty_file_becomes_a_store(path):
    path.touch()
    with stores.open(path, encoder=None) as store:
        assert store.write("x").row == 1


def test_a_newer_schema_is_refused_and_kept(path, opened):
    opened.write("x")
    opened.close()
    with sqlite3.connect(path) as file:
        file.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    file.close()
    in_one_sentence(StateError, "written by a newer version", stores.open, path, encoder=None)
    with sqlite3.connect(path) as file:
        assert file.execute("SELECT text FROM records").fetchall() == [("x",)]
    file.close()


# Damage


def corrupt(path, at, length=200):
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(b"\xa5" * length)


def test_a_corrupt_page_is_told_in_one_sentence_whatever_is_asked(path, opened, word_encoder):
    opened.write_many([{"text": f"note {n} " + "x" * 500, "scope": "s"} for n in range(400)])
    opened.encode()
    opened.close()
    whole = path.read_bytes()
    pages = len(whole) // schema.PAGE
    said = 0
    for page in range(0, pages, max(1, pages // 25)):
        path.write_bytes(whole)
        shutil.rmtree(path.with_name(path.name + "-index"), ignore_errors=True)
        corrupt(path, page * schema.PAGE, 400)
        try:
            with stores.open(path, encoder=word_encoder(), background=False) as store:
                for ask in (
                    lambda s: s.read("note 7", k=5, scope="*"),
                    lambda s: s.list(limit=500),
                    lambda s: s.write("one more"),
                    lambda s: s.check(),
                    lambda s: s.forget(where={"text": {"contains": "note 39"}}),
                ):
                    try:
                        ask(store)
                    except RemanenceError as error:
                        said += 1
                        assert "\n" not in str(error)
                assert isinstance(store.check(), list)
        except StateError as error:
            said += 1
            assert "\n" not in str(error)
    assert said, "some page matters"


def test_a_truncated_file_is_told(path, opened, word_encoder):
    opened.write_many(f"note {n} " + "x" * 300 for n in range(300))
    opened.close()
    whole = path.read_bytes()
    for share in (0.2, 0.5, 0.9):
        path.write_bytes(whole[: int(len(whole) * share)])
        try:
            with stores.open(path, encoder=word_encoder(), background=False) as store:
                assert store.check() != []
        except StateError as error:
            assert "\n" not in str(error)


def test_a_damaged_full_text_index_is_found_and_mended(opened):
    kept = opened.write("a heron in the reeds")
    opened.database.connection.run(
        "INSERT INTO words (words, rowid, text) VALUES ('delete', ?, ?)", [kept.row, kept.text]
    )
    assert opened.read("heron", mode="text") == []
    assert any("full-text index disagrees" in line for line in opened.check())
    assert any("rebuilt" in line for line in opened.check(repair=True))
    assert opened.check() == [] and opened.read("heron", mode="text")[0].id == kept.id


def test_lost_queue_entries_are_found_and_mended(opened):
    kept = opened.write("a heron in the reeds")
    opened.database.connection.run("DELETE FROM queue")
    assert any("1 versions have no vector" in line for line in opened.check())
    opened.check(repair=True)
    assert opened.check() == [] and opened.read("heron", mode="dense")[0].id == kept.id


@pytest.mark.parametrize("how", ["missing", "torn", "stale"])
def test_a_dense_index_that_is_missing_torn_or_stale_heals(path, opened, word_encoder, how):
    opened.write_many(f"note {n}" for n in range(300))
    wanted = opened.write("a heron in the reeds")
    opened.read("heron")
    index = path.with_name(path.name + "-index")
    old = path.with_name("old-index")
    shutil.copytree(index, old)
    late = opened.write("a stork in the reeds")
    opened.read("stork")
    opened.close()
    if how == "missing":
        shutil.rmtree(index)
    elif how == "stale":
        shutil.rmtree(index)
        shutil.copytree(old, index)
    else:
        for file in (file for file in index.rglob("*") if file.is_file()):
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with stores.open(path, encoder=word_encoder(), background=False) as store:
        try:
            store.read("heron")
        except StateError:
            assert how == "torn"
        store.check(repair=True)
        assert store.check() == []
        assert store.read("heron reeds", k=1, mode="dense")[0].id == wanted.id
        assert store.read("stork reeds", k=1, mode="dense")[0].id == late.id


def test_a_migration_keeps_a_backup_that_forgetting_removes(path, word_encoder, monkeypatch):
    with stores.open(path, encoder=word_encoder(), background=False) as store:
        gone = store.write("to be forgotten after all")
    monkeypatch.setattr(schema, "VERSION", 2)
    monkeypatch.setattr(schema, "MIGRATIONS", {1: ("CREATE TABLE later (x INTEGER)",)})
    with stores.open(path, encoder=word_encoder(), background=False) as store:
        assert store.database.connection.run("PRAGMA user_version") == [(2,)] and len(care.backups(path)) == 1
        assert b"to be forgotten after all" in care.backups(path)[0].read_bytes()
        assert store.forget(gone.id).places["backups"] == "removed"
        assert care.backups(path) == []
        assert care.holding(care.files(path), [b"to be forgotten after all"]) == []


def test_a_migration_that_fails_leaves_the_file_as_it_was(path, word_encoder, monkeypatch):
    with stores.open(path, encoder=word_encoder(), background=False) as store:
        kept = store.write("kept")
    monkeypatch.setattr(schema, "VERSION", 3)
    monkeypatch.setattr(schema, "MIGRATIONS", {1: ("CREATE TABLE later (x INTEGER)",), 2: ("NONSENSE",)})
    in_one_sentence(StateError, "could not be brought from schema 1 to 3", stores.open, path, encoder=None)
    monkeypatch.undo()
    with stores.open(path, encoder=word_encoder(), background=False) as store:
        assert store.get(kept.id) == kept and store.check() == []
        assert store.database.connection.run("SELECT name FROM sqlite_master WHERE name = 'later'") == []


def test_the_header_says_whose_file_it_is(path, opened):
    opened.write("x")
    opened.close()
    assert struct.unpack(">I", path.read_bytes()[68:72])[0] == schema.APPLICATION


@pytest.mark.parametrize("how", ["file", "link"])
def test_what_lies_where_the_index_should_is_told_and_mended(path, opened, word_encoder, how):
    opened.write("a heron in the reeds", wait=True)
    opened.close()
    index = path.with_name(path.name + "-index")
    shutil.rmtree(index, ignore_errors=True)
    index.write_bytes(b"x") if how == "file" else index.symlink_to(path.with_name("nowhere") / "below")
    with stores.open(path, encoder=word_encoder(), background=False) as store:
        with pytest.raises(StateError, match="doctor"):
            store.read("heron", mode="dense")
        assert store.check(repair=True)
        assert store.check() == []
        assert store.read("heron", mode="dense")[0].text == "a heron in the reeds"


def test_a_link_to_a_store_is_that_store(path, opened, word_encoder, tmp_path):
    record = opened.write("a heron in the reeds", wait=True)
    opened.read("heron")
    opened.close()
    link = tmp_path / "link.db"
    link.symlink_to(path)
    with stores.open(link, encoder=word_encoder(), background=False) as store:
        assert store.forget(record.id).complete
    assert not link.with_name("link.db-index").exists(), "one index, beside the file itself"


def test_an_open_store_is_neither_exported_over_nor_imported_from(path, opened):
    opened.write("a heron in the reeds")
    for call, match in ((opened.export, "is a database"), (opened.import_, "a store that is open")):
        in_one_sentence(UsageError, match, call, path)
    assert opened.list()[0].text == "a heron in the reeds"
    assert opened.check() == []


def test_a_store_that_may_not_be_written_says_so(path, opened):
    error = in_a_sentence(sqlite3.OperationalError("attempt to write a readonly database"), path)
    assert isinstance(error, StateError)
    assert "the right to be written" in str(error)


# The index beside it


def test_an_index_that_was_called_lists_is_opened_and_searched(path, word_encoder, monkeypatch):
    monkeypatch.setattr(sidecar, "APPROXIMATE_FROM", 1)
    monkeypatch.setattr(build, "APPROXIMATE_FROM", 1)
    with stores.open(path, encoder=word_encoder(), index="lists", background=False) as store:
        store.write_many([f"fact {number} about {'cats' if number % 2 else 'dogs'}" for number in range(60)], wait=True)
        assert store.optimize() and not store.optimize()
        before = store.read("fact 7 about cats", mode="dense")
    with stores.open(path, encoder=word_encoder(), background=False) as store:
        assert not store.optimize()  # the codes stand cluster by cluster already
        assert [hit.text for hit in store.read("fact 7 about cats", mode="dense")] == [hit.text for hit in before]


def test_an_index_of_no_known_name_is_refused(path):
    in_one_sentence(UsageError, "choose one of ivf, spann", stores.open, path, encoder=None, index="hnsw")
