"""The tables of a store in PostgreSQL, made and brought up to date in one transaction."""

from __future__ import annotations

import functools
import unicodedata
import uuid

from remanence.errors import StateError, UsageError
from remanence.store.database.postgres_connection import SCHEMA, PostgresConnection

VERSION = 1
PGVECTOR = (0, 7)
"""The first pgvector with vectors of half precision."""


@functools.cache
def _separators() -> str:
    """What is neither letter nor number, as a class of a regular expression.

    Spelled out, since what a server takes for a letter depends on its locale, and tokens have to be those that
    a question is split into. Combining accents are taken away before.
    """
    ranges: list[list[int]] = []
    for point in (*range(1, 0x300), *range(0x370, 0xD800), *range(0xE000, 0x20000)):
        if unicodedata.category(chr(point))[0] in "LN":
            continue
        if ranges and ranges[-1][1] == point - 1:
            ranges[-1][1] = point
        else:
            ranges.append([point, point])
    return "[" + "".join(rf"\U{low:08x}-\U{high:08x}" for low, high in ranges) + "]+"


CREATE = (
    # lower() of a database in the locale C knows ASCII only
    """CREATE FUNCTION remanence.lowered(given text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
        RETURN lower(given COLLATE {letters})""",
    "CREATE TEXT SEARCH DICTIONARY remanence.stems (TEMPLATE = pg_catalog.snowball, LANGUAGE = english)",
    "CREATE TEXT SEARCH CONFIGURATION remanence.words (PARSER = pg_catalog.default)",
    "ALTER TEXT SEARCH CONFIGURATION remanence.words ADD MAPPING FOR asciiword, word, numword WITH remanence.stems",
    "ALTER TEXT SEARCH CONFIGURATION remanence.words ADD MAPPING FOR int, uint, float, sfloat WITH pg_catalog.simple",
    r"""CREATE FUNCTION remanence.plain(given text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
        RETURN regexp_replace(
            regexp_replace(remanence.lowered(normalize(given, NFKD)), '[\u0300-\u036f]+', '', 'g'),
            '{separators}', ' ', 'g')""",
    # A tsvector holds a megabyte: a long text keeps its words without their places, the longest the first part
    """CREATE FUNCTION remanence.words_of(given text) RETURNS tsvector LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT AS $$
    DECLARE
        clean text := remanence.plain(given);
        part integer := 50000;
        kept integer := length(clean);
        found tsvector;
    BEGIN
        IF kept <= part THEN
            RETURN to_tsvector('remanence.words', clean);
        END IF;
        LOOP
            BEGIN
                found := ''::tsvector;
                FOR place IN 0 .. (kept - 1) / part LOOP
                    found := found || strip(to_tsvector('remanence.words', substr(clean, place * part + 1, part)));
                END LOOP;
                RETURN found;
            EXCEPTION WHEN program_limit_exceeded THEN
                kept := kept / 2;
            END;
        END LOOP;
    END $$""",
    "CREATE TABLE remanence.settings (name text PRIMARY KEY, value text NOT NULL)",
    """CREATE TABLE remanence.scopes (
        scope integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, path text COLLATE "C" NOT NULL UNIQUE
    )""",
    "CREATE SEQUENCE remanence.records_row AS bigint CACHE 1",
    """CREATE TABLE remanence.records (
        row_id bigint PRIMARY KEY,
        id bytea NOT NULL,
        version integer NOT NULL,
        scope integer NOT NULL REFERENCES remanence.scopes,
        kind text COLLATE "C" NOT NULL,
        text text COLLATE "C" NOT NULL,
        speaker text COLLATE "C",
        source text COLLATE "C",
        said_at bigint,
        recorded_at bigint NOT NULL,
        replaced_at bigint,
        valid_from bigint,
        valid_to bigint,
        closed_to bigint,
        strength double precision NOT NULL,
        uses bigint NOT NULL,
        used_at bigint,
        tags text NOT NULL,
        metadata text NOT NULL,
        parent bytea,
        words tsvector GENERATED ALWAYS AS (remanence.words_of(text)) STORED
    )""",
    "CREATE UNIQUE INDEX records_by_id ON remanence.records (id, version)",
    "CREATE INDEX records_by_scope ON remanence.records (scope, row_id)",
    "CREATE INDEX records_by_source ON remanence.records (scope, source, row_id) WHERE source IS NOT NULL",
    "CREATE INDEX records_by_speaker ON remanence.records (scope, speaker) WHERE speaker IS NOT NULL",
    "CREATE INDEX records_by_parent ON remanence.records (parent) WHERE parent IS NOT NULL",
    "CREATE INDEX records_by_words ON remanence.records USING gin (words)",
    """CREATE TABLE remanence.links (
        source bytea NOT NULL, target bytea NOT NULL, relation text COLLATE "C" NOT NULL,
        weight double precision NOT NULL, made_at bigint NOT NULL, PRIMARY KEY (source, target, relation)
    )""",
    "CREATE INDEX links_by_target ON remanence.links (target)",
    """CREATE TABLE remanence.spaces (
        space integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL UNIQUE, dimension integer NOT NULL,
        precision text NOT NULL, serving integer NOT NULL
    )""",
    "CREATE TABLE remanence.queue (space integer NOT NULL, row_id bigint NOT NULL, PRIMARY KEY (space, row_id))",
    "CREATE TABLE remanence.purges (number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, fingerprint text NOT NULL)",
)

