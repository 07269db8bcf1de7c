"""Vectors of texts on disk, by content: one SQLite file in the user's cache folder for all processes and encoders.

It only saves time: where the file cannot be read or written the vectors are computed. Forgetting is the exception,
and raises where something may remain.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from remanence.cache import cache_folder
from remanence.errors import StateError, UsageError
from remanence.footprint import parse_bytes

LIMIT = "REMANENCE_CACHE_BYTES"
"""Names how large the file may grow, ``2GB``; 1 GB where it is not set."""
_FORMAT = 2
_ROWS_AT_ONCE = 500
_FRESH = 3600  # seconds in which a vector that was used counts as just used, so that reading rarely writes
_KEPT = 0.9  # of the limit, when the least recently used are removed
_PAGE = 16384  # holds ten vectors of 384 numbers; a page of 4,096 bytes holds two
_WAIT = 60.0  # seconds for other processes

Vectors = NDArray[np.float32]


def recall(encoder: str, texts: Sequence[str], dimension: int) -> dict[str, Vectors]:
    """The vectors that an encoder gave for those of the texts that are kept."""
    known: dict[str, Vectors] = {}
    keys = {_key(encoder, fingerprint(text)): text for text in texts}
    if not keys:
        return known
    now = int(time.time())
    with _opened() as database:
        if database is None:
            return known
        every, stale = list(keys), []
        for begin in range(0, len(every), _ROWS_AT_ONCE):
            part = every[begin : begin + _ROWS_AT_ONCE]
            query = f"SELECT key, vector, used FROM vectors WHERE key IN ({','.join('?' * len(part))})"
            for key, vector, used in database.execute(query, part):
                if len(vector) == 4 * dimension:
                    known[keys[key]] = np.frombuffer(vector, np.float32)
                    if used < now - _FRESH:
                        stale.append((now, key))
        if stale:
            database.executemany("UPDATE vectors SET used = ? WHERE key = ?", stale)
    return known


def keep(encoder: str, texts: Sequence[str], vectors: Vectors) -> None:
    """Keep the vectors of some texts; the least recently used are removed where the file would grow too large."""
    now = int(time.time())
    rows = [
        (_key(encoder, fingerprint(text)), vector.astype("<f4").tobytes(), now)
        for text, vector in zip(texts, vectors, strict=True)
    ]
    limit = _limit()
    with _opened() as database:
        if database is None:
            return
        database.execute("INSERT OR IGNORE INTO encoders VALUES (?)", (encoder,))
        database.executemany("INSERT OR REPLACE INTO vectors (key, vector, used) VALUES (?, ?, ?)", rows)
        held = _held(database)
        if held > limit:
            (count,) = database.execute("SELECT count(*) FROM vectors").fetchone()
            excess = max(1, int(count * (1 - _KEPT * limit / held)))
            oldest = "SELECT key FROM vectors ORDER BY used, row LIMIT ?"
            database.execute(f"DELETE FROM vectors WHERE key IN ({oldest})", (excess,))


def fingerprint(text: str) -> str:
    """What stands for a text here: its SHA-256, in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def forget(fingerprints: Sequence[str]) -> int:
    """Remove the vectors of some texts, whichever encoder gave them, and their bytes; how many there were.

    Parameters
    ----------
    fingerprints:
        Of the texts, so that a forgetting can be finished after the texts themselves are gone.

    Raises
    ------
    StateError
        If the cache cannot be opened or changed, or another process keeps its log from being emptied, so that
        something may remain.
    """
    if not (cache_folder() / "vectors.sqlite").exists():
        return 0
    removed = 0
    _close()  # this connection may be to a file that was deleted and made again
    with _opened(needed=True) as database:
        if database is not None:
            encoders = [name for (name,) in database.execute("SELECT name FROM encoders")]
            keys = [(_key(name, one),) for one in dict.fromkeys(fingerprints) for name in encoders]
            removed = database.executemany("DELETE FROM vectors WHERE key = ?", keys).rowcount if keys else 0
            database.commit()
            busy, _, _ = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if busy:
                raise StateError(
                    f"forgotten vectors may still stand in the log of the cache in {cache_folder()}, which another "
                    "process is reading: forget again when it is done"
                )
    return max(removed, 0)


