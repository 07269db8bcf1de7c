"""Looking after a SQLite store: erasing what was deleted from every byte, checking, mending."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from remanence.store.database.base import Space
from remanence.store.database.descriptors import holding
from remanence.store.database.sidecar import Sidecar
from remanence.store.database.sqlite_connection import SqliteConnection
from remanence.store.record import Removal

_LOOKED_FOR = 200
"""Forgotten texts whose bytes are searched for afterwards."""

_SHORTEST = 6
"""Bytes of a text that is searched for; shorter ones occur by chance."""


def purge(
    connection: SqliteConnection, sidecars: Sequence[Sidecar], texts: Sequence[str]
) -> tuple[dict[str, Removal], str]:
    """Rewrite the full-text index, empty the log, drop backups, clear the dense index, and look whether that helped."""
    places: dict[str, Removal] = {"text": "removed", "history": "removed", "links": "removed", "vectors": "removed"}
    # Deleting a row from FTS5 adds a note that it is gone; the words stay until segments are merged, and
    # SQLite before 3.42 has no other way to take them out
    connection.run("INSERT INTO words (words) VALUES ('optimize')")
    places["full-text index"] = "removed"
    cleared = [sidecar.purge() for sidecar in sidecars]
    places["dense index"] = "removed" if all(cleared) else "pending"
    for backup in backups(connection.path):
        backup.unlink(missing_ok=True)
    places["backups"] = "removed"
    emptied = truncate_log(connection)
    left = _left(connection, texts)
    if left and emptied:
        # SQLite may leave copies of moved cells in the slack of a page; writing the file anew drops them, so that
        # what is found after that is said by something that was kept
        connection.run("VACUUM")
        emptied = truncate_log(connection)
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


def _left(connection: SqliteConnection, texts: Sequence[str]) -> list[bytes]:
    """Beginnings of forgotten texts that some file still holds, though no record that is left says them."""
    found = holding(files(connection.path), _pieces(texts))
    return [
        piece
        for piece in found
        if not connection.run("SELECT 1 FROM records WHERE instr(CAST(text AS BLOB), ?) LIMIT 1", [piece])
    ]


def truncate_log(connection: SqliteConnection) -> bool:
    """Bring the write-ahead log into the file and empty it; False while a reader holds on to it."""
    connection.run("PRAGMA busy_timeout = 2000")
    try:
        busy = connection.run("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.run("PRAGMA busy_timeout = 60000")
    return not busy[0][0]


def backups(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{path.name}.backup-*"))


def files(path: Path) -> list[Path]:
    """Every file that belongs to a store: the database, its log, its index, its backups."""
    beside = [path.with_name(path.name + end) for end in ("", "-wal", "-shm")]
    index = path.with_name(path.name + "-index")
    below = [file for file in sorted(index.rglob("*")) if file.is_file()] if index.is_dir() else []
    return [file for file in (*beside, *below, *backups(path)) if file.exists()]


def check(connection: SqliteConnection, sidecars: Sequence[Sidecar], repair: bool) -> list[str]:
    """What is wrong with a store, one sentence each."""
    wrong = []
    for (line,) in connection.run("PRAGMA integrity_check(20)"):
        if line != "ok":
            wrong.append(
                f"a page of the database is damaged ({line}): restore an intact copy or export what can be read"
            )
    if connection.malformed("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)"):
        wrong.append(
            "the full-text index disagrees with the texts" + (": rebuilt" if repair else ": run doctor to rebuild it")
        )
        if repair:
            connection.run("INSERT INTO words (words) VALUES ('rebuild')")
    for sidecar in sidecars:
        missing = _without_vector(connection, sidecar.space)
        if missing:
            wrong.append(
                f"{missing} versions have no vector and are not queued for one"
                + (": queued" if repair else ": run doctor")
            )
            if repair:
                _queue_without_vector(connection, sidecar.space)
        wrong += sidecar.check(repair)
    return wrong


_MISSING = (
    "FROM records r LEFT JOIN vectors_{0} v ON v.row_id = r.row_id LEFT JOIN queue q "
    "ON q.space = ? AND q.row_id = r.row_id WHERE v.row_id IS NULL AND q.row_id IS NULL"
)


def _without_vector(connection: SqliteConnection, space: Space) -> int:
    found = connection.run(f"SELECT count(*) {_MISSING.format(space.number)}", [space.number])
    return int(found[0][0])


def _queue_without_vector(connection: SqliteConnection, space: Space) -> None:
    connection.run(
        f"INSERT INTO queue (space, row_id) SELECT ?, r.row_id {_MISSING.format(space.number)}", [space.number] * 2
    )
