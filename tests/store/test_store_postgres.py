"""What is PostgreSQL's own: servers that cannot serve, words ranked in SQL, the approximate index, lost connections."""

from __future__ import annotations

import math
import re
import threading

import numpy as np
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

import remanence.store as stores
from remanence.errors import StateError, UsageError
from remanence.store.database import postgres_search
from remanence.store.database.postgres import PostgresDatabase
from remanence.store.database.postgres_connection import translated
from remanence.store.where import filter_of


@pytest.fixture
def address(postgres_address):
    return postgres_address()


@pytest.fixture
def opened(address, word_encoder):
    with stores.open(address, encoder=word_encoder(), background=False) as store:
        yield store


def run(address, *statements):
    with psycopg.connect(address, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def in_one_sentence(error, match, call, *given, **named):
    with pytest.raises(error, match=match) as caught:
        call(*given, **named)
    assert "\n" not in str(caught.value) and "secret" not in str(caught.value)


# Servers that cannot serve


def test_a_server_that_is_not_there_is_told(tmp_path):
    for where in ("postgresql://user:secret@127.0.0.1:1/memory", f"postgresql://user@/memory?host={tmp_path}"):
        in_one_sentence(StateError, "cannot be reached", stores.open, where, encoder=None)


def test_a_database_that_is_not_there_is_told(address):
    missing = re.sub(r"/t\w+\?", "/nothing?", address)
    in_one_sentence(StateError, 'database "nothing" does not exist', stores.open, missing, encoder=None)


def test_a_wrong_password_is_told(address):
    folder = conninfo_to_dict(address)["host"]
    rules = f"{folder}/pg_hba.conf"
    with open(rules) as file:
        before = file.read()
    try:
        with open(rules, "w") as file:
            file.write(f"local all locked scram-sha-256\n{before}")
        run(address, "CREATE ROLE locked LOGIN PASSWORD 'right'", "SELECT pg_reload_conf()", "SELECT pg_sleep(0.3)")
        wrong = address.replace("postgres:@", "locked:secret@")
        in_one_sentence(StateError, "password authentication failed", stores.open, wrong, encoder=None)
    finally:
        with open(rules, "w") as file:
            file.write(before)
        run(address, "DROP ROLE IF EXISTS locked", "SELECT pg_reload_conf()")


def test_a_user_without_rights_is_told(address):
    name = conninfo_to_dict(address)["dbname"]
    run(address, "CREATE ROLE poor LOGIN", "CREATE EXTENSION vector")
    try:
        in_one_sentence(StateError, "may not|permission denied", stores.open, address.replace("postgres:@", "poor:@"),
                        encoder=None)  # fmt: skip
        run(address, "DROP EXTENSION vector")
        in_one_sentence(StateError, "this user may not add it", stores.open, address.replace("postgres:@", "poor:@"),
                        encoder=None)  # fmt: skip
    finally:
        run(address, f"REVOKE ALL ON DATABASE {name} FROM poor", "DROP ROLE poor")


def test_a_server_without_pgvector_is_told(address):
    name = conninfo_to_dict(address)["dbname"]
    with psycopg.connect(address) as connection:
        if connection.info.server_version < 180000:
            pytest.skip("only PostgreSQL 18 can be told to look for extensions elsewhere")
    run(address, f"ALTER DATABASE {name} SET extension_control_path = '/nowhere'")
    in_one_sentence(StateError, "does not have the extension pgvector", stores.open, address, encoder=None)
    run(address, f"ALTER DATABASE {name} RESET extension_control_path")
    stores.open(address, encoder=None).close()


def test_a_database_in_another_encoding_is_told(address):
    run(address, "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    try:
        other = re.sub(r"/t\w+\?", "/latin?", address)
        in_one_sentence(StateError, "in the encoding LATIN1, expected UTF8", stores.open, other, encoder=None)
    finally:
        run(address, "DROP DATABASE latin WITH (FORCE)")


@pytest.mark.parametrize("table", ["songs (name text)", "settings (a integer)", "settings (name text, value text)"])
def test_a_schema_of_something_else_is_refused_and_kept(address, table):
    run(address, "CREATE SCHEMA remanence", f"CREATE TABLE remanence.{table}")
    in_one_sentence(StateError, "is not a store", stores.open, address, encoder=None)
    with psycopg.connect(address) as connection:
        found = connection.execute(
            "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'remanence'"
        ).fetchone()
    assert found == (1,)


def test_a_newer_schema_is_refused_and_kept(address, opened):
    opened.write("x")
    run(address, "UPDATE remanence.settings SET value = '99' WHERE name = 'schema'")
    in_one_sentence(StateError, "written by a newer version", stores.open, address, encoder=None)
    assert len(opened) == 1


def test_other_tables_of_the_database_are_left_alone(address, word_encoder):
    run(address, "CREATE TABLE records (name text)", "INSERT INTO records VALUES ('a song')")
    with stores.open(address, encoder=word_encoder(), background=False) as store:
        store.write("x")
        store.forget(scope="*")
    with psycopg.connect(address) as connection:
        assert connection.execute("SELECT name FROM public.records").fetchall() == [("a song",)]


# Statements and connections


def test_question_marks_stand_for_values_and_percent_signs_for_themselves():
    assert translated("SELECT 1 % 2 WHERE a = ? AND b = ?") == b"SELECT 1 %% 2 WHERE a = %s AND b = %s"


def test_a_lost_connection_is_taken_up_again(address, opened):
    record = opened.write("x")
    mine = opened.database.connection.driver.info.backend_pid
    run(address, f"SELECT pg_terminate_backend({mine})")
    assert opened.get(record.id) == record
    run(address, f"SELECT pg_terminate_backend({opened.database.connection.driver.info.backend_pid})")
    assert opened.write("y").row > record.row


def test_a_connection_lost_in_a_transaction_leaves_nothing_of_it(address, opened):
    def broken():
        yield {"text": "one"}
        opened.database.connection.run("SELECT 1")
        run(address, f"SELECT pg_terminate_backend({opened.database.connection.driver.info.backend_pid})")
        yield from ({"text": f"more {n}"} for n in range(10))

    in_one_sentence(StateError, "was lost", opened.write_many, broken())
    assert len(opened) == 0 and opened.write("afterwards").text == "afterwards"


def test_a_writer_that_takes_too_long_is_told_to_the_others(address, opened, monkeypatch):
    holding, done = threading.Event(), threading.Event()

    def hold():
        with opened.database.transaction():
            holding.set()
            done.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    holding.wait(30)
    try:
        opened.database.connection.run("SELECT set_config('lock_timeout', '200ms', false)")
        in_one_sentence(StateError, "another process has been writing", opened.write, "x")
    finally:
        done.set()
        thread.join()
    assert len(opened) == 0


def test_rows_follow_each_other_and_are_never_used_twice(opened):
    with pytest.raises(UsageError):
        opened.write_many(["a", " "])
    rows = [opened.write(text).row for text in "abc"]
    assert rows == sorted(set(rows))


# Words


def bm25(texts, asked, encode):
    """BM25 as the module has it, by brute force over words."""
    documents = [encode(text) for text in texts]
    average = np.mean([len(set(document)) for document in documents])
    scores = np.zeros(len(texts))
    for term in set(asked):
        holding = sum(term in document for document in documents)
        if not holding:
            continue
        weight = max(math.log((len(texts) - holding + 0.5) / (holding + 0.5)), 1e-6)
        for place, document in enumerate(documents):
            times = document.count(term)
            norm = 1 - postgres_search.B + postgres_search.B * len(set(document)) / average
            scores[place] += weight * times * (postgres_search.K1 + 1) / (times + postgres_search.K1 * norm)
    return scores


def test_words_are_ranked_by_bm25_whatever_is_skipped(opened, monkeypatch):
    chance = np.random.default_rng(0)
    vocabulary = [f"{a}{b}" for a in "bcdfghklmnprtvz" for b in ("ar", "om", "uk", "ilp")]
    odds = 1 / np.arange(1, len(vocabulary) + 1)
    odds /= odds.sum()
    texts = [" ".join(chance.choice(vocabulary, chance.integers(3, 25), p=odds)) for _ in range(300)]
    opened.write_many(texts)
    everything = filter_of("*", now=opened.clock())
    for first in (1, 50, 1000):
        monkeypatch.setattr(postgres_search, "_FIRST", first)
        for _ in range(8):
            asked = [str(word) for word in chance.choice(vocabulary, 6)]
            rows, scores = opened.database.words(asked, 10, everything)
            expected = np.sort(bm25(texts, asked, str.split))[::-1][:10]
            assert np.allclose(scores, expected[: len(scores)], rtol=1e-4, atol=1e-4)
            assert len(rows) == min(10, int((bm25(texts, asked, str.split) > 0).sum()))


def test_frequencies_are_those_of_stems(opened):
    opened.write_many(["herons fly", "a heron flew", "the stork"])
    assert opened.database.frequencies(["heron", "herons", "stork", "crane", "the", "foo_bar"]) == [2, 2, 1, 0, 1, 0]


# The approximate index


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_the_index_is_built_late_and_covers_what_came_before(address, word_encoder, precision):
    with stores.open(address, encoder=word_encoder(), precision=precision, background=False) as store:
        nearest, space = store.database.nearest, store.encoding.serving
        nearest.large = 400
        store.write_many(
            {"text": f"heron {n % 17} pool {n % 13} reed {n}", "scope": "a" if n % 2 else "b"} for n in range(399)
        )
        store.encode()
        assert not nearest.build(space) and nearest.bound(space) == 0, "too few"
        store.write_many({"text": f"stork {n}", "scope": "a"} for n in range(100))
        store.encode()
        if nearest._building is not None:
            nearest._building.join(60)
        nearest._bounds.clear()
        bound = nearest.bound(space)
        assert bound > 399
        late = store.write("a late heron in pool 5", scope="a", wait=True)
        gone = store.write("a heron that is revised", scope="a", wait=True)
        store.revise(gone.id, "a stork now", wait=True)
        assert late.row >= bound, "later vectors are not in the index"
        for question in ("a late heron in pool 5", "heron 3 pool 4 reed 7", "stork 5"):
            vector = store.encoding.question(question)
            for scope in ("*", "a"):
                wanted = filter_of(scope, now=store.clock())
                if scope == "*":
                    found = nearest.search(space, store.database.connection.vector_in(vector, space), 10, wanted)
                    assert found is not None
                    plan = explained(store.database, space, vector, bound)
                    assert "nearest" in plan, plan
                rows, scores = store.database.dense(space, vector, 10, wanted)
                exact = store.database.search._exactly(
                    space, store.database.connection.vector_in(vector, space), 10, wanted
                )
                assert len(set(rows.tolist()) & {row for row, _ in exact}) >= 9
                assert scores[0] == pytest.approx(exact[0][1], abs=1e-3)
        assert store.check() == []
        nearest.large = 40
        assert nearest.build(space) is False, "too few since the last"
        store.write_many(f"crane {n}" for n in range(60))
        store.encode()
        if nearest._building is not None:
            nearest._building.join(60)
        assert [valid for _, valid in nearest._indexes(space)] == [True], "the old one is dropped"
        assert nearest._indexes(space)[0][0] > bound


def explained(database: PostgresDatabase, space, vector, bound):
    for way in ("seqscan", "bitmapscan", "sort"):  # what is quicker while there are few
        database.connection.run(f"SET enable_{way} = off")
    told = database.connection.run(
        f"EXPLAIN SELECT v.row_id FROM vectors_{space.number} v WHERE v.row_id < {bound} ORDER BY v.vector <#> ? LIMIT 5",
        [database.connection.vector_in(vector, space)],
    )
    for way in ("seqscan", "bitmapscan", "sort"):
        database.connection.run(f"RESET enable_{way}")
    return "\n".join(line for (line,) in told)


def test_filters_are_searched_exactly(opened):
    nearest, space = opened.database.nearest, opened.encoding.serving
    nearest.large = 50
    opened.write_many({"text": f"heron {n}", "scope": str(n % 10), "speaker": "Ana"} for n in range(100))
    opened.encode()
    if nearest._building is not None:
        nearest._building.join(60)
    nearest._bounds.clear()
    asked = opened.database.connection.vector_in(opened.encoding.question("heron 5"), space)
    now = opened.clock()
    assert nearest.search(space, asked, 5, filter_of("*", now=now)) is not None
    assert nearest.search(space, asked, 5, filter_of("3", now=now)) is None, "few are left"
    assert nearest.search(space, asked, 5, filter_of("*", {"speaker": "Ana"}, now=now)) is None
    assert nearest.search(space, asked, 5, filter_of("*", as_of="2026-01-01", now=now)) is None
    assert len(opened.read("heron 5", k=10, scope="3", mode="dense")) == 10


def test_an_index_left_half_made_is_told_and_mended(address, opened):
    opened.write_many(f"heron {n}" for n in range(20))
    opened.encode()
    run(
        address,
        "SET search_path = remanence, public",
        "CREATE INDEX vectors_1_nearest_7 ON vectors_1 USING hnsw (vector vector_ip_ops) WHERE row_id < 7",
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'remanence.vectors_1_nearest_7'::regclass",
    )
    assert any("left half made" in line for line in opened.check())
    opened.check(repair=True)
    assert opened.check() == [] and opened.database.nearest._indexes(opened.encoding.serving) == []
    run(address, "DROP INDEX remanence.records_by_words")
    assert any("full-text index is missing" in line for line in opened.check(repair=True))
    assert opened.check() == [] and opened.read("heron 3", mode="text")


def test_bytes_are_counted_by_part(opened):
    opened.write_many(f"heron {n}" for n in range(500))
    opened.encode()
    counted = opened.statistics()["bytes"]
    assert counted["vectors"] > 500 * 32 * 4 and counted["records"] > 0 and counted["full-text index"] > 0
    assert counted["total"] >= counted["vectors"] + counted["records"]
