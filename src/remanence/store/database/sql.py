"""What SQLite and PostgreSQL say alike: scopes and links; versions and vectors stand in modules of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from remanence.errors import UsageError
from remanence.store.database.conditions import Bound, scope_condition
from remanence.store.database.sql_versions import BLOCK
from remanence.store.database.sql_writing import SqlWriting
from remanence.store.record import Link
from remanence.store.times import moment
from remanence.store.where import Filter

_SCOPES = 100
"""How many scopes are asked for their speakers one by one."""


class SqlDatabase(SqlWriting):
    """Everything that both dialects share. A dialect says how to search and purge, and its connection the rest."""

    def scopes(self) -> list[str]:
        return [path for (path,) in self.connection.run("SELECT path FROM scopes ORDER BY path")]

    def holds_scope(self, scope: str, *, only: bool = False) -> bool:
        text, values = scope_condition(Filter(scope))
        found = self.connection.run(f"SELECT 1 FROM scopes r WHERE {'NOT ' if only else ''}{text} LIMIT 1", values)
        return bool(found) is not only

    def speakers(self, wanted: Filter, limit: int) -> list[str]:
        if wanted.scope == "":  # one scope, if it is there at all
            return self._speakers_of("(SELECT scope FROM scopes WHERE path = ?)", "", limit)
        text, values = scope_condition(wanted)
        scopes = self.connection.run(
            f"SELECT r.scope FROM scopes r WHERE {text or '1=1'} LIMIT ?", [*values, _SCOPES + 1]
        )
        if len(scopes) > _SCOPES:
            return []
        found: dict[str, None] = {}
        for (scope,) in scopes:
            found |= dict.fromkeys(self._speakers_of("?", scope, limit))
        return list(found)[:limit]

    def _speakers_of(self, scope: str, value: str | int, limit: int) -> list[str]:
        """The speakers of one scope: each step looks up the next one in the index, however many records one has."""
        named = self.connection.run(
            f"WITH RECURSIVE s(speaker) AS (SELECT min(speaker) FROM records WHERE scope = {scope} AND speaker IS NOT NULL "
            f"UNION ALL SELECT (SELECT min(speaker) FROM records WHERE scope = {scope} AND speaker > s.speaker) FROM s "
            "WHERE s.speaker IS NOT NULL) SELECT speaker FROM s WHERE speaker IS NOT NULL LIMIT ?",
            [value, value, limit],
        )
        return [speaker for (speaker,) in named]

    # Links

    def link(self, links: Sequence[Link], at: int) -> None:
        with self.transaction():
            ends = sorted({end for link in links for end in (link.source, link.target)})
            known = {told.id for told in self.current(ends)}
            for end in ends:
                if end not in known:
                    raise UsageError(f"there is no record {end} to link: write it first, or look for its id with list")
            self.connection.run_many(
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
                    self.connection.run(
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
                for start in range(0, len(ids), BLOCK)
                for keys in [[bytes.fromhex(one) for one in ids[start : start + BLOCK]]]
                for source, target in [(self.connection.among("source", keys), self.connection.among("target", keys))]
            )
        found: dict[tuple[str, str, str], Link] = {}
        for text, values in wanted:
            for source, target, relation, weight, at in self.connection.run(
                f"SELECT source, target, relation, weight, made_at FROM links WHERE {text} ORDER BY source, target, relation",
                values,
            ):
                link = Link(bytes(source).hex(), bytes(target).hex(), relation, weight, moment(at))
                found[link.source, link.target, relation] = link
        return list(found.values())

    def _counts(self) -> dict[str, Any]:
        counted = self.connection.run(
            "SELECT (SELECT count(*) FROM records WHERE replaced_at IS NULL), (SELECT count(*) FROM records), "
            "(SELECT count(*) FROM links), (SELECT count(*) FROM scopes), (SELECT count(*) FROM queue)"
        )[0]
        return dict(zip(("records", "versions", "links", "scopes", "queued"), counted, strict=True))
