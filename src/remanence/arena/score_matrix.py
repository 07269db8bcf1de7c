"""How metrics read scores: a matrix of experiences and test sets, and the curve of each test set over the probes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from remanence.arena.result import Probe

Scores = Sequence[float | None]
Matrix = Sequence[Scores]


def is_square(matrix: Matrix) -> bool:
    """Whether test set j is the one that experience j taught; a run that stopped early has fewer rows."""
    return bool(matrix) and all(len(row) >= len(matrix) for row in matrix)


def signed(matrix: Matrix, higher_is_better: bool) -> list[list[float | None]]:
    """The same scores, turned so that higher is better."""
    if higher_is_better:
        return [list(row) for row in matrix]
    return [[None if score is None else -score for score in row] for row in matrix]


def scores_since_taught(matrix: Matrix, probes: Sequence[Probe], higher_is_better: bool) -> dict[int, list[float]]:
    """The signed scores on each test set taken after the experience that taught it."""
    rows = [(k, row) for k, row in enumerate(matrix)] + [(probe.experience, probe.scores) for probe in probes]
    sign = 1 if higher_is_better else -1
    return {
        j: [sign * score for k, row in rows if k > j and j < len(row) and (score := row[j]) is not None]
        for j in range(len(matrix) - 1)
    }


def curves(probes: Sequence[Probe], higher_is_better: bool) -> list[list[float]]:
    """The signed scores on each test set, from the experience that teaches it on."""
    sign = 1 if higher_is_better else -1
    last = max((probe.experience for probe in probes), default=-1)
    if any(len(probe.scores) <= last for probe in probes):
        return []
    return [
        [sign * score for p in probes if p.experience >= j and (score := p.scores[j]) is not None]
        for j in range(last + 1)
    ]


def largest_drop(curve: Sequence[float], window: int) -> float | None:
    """The largest ``curve[a] - curve[b]`` with a < b < a + window, at least 0."""
    if not curve:
        return None
    highest: deque[int] = deque()  # places in the window whose scores fall from left to right
    drop = 0.0
    for b, score in enumerate(curve):
        if highest and highest[0] <= b - window:
            highest.popleft()
        if highest:
            drop = max(drop, curve[highest[0]] - score)
        while highest and curve[highest[-1]] <= score:
            highest.pop()
        highest.append(b)
    return drop


def difference(a: float | None, b: float | None) -> float | None:
    """The first less the second, None where either is."""
    return None if a is None or b is None else a - b


def mean(values: Iterable[float | None]) -> float | None:
    """The mean of those that are there, None where none is."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
