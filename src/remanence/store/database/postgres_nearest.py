"""An approximate index (HNSW) over the vectors of a large space in PostgreSQL, built late and in the background.

Inserting into HNSW is slow, so it is never inserted into: an index covers the rows below a bound, what was written
since is searched exactly, and once that has grown a new index takes the old one's place.
"""

from __future__ import annotations

import re
import threading
import time
from typing import Any

from remanence.errors import RemanenceError
from remanence.store.database.base import Rows, Space
from remanence.store.database.conditions import condition
from remanence.store.database.postgres_connection import PATIENCE, PostgresConnection
from remanence.store.where import EVERYTHING, Filter

LARGE = 50_000
"""Vectors from which an index pays, and written since the last one from which a new one does."""

_KEPT = 30.0
"""Seconds for which it is remembered which index there is, and whether a filter leaves many rows."""

_WIDEST = {"float32": 2000, "float16": 4000}
"""Numbers of a vector that pgvector can index."""

_EXPLORED = 100
_ITERATIVE = (0, 8)
"""The first pgvector that goes on searching where a filter has barred what it found."""


class Nearest:
    """The approximate indexes of a database.

    Parameters
    ----------
    connection, pgvector:
        The way to it, and the version of the extension there.
    large:
        Vectors from which an index pays.
    """

    def __init__(self, connection: PostgresConnection, pgvector: tuple[int, ...], large: int = LARGE) -> None:
        self.connection, self.pgvector, self.large = connection, pgvector, large
        self._bounds: dict[int, tuple[float, int]] = {}
        self._many: dict[str, tuple[float, bool]] = {}
        self._building: threading.Thread | None = None

    # Reading

    def search(self, space: Space, asked: Any, k: int, wanted: Filter) -> list[tuple[int, float]] | None:
        """The nearest rows with their scores; None where exact search is the better, or the only, way."""
        if not wanted.plain or wanted.where != EVERYTHING or self.pgvector < _ITERATIVE:
            return None
        bound = self.bound(space)
        if not bound or not self._leaves_many(wanted):
            return None
        self.connection.run(
            "SELECT set_config('hnsw.ef_search', ?, false), set_config('hnsw.iterative_scan', 'strict_order', false)",
            [str(min(1000, max(_EXPLORED, 2 * k)))],
        )
        text, values = condition(wanted, self.connection)
        # The bound stands in the statement itself, or the planner could not tell that the index covers it
        part = (
            f"(SELECT v.row_id, v.vector <#> ? AS distance FROM vectors_{space.number} v "
            f"JOIN records r ON r.row_id = v.row_id WHERE v.row_id {{}} {bound} AND {text} "
            "ORDER BY v.vector <#> ? LIMIT ?)"
        )
        bindings = [asked, *values, asked, k]
        found = self.connection.run(
            f"SELECT row_id, -distance FROM ({part.format('<')} UNION ALL {part.format('>=')}) near "
            "ORDER BY distance, row_id LIMIT ?",
            [*bindings, *bindings, k],
        )
        return [(row, score) for row, score in found] if len(found) == k else None

    def bound(self, space: Space) -> int:
        """The row below which an index covers the space's vectors; 0 where there is none."""
        seen, bound = self._bounds.get(space.number, (0.0, 0))
        if time.monotonic() - seen > _KEPT or space.number not in self._bounds:
            bound = max((at for at, valid in self._indexes(space) if valid), default=0)
            self._bounds[space.number] = (time.monotonic(), bound)
        return bound

    def _indexes(self, space: Space) -> list[tuple[int, bool]]:
        """The bounds of the indexes that are there, and whether each is whole."""
        found = self.connection.run(
            "SELECT c.relname, i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
            "WHERE i.indrelid = to_regclass(?)",
            [f"remanence.vectors_{space.number}"],
        )
        named = [(re.fullmatch(rf"vectors_{space.number}_nearest_(\d+)", name), valid) for name, valid in found]
        return [(int(match[1]), valid) for match, valid in named if match]

    def _leaves_many(self, wanted: Filter) -> bool:
        key = wanted.key
        seen, many = self._many.get(key, (0.0, False))
        if time.monotonic() - seen > _KEPT or key not in self._many:
            text, values = condition(wanted, self.connection)
            found = self.connection.run(
                f"SELECT count(*) FROM (SELECT 1 FROM records r WHERE {text} LIMIT ?) few", [*values, self.large]
            )
            many = found[0][0] >= self.large
            if len(self._many) > 1000:
                self._many.clear()
            self._many[key] = (time.monotonic(), many)
        return many

    # Building

    def grown(self, space: Space, rows: Rows) -> None:
        """Vectors were written: begin to build an index if there are enough beyond the last one."""
        if not len(rows) or int(rows.max()) - self.bound(space) < self.large:
            return
        if self._building is not None and self._building.is_alive():
            return
        self._building = threading.Thread(
            target=self._build_quietly, args=(space,), name="remanence-nearest", daemon=True
        )
        self._building.start()

    def _build_quietly(self, space: Space) -> None:
        try:
            self.build(space)
        except RemanenceError:
            return  # reading goes on exactly, the next growth tries again, and doctor tells of what was left half made

    def build(self, space: Space) -> bool:
        """Build an index over everything there is now, unless another process is at it; whether one was built."""
        if space.dimension > _WIDEST[space.precision]:
            return False
        if not self.connection.run("SELECT pg_try_advisory_lock(?, ?)", [_BUILDING, space.number])[0][0]:
            return False
        table = f"vectors_{space.number}"
        try:
            self.connection.run("SELECT set_config('lock_timeout', '0', false)")
            old = self._indexes(space)
            last = self.connection.run(f"SELECT coalesce(max(row_id), 0) FROM {table}")[0][0] + 1
            covered = max((at for at, valid in old if valid), default=0)
            fresh = self.connection.run(f"SELECT count(*) FROM {table} WHERE row_id >= ?", [covered])[0][0]
            if fresh < self.large:
                return False
            for at, valid in old:
                if not valid:
                    self.connection.run(f"DROP INDEX IF EXISTS {table}_nearest_{at}")
            kind = "halfvec_ip_ops" if space.precision == "float16" else "vector_ip_ops"
            self.connection.run(
                f"CREATE INDEX CONCURRENTLY {table}_nearest_{last} ON {table} USING hnsw (vector {kind}) "
                f"WHERE row_id < {last}"
            )
            for at, valid in old:
                if valid:
                    self.connection.run(f"DROP INDEX CONCURRENTLY IF EXISTS {table}_nearest_{at}")
            self._bounds.pop(space.number, None)
            return True
        finally:
            self.connection.run("SELECT pg_advisory_unlock(?, ?)", [_BUILDING, space.number])
            self.connection.run("SELECT set_config('lock_timeout', ?, false)", [f"{PATIENCE}s"])


_BUILDING = 0x52454E49
"""With a space's number, the advisory lock of the one that builds its index."""
