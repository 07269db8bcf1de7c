"""The truth in one SQLite file: full text by FTS5, vectors as blobs, and an index of them beside it."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from remanence.errors import UsageError
from remanence.store.database import care
from remanence.store.database.base import Rows, Space, Vectors
from remanence.store.database.conditions import condition
from remanence.store.database.migrate import prepare
from remanence.store.database.shortlist import shortlist
from remanence.store.database.sidecar import FORMER_NAMES, INDEXES, Sidecar
from remanence.store.database.sql import SqlDatabase
from remanence.store.database.sqlite_connection import SqliteConnection
from remanence.store.record import Removal
from remanence.store.retrieve.terms import folded, stem
from remanence.store.where import Filter

_PIECES = re.compile("[^\\W_\u19b0-\u19c0\u19c8\u19c9\u1cf2\u1cf3]+")
"""What FTS5 takes as one word each; those letters (of New Tai Lue and Vedic) it takes as spaces."""

_TOGETHER = 100
"""Words that are looked up in one statement."""

_SHORTLIST = 300
"""How many rows full text ranks by BM25 at least, of those that hold the rarest terms."""


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
        self.index = index
        # A link to a store is that store: its log and its index lie beside the file itself
        self.path = Path(os.path.realpath(path))
        self._matched: dict[str, tuple[tuple[int, int, int], Rows]] = {}
        self._sidecars = threading.local()
        if self.path.is_dir():
            raise UsageError(f"{self.path} is a folder, expected the file of a store: name a file in it")
        if not self.path.exists():
            if not create:
                raise UsageError(f"there is no store at {self.path}: write to it first, or check the path")
            if not self.path.parent.is_dir():
                raise UsageError(f"the folder {self.path.parent} of the store does not exist: make it first")
        self.connection: SqliteConnection = SqliteConnection(self.path, durable)
        try:
            prepare(self.connection)
            self.identity = self.setting("identity") or ""
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        super().close()
        self._sidecars = threading.local()

    # The dialect

    def _next_rows(self, count: int) -> range:
        found = self.connection.run("SELECT seq FROM sqlite_sequence WHERE name = 'records'")
        first = (found[0][0] if found else 0) + 1
        return range(first, first + count)

    def _queue(self, rows: Sequence[int]) -> None:
        self.connection.run(
            "INSERT INTO queue (space, row_id) SELECT s.space, v.value FROM spaces s, json_each(?) v",
            [json.dumps(list(rows))],
        )

    def _make_space_tables(self, space: Space) -> None:
        self.connection.run(f"CREATE TABLE vectors_{space.number} (row_id INTEGER PRIMARY KEY, vector BLOB NOT NULL)")

    def _vectors_changed(self, space: Space, rows: Rows | Sequence[int], present: bool) -> None:
        if len(rows):
            self.connection.run_many(
                "INSERT INTO changes (space, row_id) VALUES (?, ?)", [(space.number, int(row)) for row in rows]
            )

    def matching(self, wanted: Filter) -> Rows:
        """The same rows again cost nothing while nobody has written."""
        seen = self.connection.state
        key = f"{seen[0]} {wanted.key}"
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
        held, total = self._held(asked)
        rows = self._best_admitted(shortlist(held, total), max(_SHORTLIST, 4 * k), k, wanted)
        # The plus keeps SQLite from looking every row of the list up in the full-text index one by one
        found = (
            self.connection.run(
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

    def _held(self, asked: Sequence[str]) -> tuple[list[Rows], int]:
        """For each word the rows that hold it, and how many rows there are (about)."""
        rows: list[list[int]] = [[] for _ in range(len(asked) + 1)]
        for begin in range(0, max(len(asked), 1), _TOGETHER):
            some = asked[begin : begin + _TOGETHER]
            arms = (f" UNION ALL SELECT {begin + n}, rowid FROM words WHERE words MATCH ?" for n in range(len(some)))
            for place, row in self.connection.run("SELECT -1, max(row_id) FROM records" + "".join(arms), some):
                rows[place].append(row)
        return [np.array(one, dtype=np.int64) for one in rows[:-1]], rows[-1][0] or 0

    def neighbours_in_order(self, rows: Rows, reach: int, wanted: Filter) -> Rows:
        found = np.zeros((len(rows), 2 * reach), dtype=np.int64)
        text, values = condition(wanted, self.connection)
        sides = [
            "(SELECT json_group_array(row_id) FROM (SELECT r.row_id FROM records r WHERE r.scope = a.scope "
            f"AND r.source IS a.source AND r.row_id {sign} a.row_id AND {text} ORDER BY r.row_id {order} LIMIT ?))"
            for sign, order in (("<", "DESC"), (">", "ASC"))
        ]
        among, these = self.connection.among("a.row_id", rows)
        near = {
            row: (json.loads(before), json.loads(after))
            for row, before, after in self.connection.run(
                f"SELECT a.row_id, {', '.join(sides)} FROM records a WHERE {among}",
                [*values, reach, *values, reach, *these],
            )
        }
        for place, row in enumerate(rows.tolist()):
            for side, beside in enumerate(near.get(row, ())):
                found[place, side * reach : side * reach + len(beside)] = beside
        return found

    def frequencies(self, terms: Sequence[str]) -> list[int]:
        stems = [stem(folded(term)) for term in terms]
        found = dict(
            self.connection.run(
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
        return care.purge(self.connection, self._all_sidecars(), texts)

    def check(self, repair: bool) -> list[str]:
        return care.check(self.connection, self._all_sidecars(), repair)

    def optimize(self, progress: Callable[[int, int], None] | None = None) -> bool:
        done = [sidecar.optimize(progress) for sidecar in self._all_sidecars()]
        return any(done)

    def _all_sidecars(self) -> list[Sidecar]:
        return [self._sidecar(space) for space in self.spaces()]

    def _sidecar(self, space: Space) -> Sidecar:
        """This thread's own; another's maps may move on while it reads."""
        made: dict[int, Sidecar] = self._sidecars.__dict__.setdefault("made", {})
        if space.number not in made:
            made[space.number] = Sidecar(self, self.connection, space, identity=self.identity, kind=self.index)
        return made[space.number]

    def _space_gone(self, spaces: Sequence[Space]) -> None:
        for space in spaces:
            self._sidecar(space).drop()

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
