"""A version of a record as a database holds it: instants instead of datetimes, JSON as text."""

from __future__ import annotations

import json
from dataclasses import dataclass

from remanence.store.draft import Draft
from remanence.store.record import Record
from remanence.store.times import moment


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """What a database row says, before it is dressed as a `Record`.

    `valid_to` is the end that the version was written with, `closed_to` the one that its successor gave it.
    """

    row: int
    id: str
    version: int
    scope: str
    kind: str
    text: str
    speaker: str | None
    source: str | None
    said_at: int | None
    recorded_at: int
    replaced_at: int | None
    valid_from: int | None
    valid_to: int | None
    closed_to: int | None
    strength: float
    uses: int
    used_at: int | None
    tags: str
    metadata: str
    parent: str | None

    def record(self) -> Record:
        return Record(
            text=self.text,
            kind=self.kind,
            scope=self.scope,
            speaker=self.speaker,
            said_at=moment(self.said_at),
            valid_from=moment(self.valid_from),
            valid_to=moment(self.valid_to if self.closed_to is None else self.closed_to),
            source=self.source,
            tags=tuple(json.loads(self.tags)),
            metadata=json.loads(self.metadata),
            strength=self.strength,
            parent=self.parent,
            id=self.id,
            version=self.version,
            recorded_at=moment(self.recorded_at),
            replaced_at=moment(self.replaced_at),
            uses=self.uses,
            used_at=moment(self.used_at),
            row=self.row,
        )


def version_of(given: Draft, recorded_at: int, version: int = 1, row: int = 0) -> StoredVersion:
    """What the database will tell of a draft once it is written."""
    return StoredVersion(
        row=row,
        id=given.id,
        version=version,
        scope=given.scope,
        kind=given.kind,
        text=given.text,
        speaker=given.speaker,
        source=given.source,
        said_at=given.said_at,
        recorded_at=recorded_at,
        replaced_at=None,
        valid_from=given.valid_from,
        valid_to=given.valid_to,
        closed_to=None,
        strength=given.strength,
        uses=0,
        used_at=None,
        tags=given.tags,
        metadata=given.metadata,
        parent=given.parent,
    )
