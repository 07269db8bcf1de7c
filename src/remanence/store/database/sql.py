"""What SQLite and PostgreSQL say alike: records, versions, scopes, links, spaces and the queue in SQL."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np

from remanence.errors import UsageError
from remanence.store.database.base import Database, Rows, Space, Vectors, scope_setting
from remanence.store.database.conditions import Bound, condition, scope_condition
from remanence.store.draft import Draft
from remanence.store.record import Link
from remanence.store.times import moment
from remanence.store.version import StoredVersion, version_of
from remanence.store.where import Filter

COLUMNS = (
    "row_id, id, version, scope, kind, text, speaker, source, said_at, recorded_at, replaced_at, valid_from, valid_to, "
    "closed_to, strength, uses, used_at, tags, metadata, parent"
)
_TOLD = (
    "r.row_id, r.id, r.version, s.path, r.kind, r.text, r.speaker, r.source, r.said_at, r.recorded_at, r.replaced_at, "
    "r.valid_from, r.valid_to, r.closed_to, r.strength, r.uses, r.used_at, r.tags, r.metadata, r.parent"
)
_FROM = "FROM records r JOIN scopes s ON s.scope = r.scope"
_BLOCK = 500
_SCOPES = 100
"""How many scopes are asked for their speakers one by one."""


class SqlDatabase(Database):
    """Everything that both dialects share. A dialect says how to connect, search and purge.

    Statements are written with ``?``; values are always bound. The only names put into a statement are
    those of a space's tables, which end in a number.
    """

    # What a dialect provides

    @abstractmethod
    def _run(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows."""

    @abstractmethod
    def _run_many(self, statement: str, values: Iterable[Sequence[Any]]) -> None: ...

    @abstractmethod
    def _next_rows(self, count: int) -> range:
        """Fresh row numbers; only inside a transaction."""

    @abstractmethod
    def _among(self, column: str, values: Sequence[Any] | Rows) -> Bound:
        """That a column holds one of many values."""

    @abstractmethod
    def metadata_is(self, path: tuple[str, ...], operator: str, value: Any) -> Bound: ...

    @abstractmethod
    def has_tag(self, tag: str) -> Bound: ...

    @abstractmethod
    def contains(self, column: str, text: str) -> Bound: ...

    @abstractmethod
    def _make_space_tables(self, space: Space) -> None: ...

    @abstractmethod
    def _vector_in(self, vector: Vectors, space: Space) -> Any:
        """A vector as the database takes it."""

    @abstractmethod
    def _vectors_out(self, found: Sequence[Any], space: Space) -> Vectors:
        """Several vectors as the database gives them, (n, dimension)."""

    def _vectors_changed(self, space: Space, rows: Rows | Sequence[int], present: bool) -> None:
        """Note that rows gained or lost a vector that may be searched; only inside a transaction."""

    def _space_gone(self, spaces: Sequence[Space]) -> None:
        """Drop what stands beside the database for spaces that are about to go."""

    # Settings

    def setting(self, key: str) -> str | None:
        found = self._run("SELECT value FROM settings WHERE name = ?", [key])
        return found[0][0] if found else None

    def set_setting(self, key: str, value: str | None) -> None:
        with self.transaction():
            self._run("DELETE FROM settings WHERE name = ?", [key])
            if value is not None:
                self._run("INSERT INTO settings (name, value) VALUES (?, ?)", [key, value])

    # Records

    def _scope_numbers(self, paths: Iterable[str]) -> dict[str, int]:
        numbers = {}
        for path in paths:
            found = self._run("SELECT scope FROM scopes WHERE path = ?", [path])
            if not found:
                found = self._run("INSERT INTO scopes (path) VALUES (?) RETURNING scope", [path])
            numbers[path] = found[0][0]
        return numbers

    def insert(self, drafts: Sequence[Draft], recorded_at: int) -> list[int]:
        return self._insert([version_of(draft, recorded_at) for draft in drafts])

    def restore(self, versions: Sequence[StoredVersion]) -> None:
        with self.transaction():
            self._insert(versions)
            ids = list(dict.fromkeys(told.id for told in versions))
            for start in range(0, len(ids), _BLOCK):
                text, values = self._among("id", [bytes.fromhex(one) for one in ids[start : start + _BLOCK]])
                twice = self._run(
                    f"SELECT id FROM records WHERE {text} AND replaced_at IS NULL GROUP BY id HAVING count(*) > 1 LIMIT 1",
                    values,
                )
                if twice:
                    raise UsageError(
                        f"the id {bytes(twice[0][0]).hex()} is taken: versions of one record cannot be mixed into another"
                    )

    def _insert(self, versions: Sequence[StoredVersion]) -> list[int]:
        with self.transaction():
            rows = self._next_rows(len(versions))
            self._refuse_used([told.id for told in versions if told.version == 1])
            self._write(rows, versions)
            self._queue(rows)
        return list(rows)

    def _refuse_used(self, ids: Sequence[str]) -> None:
        if len(set(ids)) < len(ids):
            raise UsageError("two of the records have the same id: give each its own, or none")
        for start in range(0, len(ids), _BLOCK):
            text, values = self._among("id", [bytes.fromhex(one) for one in ids[start : start + _BLOCK]])
            used = self._run(f"SELECT id FROM records WHERE {text} LIMIT 1", values)
            if used:
                raise UsageError(
                    f"the id {bytes(used[0][0]).hex()} is taken: use revise to write a new version of that record"
                )

    def _write(self, rows: Sequence[int], versions: Sequence[StoredVersion]) -> None:
        scopes = self._scope_numbers({told.scope for told in versions})
        marks = ", ".join("?" * (COLUMNS.count(",") + 1))
        self._run_many(
            f"INSERT INTO records ({COLUMNS}) VALUES ({marks})",
            (self._columns(row, told, scopes) for row, told in zip(rows, versions, strict=True)),
        )

    @staticmethod
    def _columns(row: int, told: StoredVersion, scopes: Mapping[str, int]) -> tuple[Any, ...]:
        return (
            row,
            bytes.fromhex(told.id),
            told.version,
            scopes[told.scope],
            told.kind,
            told.text,
            told.speaker,
            told.source,
            told.said_at,
            told.recorded_at,
            told.replaced_at,
            told.valid_from,
            told.valid_to,
            told.closed_to,
            told.strength,
            told.uses,
            told.used_at,
            told.tags,
            told.metadata,
            bytes.fromhex(told.parent) if told.parent else None,
        )

    def _queue(self, rows: Sequence[int]) -> None:
        for space in self.spaces():
            self._run_many("INSERT INTO queue (space, row_id) VALUES (?, ?)", [(space.number, row) for row in rows])

    def replace(self, old: StoredVersion, new: Draft, at: int, closed_to: int) -> int:
        with self.transaction():
            row = self._next_rows(1)[0]
            self._run(
                "UPDATE records SET replaced_at = ?, closed_to = ? WHERE row_id = ?",
                [at, closed_to if old.valid_to is None else min(closed_to, old.valid_to), old.row],
            )
            self._write([row], [replace(version_of(new, at, old.version + 1), uses=old.uses, used_at=old.used_at)])
            self._queue([row])
            for space in self.spaces():
                self._vectors_changed(space, [old.row], present=False)
        return row

    def _tell(self, clause: str, values: Sequence[Any]) -> list[StoredVersion]:
        found = []
        for row in self._run(f"SELECT {_TOLD} {_FROM} {clause}", values):
            fields = list(row)
            fields[1], fields[-1] = bytes(row[1]).hex(), bytes(row[-1]).hex() if row[-1] else None
            found.append(StoredVersion(*fields))
        return found

    def current(self, ids: Sequence[str]) -> list[StoredVersion]:
        found: dict[str, StoredVersion] = {}
        for start in range(0, len(ids), _BLOCK):
            text, values = self._among("r.id", [bytes.fromhex(one) for one in ids[start : start + _BLOCK]])
            found |= {told.id: told for told in self._tell(f"WHERE {text} AND r.replaced_at IS NULL", values)}
        return [found[one] for one in ids if one in found]

    def history(self, record_id: str) -> list[StoredVersion]:
        return self._tell("WHERE r.id = ? ORDER BY r.version", [bytes.fromhex(record_id)])

    def stored(self, rows: Sequence[int] | Rows) -> list[StoredVersion]:
        if not len(rows):
            return []
        text, values = self._among("r.row_id", np.asarray(rows, dtype=np.int64))
        found = {told.row: told for told in self._tell(f"WHERE {text}", values)}
        return [found[int(row)] for row in rows if int(row) in found]

    def find(
        self, wanted: Filter, limit: int | None = None, *, newest: bool = False, after: int = 0
    ) -> list[StoredVersion]:
        text, values = condition(wanted, self)
        if after:
            text += f" AND r.row_id {'<' if newest else '>'} ?"
            values = [*values, after]
        end = " LIMIT ?" if limit is not None else ""
        order = "DESC" if newest else "ASC"
        return self._tell(f"WHERE {text} ORDER BY r.row_id {order}{end}", values if limit is None else [*values, limit])

    def matching(self, wanted: Filter) -> Rows:
        text, values = condition(wanted, self)
        found = self._run(f"SELECT r.row_id FROM records r WHERE {text} ORDER BY r.row_id", values)
        return np.fromiter(chain.from_iterable(found), dtype=np.int64, count=len(found))

    def admitted(self, rows: Rows, wanted: Filter) -> Rows:
        if not len(rows):
            return rows
        text, values = condition(wanted, self)
        among, these = self._among("r.row_id", rows)
        found = {
            row for (row,) in self._run(f"SELECT r.row_id FROM records r WHERE {among} AND {text}", [*these, *values])
        }
        return np.array([row for row in rows.tolist() if row in found], dtype=np.int64)

    def count(self, wanted: Filter) -> int:
        text, values = condition(wanted, self)
        return int(self._run(f"SELECT count(*) FROM records r WHERE {text}", values)[0][0])

    def neighbours_in_order(self, rows: Rows, reach: int, wanted: Filter) -> Rows:
        found = np.zeros((len(rows), 2 * reach), dtype=np.int64)
        text, values = condition(wanted, self)
        places = {told.row: told for told in self.stored(rows)}
        known: dict[tuple[int, str], list[int]] = {}
        for place, row in enumerate(rows.tolist()):
            told = places.get(row)
            if told is None:
                continue
            for side, (sign, order) in enumerate((("<", "DESC"), (">", "ASC"))):
                same = "r.source IS NULL" if told.source is None else "r.source = ?"
                near = self._run(
                    f"SELECT r.row_id FROM records r JOIN scopes p ON p.scope = r.scope WHERE p.path = ? AND {same} "
                    f"AND r.row_id {sign} ? AND {text} ORDER BY r.row_id {order} LIMIT ?",
                    [told.scope, *([] if told.source is None else [told.source]), row, *values, reach],
                )
                known[row, order] = [n for (n,) in near]
                found[place, side * reach : side * reach + len(near)] = known[row, order]
        return found

    def adjust(
        self, rows: Sequence[int], *, strength: Sequence[float] | None = None, used_at: int | None = None
    ) -> None:
        with self.transaction():
            if strength is not None:
                self._run_many(
                    "UPDATE records SET strength = ? WHERE row_id = ?", list(zip(strength, rows, strict=True))
                )
            if used_at is not None:
                self._run_many(
                    "UPDATE records SET uses = uses + 1, used_at = ? WHERE row_id = ?", [(used_at, row) for row in rows]
                )

    def made_from(self, ids: Sequence[str]) -> list[str]:
        known, fresh = set(ids), list(ids)
        found: list[str] = []
        while fresh:
            below: list[str] = []
            for start in range(0, len(fresh), _BLOCK):
                keys = [bytes.fromhex(one) for one in fresh[start : start + _BLOCK]]
                parent, values = self._among("parent", keys)
                target, bound = self._among("target", keys)
                rows = self._run(
                    f"SELECT id FROM records WHERE {parent} UNION "
                    f"SELECT source FROM links WHERE relation = 'made from' AND {target}",
                    [*values, *bound],
                )
                below += [bytes(one).hex() for (one,) in rows]
            fresh = [one for one in dict.fromkeys(below) if one not in known]
            known |= set(fresh)
            found += fresh
        return found

    def delete(self, ids: Sequence[str], fingerprints: Iterable[str] = ()) -> int:
        gone = 0
        with self.transaction():
            for start in range(0, len(ids), _BLOCK):
                keys = [bytes.fromhex(one) for one in ids[start : start + _BLOCK]]
                text, values = self._among("id", keys)
                rows = [row for (row,) in self._run(f"SELECT row_id FROM records WHERE {text}", values)]
                if not rows:
                    continue
                gone += len(rows)
                here, numbers = self._among("row_id", np.array(rows, dtype=np.int64))
                for space in self.spaces():
                    self._vectors_changed(space, rows, present=False)
                    self._run(f"DELETE FROM vectors_{space.number} WHERE {here}", numbers)
                self._run(f"DELETE FROM queue WHERE {here}", numbers)
                for end in ("source", "target"):
                    touching, bound = self._among(end, keys)
                    self._run(f"DELETE FROM links WHERE {touching}", bound)
                self._run(f"DELETE FROM records WHERE {here}", numbers)
            self._drop_empty_scopes()
            if gone:
                self._run_many(
                    "INSERT INTO purges (fingerprint) VALUES (?)",
                    [(one,) for one in dict.fromkeys(["", *fingerprints])],
                )
        return gone

    def _drop_empty_scopes(self) -> None:
        """A scope may be a person's name: it goes with its last record, and so does what was noted about it."""
        gone = self._run(
            "DELETE FROM scopes WHERE NOT EXISTS (SELECT 1 FROM records r WHERE r.scope = scopes.scope) RETURNING path"
        )
        ends = tuple(scope_setting("", path) for (path,) in gone)
        if ends:
            names = [name for (name,) in self._run("SELECT name FROM settings") if name.endswith(ends)]
            self._run_many("DELETE FROM settings WHERE name = ?", [(name,) for name in names])

    def scopes(self) -> list[str]:
        return [path for (path,) in self._run("SELECT path FROM scopes ORDER BY path")]

    def holds_scope(self, scope: str, *, only: bool = False) -> bool:
        text, values = scope_condition(Filter(scope))
        found = self._run(f"SELECT 1 FROM scopes r WHERE {'NOT ' if only else ''}{text} LIMIT 1", values)
        return bool(found) is not only

    def speakers(self, wanted: Filter, limit: int) -> list[str]:
        text, values = scope_condition(wanted)
        scopes = self._run(f"SELECT r.scope FROM scopes r WHERE {text or '1=1'} LIMIT ?", [*values, _SCOPES + 1])
        if len(scopes) > _SCOPES:
            return []
        found: dict[str, None] = {}
        for (scope,) in scopes:
            # each step looks up the next speaker in the index, however many records the one before has
            named = self._run(
                "WITH RECURSIVE s(speaker) AS (SELECT min(speaker) FROM records WHERE scope = ? AND speaker IS NOT NULL UNION ALL "
                "SELECT (SELECT min(speaker) FROM records WHERE scope = ? AND speaker > s.speaker) FROM s "
                "WHERE s.speaker IS NOT NULL) SELECT speaker FROM s WHERE speaker IS NOT NULL LIMIT ?",
                [scope, scope, limit],
            )
            found |= dict.fromkeys(speaker for (speaker,) in named)
        return list(found)[:limit]

    # Links

    def link(self, links: Sequence[Link], at: int) -> None:
        with self.transaction():
            ends = sorted({end for link in links for end in (link.source, link.target)})
            known = {told.id for told in self.current(ends)}
            for end in ends:
                if end not in known:
                    raise UsageError(f"there is no record {end} to link: write it first, or look for its id with list")
            self._run_many(
                "INSERT INTO links (source, target, relation, weight, made_at) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (source, target, relation) DO UPDATE SET weight = excluded.weight",
                [
                    (bytes.fromhex(link.source), bytes.fromhex(link.target), link.relation, link.weight, at)
                    for link in links
                ],
            )

    def unlink(self, links: Sequence[Link]) -> int:
        gone = 0
        with self.transaction():
            for link in links:
                gone += len(
                    self._run(
                        "DELETE FROM links WHERE source = ? AND target = ? AND relation = ? RETURNING 1",
                        [bytes.fromhex(link.source), bytes.fromhex(link.target), link.relation],
                    )
                )
        return gone

    def links(self, ids: Sequence[str] | None = None) -> list[Link]:
        wanted: Iterator[Bound]
        if ids is None:
            wanted = iter([("1=1", [])])
        else:
            wanted = (
                (f"({source[0]} OR {target[0]})", [*source[1], *target[1]])
                for start in range(0, len(ids), _BLOCK)
                for keys in [[bytes.fromhex(one) for one in ids[start : start + _BLOCK]]]
                for source, target in [(self._among("source", keys), self._among("target", keys))]
            )
        found: dict[tuple[str, str, str], Link] = {}
        for text, values in wanted:
            for source, target, relation, weight, at in self._run(
                f"SELECT source, target, relation, weight, made_at FROM links WHERE {text} ORDER BY source, target, relation",
                values,
            ):
                link = Link(bytes(source).hex(), bytes(target).hex(), relation, weight, moment(at))
                found[link.source, link.target, relation] = link
        return list(found.values())

    # Spaces, vectors and the queue

    def spaces(self) -> list[Space]:
        found = self._run("SELECT space, name, dimension, precision, serving FROM spaces ORDER BY space")
        return [
            Space(number, name, dimension, precision, bool(serving))
            for number, name, dimension, precision, serving in found
        ]

    def add_space(self, name: str, dimension: int, precision: str, *, serving: bool) -> Space:
        with self.transaction():
            made = self._run(
                "INSERT INTO spaces (name, dimension, precision, serving) VALUES (?, ?, ?, ?) RETURNING space",
                [name, dimension, precision, int(serving)],
            )
            space = Space(made[0][0], name, dimension, precision, serving)
            self._make_space_tables(space)
            self._run("INSERT INTO queue (space, row_id) SELECT ?, row_id FROM records", [space.number])
        return space

    def serve(self, space: Space) -> None:
        with self.transaction():
            self._space_gone([other for other in self.spaces() if other.number != space.number])
            for other in self.spaces():
                if other.number != space.number:
                    self._run("DELETE FROM queue WHERE space = ?", [other.number])
                    self._run(f"DROP TABLE vectors_{other.number}")
                    self._run("DELETE FROM spaces WHERE space = ?", [other.number])
            self._run("UPDATE spaces SET serving = 1 WHERE space = ?", [space.number])

    def queued(self, space: Space, limit: int, wanted: Filter | None = None) -> list[tuple[int, str]]:
        text, values = condition(wanted, self) if wanted else ("1=1", [])
        found = self._run(
            "SELECT q.row_id, r.text FROM queue q JOIN records r ON r.row_id = q.row_id "
            f"WHERE q.space = ? AND {text} ORDER BY q.row_id LIMIT ?",
            [space.number, *values, limit],
        )
        return [(row, told) for row, told in found]

    def queue_length(self, space: Space, wanted: Filter | None = None) -> int:
        if wanted is None:
            return int(self._run("SELECT count(*) FROM queue WHERE space = ?", [space.number])[0][0])
        text, values = condition(wanted, self)
        return int(
            self._run(
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
            among, values = self._among("row_id", rows)
            here = dict(self._run(f"SELECT row_id, replaced_at FROM records WHERE {among}", values))
            kept = [(row, vector) for row, vector in zip(rows.tolist(), vectors, strict=True) if row in here]
            self._run_many(
                f"INSERT INTO vectors_{space.number} (row_id, vector) VALUES (?, ?) "
                "ON CONFLICT (row_id) DO UPDATE SET vector = excluded.vector",
                [(row, self._vector_in(vector, space)) for row, vector in kept],
            )
            self._run(f"DELETE FROM queue WHERE space = ? AND {among}", [space.number, *values])
            self._vectors_changed(space, [row for row, _ in kept if here[row] is None], present=True)

    def vectors(self, space: Space, rows: Rows) -> tuple[Rows, Vectors]:
        if not len(rows):
            return rows, np.zeros((0, space.dimension), dtype=np.float32)
        among, values = self._among("row_id", rows)
        found = self._run(f"SELECT row_id, vector FROM vectors_{space.number} WHERE {among} ORDER BY row_id", values)
        numbers = np.fromiter((row for row, _ in found), dtype=np.int64, count=len(found))
        return numbers, self._vectors_out([vector for _, vector in found], space)

    def unpurged(self) -> list[str] | None:
        found = [fingerprint for (fingerprint,) in self._run("SELECT fingerprint FROM purges ORDER BY number")]
        return [fingerprint for fingerprint in dict.fromkeys(found) if fingerprint] if found else None

    def purged(self) -> None:
        with self.transaction():
            self._run("DELETE FROM purges")

    def _counts(self) -> dict[str, Any]:
        counted = self._run(
            "SELECT (SELECT count(*) FROM records WHERE replaced_at IS NULL), (SELECT count(*) FROM records), "
            "(SELECT count(*) FROM links), (SELECT count(*) FROM scopes), (SELECT count(*) FROM queue)"
        )[0]
        return dict(zip(("records", "versions", "links", "scopes", "queued"), counted, strict=True))

    @staticmethod
    def _json(values: Sequence[Any] | Rows) -> str:
        return json.dumps(values.tolist() if isinstance(values, np.ndarray) else list(values))
