"""Reading: a question taken apart, candidates, what speaks for each, and the hits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from remanence.errors import UsageError, nearest
from remanence.store.database.base import Database, Rows, Space, Vectors
from remanence.store.encoding import AT_ONCE, Encoding
from remanence.store.record import Hit, Hits
from remanence.store.retrieve.diversity import maximal_marginal_relevance
from remanence.store.retrieve.fusion import FIRST, WEIGHTS, contributions, total
from remanence.store.retrieve.hybrid import ANCHORS, EACH, gather
from remanence.store.retrieve.query import Query, query
from remanence.store.retrieve.recency import recency, strength
from remanence.store.retrieve.temporal import Event, Period, around, event
from remanence.store.retrieve.walk import walk
from remanence.store.times import Instant, instant
from remanence.store.where import Filter

MODES: Mapping[str, Mapping[str, float]] = {
    "hybrid": WEIGHTS,
    "dense": {"meaning": 1.0},
    "text": {"words": 1.0},
    "graph": WEIGHTS,
}
"""What counts, by how one reads; a walk over a graph starts from what counts most."""
CONTEXTUAL = ("hybrid", "graph")
"""Modes in which what was said around a record, and when, counts for it."""
SPEAKERS = 1000
"""How many speakers are known by name when a question is read; in a store of more, names are words."""

LONGEST_QUESTION = 20_000
"""Characters of one question."""
MOST_HITS = 1_000_000_000
"""Hits of one reading."""


@dataclass(frozen=True, slots=True)
class RetrievalSettings:
    """What can be set for one reading; the defaults serve.

    Parameters
    ----------
    neighbours:
        Whether what was said around a record counts for it.
    diversity:
        0 (by score alone) to 1 (unlike each other above all).
    recency:
        Weight of how lately a record was said (or recorded), 0 or more; of the size of the score's other parts
        at 2.
    recency_days:
        Days in which that halves.
    strength:
        Weight of the records' strength, 0 or more.
    now:
        What "yesterday" and "last May" in the question, and recency, are relative to; the present if None.
    """

    neighbours: bool = True
    diversity: float = 0.0
    recency: float = 0.0
    recency_days: float = 30.0
    strength: float = 0.0
    now: Instant | None = None

    def __post_init__(self) -> None:
        for name, low, high in (
            ("diversity", 0, 1),
            ("recency", 0, 1e6),
            ("recency_days", 1e-6, 1e6),
            ("strength", 0, 1e6),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                raise UsageError(f"{name} is {value!r}, expected a number from {low:g} to {high:g}")


def check_asked(question: Any, k: Any) -> None:
    """Refuse what cannot be asked; see `remanence.store.Store.read`."""
    if not isinstance(question, str) or not question.strip():
        raise UsageError("the question is empty: ask something")
    if len(question) > LONGEST_QUESTION:
        raise UsageError(
            f"the question has {len(question):,} characters, at most {LONGEST_QUESTION:,} can be asked: shorten it"
        )
    if not isinstance(k, int) or isinstance(k, bool) or not 1 <= k <= MOST_HITS:
        raise UsageError(f"k is {k!r}, expected a whole number of 1 or more, at most {MOST_HITS:,}")


def settings_of(options: dict[str, Any]) -> RetrievalSettings:
    """The settings that a reader was given by name."""
    known = [field.name for field in fields(RetrievalSettings)]
    for name in options:
        if name not in known:
            raise UsageError(f"reading has no setting {name!r}: {nearest(name, known)}")
    return RetrievalSettings(**options)


class Retriever:
    """Reads one store.

    Parameters
    ----------
    database:
        The truth.
    encoding:
        The store's encoder and its vectors.
    """

    def __init__(self, database: Database, encoding: Encoding) -> None:
        self.database, self.encoding = database, encoding

    def read(self, question: str, k: int, wanted: Filter, *, mode: str, explain: bool, **options: Any) -> Hits:
        """The k best records for a question among those that a filter admits; see `remanence.store.Store.read`."""
        if mode not in MODES:
            raise UsageError(f"the mode is {mode!r}, expected one of {', '.join(MODES)}")
        settings = settings_of(options)
        now = instant(settings.now, "now")
        now = next((at for at in (now, wanted.true_at, wanted.known_at) if at is not None), wanted.now)
        speakers = self.database.speakers(wanted, SPEAKERS) if mode != "text" else []
        asked = query(question, speakers, now)
        space, complete = self._serving(wanted) if mode != "text" else (None, True)
        if mode in CONTEXTUAL and asked.period is None and (happened := event(question)):
            asked = replace(asked, period=self._when(happened, speakers, wanted, space))
        # A name that is a speaker's leaves the question only where it counts by itself; by meaning alone it stays.
        asked = self._meant(asked, question if mode == "dense" else asked.meaning, space)
        if mode == "dense":
            asked = replace(asked, terms=())
        rank = settings.diversity or settings.recency or settings.strength
        each = k if mode == "dense" and not rank else max(EACH, 2 * k)
        anchors = ANCHORS if mode in CONTEXTUAL and settings.neighbours else 0
        found = gather(self.database, asked, wanted, each=each, anchors=anchors)
        parts = contributions(asked, found, MODES[mode])
        if settings.recency:
            parts["recency"] = settings.recency * recency(found, now, settings.recency_days)
        if settings.strength:
            parts["strength"] = settings.strength * strength(found)
        score, stored = total(parts, len(found)), found.stored
        if mode == "graph":
            stored, parts = walk(self.database, asked, stored, score, wanted)
            score = total(parts, len(stored))
        best = np.argsort(-score, kind="stable")[:k]
        if settings.diversity and space is not None:
            best = np.argsort(-score, kind="stable")[:each]
            vectors = self._vectors(space, np.array([stored[place].row for place in best.tolist()], dtype=np.int64))
            best = best[maximal_marginal_relevance(score[best], vectors, k, settings.diversity)]
        return Hits(
            (
                Hit(
                    stored[place].record(),
                    float(score[place]),
                    {name: float(part[place]) for name, part in parts.items() if part[place]} if explain else {},
                )
                for place in best.tolist()
            ),
            0 if complete else self.encoding.waiting(wanted),
        )

    def _when(self, happened: Event, speakers: list[str], wanted: Filter, space: Space | None) -> Period | None:
        """The time before, after or around what happened, by the record that tells of it best, where it has one."""
        asked = query(happened.text, speakers)
        asked = self._meant(asked, asked.meaning, space)
        found = gather(self.database, asked, wanted, anchors=0)
        score = total(contributions(asked, found, FIRST), len(found))
        stored = [found.stored[place] for place in np.argsort(-score, kind="stable")[:1].tolist()]
        return around(stored[0].said_at, happened.relation) if stored and stored[0].said_at is not None else None

    def _serving(self, wanted: Filter) -> tuple[Space | None, bool]:
        """The space that is searched, after a bounded number of texts that still lack their vector got it, and whether
        none is left."""
        space = self.encoding.serving
        if space is None or self.encoding.encoder is None:
            return None, False
        return space, self.encoding.encode_queued(AT_ONCE, wanted, space=space) < AT_ONCE

    def _meant(self, asked: Query, meaning: str, space: Space | None) -> Query:
        """The question with the vector of what it means."""
        return asked if space is None else replace(asked, space=space, vector=self.encoding.question(meaning))

    def _vectors(self, space: Space, rows: Rows) -> Vectors:
        """In the order of the rows; zeros where one has none."""
        held, vectors = self.database.vectors(space, np.sort(rows))
        place = {row: number for number, row in enumerate(rows.tolist())}
        found = np.zeros((len(rows), space.dimension), dtype=np.float32)
        found[[place[row] for row in held.tolist()]] = vectors
        return found
