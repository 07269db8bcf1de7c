"""What speaks for a candidate: one number per candidate for each reason, all about 0 to 1 in size.

Every reason compares candidates with each other or with the question only, so that they need no knowledge of
the rest of the store.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np

from remanence.store.retrieve.candidates import Candidates
from remanence.store.retrieve.query import Query
from remanence.store.retrieve.temporal import Period
from remanence.store.retrieve.terms import Array, words
from remanence.store.version import StoredVersion

NEAR, FAR = 2.0, 8.0
"""Records over which the weight of a neighbour falls to 1/e, for what is said just before or after, and for a topic."""
TOLD_WITHIN = 3 * 86_400 * 1_000_000
"""Microseconds after a time has passed within which it is mostly told of, besides its own length."""

_TELLING = """
    yesterday today tonight tomorrow last next ago recently weekend week weeks month months year years morning since
    soon monday tuesday wednesday thursday friday saturday sunday january february march april may june july august
    september october november december spring summer autumn fall winter
"""
_TIMES = frozenset(_TELLING.split())
_YEAR = re.compile(r"\b(?:19|20)\d\d\b")


def words_own(query: Query, candidates: Candidates) -> Array:
    """BM25 of the candidate's own words, as a share of the best one's."""
    scores = candidates.bm25
    return scores / max(float(scores.max(initial=0.0)), 1e-9)


def words_near(query: Query, candidates: Candidates) -> Array:
    """How much of the question's words (by rarity) is said here or just before or after."""
    return _covered(candidates, NEAR)


def words_far(query: Query, candidates: Candidates) -> Array:
    """How much of the question's words is said in this part of the conversation."""
    return _covered(candidates, FAR)


def meaning_own(query: Query, candidates: Candidates) -> Array:
    """Cosine of the vectors of question and candidate."""
    return candidates.cosine


def meaning_near(query: Query, candidates: Candidates) -> Array:
    """How much of what stands nearby has a cosine above half of the best one."""
    best = float(candidates.cosine.max(initial=0.0))
    return candidates.spread(np.maximum(candidates.cosine - best / 2, 0.0), 2 * NEAR)


def speaker(query: Query, candidates: Candidates) -> Array:
    """1 where the question names who spoke."""
    return np.array([float(stored.speaker in query.speakers) for stored in candidates.stored])


def replies(query: Query, candidates: Candidates) -> Array:
    """Where the record before asks something, its own share of the words: an answer rarely repeats the question."""
    return candidates.before(words_own(query, candidates) * asks(query, candidates)) * candidates.spoken


def asks(query: Query, candidates: Candidates) -> Array:
    """1 where something said ends in a question: it seldom holds the answer."""
    return candidates.asking


def tells_time(query: Query, candidates: Candidates) -> Array:
    """1 where the question asks for a time and the candidate says one."""
    if not query.asks_time:
        return np.zeros(len(candidates))
    tells = (not _TIMES.isdisjoint(words(stored.text)) or _YEAR.search(stored.text) for stored in candidates.stored)
    return np.array([float(bool(one)) for one in tells])


def time(query: Query, candidates: Candidates) -> Array:
    """1 where the candidate was said, or is true, in the time that the question speaks of, less where it was said
    later: things are told after they happen. 0 for a record without a time."""
    if query.period is None:
        return np.zeros(len(candidates))
    return np.array([_in_time(stored, query.period) for stored in candidates.stored])


def _in_time(stored: StoredVersion, period: Period) -> float:
    ends = stored.valid_to if stored.closed_to is None else stored.closed_to
    if (stored.valid_from is not None or ends is not None) and period.overlaps(stored.valid_from, ends):
        return 1.0
    if stored.said_at is None:
        return 0.0
    if period.holds(stored.said_at):
        return 1.0
    if period.end is None or stored.said_at < period.end:
        return 0.0
    length = 0 if period.start is None else period.end - period.start
    return math.exp(-(stored.said_at - period.end) / (TOLD_WITHIN + length))


def _covered(candidates: Candidates, scale: float) -> Array:
    total = float(candidates.rarity.sum())
    if not total:
        return np.zeros(len(candidates))
    around = candidates.counts + candidates.spread(candidates.counts, scale)
    return np.asarray(candidates.rarity @ (around / (around + 1)) / total)


FEATURES: dict[str, Callable[[Query, Candidates], Array]] = {
    "words": words_own,
    "words nearby": words_near,
    "words around": words_far,
    "meaning": meaning_own,
    "meaning nearby": meaning_near,
    "speaker": speaker,
    "reply": replies,
    "question": asks,
    "time told": tells_time,
    "time": time,
}
"""The reasons by the names under which `explain` reports them."""
