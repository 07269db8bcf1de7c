"""Searching in PostgreSQL: BM25 over tsvectors, and vectors by pgvector, exactly or by HNSW."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from remanence.store.database.base import Rows, Space, Vectors
from remanence.store.database.conditions import condition
from remanence.store.database.postgres_connection import PostgresConnection
from remanence.store.database.postgres_nearest import Nearest
from remanence.store.where import Filter

K1, B = 1.2, 0.75
"""The constants of BM25, as SQLite's FTS5 has them."""

_LARGE = 20_000
"""From how many versions on counts are kept for a while instead of being counted anew for each question."""

_KEPT = 60.0
"""Seconds that they are kept."""

_FIRST = 1000
"""Words that are in so few versions together are looked up at once; more frequent ones wait."""


class Search:
    """What a store in PostgreSQL is searched with."""

    def __init__(self, connection: PostgresConnection, nearest: Nearest) -> None:
        self.connection, self.nearest = connection, nearest
        self._counted: dict[str, tuple[float, int]] = {}
        self._collection: tuple[float, int, float] = (0.0, 0, 1.0)

    # Words

    def lexemes(self, terms: Sequence[str]) -> list[list[str]]:
        """What each term becomes in the index; a term with separators becomes several."""
        return [
            list(found)
            for (found,) in self.connection.run(
                "SELECT tsvector_to_array(words_of(term)) FROM unnest(?::text[]) WITH ORDINALITY AS t(term, place) "
                "ORDER BY place",
                [list(terms)],
            )
        ]

    def frequencies(self, terms: Sequence[str]) -> list[int]:
        asked = self.lexemes(terms)
        counted = self._documents(sorted({lexeme for found in asked for lexeme in found}))
        return [min((counted[lexeme] for lexeme in found), default=0) for found in asked]

    def _documents(self, lexemes: Sequence[str]) -> dict[str, int]:
        """In how many versions each lexeme occurs."""
        present = time.monotonic()
        large = self._size()[0] >= _LARGE
        known = {
            one: self._counted[one][1]
            for one in lexemes
            if large and one in self._counted and present - self._counted[one][0] < _KEPT
        }
        fresh = [one for one in lexemes if one not in known]
        if fresh:
            found = self.connection.run(
                "SELECT (SELECT count(*) FROM records r WHERE r.words @@ query::tsquery) "
                "FROM unnest(?::text[]) WITH ORDINALITY AS q(query, place) ORDER BY place",
                [[_query([one]) for one in fresh]],
            )
            for one, (count,) in zip(fresh, found, strict=True):
                known[one] = int(count)
                self._counted[one] = (present, int(count))
        if len(self._counted) > 100_000:
            self._counted.clear()
        return known

    def _size(self) -> tuple[int, float]:
        """How many versions there are, and how many words they have on average."""
        present = time.monotonic()
        seen, count, length = self._collection
        if count < _LARGE or present - seen > _KEPT:
            estimate = self.connection.run("SELECT reltuples::bigint FROM pg_class WHERE oid = 'records'::regclass")[0][
                0
            ]
            if estimate < _LARGE:
                found = self.connection.run("SELECT count(*), coalesce(avg(length(words)), 1) FROM records")[0]
                count, length = int(found[0]), float(found[1])
            else:
                share = 100 * 5000 / estimate
                found = self.connection.run(
                    "SELECT coalesce(avg(length(words)), 1) FROM records TABLESAMPLE SYSTEM (?)", [min(share, 100.0)]
                )[0]
                count, length = int(estimate), float(found[0])
            self._collection = (present, count, max(length, 1.0))
        return self._collection[1], self._collection[2]

    def words(self, terms: Sequence[str], k: int, wanted: Filter) -> tuple[Rows, NDArray[np.float32]]:
        """The best by BM25, exactly, looking at frequent words only in versions that rarer ones have found.

        A version that holds none of the rarer words scores at most what the frequent ones can give together;
        once the k-th best is above that, no more have to be looked at (MaxScore).

        References
        ----------
        Howard Turtle, James Flood: "Query evaluation: strategies and optimizations" (1995).
        """
        lexemes = sorted({lexeme for found in self.lexemes(terms) for lexeme in found}) if terms else []
        documents = self._documents(lexemes) if lexemes else {}
        lexemes = sorted((one for one in lexemes if documents[one]), key=lambda one: (documents[one], one))
        total, length = self._size()
        weights = [_weight(documents[one], total) for one in lexemes]
        found: list[tuple[Any, ...]] = []
        taken = 0
        while taken < len(lexemes):
            fresh = documents[lexemes[taken]]
            taken += 1
            while taken < len(lexemes) and fresh + documents[lexemes[taken]] <= _FIRST:
                fresh += documents[lexemes[taken]]
                taken += 1
            found = self._best(lexemes, weights, lexemes[:taken], length, k, wanted)
            if len(found) == k and found[-1][1] > (K1 + 1) * sum(weights[taken:]):
                break
        return np.array([row for row, _ in found], dtype=np.int64), np.array([s for _, s in found], dtype=np.float32)

    def _best(
        self, lexemes: list[str], weights: list[float], having: list[str], length: float, k: int, wanted: Filter
    ) -> list[tuple[Any, ...]]:
        text, values = condition(wanted, self.connection)
        return self.connection.run(
            "SELECT r.row_id, b.score FROM records r CROSS JOIN LATERAL (SELECT sum(a.weight * o.times * ? / "
            "(o.times + ? * (? + ? * length(r.words) / ?))) AS score FROM (SELECT u.lexeme, "
            "coalesce(cardinality(u.positions), 1)::float8 AS times FROM unnest(r.words) AS u) o "
            "JOIN unnest(?::text[], ?::float8[]) AS a(lexeme, weight) ON a.lexeme = o.lexeme) b "
            f"WHERE r.words @@ ?::tsquery AND {text} ORDER BY b.score DESC, r.row_id LIMIT ?",
            [K1 + 1, K1, 1 - B, B, length, lexemes, weights, _query(having), *values, k],
        )

    # Order

    def neighbours_in_order(self, rows: Rows, reach: int, wanted: Filter) -> Rows:
        """Four statements for any number of rows, since each is a way to the server and back."""
        found = np.zeros((len(rows), 2 * reach), dtype=np.int64)
        place = {row: number for number, row in enumerate(rows.tolist())}
        filled = np.zeros((len(rows), 2), dtype=np.int64)
        among, these = self.connection.among("a.row_id", rows)
        text, values = condition(wanted, self.connection)
        for same in ("a.source IS NULL AND r.source IS NULL", "r.source = a.source"):
            for side, (sign, order) in enumerate((("<", "DESC"), (">", "ASC"))):
                for row, near in self.connection.run(
                    "SELECT a.row_id, n.row_id FROM records a CROSS JOIN LATERAL (SELECT r.row_id FROM records r "
                    f"WHERE r.scope = a.scope AND {same} AND r.row_id {sign} a.row_id AND {text} "
                    f"ORDER BY r.row_id {order} LIMIT ?) n WHERE {among} ORDER BY a.row_id, n.row_id {order}",
                    [*values, reach, *these],
                ):
                    at = place[row]
                    found[at, side * reach + filled[at, side]] = near
                    filled[at, side] += 1
        return found

    # Vectors

    def dense(self, space: Space, query: Vectors, k: int, wanted: Filter) -> tuple[Rows, NDArray[np.float32]]:
        """The nearest of what a filter admits; unit vectors, so the inner product is the cosine."""
        asked = self.connection.vector_in(np.asarray(query, dtype=np.float32), space)
        found = self.nearest.search(space, asked, k, wanted)
        if found is None:
            found = self._exactly(space, asked, k, wanted)
        return np.array([row for row, _ in found], dtype=np.int64), np.array([s for _, s in found], dtype=np.float32)

    def _exactly(self, space: Space, asked: Any, k: int, wanted: Filter) -> list[tuple[Any, ...]]:
        text, values = condition(wanted, self.connection)
        # A distance plus nothing is what no index is ordered by
        return self.connection.run(
            f"SELECT v.row_id, -(v.vector <#> ?) FROM vectors_{space.number} v JOIN records r ON r.row_id = v.row_id "
            f"WHERE {text} ORDER BY (v.vector <#> ?) + 0, v.row_id LIMIT ?",
            [asked, *values, asked, k],
        )


def _weight(documents: int, total: int) -> float:
    """What a word says about the version that holds it, as FTS5 counts it: next to nothing if half of them do."""
    return max(math.log((max(total - documents, 0) + 0.5) / (documents + 0.5)), 1e-6)


def _query(lexemes: Sequence[str]) -> str:
    """Any of the lexemes, as the text of a tsquery that takes them as they are."""
    return " | ".join("'" + one.replace("\\", "\\\\").replace("'", "''") + "'" for one in lexemes)
