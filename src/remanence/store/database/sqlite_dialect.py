"""What SQLite says in its own way: lists of values, JSON, letters, vectors as blobs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from remanence.store.database.base import Rows, Space, Vectors
from remanence.store.database.conditions import Bound
from remanence.store.database.connection import Connection


class SqliteDialect(Connection):
    """Conditions and values in SQLite's SQL."""

    def among(self, column: str, values: Sequence[Any] | Rows) -> Bound:
        if len(values) and isinstance(values[0], bytes):
            return f"{column} IN ({', '.join('?' * len(values))})", list(values)
        listed = values.tolist() if isinstance(values, np.ndarray) else list(values)
        return f"{column} IN (SELECT value FROM json_each(?))", [json.dumps(listed)]

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

    def vector_in(self, vector: Vectors, space: Space) -> bytes:
        return vector.astype(space.precision).tobytes()

    def vectors_out(self, found: Sequence[Any], space: Space) -> Vectors:
        flat = np.frombuffer(b"".join(found), dtype=space.precision)
        return flat.reshape(len(found), space.dimension).astype(np.float32, copy=False)


def lowered(value: str | float | None) -> str | None:
    """The function `lowered` of SQL: lower case in all alphabets."""
    return None if value is None else str(value).lower()
