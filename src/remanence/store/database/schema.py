"""The tables of a store in SQLite, and how older ones become these."""

from __future__ import annotations

APPLICATION = 0x52454D41
"""Marks a SQLite file as a store of this library ("REMA")."""

VERSION = 1

PAGE = 8192
"""Bytes of a page. A float32 vector of 384 numbers fits five times into 8 KiB, but only twice into 4 KiB."""

CREATE = (
    "CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE scopes (scope INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE)",
    """CREATE TABLE records (
        row_id INTEGER PRIMARY KEY AUTOINCREMENT,
        id BLOB NOT NULL,
        version INTEGER NOT NULL,
        scope INTEGER NOT NULL REFERENCES scopes,
        kind TEXT NOT NULL,
        text TEXT NOT NULL,
        speaker TEXT,
        source TEXT,
        said_at INTEGER,
        recorded_at INTEGER NOT NULL,
        replaced_at INTEGER,
        valid_from INTEGER,
        valid_to INTEGER,
        closed_to INTEGER,
        strength REAL NOT NULL,
        uses INTEGER NOT NULL,
        used_at INTEGER,
        tags TEXT NOT NULL,
        metadata TEXT NOT NULL,
        parent BLOB
    )""",
    "CREATE UNIQUE INDEX records_by_id ON records (id, version)",
    "CREATE INDEX records_by_scope ON records (scope, source, row_id)",
    "CREATE INDEX records_by_speaker ON records (scope, speaker) WHERE speaker IS NOT NULL",
    "CREATE INDEX records_by_parent ON records (parent) WHERE parent IS NOT NULL",
    """CREATE TABLE links (
        source BLOB NOT NULL, target BLOB NOT NULL, relation TEXT NOT NULL, weight REAL NOT NULL,
        made_at INTEGER NOT NULL, PRIMARY KEY (source, target, relation)
    ) WITHOUT ROWID""",
    "CREATE INDEX links_by_target ON links (target)",
    """CREATE TABLE spaces (
        space INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, dimension INTEGER NOT NULL,
        precision TEXT NOT NULL, serving INTEGER NOT NULL
    )""",
    "CREATE TABLE queue (space INTEGER NOT NULL, row_id INTEGER NOT NULL, PRIMARY KEY (space, row_id)) WITHOUT ROWID",
    # what the dense index beside the database has not taken over yet
    "CREATE TABLE changes (number INTEGER PRIMARY KEY AUTOINCREMENT, space INTEGER NOT NULL, row_id INTEGER NOT NULL)",
    "CREATE TABLE purges (number INTEGER PRIMARY KEY AUTOINCREMENT, fingerprint TEXT NOT NULL)",
    """CREATE VIRTUAL TABLE words USING fts5(
        text, content='records', content_rowid='row_id', tokenize='porter unicode61 remove_diacritics 2', detail=column
    )""",
    "CREATE VIRTUAL TABLE vocabulary USING fts5vocab(words, row)",
    """CREATE TRIGGER records_told AFTER INSERT ON records BEGIN
        INSERT INTO words (rowid, text) VALUES (new.row_id, new.text);
    END""",
    """CREATE TRIGGER records_gone AFTER DELETE ON records BEGIN
        INSERT INTO words (words, rowid, text) VALUES ('delete', old.row_id, old.text);
    END""",
)

MIGRATIONS: dict[int, tuple[str, ...]] = {}
"""Statements that bring a store from a version to the next."""
