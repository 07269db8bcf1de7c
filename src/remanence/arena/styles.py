"""How rows are told apart in pictures: a learner has one colour, and its budgets are joined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from remanence.arena.rows import COLOURS, Row


class Style(NamedTuple):
    """The number of a colour, how often the colours were used up before, and how many larger budgets there are."""

    colour: int
    turn: int = 0
    smaller: int = 0

    @property
    def line(self) -> int:
        """A kind of line that tells apart what has the same colour."""
        return self.turn + self.smaller


def styles(rows: Sequence[Row]) -> list[Style]:
    """The style of each row: learners differ in colour, whatever their budgets.

    >>> [tuple(style) for style in styles([Row("rag@8KB", []), Row("bm25", []), Row("rag@64KB", [])])]
    [(0, 0, 0), (1, 0, 0), (0, 0, 1)]
    """
    families = list(dict.fromkeys(row.family for row in rows))
    found = []
    for k, row in enumerate(rows):
        mine = sorted((j for j, other in enumerate(rows) if other.family == row.family), key=lambda j: -rows[j].budget)
        number = families.index(row.family)
        found.append(Style(number % COLOURS, number // COLOURS, mine.index(k)))
    return found


def budget_lines(rows: Sequence[Row]) -> list[list[int]]:
    """The places of the rows of each learner that ran under several budgets, fewest bytes first."""
    found: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        if row.at and row.total_bytes.mean and row.accuracy.mean is not None:
            found.setdefault(row.family, []).append(place)
    several = [places for places in found.values() if len(places) > 1]
    return [sorted(places, key=lambda place: rows[place].total_bytes.mean or 0.0) for places in several]
