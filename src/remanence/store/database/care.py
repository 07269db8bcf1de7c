"""Looking after a SQLite store: erasing what was deleted from every byte, checking, mending."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from remanence.store.database.descriptors import holding
from remanence.store.database.forks import hold_forks
from remanence.store.record import Removal

if TYPE_CHECKING:
    from remanence.store.database.sqlite import SqliteDatabase

_LOOKED_FOR = 200
"""Forgotten texts whose bytes are searched for afterwards."""

_SHORTEST = 6
"""Bytes of a text that is searched for; shorter ones occur by chance."""


def purge(database: SqliteDatabase, texts: Sequence[str]) -> tuple[dict[str, Removal], str]:
    """Rewrite the full-text index, empty the log, drop backups, clear the dense index, and look whether that helped."""
    places: dict[str, Removal] = {"text": "removed", "history": "removed", "links": "removed", "vectors": "removed"}
    # Deleting a row from FTS5 adds a note that it is gone; the words stay until segments are merged, and
    # SQLite before 3.42 has no other way to take them out
    database._run("INSERT INTO words (words) VALUES ('optimize')")
    places["full-text index"] = "removed"
    places["dense index"] = "removed" if database.purge_index() else "pending"
    for backup in backups(database.path):
        backup.unlink(missing_ok=True)
    places["backups"] = "removed"
    emptied = truncate_log(database)
    left = _left(database, texts)
    if left and emptied:
        # SQLite may leave copies of moved cells in the slack of a page; writing the file anew drops them, so that
        # what is found after that is said by something that was kept
        database._run("VACUUM")
        emptied = truncate_log(database)
        if emptied:
            left = []
    places["log"] = "removed" if emptied else "pending"
    looked = len(_pieces(texts))
    return (
        places,
        f"the bytes of {looked} forgotten texts were searched for in every file of the store: {len(left)} found",
    )


def _pieces(texts: Sequence[str]) -> list[bytes]:
    pieces = (text.encode()[:200] for text in texts[:_LOOKED_FOR])
    return [piece for piece in pieces if len(piece) >= _SHORTEST]


def _left(database: SqliteDatabase, texts: Sequence[str]) -> list[bytes]:
    """Beginnings of forgotten texts that some file still holds, though no record that is left says them."""
    found = holding(files(database.path), _pieces(texts))
    return [
        piece
        for piece in found
        if not database._run("SELECT 1 FROM records WHERE instr(CAST(text AS BLOB), ?) LIMIT 1", [piece])
    ]


def truncate_log(database: SqliteDatabase) -> bool:
    """Bring the write-ahead log into the file and empty it; False while a reader holds on to it."""
    database._run("PRAGMA busy_timeout = 2000")
    try:
        busy = database._run("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        database._run("PRAGMA busy_timeout = 60000")
    return not busy[0][0]


def backups(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{path.name}.backup-*"))


def files(path: Path) -> list[Path]:
    """Every file that belongs to a store: the database, its log, its index, its backups."""
    beside = [path.with_name(path.name + end) for end in ("", "-wal", "-shm")]
    index = path.with_name(path.name + "-index")
    below = [file for file in sorted(index.rglob("*")) if file.is_file()] if index.is_dir() else []
    return [file for file in (*beside, *below, *backups(path)) if file.exists()]


def check(database: SqliteDatabase, repair: bool) -> list[str]:
    """What is wrong with a store, one sentence each."""
    wrong = []
    for (line,) in database._run("PRAGMA integrity_check(20)"):
        if line != "ok":
            wrong.append(
                f"a page of the database is damaged ({line}): restore an intact copy or export what can be read"
            )
    try:
        with hold_forks():
            database.connection.execute("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)")
    except sqlite3.DatabaseError as error:
        if "malformed" not in str(error):
            raise database._user_error(error) from None
        wrong.append(
            "the full-text index disagrees with the texts" + (": rebuilt" if repair else ": run doctor to rebuild it")
        )
        if repair:
            database._run("INSERT INTO words (words) VALUES ('rebuild')")
    for space in database.spaces():
        missing = database._run(
            f"SELECT count(*) FROM records r LEFT JOIN vectors_{space.number} v ON v.row_id = r.row_id LEFT JOIN queue q "
            "ON q.space = ? AND q.row_id = r.row_id WHERE v.row_id IS NULL AND q.row_id IS NULL",
            [space.number],
        )[0][0]
        if missing:
            wrong.append(
                f"{missing} versions have no vector and are not queued for one"
                + (": queued" if repair else ": run doctor")
            )
            if repair:
                database._run(
                    f"INSERT INTO queue (space, row_id) SELECT ?, r.row_id FROM records r LEFT JOIN vectors_{space.number} v "
                    "ON v.row_id = r.row_id LEFT JOIN queue q ON q.space = ? AND q.row_id = r.row_id "
                    "WHERE v.row_id IS NULL AND q.row_id IS NULL",
                    [space.number, space.number],
                )
        wrong += database.check_index(space, repair)
    return wrong
