"""Records that may answer, as arrays: what the searches found, and who stands next to whom."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from remanence.store.retrieve.terms import Array, bm25, occurrences
from remanence.store.version import StoredVersion

Rows = NDArray[np.int64]

APART = 1000
"""Distance between candidates that are not known to be near each other, in records."""
WITHIN = 24
"""Records beyond which nothing is a neighbour."""


@dataclass(frozen=True)
class Candidates:
    """Some hundred records and what is known about them; every array has one entry for each.

    Parameters
    ----------
    stored:
        The records.
    cosine:
        With the question's vector; 0 where a record has no vector yet.
    counts:
        How often each term of the question occurs (terms, records).
    rarity:
        Of each term (terms,).
    place:
        Where they stand: two records of one scope and source that follow each other differ by 1; records
        not known to be near each other by at least `APART`.
    """

    stored: list[StoredVersion]
    cosine: Array
    counts: Array
    rarity: Array
    place: Rows

    def __len__(self) -> int:
        return len(self.stored)

    @property
    def rows(self) -> Rows:
        return np.array([one.row for one in self.stored], dtype=np.int64)

    @cached_property
    def pairs(self) -> tuple[Rows, Rows, Rows]:
        """All pairs of candidates at most `WITHIN` apart, both ways: the one, the other, and how many places the
        other stands after the one (negative: before)."""
        order = np.argsort(self.place)
        ranked = self.place[order]
        one, other, distance = [order[:0]], [order[:0]], [order[:0]]
        for step in range(1, WITHIN + 1) if len(ranked) else ():
            at = np.minimum(np.searchsorted(ranked, ranked + step), len(ranked) - 1)
            there = np.flatnonzero(ranked[at] == ranked + step)
            one += [order[there], order[at[there]]]
            other += [order[at[there]], order[there]]
            distance += [np.full(len(there), step), np.full(len(there), -step)]
        return np.concatenate(one), np.concatenate(other), np.concatenate(distance)

    @cached_property
    def bm25(self) -> Array:
        """Of each candidate, by lengths in characters."""
        return bm25(self.counts, self.rarity, np.array([len(stored.text) for stored in self.stored], dtype=np.float64))

    @cached_property
    def spoken(self) -> Array:
        """1 where somebody said it."""
        return np.array([float(stored.speaker is not None) for stored in self.stored])

    @cached_property
    def asking(self) -> Array:
        """1 where something said ends in a question."""
        # what was shown with it stands in brackets
        return np.array(
            [
                float(stored.speaker is not None and stored.text.partition(" [")[0].rstrip(" \"'”’)!.").endswith("?"))
                for stored in self.stored
            ]
        )

    def before(self, values: Array) -> Array:
        """The value (records,) of the record right before each; 0 where there is none."""
        one, other, distance = self.pairs
        found = np.zeros(len(self))
        found[other[distance == 1]] = values[one[distance == 1]]
        return found

    def spread(self, values: Array, scale: float) -> Array:
        """For each candidate the sum of its neighbours' values (…, records), each times exp(-distance / scale)."""
        if not len(self):
            return values
        one, other, distance = self.pairs
        weights = np.exp(-np.abs(distance) / scale)
        rows = values.reshape(-1, len(self))
        found = [np.bincount(other, row[one] * weights, len(self)) for row in rows]
        return np.array(found, dtype=np.float64).reshape(values.shape)

    def also(self, stored: list[StoredVersion], cosine: Array, asked: tuple[str, ...]) -> Candidates:
        """These and further records, in the same order of terms; who stands where is to be said anew."""
        if not stored:
            return self
        return Candidates(
            self.stored + stored,
            np.concatenate([self.cosine, cosine]),
            np.concatenate([self.counts, occurrences(asked, [one.text for one in stored])], axis=1),
            self.rarity,
            np.arange(len(self) + len(stored), dtype=np.int64) * APART,
        )


def no_candidates(rarity: Array) -> Candidates:
    """None yet."""
    nothing = np.zeros(0)
    return Candidates([], nothing, np.zeros((len(rarity), 0)), rarity, np.zeros(0, dtype=np.int64))


def places(rows: Rows, neighbours: Rows, anchors: Rows) -> Rows:
    """Where records stand, from the neighbours of some of them.

    Parameters
    ----------
    rows, anchors:
        All the records (n,), and those whose neighbours are known (m,).
    neighbours:
        Rows (m, 2·reach): before 1, before 2, …, after 1, after 2, …, 0 where there is none.

    Example
    -------
    >>> places(np.array([9, 4, 7, 5]), np.array([[5, 4, 0, 0]]), np.array([7]))
    array([2000,    0,    2,    1])
    """
    following: dict[int, int] = {}
    reach = neighbours.shape[1] // 2
    for anchor, near in zip(anchors.tolist(), neighbours.tolist(), strict=True):
        chain = [row for row in [*near[:reach][::-1], anchor, *near[reach:]] if row]
        following.update(zip(chain, chain[1:], strict=False))
    found: dict[int, int] = {}
    heads = sorted({*rows.tolist(), *following} - set(following.values()))
    for number, head in enumerate(heads):
        place = 2 * APART * number
        row: int | None = head
        while row is not None:
            found[row] = place
            place, row = place + 1, following.get(row)
    return np.array([found[row] for row in rows.tolist()], dtype=np.int64)
