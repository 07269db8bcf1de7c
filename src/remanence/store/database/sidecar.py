"""The dense index beside a SQLite store: kept up to date from the database, dropped and made anew when it is not."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from remanence.errors import StateError
from remanence.store.database.base import Database, Rows, Space, Vectors
from remanence.store.database.sqlite_connection import SqliteConnection
from remanence.store.index.dense import DenseIndex
from remanence.store.index.spann import Spann
from remanence.store.where import EVERYTHING, Filter

REFINED = 40
"""How many of the index's best are compared again by their whole vectors: at least so many, and 30 more than asked for."""

APPROXIMATE_FROM = 150_000
"""Vectors from which an approximate index pays; see docs/store-index.md for how that was measured."""

INDEXES = ("ivf", "spann")
"""How the vectors of a large store may be searched: by an inverted file, or by SPANN's posting lists."""

FORMER_NAMES = {"lists": "ivf"}
"""What indexes were called before, and are still opened by."""

_BLOCK = 20_000


class Sidecar:
    """One space's index.

    The database logs which rows gained or lost a vector; the index takes the log over, says durably how far,
    and only then is the log cut. Where the index knows less than what was cut, it is made anew.

    Parameters
    ----------
    database, connection:
        The truth, and the way to its file.
    space:
        Whose vectors.
    identity:
        The store's own: an index of another store's vectors is stale.
    kind:
        One of `INDEXES`.
    """

    def __init__(
        self, database: Database, connection: SqliteConnection, space: Space, *, identity: str, kind: str
    ) -> None:
        self.database, self.connection, self.space = database, connection, space
        folder = connection.path.with_name(f"{connection.path.name}-index") / str(space.number)
        spann = Spann() if kind == "spann" else None
        self.index = DenseIndex(folder, space.dimension, f"{identity} {space.name}", spann=spann)

    def search(self, query: Vectors, k: int, wanted: Filter) -> tuple[Rows, NDArray[np.float32]]:
        """The nearest current versions that a filter admits, by their whole vectors."""
        self.apply_log()
        rows = None if self._all(wanted) else self.database.matching(wanted)
        if rows is not None and not len(rows):
            return rows, np.zeros(0, dtype=np.float32)
        size = max(REFINED, k + 30)
        while True:
            with self._usable():
                near, _ = self.index.search(query, size, rows)
            # the index holds every current version; those whose time is over, or not yet come, go here
            good = near if rows is not None else self.database.admitted(near, wanted)
            if len(good) >= k or len(near) < size:
                break
            size *= 4
        numbers, vectors = self.database.vectors(self.space, good)
        scores = vectors @ query
        best = np.argsort(-scores, kind="stable")[:k]
        return numbers[best], scores[best]

    def _all(self, wanted: Filter) -> bool:
        """Whether a filter leaves every current version in, but for its time."""
        if wanted.where != EVERYTHING:
            return False
        return wanted.scope is None or self.database.holds_scope(wanted.scope, only=True)

    @contextmanager
    def _usable(self) -> Iterator[None]:
        """What the system says of the index's files, in a sentence."""
        try:
            yield
        except OSError as error:
            raise StateError(
                f"the index {self.index.folder} cannot be used ({error.strerror}): free space, give the right to write "
                "there, or run 'remanence store doctor'; the store itself is whole"
            ) from None

    def apply_log(self) -> None:
        """Take over what the database logged since the last time."""
        with self._usable():
            self._apply_log()

    def _apply_log(self) -> None:
        cut, logged = self._log()
        if self.index.stale or self.index.applied < cut:
            self.rebuild()
            _, logged = self._log()
        while logged:
            last = logged[-1][0]
            rows = np.unique(np.array([row for _, row in logged], dtype=np.int64))
            here, vectors = self._current(rows)
            self.index.apply(here, vectors, np.setdiff1d(rows, here), applied=last)
            self._cut_log(last)
            _, logged = self._log() if len(logged) == _BLOCK else (last, [])

    def _log(self) -> tuple[int, list[tuple[int, int]]]:
        """How far the log was cut, and the next of it that the index has not taken over: numbers and rows."""
        found = self.connection.run(
            "SELECT cut.value, c.number, c.row_id FROM (SELECT (SELECT value FROM settings WHERE name = ?) AS value) cut "
            "LEFT JOIN (SELECT number, row_id FROM changes WHERE space = ? AND number > ? ORDER BY number LIMIT ?) c "
            "ON 1=1 ORDER BY c.number",
            [self._cut_name, self.space.number, self.index.applied, _BLOCK],
        )
        return int(found[0][0] or 0), [(number, row) for _, number, row in found if number is not None]

    @property
    def _cut_name(self) -> str:
        return f"log cut {self.space.number}"

    def _cut_log(self, upto: int) -> None:
        with self.connection.transaction():
            if upto > int(self.database.setting(self._cut_name) or 0):
                self.database.set_setting(self._cut_name, str(upto))
            self.connection.run("DELETE FROM changes WHERE space = ? AND number <= ?", [self.space.number, upto])

    def _current(self, rows: Rows) -> tuple[Rows, Vectors]:
        among, values = self.connection.among("row_id", rows)
        now = self.connection.run(f"SELECT row_id FROM records WHERE {among} AND replaced_at IS NULL", values)
        return self.database.vectors(self.space, np.array([row for (row,) in now], dtype=np.int64))

    def rebuild(self) -> None:
        """Make the index anew from the vectors in the database."""
        logged = self.connection.run("SELECT seq FROM sqlite_sequence WHERE name = 'changes'")
        upto = int(logged[0][0]) if logged else 0
        with self._usable():
            self.index.rebuild(self._blocks(), applied=upto)
        self._cut_log(upto)

    def _blocks(self) -> Iterator[tuple[Rows, Vectors]]:
        after = 0
        while True:
            found = self.connection.run(
                f"SELECT v.row_id, v.vector FROM vectors_{self.space.number} v JOIN records r ON r.row_id = v.row_id "
                "WHERE v.row_id > ? AND r.replaced_at IS NULL ORDER BY v.row_id LIMIT ?",
                [after, _BLOCK],
            )
            if not found:
                return
            after = found[-1][0]
            rows = np.fromiter((row for row, _ in found), dtype=np.int64, count=len(found))
            yield rows, self.connection.vectors_out([vector for _, vector in found], self.space)

    def optimize(self, progress: Callable[[int, int], None] | None = None) -> bool:
        """Put a large store's vectors in lists, or again where many were added since; whether there was any to do."""
        self.apply_log()
        if len(self.index) < APPROXIMATE_FROM or self.index.approximate.state == "ready":
            return False
        told = None if progress is None else lambda what, share: progress(round(100 * share), 100)
        with self._usable():
            return self.index.build_approximate(told)

    def purge(self) -> bool:
        """Let no file hold what was removed; whether that is done."""
        try:
            self.apply_log()
            with self._usable():
                return not self.index.purge()
        except StateError:
            return False

    def check(self, repair: bool) -> list[str]:
        """Whether the index agrees with the database, once it has caught up."""
        place = self.index.folder.parent
        misplaced = place.is_symlink() or (place.exists() and not place.is_dir())
        if misplaced and repair:
            place.unlink()
        with self._usable():
            stale = misplaced or self.index.stale
        if not stale:
            self.apply_log()
            held = self.index.rows()
            wanted = np.fromiter(
                (
                    row
                    for (row,) in self.connection.run(
                        f"SELECT v.row_id FROM vectors_{self.space.number} v JOIN records r ON r.row_id = v.row_id "
                        "WHERE r.replaced_at IS NULL ORDER BY v.row_id"
                    )
                ),
                dtype=np.int64,
            )
            if np.array_equal(held, wanted):
                return []
        if repair:
            self.rebuild()
        what = "is torn or foreign" if stale else "disagrees with the vectors in the database"
        return [f"the dense index {what}" + (": made anew" if repair else ": run doctor to make it anew")]

    def drop(self) -> None:
        """Remove the files; other processes that map them make an index of their own space anew."""
        self.index.close()
        shutil.rmtree(self.index.folder, ignore_errors=True)

    def close(self) -> None:
        self.index.close()