MIGRATIONS: dict[int, tuple[str, ...]] = {}
"""Statements that bring a store from a version to the next."""

_LETTERS = ("pg_c_utf8", "und-x-icu", "C.utf8", "C.UTF-8", "en_US.utf8", "en_US.UTF-8", "default")
"""Collations that know the letters of all alphabets, those first that are the same on every server."""


def prepare(connection: PostgresConnection, create: bool) -> tuple[int, ...]:
    """Find the store, or make it, one process at a time; the version of pgvector there.

    Raises
    ------
    StateError
        If pgvector is missing or too old, or what is there is no store, or a newer one.
    UsageError
        If there is none and none may be made.
    """
    if _version(connection) == VERSION:
        return _require_pgvector(connection)
    with connection.transaction():
        version = _version(connection)
        if version is None:
            if not create:
                raise UsageError(
                    f"there is no store in the database {connection.name}: write to it first, or check the address"
                )
            _create(connection)
            version = VERSION
        if version > VERSION:
            raise StateError(
                f"the store in {connection.name} was written by a newer version of this library (schema {version}, this "
                f"one reads up to {VERSION}): upgrade remanence"
            )
        for step in range(version, VERSION):
            if step not in MIGRATIONS:
                raise StateError(
                    f"the store in {connection.name} has the schema {step}, which no step leads on from: use an intact copy"
                )
            for statement in MIGRATIONS[step]:
                connection.run(statement)
            connection.run("UPDATE settings SET value = ? WHERE name = 'schema'", [str(step + 1)])
    return _require_pgvector(connection)


def _version(connection: PostgresConnection) -> int | None:
    """The schema's version; None where nothing of that name is there."""
    # Asked of the catalogue's tables: to_regclass may answer from before another process made them
    there = connection.run(
        "SELECT c.relname FROM pg_namespace n LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = 'settings' "
        "WHERE n.nspname = ?",
        [SCHEMA],
    )
    if not there:
        return None
    columns = connection.run(
        "SELECT count(*) FROM information_schema.columns WHERE table_schema = ? AND table_name = 'settings' "
        "AND column_name IN ('name', 'value')",
        [SCHEMA],
    )
    ours = there[0][0] and columns[0][0] == 2
    found = connection.run("SELECT value FROM settings WHERE name = 'schema'") if ours else []
    if not found or not str(found[0][0]).isdigit():
        raise StateError(
            f"{connection.name} is not a store: its schema {SCHEMA} belongs to something else, use another database"
        )
    return int(found[0][0])


def _create(connection: PostgresConnection) -> None:
    encoding = connection.run("SHOW server_encoding")[0][0]
    if encoding != "UTF8":
        raise StateError(
            f"the database {connection.name} is in the encoding {encoding}, expected UTF8: "
            "make one with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        )
    _require_pgvector(connection)
    known = {name for (name,) in connection.run("SELECT collname FROM pg_collation WHERE collencoding IN (-1, 6)")}
    letters = next(name for name in _LETTERS if name in known)
    connection.run(f"CREATE SCHEMA {SCHEMA}")
    for statement in CREATE:
        told = statement.replace("{letters}", f'pg_catalog."{letters}"').replace("{separators}", _separators())
        connection.run(told)
    connection.run(
        "INSERT INTO remanence.settings (name, value) VALUES ('identity', ?), ('schema', ?)",
        [uuid.uuid4().hex, str(VERSION)],
    )


def _require_pgvector(connection: PostgresConnection) -> tuple[int, ...]:
    wanted = "SELECT extversion FROM pg_extension WHERE extname = 'vector'"
    found = connection.run(wanted)
    if not found:
        offered = connection.run("SELECT default_version FROM pg_available_extensions WHERE name = 'vector'")
        if not offered:
            raise StateError(
                f"the server of {connection.name} does not have the extension pgvector: install it there, see "
                "https://github.com/pgvector/pgvector"
            )
        try:
            connection.run("CREATE EXTENSION IF NOT EXISTS vector")
        except StateError as error:
            raise StateError(
                f"the extension pgvector is not in the database {connection.name}, and this user may not add it: "
                "have its owner run CREATE EXTENSION vector"
            ) from error
        found = connection.run(wanted)
    version = tuple(int(part) for part in found[0][0].split(".")[:2])
    if version < PGVECTOR:
        raise StateError(
            f"the database {connection.name} has pgvector {found[0][0]}, expected {PGVECTOR[0]}.{PGVECTOR[1]} or newer: "
            "run ALTER EXTENSION vector UPDATE"
        )
    return version
