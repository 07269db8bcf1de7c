"""Records and what is said about them: links, hits, receipts."""

from __future__ import annotations

import functools
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any, Literal

from remanence.errors import UsageError, nearest
from remanence.store.times import Instant, instant, moment

KINDS = ("episode", "fact", "skill", "case", "note")
_HALVES = re.compile("[\ud800-\udfff]")
LONGEST = 1_000_000
"""Characters of one text; longer ones are refused, since one vector and one hit cannot stand for a book."""


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
class Draft:
    """A checked record on its way into a database: instants instead of datetimes, JSON as text."""

    text: str
    kind: str
    scope: str
    speaker: str | None
    said_at: int | None
    valid_from: int | None
    valid_to: int | None
    source: str | None
    tags: str
    metadata: str
    strength: float
    parent: str | None
    id: str


GIVEN = tuple(f.name for f in fields(Draft))
"""What a caller may set when writing."""


def draft(given: Mapping[str, Any] | Record | str, fresh: Callable[[], str] | None = None) -> Draft:
    """Check what shall be written, once, and bring it into the form that databases take; `fresh` makes ids.

    Raises
    ------
    UsageError
        Naming the field, what it was and what it must be.
    """
    if isinstance(given, Record):
        given = {name: getattr(given, name) for name in GIVEN}
    elif isinstance(given, str):
        given = {"text": given}
    elif not isinstance(given, Mapping):
        raise UsageError(
            f"a {type(given).__name__} was given to write, expected a text, a Record, or a mapping of its fields"
        )
    for name in given:
        if name not in GIVEN:
            raise UsageError(f"a record has no field {name!r} that can be written: {nearest(name, GIVEN)}")
    kind = given.get("kind") or "episode"
    if kind not in KINDS:
        raise UsageError(f"the kind is {kind!r}, expected one of {', '.join(KINDS)}")
    valid_from, valid_to = instant(given.get("valid_from"), "valid_from"), instant(given.get("valid_to"), "valid_to")
    if valid_from is not None and valid_to is not None and valid_to < valid_from:
        raise UsageError("valid_to lies before valid_from: a record is true from the one until the other")
    strength = given.get("strength", 1.0)
    if isinstance(strength, bool) or not isinstance(strength, int | float) or not 0 <= strength <= 1e18:
        raise UsageError(f"the strength is {str(strength)[:40]!r}, expected a number from 0 to 1e18")
    parent = given.get("parent")
    return Draft(
        text_of(given.get("text")),
        kind,
        scope_of(given.get("scope") or ""),
        _line("speaker", given.get("speaker")),
        instant(given.get("said_at"), "said_at"),
        valid_from,
        valid_to,
        _line("source", given.get("source")),
        _tags(given.get("tags") or ()),
        _metadata(given.get("metadata") or {}),
        float(strength),
        identity(parent) if parent else None,
        identity(given["id"]) if given.get("id") else (fresh or new_id)(),
    )


def text_of(text: Any) -> str:
    """A text that can be remembered: a string with something in it, of bearable length."""
    if not isinstance(text, str):
        raise UsageError(f"the text of a record was given as a {type(text).__name__}, expected a string")
    if not text.strip():
        raise UsageError("the text of a record is empty: give it something to remember")
    if len(text) > LONGEST:
        raise UsageError(
            f"the text of a record has {len(text):,} characters, at most {LONGEST:,} can be remembered as one: "
            "split it into passages"
        )
    return clean(text)


def scope_of(scope: Any) -> str:
    """A scope as the store keeps it: parts joined by ``/``, none empty."""
    if not isinstance(scope, str):
        raise UsageError(f"the scope was given as a {type(scope).__name__}, expected a path such as 'user/42'")
    return _path(scope)


@functools.lru_cache(maxsize=4096)
def _path(scope: str) -> str:
    path = scope.strip("/")
    if len(path) > 500 or any(not part.strip() or part in ("*", "..", ".") for part in path.split("/") if path):
        raise UsageError(f"the scope {scope[:80]!r} is no path: give parts joined by '/', such as 'user/42'")
    return clean(path)


def identity(given: Any) -> str:
    """An id as the store writes it: 32 hexadecimal digits."""
    text = given.replace("-", "").lower() if isinstance(given, str) else ""
    if len(text) != 32 or any(c not in "0123456789abcdef" for c in text):
        raise UsageError(
            f"{str(given)[:80]!r} is no id of a record: ids are 32 hexadecimal digits, as write returns them"
        )
    return text


def new_id() -> str:
    """A fresh id: milliseconds since 1970, then 80 random bits, so that ids sort by time (the layout of UUID 7)."""
    number = (time.time_ns() // 1_000_000 << 80) | int.from_bytes(os.urandom(10), "big")
    number = (number & ~(0xF << 76)) | (0x7 << 76)
    number = (number & ~(0x3 << 62)) | (0x2 << 62)
    return f"{number:032x}"


def _line(name: str, given: Any) -> str | None:
    if given is None or given == "":
        return None
    if not isinstance(given, str) or len(given) > 1000:
        raise UsageError(f"the {name} was given as {str(given)[:60]!r}, expected a string of at most 1,000 characters")
    return clean(given)


def clean(text: str) -> str:
    """What no database can hold, the NUL character and halves of surrogate pairs, becomes a replacement character."""
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    if not text.isascii():
        text = "".join("\ufffd" if 0xD800 <= ord(c) <= 0xDFFF else c for c in text) if _HALVES.search(text) else text
    return text


def _tags(given: Any) -> str:
    if given == ():
        return "[]"
    if isinstance(given, str) or not isinstance(given, Iterable) or not all(isinstance(tag, str) for tag in given):
        raise UsageError(f"the tags were given as {str(given)[:60]!r}, expected a list of strings")
    return json.dumps([clean(tag) for tag in dict.fromkeys(given)], ensure_ascii=False)


def _metadata(given: Any) -> str:
    if given == {}:
        return "{}"
    if not isinstance(given, Mapping):
        raise UsageError(f"the metadata was given as a {type(given).__name__}, expected a mapping")
    try:
        text = clean(json.dumps(dict(given), ensure_ascii=False, allow_nan=False))
        # JSON escapes the NUL character, and PostgreSQL cannot read it back even so
        return json.dumps(_cleaned(json.loads(text)), ensure_ascii=False) if "\\u0000" in text else text
    except RecursionError:
        raise UsageError("the metadata is nested too deeply to be written as JSON: make it flatter") from None
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"the metadata cannot be written as JSON ({error}): give texts, numbers, lists and mappings"
        ) from None


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [_cleaned(one) for one in value]
    if isinstance(value, dict):
        return {clean(key): _cleaned(one) for key, one in value.items()}
    return value


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


__all__ = ["GIVEN", "KINDS", "LONGEST", "Draft", "Hit", "Hits", "Instant", "Link", "Receipt", "Record", "draft"]
