"""Finding versions of records in SQL: by id, by row, by a filter, by who stands next to whom."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from remanence.store.database.base import Rows
from remanence.store.database.conditions import condition
from remanence.store.database.sql_vectors import SqlVectors
from remanence.store.version import StoredVersion
from remanence.store.where import Filter

BLOCK = 500
"""Ids that are named in one statement."""

_STORED = (
    "r.row_id, r.id, r.version, s.path, r.kind, r.text, r.speaker, r.source, r.said_at, r.recorded_at, r.replaced_at, "
    "r.valid_from, r.valid_to, r.closed_to, r.strength, r.uses, r.used_at, r.tags, r.metadata, r.parent"
)


class SqlVersions(SqlVectors):
    """What both dialects say alike of versions that are there."""

    def current(self, ids: Sequence[str]) -> list[StoredVersion]:
        found: dict[str, StoredVersion] = {}
        for start in range(0, len(ids), BLOCK):
            text, values = self.connection.among("r.id", [bytes.fromhex(one) for one in ids[start : start + BLOCK]])
            found |= {told.id: told for told in self._versions(f"WHERE {text} AND r.replaced_at IS NULL", values)}
        return [found[one] for one in ids if one in found]

    def history(self, record_id: str) -> list[StoredVersion]:
        return self._versions("WHERE r.id = ? ORDER BY r.version", [bytes.fromhex(record_id)])

    def stored(self, rows: Sequence[int] | Rows) -> list[StoredVersion]:
        if not len(rows):
            return []
        text, values = self.connection.among("r.row_id", np.asarray(rows, dtype=np.int64))
        found = {told.row: told for told in self._versions(f"WHERE {text}", values)}
        return [found[int(row)] for row in rows if int(row) in found]

    def find(
        self, wanted: Filter, limit: int | None = None, *, newest: bool = False, after: int = 0
    ) -> list[StoredVersion]:
        text, values = condition(wanted, self.connection)
        if after:
            text += f" AND r.row_id {'<' if newest else '>'} ?"
            values = [*values, after]
        end = " LIMIT ?" if limit is not None else ""
        order = "DESC" if newest else "ASC"
        return self._versions(
            f"WHERE {text} ORDER BY r.row_id {order}{end}", values if limit is None else [*values, limit]
        )

    def _versions(self, clause: str, values: Sequence[Any]) -> list[StoredVersion]:
        found = []
        for row in self.connection.run(
            f"SELECT {_STORED} FROM records r JOIN scopes s ON s.scope = r.scope {clause}", values
        ):
            fields = list(row)
            fields[1], fields[-1] = bytes(row[1]).hex(), bytes(row[-1]).hex() if row[-1] else None
            found.append(StoredVersion(*fields))
        return found

    # Rows alone

    def matching(self, wanted: Filter) -> Rows:
        text, values = condition(wanted, self.connection)
        found = self.connection.run(f"SELECT r.row_id FROM records r WHERE {text} ORDER BY r.row_id", values)
        return np.fromiter(chain.from_iterable(found), dtype=np.int64, count=len(found))

    def admitted(self, rows: Rows, wanted: Filter) -> Rows:
        if not len(rows):
            return rows
        text, values = condition(wanted, self.connection)
        among, these = self.connection.among("r.row_id", rows)
        found = {
            row
            for (row,) in self.connection.run(
                f"SELECT r.row_id FROM records r WHERE {among} AND {text}", [*these, *values]
            )
        }
        return np.array([row for row in rows.tolist() if row in found], dtype=np.int64)

    def count(self, wanted: Filter) -> int:
        text, values = condition(wanted, self.connection)
        return int(self.connection.run(f"SELECT count(*) FROM records r WHERE {text}", values)[0][0])
