"""The truth in one SQLite file: WAL, an fsync at every commit, full text by FTS5, vectors as blobs."""

from __future__ import annotations

import itertools
import json
import os
import re
import sqlite3
import threading
import uuid
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from remanence.errors import StateError, UsageError
from remanence.store.database import care, descriptors, schema
from remanence.store.database.base import Rows, Space, Vectors
from remanence.store.database.conditions import Bound
from remanence.store.database.forks import close_before_fork, hold_forks
from remanence.store.database.shortlist import shortlist
from remanence.store.database.sidecar import FORMER_NAMES, INDEXES, Sidecar
from remanence.store.database.sql import SqlDatabase
from remanence.store.record import Removal
from remanence.store.retrieve.terms import folded, stem
from remanence.store.where import Filter

PATIENCE = 60.0
"""Seconds that one process waits for another's write to end."""

_PIECES = re.compile("[^\\W_\u19b0-\u19c0\u19c8\u19c9\u1cf2\u1cf3]+")
"""What FTS5 takes as one word each; those letters (of New Tai Lue and Vedic) it takes as spaces."""

_SHORTLIST = 300
"""How many rows full text ranks by BM25 at least, of those that hold the rarest terms."""

Result = TypeVar("Result")


class SqliteDatabase(SqlDatabase):
    """A store in one file.

    Every thread has its own connection; a forked child opens its own.

    Parameters
    ----------
    path:
        The file; made if it is not there and `create` allows it.
    create:
        Whether a missing file is made.
    index:
        How the vectors of a large store are searched: ``ivf`` (by cluster, no bytes more) or ``spann``.
    durable:
        Whether a commit waits for the disk; False only where losing the file loses nothing.

    Raises
    ------
    StateError
        If the file is no store, damaged, or written by a newer version.
    """

    dialect = "sqlite"

    def __init__(
        self, path: str | os.PathLike[str], *, create: bool = True, index: str = "ivf", durable: bool = True
    ) -> None:
        index = FORMER_NAMES.get(index, index)
        if index not in INDEXES:
            raise UsageError(f"there is no index {index!r} for vectors: choose one of {', '.join(INDEXES)}")
        self.index, self.durable = index, durable
        # A link to a store is that store: its log and its index lie beside the file itself
        self.path = Path(os.path.realpath(path))
        self._local = threading.local()
        self._open: list[sqlite3.Connection] = []
        self._guard = threading.Lock()
        self._process = os.getpid()
        self._generation = 0
        self._connected = itertools.count()
        self._matched: dict[str, tuple[tuple[int, int], Rows]] = {}
        if self.path.is_dir():
            raise UsageError(f"{self.path} is a folder, expected the file of a store: name a file in it")
        if not self.path.exists():
            if not create:
                raise UsageError(f"there is no store at {self.path}: write to it first, or check the path")
            if not self.path.parent.is_dir():
                raise UsageError(f"the folder {self.path.parent} of the store does not exist: make it first")
        self._descriptor = self._keep_descriptor()
        close_before_fork(self)
        try:
            if descriptors.beginning(self._descriptor, 16) not in (b"", b"SQLite format 3\x00"):
                raise StateError(f"{self.path} is not a store: it is no SQLite file")
            with hold_forks():
                self._prepare()
            self.identity = self.setting("identity") or ""
        except BaseException:
            self.close()
            raise

    def _keep_descriptor(self) -> tuple[int, int]:
        try:
            if not self.path.exists():
                self.path.touch()
            key = descriptors.keep(self.path)
        except OSError as error:
            raise UsageError(
                f"the store {self.path} cannot be opened ({error.strerror}): choose a file that you may read and write"
            ) from None
        self._release = weakref.finalize(self, descriptors.release, key)
        self._release.atexit = False
        return key

    # Connections

    @property
    def connection(self) -> sqlite3.Connection:
        """This thread's own connection."""
        if self._process != os.getpid():
            # A connection must not cross a fork: the parent's are left to the parent, unused and unclosed
            self._inherited = self._open
            self._local, self._open, self._guard = threading.local(), [], threading.Lock()
            self._process = os.getpid()
        found: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if found is None or self._local.generation != self._generation:
            found = self._connect()
            self._local.connection, self._local.generation = found, self._generation
            self._local.serial = next(self._connected)
            with self._guard:
                self._open.append(found)
        return found

    def close_connections(self) -> None:
        """Before a fork; each thread makes itself a new one when it needs it."""
        if self._process != os.getpid():
            return
        with self._guard:
            for connection in self._open:
                connection.close()
            self._open.clear()
            self._generation += 1

    def _connect(self) -> sqlite3.Connection:
        try:
            made = sqlite3.connect(
                self.path, timeout=PATIENCE, isolation_level=None, check_same_thread=False, cached_statements=256
            )
            made.execute(f"PRAGMA synchronous = {'FULL' if self.durable else 'OFF'}")
            made.execute("PRAGMA secure_delete = ON")
            made.execute("PRAGMA foreign_keys = ON")
            made.execute("PRAGMA temp_store = MEMORY")
            made.execute("PRAGMA cache_size = -65536")
            made.create_function("lowered", 1, _lowered, deterministic=True)
        except sqlite3.DatabaseError as error:
            raise self._user_error(error) from None
        return made

    def _prepare(self) -> None:
        fresh = not self.path.exists() or not self.path.stat().st_size
        try:
            connection = self.connection
            if fresh:
                connection.execute(f"PRAGMA page_size = {schema.PAGE}")
            self._patiently(lambda: connection.execute("PRAGMA journal_mode = WAL"))
            marked, version = self._mark()
            if not marked:
                with self.transaction():
                    marked, version = self._mark()
                    if not marked:
                        self._create()
                        version = schema.VERSION
        except sqlite3.DatabaseError as error:
            self.close()
            raise self._user_error(error) from None
        if version > schema.VERSION:
            self.close()
            raise StateError(
                f"{self.path} was written by a newer version of this library (schema {version}, this one reads up to "
                f"{schema.VERSION}): upgrade remanence"
            )
        if version < schema.VERSION:
            from remanence.store.database.migrate import migrate

            migrate(self, version)

    def _mark(self) -> tuple[bool, int]:
        application = self._run("PRAGMA application_id")[0][0]
        version = self._run("PRAGMA user_version")[0][0]
        if application == schema.APPLICATION:
            return True, version
        if application or version or self._run("SELECT 1 FROM sqlite_master LIMIT 1"):
            raise StateError(f"{self.path} is not a store: it is a SQLite file of something else")
        return False, 0

    def _create(self) -> None:
        for statement in schema.CREATE:
            self._run(statement)
        self._run("INSERT INTO settings (name, value) VALUES ('identity', ?)", [uuid.uuid4().hex])
        self._run(f"PRAGMA application_id = {schema.APPLICATION}")
        self._run(f"PRAGMA user_version = {schema.VERSION}")

    def _unreadable(self, error: sqlite3.Error) -> StateError:
        return StateError(
            f"the store {self.path} cannot be read ({error}): run 'remanence store doctor' on it, or use an intact copy"
        )

    def close(self) -> None:
        if self._process != os.getpid():
            return
        self.close_connections()
        self._local = threading.local()
        self._release()

    # Statements

    def _run(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        try:
            with hold_forks():
                return self.connection.execute(statement, values).fetchall()
        except sqlite3.DatabaseError as error:
            raise self._user_error(error) from None

    def _run_many(self, statement: str, values: Iterable[Sequence[Any]]) -> None:
        try:
            with hold_forks():
                self.connection.executemany(statement, values)
        except sqlite3.DatabaseError as error:
            raise self._user_error(error) from None

    def _user_error(self, error: sqlite3.DatabaseError) -> Exception:
        if "UNIQUE constraint failed: records.id" in str(error):
            return UsageError("the id of a record is taken: use revise to write a new version of that record")
        if isinstance(error, sqlite3.ProgrammingError | sqlite3.IntegrityError | sqlite3.InterfaceError):
            return error
        if "locked" in str(error) or "busy" in str(error):
            return StateError(
                f"another process has been writing to {self.path} for more than {PATIENCE:.0f} seconds: try again later"
            )
        if "disk is full" in str(error):
            return StateError(f"the disk of {self.path} is full: nothing of this was written, free some space")
        if "readonly" in str(error) or "unable to open" in str(error):
            return StateError(
                f"the store {self.path} cannot be written here ({error}): give it and its folder the right to be "
                "written, or copy it elsewhere"
            )
        return self._unreadable(error)

    @staticmethod
    def _patiently(action: Callable[[], Result]) -> Result:
        """Changing the journal mode does not wait for other processes by itself."""
        import time

        for wait in [0.01 * 1.5**n for n in range(15)]:
            try:
                return action()
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    raise
                time.sleep(wait)
        return action()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        if getattr(self._local, "depth", 0) and self._process == os.getpid():
            yield
            return
        with hold_forks():
            yield from self._transaction()

    def _transaction(self) -> Iterator[None]:
        connection = self.connection
        self._run("BEGIN IMMEDIATE")
        self._local.depth = 1
        try:
            yield
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        else:
            self._run("COMMIT")
        finally:
            self._local.depth = 0

    # The dialect

    def _next_rows(self, count: int) -> range:
        found = self._run("SELECT seq FROM sqlite_sequence WHERE name = 'records'")
        first = (found[0][0] if found else 0) + 1
        return range(first, first + count)

    def _among(self, column: str, values: Sequence[Any] | Rows) -> Bound:
        if len(values) and isinstance(values[0], bytes):
            return f"{column} IN ({', '.join('?' * len(values))})", list(values)
        return f"{column} IN (SELECT value FROM json_each(?))", [self._json(values)]

    def metadata_is(self, path: tuple[str, ...], operator: str, value: Any) -> Bound:
        place = "$" + "".join(f'."{key}"' for key in path)
        found = "json_extract(r.metadata, ?)"
        if value is None:
            return f"{found} IS {'NOT ' if operator != '=' else ''}NULL", [place]
        if operator == "contains":
            return self.contains(found, str(value))[0], [place, str(value)]
        if isinstance(value, bool):
            value = int(value)
        if operator == "!=":
            return f"({found} IS NULL OR {found} <> ?)", [place, place, value]
        kind = "('text')" if isinstance(value, str) else "('integer', 'real', 'true', 'false')"
        return f"(json_type(r.metadata, ?) IN {kind} AND {found} {operator} ?)", [place, place, value]

    def has_tag(self, tag: str) -> Bound:
        return "EXISTS (SELECT 1 FROM json_each(r.tags) WHERE value = ?)", [tag]

    def contains(self, column: str, text: str) -> Bound:
        # SQLite's own lower knows the letters of ASCII only
        lower = "lower" if text.isascii() else "lowered"
        return f"instr({lower}({column}), {lower}(?)) > 0", [text]

    def _make_space_tables(self, space: Space) -> None:
        self._run(f"CREATE TABLE vectors_{space.number} (row_id INTEGER PRIMARY KEY, vector BLOB NOT NULL)")

    def _vector_in(self, vector: Vectors, space: Space) -> bytes:
        return vector.astype(space.precision).tobytes()

    def _vectors_out(self, found: Sequence[Any], space: Space) -> Vectors:
        flat = np.frombuffer(b"".join(found), dtype=space.precision)
        return flat.reshape(len(found), space.dimension).astype(np.float32, copy=False)

    def _vectors_changed(self, space: Space, rows: Rows | Sequence[int], present: bool) -> None:
        if len(rows):
            self._run_many(
                "INSERT INTO changes (space, row_id) VALUES (?, ?)", [(space.number, int(row)) for row in rows]
            )

    def matching(self, wanted: Filter) -> Rows:
        """The same rows again cost nothing while nobody has written."""
        seen = (self._run("PRAGMA data_version")[0][0], self.connection.total_changes)
        key = f"{self._local.serial} {wanted.key}"
        kept = self._matched.get(key)
        if kept is not None and kept[0] == seen:
            return kept[1]
        found = super().matching(wanted)
        if len(self._matched) > 16:
            self._matched.clear()
        self._matched[key] = (seen, found)
        return found

    # Search

    def words(self, terms: Sequence[str], k: int, wanted: Filter) -> tuple[Rows, NDArray[np.float32]]:
        asked = list(dict.fromkeys(f'"{piece}"' for term in terms for piece in _PIECES.findall(term)))
        held = [self._rows("SELECT rowid FROM words WHERE words MATCH ?", [one]) for one in asked]
        total = self._run("SELECT max(row_id) FROM records")[0][0] or 0
        rows = self._best_admitted(shortlist(held, total), max(_SHORTLIST, 4 * k), k, wanted)
        # The plus keeps SQLite from looking every row of the list up in the full-text index one by one
        found = (
            self._run(
                "SELECT rowid, -bm25(words) AS score FROM words WHERE words MATCH ? "
                "AND +rowid IN (SELECT value FROM json_each(?)) ORDER BY score DESC, rowid LIMIT ?",
                [" OR ".join(asked), json.dumps(rows.tolist()), k],
            )
            if len(rows)
            else []
        )
        return (
            np.array([row for row, _ in found], dtype=np.int64),
            np.array([score for _, score in found], dtype=np.float32),
        )

    def _best_admitted(self, rows: Rows, count: int, needed: int, wanted: Filter) -> Rows:
        """The first of the rows that a filter admits: at most `count`, at least `needed` if there are so many."""
        found = self.admitted(rows[:count], wanted)
        if len(found) >= needed or len(rows) <= count:
            return found
        return rows[np.isin(rows, self.matching(wanted))][:count]

    def _rows(self, statement: str, values: Sequence[Any]) -> Rows:
        found = self._run(statement, values)
        return np.fromiter(chain.from_iterable(found), dtype=np.int64, count=len(found))

    def frequencies(self, terms: Sequence[str]) -> list[int]:
        stems = [stem(folded(term)) for term in terms]
        found = dict(
            self._run(
                "SELECT term, doc FROM vocabulary WHERE term IN (SELECT value FROM json_each(?))", [json.dumps(stems)]
            )
        )
        return [int(found.get(one, 0)) for one in stems]

    def dense(self, space: Space, query: Vectors, k: int, wanted: Filter) -> tuple[Rows, NDArray[np.float32]]:
        if wanted.plain:
            return self._sidecar(space).search(query, k, wanted)
        # Replaced versions are in no index: their vectors come from the database itself
        rows, vectors = self.vectors(space, self.matching(wanted))
        scores = vectors @ query
        best = np.argsort(-scores, kind="stable")[:k]
        return rows[best], scores[best]

    # Care

    def purge(self, texts: Sequence[str] = ()) -> tuple[dict[str, Removal], str]:
        return care.purge(self, texts)

    def _sidecar(self, space: Space) -> Sidecar:
        made: dict[int, Sidecar] = self._local.__dict__.setdefault("sidecars", {})
        if space.number not in made:
            made[space.number] = Sidecar(self, space)
        return made[space.number]

    def optimize(self, progress: Callable[[int, int], None] | None = None) -> bool:
        done = [self._sidecar(space).optimize(progress) for space in self.spaces()]
        return any(done)

    def purge_index(self) -> bool:
        """Let nothing of deleted vectors remain in the dense index; whether that is done."""
        done = [self._sidecar(space).purge() for space in self.spaces()]
        return all(done)

    def check(self, repair: bool) -> list[str]:
        return care.check(self, repair)

    def _space_gone(self, spaces: Sequence[Space]) -> None:
        for space in spaces:
            self._sidecar(space).drop()

    def check_index(self, space: Space, repair: bool) -> list[str]:
        return self._sidecar(space).check(repair)

    def statistics(self) -> dict[str, Any]:
        sizes = {"database": 0, "log": 0, "index": 0, "backups": 0}
        for file in care.files(self.path):
            part = (
                "index"
                if file.parent != self.path.parent
                else "log"
                if file.name[-4:] in ("-wal", "-shm")
                else "backups"
            )
            sizes["database" if file == self.path else part] += file.stat().st_size
        return {**self._counts(), "bytes": sizes}


def _lowered(value: str | float | None) -> str | None:
    return None if value is None else str(value).lower()
