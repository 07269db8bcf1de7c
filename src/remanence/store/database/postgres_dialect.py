"""What PostgreSQL says in its own way: lists of values, JSON, letters, vectors by pgvector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pgvector import HalfVector

from remanence.store.database.base import Rows, Space, Vectors
from remanence.store.database.conditions import Bound
from remanence.store.database.connection import Connection


class PostgresDialect(Connection):
    """Conditions and values in PostgreSQL's SQL."""

    def among(self, column: str, values: Sequence[Any] | Rows) -> Bound:
        if isinstance(values, np.ndarray):
            return f"{column} = ANY(?)", [values.tolist()]
        return f"{column} = ANY(?)", [[one if isinstance(one, bytes | str) else int(one) for one in values]]

    def metadata_is(self, path: tuple[str, ...], operator: str, value: Any) -> Bound:
        found = "(r.metadata::jsonb" + " -> ?::text" * len(path) + ")"
        place = list(path)
        if value is None:
            return f"({found} #>> '{{}}') IS {'NOT ' if operator != '=' else ''}NULL", place
        if operator == "contains":
            return f"position(lowered(?) IN lowered({found} #>> '{{}}')) > 0", [str(value), *place]
        if operator == "!=":
            text, values = self.metadata_is(path, "=", value)
            return f"NOT coalesce({text}, false)", values
        if isinstance(value, str):
            return (
                f"(jsonb_typeof({found}) = 'string' AND ({found} #>> '{{}}') COLLATE \"C\" {operator} ?)",
                [*place, *place, value],
            )
        number = (
            f"CASE jsonb_typeof({found}) WHEN 'number' THEN ({found} #>> '{{}}')::numeric "
            f"WHEN 'boolean' THEN ({found} #>> '{{}}')::boolean::integer END"
        )
        return f"({number}) {operator} ?::numeric", [
            *place,
            *place,
            *place,
            str(float(value) if value != int(value) else int(value)),
        ]

    def has_tag(self, tag: str) -> Bound:
        return "r.tags::jsonb @> to_jsonb(?::text)", [tag]

    def contains(self, column: str, text: str) -> Bound:
        return f"position(lowered(?) IN lowered({column})) > 0", [text]

    def vector_in(self, vector: Vectors, space: Space) -> Any:
        return HalfVector(vector) if space.precision == "float16" else vector

    def vectors_out(self, found: Sequence[Any], space: Space) -> Vectors:
        if not found:
            return np.zeros((0, space.dimension), dtype=np.float32)
        arrays = [one if isinstance(one, np.ndarray) else one.to_numpy() for one in found]
        return np.stack(arrays).astype(np.float32, copy=False)
