"""Records and what is said about them: links, hits, receipts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Record:
    """One version of one memory.

    Parameters
    ----------
    text:
        What is remembered, at most a million characters.
    kind:
        episode (something that happened or was said), fact, skill, case (a task and how it went), note.
    scope:
        Whose or what it belongs to, a path such as ``user/42/work``; empty for the store's root.
    speaker:
        Who said it.
    said_at, recorded_at:
        When it was said, and when the store learned of it (aware datetimes).
    valid_from, valid_to:
        The time in which it is true; open where None.
    source:
        Where it came from: a session, a file, an address. Records of one source are each other's neighbours.
    tags, metadata:
        Free labels, and free JSON.
    strength:
        How firmly it is held (0 or more), which consolidation raises and lowers; 1 at first.
    uses, used_at:
        How often, and when last, a reading with ``reinforce=True`` returned it.
    parent:
        The id of the record that this one was made from; forgetting that one forgets this one.
    id, version, replaced_at, row:
        Given by the store: the id shared by all versions (32 hexadecimal digits), the number of this one
        (from 1), when a later version took its place (None: the current one), and the version's place.
    """

    text: str
    kind: str = "episode"
    scope: str = ""
    speaker: str | None = None
    said_at: datetime | None = None
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    source: str | None = None
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    strength: float = 1.0
    parent: str | None = None
    id: str = ""
    version: int = 1
    recorded_at: datetime | None = None
    replaced_at: datetime | None = None
    uses: int = 0
    used_at: datetime | None = None
    row: int = 0

    @property
    def current(self) -> bool:
        return self.replaced_at is None

    def as_dict(self) -> dict[str, Any]:
        """JSON-able; times in ISO 8601, empty fields left out."""
        found = {}
        for name, value in asdict(self).items():
            if value is None or value == () or value == {} or name == "row":
                continue
            found[name] = value.isoformat() if isinstance(value, datetime) else value
        return found


@dataclass(frozen=True, slots=True)
class Link:
    """A directed, weighted relation between two records: ``Link(a, b, "supports")``."""

    source: str
    target: str
    relation: str
    weight: float = 1.0
    made_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """One record that was found, its score, and, where it was asked for, what put it there."""

    record: Record
    score: float
    explain: Mapping[str, float] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return self.record.text

    @property
    def id(self) -> str:
        return self.record.id


class Hits(list[Hit]):
    """The records found, best first. `pending` counts texts that could not be searched by meaning yet."""

    def __init__(self, hits: Iterable[Hit] = (), pending: int = 0) -> None:
        super().__init__(hits)
        self.pending = pending


Removal = Literal["removed", "pending", "may hold it"]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a request to forget, place by place.

    `places` maps text, full-text index, vectors, history, links, dense index, encoder cache, log, backups to
    ``removed``, ``pending`` (a reader blocks it; the next opening finishes it), or ``may hold it`` (out of the
    store's reach: a server's dead rows, replicas, backups). `records` counts records, `versions` their versions.
    """

    ids: tuple[str, ...]
    records: int
    versions: int
    places: Mapping[str, Removal]
    checked: str

    @property
    def complete(self) -> bool:
        """Whether nothing that was asked for remains within the store's reach."""
        return "pending" not in self.places.values()
