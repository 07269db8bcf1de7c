"""Spaces, their vectors, and the queue of texts that still lack one, in SQL; and the settings of a store."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager

import numpy as np

from remanence.errors import UsageError
from remanence.store.database.base import Database, Rows, Space, Vectors
from remanence.store.database.conditions import condition
from remanence.store.database.connection import Connection
from remanence.store.where import Filter


class SqlVectors(Database):
    """What both dialects say alike of vectors. The only names put into a statement are those of a space's tables,
    which end in a number."""

    connection: Connection

    def close(self) -> None:
        self.connection.close()

    def transaction(self) -> AbstractContextManager[None]:
        return self.connection.transaction()

    # What a dialect provides

    @abstractmethod
    def _make_space_tables(self, space: Space) -> None: ...

    def _vectors_changed(self, space: Space, rows: Rows | Sequence[int], present: bool) -> None:
        """Note that rows gained or lost a vector that may be searched; only inside a transaction."""

    def _space_gone(self, spaces: Sequence[Space]) -> None:
        """Drop what stands beside the database for spaces that are about to go."""

    # Settings

    def setting(self, key: str) -> str | None:
        found = self.connection.run("SELECT value FROM settings WHERE name = ?", [key])
        return found[0][0] if found else None

    def set_setting(self, key: str, value: str | None) -> None:
        with self.transaction():
            self.connection.run("DELETE FROM settings WHERE name = ?", [key])
            if value is not None:
                self.connection.run("INSERT INTO settings (name, value) VALUES (?, ?)", [key, value])

    # Spaces

    def spaces(self) -> list[Space]:
        found = self.connection.run("SELECT space, name, dimension, precision, serving FROM spaces ORDER BY space")
        return [
            Space(number, name, dimension, precision, bool(serving))
            for number, name, dimension, precision, serving in found
        ]

    def add_space(self, name: str, dimension: int, precision: str, *, serving: bool) -> Space:
        with self.transaction():
            made = self.connection.run(
                "INSERT INTO spaces (name, dimension, precision, serving) VALUES (?, ?, ?, ?) RETURNING space",
                [name, dimension, precision, int(serving)],
            )
            space = Space(made[0][0], name, dimension, precision, serving)
            self._make_space_tables(space)
            self.connection.run("INSERT INTO queue (space, row_id) SELECT ?, row_id FROM records", [space.number])
        return space

    def serve(self, space: Space) -> None:
        with self.transaction():
            self._space_gone([other for other in self.spaces() if other.number != space.number])
            for other in self.spaces():
                if other.number != space.number:
                    self.connection.run("DELETE FROM queue WHERE space = ?", [other.number])
                    self.connection.run(f"DROP TABLE vectors_{other.number}")
                    self.connection.run("DELETE FROM spaces WHERE space = ?", [other.number])
            self.connection.run("UPDATE spaces SET serving = 1 WHERE space = ?", [space.number])

    # The queue, and vectors

    def queued(self, space: Space, limit: int, wanted: Filter | None = None) -> list[tuple[int, str]]:
        text, values = condition(wanted, self.connection) if wanted else ("1=1", [])
        found = self.connection.run(
            "SELECT q.row_id, r.text FROM queue q JOIN records r ON r.row_id = q.row_id "
            f"WHERE q.space = ? AND {text} ORDER BY q.row_id LIMIT ?",
            [space.number, *values, limit],
        )
        return [(row, told) for row, told in found]

    def queue_length(self, space: Space, wanted: Filter | None = None) -> int:
        if wanted is None:
            return int(self.connection.run("SELECT count(*) FROM queue WHERE space = ?", [space.number])[0][0])
        text, values = condition(wanted, self.connection)
        return int(
            self.connection.run(
                f"SELECT count(*) FROM queue q JOIN records r ON r.row_id = q.row_id WHERE q.space = ? AND {text}",
                [space.number, *values],
            )[0][0]
        )

    def put_vectors(self, space: Space, rows: Rows, vectors: Vectors) -> None:
        if vectors.shape != (len(rows), space.dimension):
            raise UsageError(
                f"vectors of the shape {vectors.shape} were given for {len(rows)} records of the space {space.name!r}, "
                f"expected ({len(rows)}, {space.dimension}): encode with the store's own encoder"
            )
        with self.transaction():
            among, values = self.connection.among("row_id", rows)
            here = dict(self.connection.run(f"SELECT row_id, replaced_at FROM records WHERE {among}", values))
            kept = [(row, vector) for row, vector in zip(rows.tolist(), vectors, strict=True) if row in here]
            self.connection.run_many(
                f"INSERT INTO vectors_{space.number} (row_id, vector) VALUES (?, ?) "
                "ON CONFLICT (row_id) DO UPDATE SET vector = excluded.vector",
                [(row, self.connection.vector_in(vector, space)) for row, vector in kept],
            )
            self.connection.run(f"DELETE FROM queue WHERE space = ? AND {among}", [space.number, *values])
            self._vectors_changed(space, [row for row, _ in kept if here[row] is None], present=True)

    def vectors(self, space: Space, rows: Rows) -> tuple[Rows, Vectors]:
        if not len(rows):
            return rows, np.zeros((0, space.dimension), dtype=np.float32)
        among, values = self.connection.among("row_id", rows)
        found = self.connection.run(
            f"SELECT row_id, vector FROM vectors_{space.number} WHERE {among} ORDER BY row_id", values
        )
        numbers = np.fromiter((row for row, _ in found), dtype=np.int64, count=len(found))
        return numbers, self.connection.vectors_out([vector for _, vector in found], space)
