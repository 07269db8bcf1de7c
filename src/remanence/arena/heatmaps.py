"""Scores after each experience, as heat maps: tables where numbers fit, pictures where they do not."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape

import numpy as np

from remanence.arena import svg
from remanence.arena.rows import AxisUnit, Numbers, Row

LARGEST_TABLE = 14
"""Matrices of more experiences are shown as a picture, without a number in each cell."""


def matrices(rows: Sequence[Row], unit: AxisUnit) -> str:
    known = [row.matrix[~np.isnan(row.matrix)] for row in rows]
    low, high = svg.bounds(np.concatenate(known) if known else np.empty(0), unit.percent)
    figures = "".join(_matrix(row, unit, low, high) for row in rows if row.matrix.size)
    if not figures:
        return ""
    ramp = ", ".join(_colour(value)[0] for value in np.linspace(0, 1, 9))
    return (
        '<section><h2>Score after each experience</h2><p class="soft">Row: after which experience. Column: on which '
        f"test set. Mean over seeds{', in percent' if unit.percent else ''}. {unit.score(low, 0)}"
        f'<span class="ramp" style="background:linear-gradient(90deg, {ramp})"></span>{unit.score(high, 0)}</p>'
        f'<div class="many">{figures}</div></section>'
    )


def _matrix(row: Row, unit: AxisUnit, low: float, high: float) -> str:
    matrix = row.matrix
    tests = next((result.tests for result in row.finished if result.tests), [])
    names = tests if len(tests) == matrix.shape[1] else [str(j + 1) for j in range(matrix.shape[1])]
    title = f"<h3>{escape(row.learner)}</h3>"
    if max(matrix.shape) > LARGEST_TABLE:
        alt = f"Scores of {row.learner}: {matrix.shape[0]} experiences downwards, {matrix.shape[1]} test sets across"
        return f'<figure>{title}<img class="heat" alt="{escape(alt)}" src="{_picture(matrix, low, high)}"></figure>'
    heads = "".join(f'<th scope="col" title="{escape(name)}">{j + 1}</th>' for j, name in enumerate(names))
    body = "".join(
        f'<tr><th scope="row">{k + 1}</th>{"".join(_cell(value, unit, low, high) for value in line)}</tr>'
        for k, line in enumerate(matrix)
    )
    return (
        f'<figure>{title}<table class="heat"><thead><tr><th scope="col" aria-label="after experience"></th>{heads}'
        f"</tr></thead><tbody>{body}</tbody></table></figure>"
    )


def score_of_each(rows: Sequence[Row], unit: AxisUnit) -> str:
    """Prequential: one score per experience, a line of cells per learner."""
    known = [row.matrix[~np.isnan(row.matrix)] for row in rows]
    low, high = svg.bounds(np.concatenate(known) if known else np.empty(0), unit.percent)
    most = max((row.matrix.shape[0] for row in rows), default=0)
    if not most:
        return ""
    body = []
    for row in rows:
        scores = row.matrix[:, 0] if row.matrix.size else np.empty(0)
        if most > LARGEST_TABLE:
            alt = f"Score of {row.learner} on each of {len(scores)} experiences, from left to right"
            cells = f'<td><img class="heat" style="height:22px" alt="{escape(alt)}" src="{_picture(scores[None, :], low, high)}"></td>'
        else:
            cells = "".join(_cell(value, unit, low, high) for value in scores)
        body.append(f'<tr><th scope="row">{escape(row.learner)}</th>{cells}</tr>')
    heads = (
        f'<th scope="col">1 to {most}</th>'
        if most > LARGEST_TABLE
        else "".join(f'<th scope="col">{k + 1}</th>' for k in range(most))
    )
    return (
        '<section><h2>Score of each experience</h2><p class="soft">Tested just before it was learned, mean over seeds.'
        f'</p><table class="heat"><thead><tr><th scope="col">Learner</th>{heads}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></section>"
    )


def _cell(value: float, unit: AxisUnit, low: float, high: float) -> str:
    if np.isnan(value):
        return '<td class="none">–</td>'
    page, ink = _colour((value - low) / ((high - low) or 1))
    text = unit.score(value, 0) if unit.percent else f"{value:.3g}"
    return f'<td style="background:{page};color:{ink}" title="{unit.score(value, 2)}">{text}</td>'


def _colour(share: float) -> tuple[str, str]:
    """Background and ink of a cell."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    red, green, blue, _ = colormaps["viridis"](float(min(max(share, 0.0), 1.0)))
    return to_hex((red, green, blue)), "#111" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.48 else "#fff"


def _picture(matrix: Numbers, low: float, high: float) -> str:
    """A matrix as a PNG of one pixel per cell, as a data address."""
    from matplotlib.image import imsave

    buffer = io.BytesIO()
    imsave(buffer, np.nan_to_num(matrix, nan=low), vmin=low, vmax=high, cmap="viridis", format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