def held() -> int:
    """Bytes of the vectors and their index, and 0 without a cache."""
    if not (cache_folder() / "vectors.sqlite").exists():
        return 0
    with _opened() as database:
        return 0 if database is None else _held(database)


def _held(database: sqlite3.Connection) -> int:
    pages, free, size = (
        database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def _limit() -> int:
    given = os.environ.get(LIMIT)
    try:
        return parse_bytes(given) if given else 10**9
    except ValueError as error:
        raise UsageError(f"{LIMIT} is {given!r}: {error}") from None


def _key(encoder: str, text_fingerprint: str) -> bytes:
    return hashlib.sha256(f"{encoder}\n{text_fingerprint}".encode()).digest()


# One connection for each thread of each process and each folder: opening one takes longer than a look-up.


class _Own(threading.local):
    held: tuple[int, Path, sqlite3.Connection] | None = None


_OWN = _Own()
_INHERITED: list[sqlite3.Connection] = []
"""A parent's connections in a forked process: closing them there would lift the parent's locks."""


def _close() -> None:
    if _OWN.held is not None:
        process, _, database = _OWN.held
        _OWN.held = None
        if process == os.getpid():
            database.close()
        else:
            _INHERITED.append(database)


def _connection() -> sqlite3.Connection:
    path = cache_folder() / "vectors.sqlite"
    if _OWN.held is not None:
        process, where, database = _OWN.held
        if process == os.getpid() and where == path and path.exists():
            return database
        _close()
    path.parent.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(path, timeout=_WAIT)
    try:
        _prepare(database)
    except sqlite3.Error:
        database.close()
        raise
    _OWN.held = (os.getpid(), path, database)
    return database


def _prepare(database: sqlite3.Connection) -> None:
    database.execute(f"PRAGMA page_size={_PAGE}")
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=NORMAL")
    database.execute("PRAGMA secure_delete=ON")
    if database.execute("PRAGMA user_version").fetchone()[0] == _FORMAT:
        return
    database.execute("BEGIN IMMEDIATE")
    if database.execute("PRAGMA user_version").fetchone()[0] != _FORMAT:
        database.execute("DROP TABLE IF EXISTS vectors")
        database.execute("DROP TABLE IF EXISTS encoders")
        database.execute("CREATE TABLE vectors (row INTEGER PRIMARY KEY, key BLOB UNIQUE, vector BLOB, used INTEGER)")
        database.execute("CREATE INDEX vectors_used ON vectors (used)")
        database.execute("CREATE TABLE encoders (name TEXT PRIMARY KEY)")
        database.execute(f"PRAGMA user_version={_FORMAT}")
    database.commit()


@contextlib.contextmanager
def _opened(*, needed: bool = False) -> Iterator[sqlite3.Connection | None]:
    """The cache, or None where it cannot be used, unless it is `needed`."""
    database = None
    try:
        database = _connection()
    except (OSError, sqlite3.Error) as error:
        if needed:
            raise StateError(
                f"the cache of vectors in {cache_folder()} cannot be opened ({error}): delete it"
            ) from None
        _unused(error)
    try:
        yield database
        if database is not None:
            database.commit()
    except sqlite3.Error as error:
        if database is not None:
            with contextlib.suppress(sqlite3.Error):
                database.rollback()
        if needed:
            raise StateError(
                f"the cache of vectors in {cache_folder()} cannot be changed ({error}): try again, or delete it"
            ) from None
        _unused(error)


def _unused(error: Exception) -> None:
    warnings.warn(f"the vectors are not cached ({error}): set REMANENCE_CACHE to a writable folder", stacklevel=5)
