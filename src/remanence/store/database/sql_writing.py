"""Writing, revising and deleting versions of records in SQL."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from remanence.errors import UsageError
from remanence.store.database.base import scope_setting
from remanence.store.database.sql_versions import BLOCK, SqlVersions
from remanence.store.draft import Draft
from remanence.store.version import StoredVersion, version_of

COLUMNS = (
    "row_id, id, version, scope, kind, text, speaker, source, said_at, recorded_at, replaced_at, valid_from, valid_to, "
    "closed_to, strength, uses, used_at, tags, metadata, parent"
)


class SqlWriting(SqlVersions):
    """What both dialects say alike when versions come and go."""

    @abstractmethod
    def _next_rows(self, count: int) -> range:
        """Fresh row numbers; only inside a transaction."""

    @abstractmethod
    def _queue(self, rows: Sequence[int]) -> None:
        """Let rows wait for a vector in every space, in one statement."""

    def insert(self, drafts: Sequence[Draft], recorded_at: int) -> list[int]:
        return self._insert([version_of(draft, recorded_at) for draft in drafts])

    def restore(self, versions: Sequence[StoredVersion]) -> None:
        with self.transaction():
            self._insert(versions)
            ids = list(dict.fromkeys(told.id for told in versions))
            for start in range(0, len(ids), BLOCK):
                text, values = self.connection.among("id", [bytes.fromhex(one) for one in ids[start : start + BLOCK]])
                twice = self.connection.run(
                    f"SELECT id FROM records WHERE {text} AND replaced_at IS NULL GROUP BY id HAVING count(*) > 1 LIMIT 1",
                    values,
                )
                if twice:
                    raise UsageError(
                        f"the id {bytes(twice[0][0]).hex()} is taken: versions of one record cannot be mixed into another"
                    )

    def replace(self, old: StoredVersion, new: Draft, at: int, closed_to: int) -> int:
        with self.transaction():
            row = self._next_rows(1)[0]
            self.connection.run(
                "UPDATE records SET replaced_at = ?, closed_to = ? WHERE row_id = ?",
                [at, closed_to if old.valid_to is None else min(closed_to, old.valid_to), old.row],
            )
            self._write([row], [replace(version_of(new, at, old.version + 1), uses=old.uses, used_at=old.used_at)])
            self._queue([row])
            for space in self.spaces():
                self._vectors_changed(space, [old.row], present=False)
        return row

    def adjust(
        self, rows: Sequence[int], *, strength: Sequence[float] | None = None, used_at: int | None = None
    ) -> None:
        with self.transaction():
            if strength is not None:
                self.connection.run_many(
                    "UPDATE records SET strength = ? WHERE row_id = ?", list(zip(strength, rows, strict=True))
                )
            if used_at is not None:
                self.connection.run_many(
                    "UPDATE records SET uses = uses + 1, used_at = ? WHERE row_id = ?", [(used_at, row) for row in rows]
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
        for start in range(0, len(ids), BLOCK):
            text, values = self.connection.among("id", [bytes.fromhex(one) for one in ids[start : start + BLOCK]])
            used = self.connection.run(f"SELECT id FROM records WHERE {text} LIMIT 1", values)
            if used:
                raise UsageError(
                    f"the id {bytes(used[0][0]).hex()} is taken: use revise to write a new version of that record"
                )

    def _scope_numbers(self, paths: set[str]) -> dict[str, int]:
        text, values = self.connection.among("path", sorted(paths))
        numbers = dict(self.connection.run(f"SELECT path, scope FROM scopes WHERE {text}", values))
        for path in sorted(paths - numbers.keys()):
            made = self.connection.run("INSERT INTO scopes (path) VALUES (?) RETURNING scope", [path])
            numbers[path] = made[0][0]
        return numbers

    def _write(self, rows: Sequence[int], versions: Sequence[StoredVersion]) -> None:
        scopes = self._scope_numbers({told.scope for told in versions})
        marks = ", ".join("?" * (COLUMNS.count(",") + 1))
        self.connection.run_many(
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

    # Deleting

    def made_from(self, ids: Sequence[str]) -> list[str]:
        known, fresh = set(ids), list(ids)
        found: list[str] = []
        while fresh:
            below: list[str] = []
            for start in range(0, len(fresh), BLOCK):
                keys = [bytes.fromhex(one) for one in fresh[start : start + BLOCK]]
                parent, values = self.connection.among("parent", keys)
                target, bound = self.connection.among("target", keys)
                rows = self.connection.run(
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
            for start in range(0, len(ids), BLOCK):
                keys = [bytes.fromhex(one) for one in ids[start : start + BLOCK]]
                text, values = self.connection.among("id", keys)
                rows = [row for (row,) in self.connection.run(f"SELECT row_id FROM records WHERE {text}", values)]
                if not rows:
                    continue
                gone += len(rows)
                here, numbers = self.connection.among("row_id", np.array(rows, dtype=np.int64))
                for space in self.spaces():
                    self._vectors_changed(space, rows, present=False)
                    self.connection.run(f"DELETE FROM vectors_{space.number} WHERE {here}", numbers)
                self.connection.run(f"DELETE FROM queue WHERE {here}", numbers)
                for end in ("source", "target"):
                    touching, bound = self.connection.among(end, keys)
                    self.connection.run(f"DELETE FROM links WHERE {touching}", bound)
                self.connection.run(f"DELETE FROM records WHERE {here}", numbers)
            self._drop_empty_scopes()
            if gone:
                self.connection.run_many(
                    "INSERT INTO purges (fingerprint) VALUES (?)",
                    [(one,) for one in dict.fromkeys(["", *fingerprints])],
                )
        return gone

    def _drop_empty_scopes(self) -> None:
        """A scope may be a person's name: it goes with its last record, and so does what was noted about it."""
        gone = self.connection.run(
            "DELETE FROM scopes WHERE NOT EXISTS (SELECT 1 FROM records r WHERE r.scope = scopes.scope) RETURNING path"
        )
        ends = tuple(scope_setting("", path) for (path,) in gone)
        if ends:
            names = [name for (name,) in self.connection.run("SELECT name FROM settings") if name.endswith(ends)]
            self.connection.run_many("DELETE FROM settings WHERE name = ?", [(name,) for name in names])

    def unpurged(self) -> list[str] | None:
        found = [
            fingerprint for (fingerprint,) in self.connection.run("SELECT fingerprint FROM purges ORDER BY number")
        ]
        return [fingerprint for fingerprint in dict.fromkeys(found) if fingerprint] if found else None

    def purged(self) -> None:
        with self.transaction():
            self.connection.run("DELETE FROM purges")
