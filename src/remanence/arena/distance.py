"""Recall against distance: what a learner still answers, by how many tokens ago it was told.

Read off the matrices of scores of streams that count their tokens: a test set asked so many experiences after the one
that taught it is asked that many experiences' tokens later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from remanence.arena import svg
from remanence.arena.result import Result
from remanence.arena.rows import AxisUnit, Numbers, Row
from remanence.arena.styles import styles

COLUMNS = 2
"""Charts beside each other on the page."""


@dataclass(frozen=True)
class Curve:
    """The recall of one learner.

    Parameters
    ----------
    row:
        Its place among the rows of the report.
    name:
        The learner, without its budget.
    distance:
        Tokens between what is asked about and its question, rising (n,).
    mean, deviation:
        Recall at each distance, mean and standard deviation (n - 1) over seeds (n,); 0 for a single seed.
    """

    row: int
    name: str
    distance: Numbers
    mean: Numbers
    deviation: Numbers


def by_lag(result: Result) -> list[float]:
    """The mean score on all test sets asked so many experiences after they were taught: 0, 1, 2…

    Example
    -------
    >>> by_lag(Result("rag", 0, matrix=[[1.0, 0.0], [0.5, 0.9]], distances=[100.0, 300.0]))
    [0.95, 0.5]
    """
    found = []
    for lag in range(len(result.distances)):
        asked = [result.matrix[j + lag][j] for j in range(len(result.matrix) - lag)]
        known = [score for score in asked if score is not None]
        found.append(sum(known) / len(known) if known else float("nan"))
    return found


def curve_of(place: int, row: Row) -> Curve | None:
    """The curve of one row, None where its stream counts no tokens."""
    counted = [result for result in row.finished if result.distances and result.matrix]
    if not counted:
        return None
    most = min(len(result.distances) for result in counted)
    scores = np.array([by_lag(result)[:most] for result in counted])
    distances = np.array([result.distances[:most] for result in counted]).mean(0)
    spread = scores.std(0, ddof=1) if len(counted) > 1 else np.zeros(most)
    known = ~np.isnan(scores).any(0)
    return Curve(place, row.family, distances[known], scores.mean(0)[known], spread[known])


def charts(rows: Sequence[Row]) -> list[tuple[str, list[Curve]]]:
    """What to draw together: the learners of one budget, under its name; one that has none stands in every chart."""
    curves = [(row, curve) for k, row in enumerate(rows) if (curve := curve_of(k, row)) is not None]
    sizes = {row.at: row.budget for row, _ in curves if row.at}
    if not sizes:
        return [("", [curve for _, curve in curves])] if curves else []
    return [
        (at, [curve for row, curve in curves if row.at in ("", at)])
        for at in sorted(sizes, key=lambda name: sizes[name])
    ]


def section(rows: Sequence[Row], unit: AxisUnit) -> str:
    """The part of the page, empty where no stream counts its tokens."""
    figures = []
    drawn = charts(rows)
    if not drawn:
        return ""
    styled = styles(rows)
    alone = len(drawn) == 1
    for name, curves in drawn:
        chart = svg.lines(
            [
                svg.Line(c.name, c.distance, c.mean, f"l{styled[c.row].colour}", styled[c.row].turn, c.deviation)
                for c in curves
            ],
            title="Recall against the tokens between a fact and its question, one line per learner"
            + (f", within {name}" if name else ""),
            percent=unit.percent,
            width=860 if alone else 520,
            height=340 if alone else 280,
            x_label="Tokens between a fact and its question (logarithmic)",
            logarithmic=True,
        )
        head = f"<h3>{escape(f'Within {name}')}</h3>" if name else ""
        figures.append(f"<figure>{head}{chart}</figure>")
    body = figures[0] if alone else f'<div class="many wide">{"".join(figures)}</div>'
    return (
        '<section><h2>Recall against distance</h2><p class="soft">The share of questions answered exactly, by how much '
        "text lies between a fact and its question; mean over seeds, shaded by one standard deviation. The language "
        "model that reads is the same for every learner and is not counted as memory.</p>"
        f"{body}</section>"
    )
