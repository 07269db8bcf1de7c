"""Candidates by words and by meaning, then the neighbours of the best: a few hundred, however large the store."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from remanence.store.database.base import Database
from remanence.store.retrieve.candidates import Candidates, Rows, no_candidates, places
from remanence.store.retrieve.fusion import FIRST, contributions, total
from remanence.store.retrieve.query import Query
from remanence.store.retrieve.terms import affordable, rarity
from remanence.store.where import Filter

EACH = 64
"""How many candidates come from full text, and as many from vectors."""
ANCHORS, REACH = 16, 4
"""How many of the best bring their neighbours, and how many on each side."""


def gather(
    database: Database,
    query: Query,
    wanted: Filter,
    *,
    each: int = EACH,
    anchors: int = ANCHORS,
    reach: int = REACH,
) -> Candidates:
    """What may answer a question.

    Parameters
    ----------
    database, wanted:
        Where to look, and what may be found at all.
    query:
        The question, taken apart; without a vector it is searched for by words alone.
    each, anchors, reach:
        How many candidates each search gives, how many of the best bring neighbours, and how many on each side.
    """
    frequencies = database.frequencies(query.terms)
    asked = affordable(query.terms, frequencies)
    first = database.words(asked, each, wanted)[0] if asked else np.zeros(0, dtype=np.int64)
    cosines: dict[int, float] = {}
    if query.space is not None and query.vector is not None:
        near, scores = database.dense(query.space, query.vector, each, wanted)
        cosines = dict(zip(near.tolist(), scores.tolist(), strict=True))
        first = np.union1d(first, near)
    # rows are never used again, so that the last of them is about the number of versions
    weights = rarity(frequencies, max(int(first.max(initial=1)), *frequencies, 1))
    found = _with(database, no_candidates(weights), first, query, cosines)
    if not anchors or not reach:
        return found
    best = _anchors(query, found)[:anchors]
    beside = database.neighbours_in_order(best, reach, wanted)
    further = np.setdiff1d(beside[beside > 0], found.rows)
    found = _with(database, found, further, query, cosines)
    return replace(found, place=places(found.rows, beside, best))


def _with(
    database: Database,
    found: Candidates,
    rows: Rows,
    query: Query,
    cosines: dict[int, float],
) -> Candidates:
    """These and further rows; `cosines` are those that a search has told already."""
    stored = database.stored(rows)
    if query.space is not None and query.vector is not None:
        missing = np.array(sorted({one.row for one in stored} - cosines.keys()), dtype=np.int64)
        held, vectors = database.vectors(query.space, missing)
        cosines = cosines | dict(zip(held.tolist(), (vectors @ query.vector).tolist(), strict=True))
    return found.also(stored, np.array([cosines.get(one.row, 0.0) for one in stored]), query.terms)


def _anchors(query: Query, found: Candidates) -> Rows:
    """The rows of those that can have neighbours (they were said, or have a source), best first."""
    order = np.argsort(-total(contributions(query, found, FIRST), len(found)), kind="stable")
    stand = [found.stored[place] for place in order.tolist()]
    return np.array([one.row for one in stand if one.speaker is not None or one.source is not None], dtype=np.int64)
