"""The truth in a PostgreSQL database: its own schema, full text by tsvector, vectors by pgvector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from remanence.store.database import postgres_care
from remanence.store.database.base import Rows, Space, Vectors
from remanence.store.database.postgres_connection import PostgresConnection
from remanence.store.database.postgres_nearest import Nearest
from remanence.store.database.postgres_schema import prepare
from remanence.store.database.postgres_search import Search
from remanence.store.database.sql import SqlDatabase
from remanence.store.database.sql_writing import COLUMNS
from remanence.store.record import Removal
from remanence.store.version import StoredVersion
from remanence.store.where import Filter

_COPIED = 50
"""From how many rows on COPY is quicker than a statement each."""


class PostgresDatabase(SqlDatabase):
    """A store in a schema of its own, ``remanence``, of a PostgreSQL database.

    Every thread has its own connection; a forked child opens its own. Those who write take turns, by an
    advisory lock that ends with the transaction: what a transaction has read, such as the version that it
    revises, stays as it was until it commits. Readers wait for nobody.

    Parameters
    ----------
    address:
        ``postgresql://user@host/database``, with whatever parameters libpq takes.
    create:
        Whether the tables are made where there are none.

    Raises
    ------
    UsageError
        If the address cannot be read, or holds no store and none may be made.
    StateError
        If the server cannot be reached, lacks pgvector, or holds something else or a newer store.
    """

    dialect = "postgres"

    def __init__(self, address: str, *, create: bool = True) -> None:
        self.connection: PostgresConnection = PostgresConnection(address)
        try:
            pgvector = prepare(self.connection, create)
        except BaseException:
            self.close()
            raise
        self.connection.know_vectors()
        self.name = self.connection.name
        self.nearest = Nearest(self.connection, pgvector)
        self.search = Search(self.connection, self.nearest)
        self.identity = self.setting("identity") or ""

    # The dialect

    def _next_rows(self, count: int) -> range:
        # The writer's lock makes these contiguous; a sequence never gives a number twice
        found = self.connection.run(
            "SELECT min(number), max(number) FROM (SELECT nextval('records_row') AS number FROM generate_series(1, ?)) n",
            [count],
        )
        first, last = found[0]
        return range(first, last + 1) if first else range(0)

    def _make_space_tables(self, space: Space) -> None:
        kind = "halfvec" if space.precision == "float16" else "vector"
        table = f"vectors_{space.number}"
        self.connection.run(
            f"CREATE TABLE {table} (row_id bigint PRIMARY KEY, vector {kind}({space.dimension}) NOT NULL)"
        )
        if space.dimension * (2 if kind == "halfvec" else 4) < 8000:
            # Beside the row rather than in a table of long values: a scan then needs no look-up for each
            self.connection.run(f"ALTER TABLE {table} ALTER COLUMN vector SET STORAGE PLAIN")

    def _write(self, rows: Sequence[int], versions: Sequence[StoredVersion]) -> None:
        if len(versions) < _COPIED:
            super()._write(rows, versions)
            return
        scopes = self._scope_numbers({stored.scope for stored in versions})
        self.connection.copy(
            f"COPY records ({COLUMNS}) FROM STDIN",
            (self._columns(row, stored, scopes) for row, stored in zip(rows, versions, strict=True)),
        )

    def _queue(self, rows: Sequence[int]) -> None:
        self.connection.run(
            "INSERT INTO queue (space, row_id) SELECT s.space, n.number FROM spaces s, unnest(?::bigint[]) AS n(number)",
            [list(rows)],
        )

    # Search

    def words(self, terms: Sequence[str], k: int, wanted: Filter) -> tuple[Rows, NDArray[np.float32]]:
        return self.search.words(terms, k, wanted)

    def frequencies(self, terms: Sequence[str]) -> list[int]:
        return self.search.frequencies(terms)

    def neighbours_in_order(self, rows: Rows, reach: int, wanted: Filter) -> Rows:
        return self.search.neighbours_in_order(rows, reach, wanted)

    def dense(self, space: Space, query: Vectors, k: int, wanted: Filter) -> tuple[Rows, NDArray[np.float32]]:
        return self.search.dense(space, query, k, wanted)

    def put_vectors(self, space: Space, rows: Rows, vectors: Vectors) -> None:
        super().put_vectors(space, rows, vectors)
        if not self.connection.in_transaction:
            self.nearest.grown(space, rows)

    # Care

    def purge(self, texts: Sequence[str] = ()) -> tuple[dict[str, Removal], str]:
        return postgres_care.purge(self.connection, self.spaces())

    def check(self, repair: bool) -> list[str]:
        return postgres_care.check(self.connection, self.spaces(), repair)

    def statistics(self) -> dict[str, Any]:
        return {**self._counts(), "bytes": postgres_care.sizes(self.connection)}
