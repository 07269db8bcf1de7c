"""The report as one HTML file that asks the network for nothing: tables, charts, configuration, versions."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np

from remanence.arena import drawing
from remanence.arena.rows import SHOWN, Numbers, Row, Spread, Units, named
from remanence.footprint import format_bytes

LARGEST_TABLE = 14
"""Matrices of more experiences are shown as a picture, without a number in each cell."""

LEARNER_COLOURS = 8


def render(
    title: str,
    rows: Sequence[Row],
    units: Units,
    *,
    prequential: bool,
    configuration: str,
    versions: Mapping[str, str],
    areas: Mapping[str, Mapping[str, float]],
) -> str:
    """The whole page as text."""
    style = files("remanence.arena").joinpath("page.css").read_text("utf-8")
    script = files("remanence.arena").joinpath("page.js").read_text("utf-8")
    tests = max((len(result.tests) for row in rows for result in row.results), default=0)
    sections = [
        _head(title, rows, units, prequential),
        _table(rows, units),
        _overview(rows, units, prequential),
        _against_bytes(rows, units, areas),
        _running(rows, units) if prequential else _matrices(rows, units),
        "" if prequential else _curves(rows, units, tests),
        _bytes(rows),
        _every_metric(rows, units),
        _setting(rows, configuration, versions),
    ]
    policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" '
        f'content="{policy}"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>{escape(title)}</title>'
        f"<style>{style}{_test_colours(tests)}</style></head><body><main>{''.join(sections)}</main>"
        f'<div id="tip" aria-hidden="true"></div><script>{script}</script></body></html>'
    )


def _head(title: str, rows: Sequence[Row], units: Units, prequential: bool) -> str:
    results = [result for row in rows for result in row.results]
    seeds = sorted({result.seed for result in results})
    experiences = max((len(result.matrix) for result in results), default=0)
    facts = {"learners": str(len(rows)), "seeds": str(len(seeds)), "experiences": str(experiences)}
    if not prequential:
        facts["test sets"] = str(max((len(result.tests) for result in results), default=0))
    updates = max((result.probes[-1].update for result in results if result.probes), default=0)
    if updates:
        facts["updates"] = f"{updates:,}"
    ranked = [row for row in rows if not row.reference and row.accuracy.mean is not None]
    if ranked:
        facts[f"best: {ranked[0].learner}"] = units.spread(ranked[0].accuracy) + (" %" if units.percent else "")
    listed = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts.items())
    how = (
        "Each experience was tested just before it was learned; the score is the mean over the whole stream."
        if prequential
        else "The final score is the mean over all test sets after the last experience."
    )
    return (
        f'<h1>{escape(title)}</h1><p class="soft">{how} Figures are mean ± standard deviation over '
        f'seeds.</p><dl class="facts">{listed}</dl>'
    )


def _table(rows: Sequence[Row], units: Units) -> str:
    shown = [name for name in SHOWN if any(row.metrics.get(name, Spread()).n for row in rows)]
    columns = [units.label, *map(named, shown), "Bytes", "Learning, s", "Evaluation, s"]
    body = []
    for row in rows:
        cells = [units.spread(row.accuracy)]
        cells += [units.spread(row.metrics.get(name, Spread())) for name in shown]
        cells += [_size(row.total_bytes), _seconds(row.seconds("learning")), _seconds(row.seconds("evaluation"))]
        best = not row.reference and row is rows[0]
        marked = "".join(
            f'<td class="best">{cell}</td>' if best and place == 0 else f"<td>{cell}</td>"
            for place, cell in enumerate(cells)
        )
        kind = ' class="reference"' if row.reference else ""
        body.append(f'<tr{kind}><th scope="row">{escape(row.learner)}{_tags(row)}</th>{marked}</tr>')
    heads = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    note = "Best first."
    if any(row.reference for row in rows):
        note += " A reference row stands outside any budget, for comparison."
    return (
        f'<section><h2>Results</h2><p class="soft">{note} Forgetting, dips and intransigence are positive where '
        f'something got worse, transfer where it got better.</p><div class="scroll"><table class="figures">'
        f'<thead><tr><th scope="col">Learner</th>{heads}</tr></thead><tbody>{"".join(body)}</tbody></table></div></section>'
    )


def _tags(row: Row) -> str:
    tags = '<span class="tag">reference</span>' if row.reference else ""
    if row.diverged:
        tags += f'<span class="tag warn">{row.diverged} of {len(row.results)} diverged</span>'
    return tags


def _overview(rows: Sequence[Row], units: Units, prequential: bool) -> str:
    drawn = []
    for number, row in enumerate(rows):
        updates, scores = row.taught
        if len(updates):
            drawn.append(drawing.Line(row.learner, updates, scores, *_look(number)))
    if not drawn:
        return ""
    what = "Running score" if prequential else "Mean score on the test sets taught so far"
    chart = drawing.lines(
        drawn,
        title=f"{what} over updates, one line per learner; the last values are in the table of results",
        percent=units.percent,
        boundaries=[] if len(rows[0].boundaries) > 30 else rows[0].boundaries,
        width=860,
        height=360,
        most=400,
    )
    legend = _legend([(str(k), line.name, line.colour, line.dash) for k, line in enumerate(drawn)])
    return (
        f'<section><h2>While learning</h2><p class="soft">{what}, mean over seeds. Dotted uprights mark where an '
        f'experience ends.</p><div class="beside"><figure>{chart}</figure>{legend}</div></section>'
    )


def _against_bytes(rows: Sequence[Row], units: Units, areas: Mapping[str, Mapping[str, float]]) -> str:
    drawn = []
    for number, row in enumerate(rows):
        size, score = row.total_bytes.mean, row.accuracy
        if size and score.mean is not None:
            spread = score.deviation or 0.0
            drawn.append(drawing.Point(row.learner, size, score.mean, spread, _look(number)[0], row.reference))
    if not drawn:
        return ""
    chart = drawing.points(
        drawn,
        title="Final score against bytes held at the end, one point per learner; both are in the table of results",
        percent=units.percent,
        width=860,
        height=max(320, 18 * len(drawn) + 60),
    )
    table = ""
    if areas:
        body = "".join(
            f'<tr><th scope="row">{escape(name)}</th>'
            + "".join(f"<td>{found[key]:.3g}</td>" if key in found else "<td>–</td>" for key in _AREAS)
            + "</tr>"
            for name, found in areas.items()
        )
        heads = "".join(f'<th scope="col">{head}</th>' for head in _AREAS.values())
        table = (
            '<p class="soft">Area under score against megabytes, over the budgets that were run.</p><table '
            f'class="figures"><thead><tr><th scope="col">Learner</th>{heads}</tr></thead><tbody>{body}</tbody></table>'
        )
    return (
        '<section><h2>Score against bytes</h2><p class="soft">Uprights show one standard deviation; hollow points '
        f"are references. Everything a learner keeps is counted.</p><figure>{chart}</figure>{table}</section>"
    )


_AREAS = {"auc_a": "AUC-A", "auc_l": "AUC-L", "mean_a": "AUC-A per MB", "mean_l": "AUC-L per MB"}


def _matrices(rows: Sequence[Row], units: Units) -> str:
    known = [row.matrix[~np.isnan(row.matrix)] for row in rows]
    low, high = drawing.bounds(np.concatenate(known) if known else np.empty(0), units.percent)
    figures = "".join(_matrix(row, units, low, high) for row in rows if row.matrix.size)
    if not figures:
        return ""
    ramp = ", ".join(_colour(value)[0] for value in np.linspace(0, 1, 9))
    return (
        '<section><h2>Score after each experience</h2><p class="soft">Row: after which experience. Column: on which '
        f"test set. Mean over seeds{', in percent' if units.percent else ''}. {units.score(low, 0)}"
        f'<span class="ramp" style="background:linear-gradient(90deg, {ramp})"></span>{units.score(high, 0)}</p>'
        f'<div class="many">{figures}</div></section>'
    )


def _matrix(row: Row, units: Units, low: float, high: float) -> str:
    matrix = row.matrix
    tests = next((result.tests for result in row.finished if result.tests), [])
    names = tests if len(tests) == matrix.shape[1] else [str(j + 1) for j in range(matrix.shape[1])]
    title = f"<h3>{escape(row.learner)}</h3>"
    if max(matrix.shape) > LARGEST_TABLE:
        alt = f"Scores of {row.learner}: {matrix.shape[0]} experiences downwards, {matrix.shape[1]} test sets across"
        return f'<figure>{title}<img class="heat" alt="{escape(alt)}" src="{_picture(matrix, low, high)}"></figure>'
    heads = "".join(f'<th scope="col" title="{escape(name)}">{j + 1}</th>' for j, name in enumerate(names))
    body = "".join(
        f'<tr><th scope="row">{k + 1}</th>{"".join(_cell(value, units, low, high) for value in line)}</tr>'
        for k, line in enumerate(matrix)
    )
    return (
        f'<figure>{title}<table class="heat"><thead><tr><th scope="col" aria-label="after experience"></th>{heads}'
        f"</tr></thead><tbody>{body}</tbody></table></figure>"
    )


def _cell(value: float, units: Units, low: float, high: float) -> str:
    if np.isnan(value):
        return '<td class="none">–</td>'
    page, ink = _colour((value - low) / ((high - low) or 1))
    text = units.score(value, 0) if units.percent else f"{value:.3g}"
    return f'<td style="background:{page};color:{ink}" title="{units.score(value, 2)}">{text}</td>'


def _running(rows: Sequence[Row], units: Units) -> str:
    """Prequential: one score per experience, a line of cells per learner."""
    known = [row.matrix[~np.isnan(row.matrix)] for row in rows]
    low, high = drawing.bounds(np.concatenate(known) if known else np.empty(0), units.percent)
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
            cells = "".join(_cell(value, units, low, high) for value in scores)
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


def _curves(rows: Sequence[Row], units: Units, tests: int) -> str:
    shown = [row for row in rows if row.curves[1].size]
    if not shown or not tests:
        return ""
    most = max(24, min(160, 30_000 // (tests * len(shown))))
    figures = []
    names = next((result.tests for row in shown for result in row.finished if result.tests), [])
    for row in shown:
        updates, scores = row.curves
        drawn = [
            drawing.Line(names[j] if j < len(names) else str(j + 1), updates, scores[:, j], f"t{j}")
            for j in range(scores.shape[1])
        ]
        chart = drawing.lines(
            drawn,
            title=f"Score of {row.learner} on each test set over updates",
            percent=units.percent,
            boundaries=row.boundaries if len(row.boundaries) <= 30 else [],
            width=420,
            height=250,
            most=most,
        )
        figures.append(f"<figure><h3>{escape(row.learner)}</h3>{chart}</figure>")
    listed = _legend([(str(j), name, f"t{j}", 0) for j, name in enumerate(names)], row=True) if tests <= 30 else ""
    return (
        '<section><h2>Each test set while learning</h2><p class="soft">Mean over seeds; earlier test sets are darker '
        "on a light page and the dips after a dotted upright are what a new experience cost.</p>"
        f'{listed}<div class="many">{"".join(figures)}</div></section>'
    )


def _bytes(rows: Sequence[Row]) -> str:
    kinds = list(dict.fromkeys(kind for row in rows for kind in row.bytes))
    if not kinds:
        return ""
    body = []
    for row in rows:
        total = sum(row.bytes.values()) or 1
        bar = "".join(
            f'<i style="width:{100 * row.bytes[kind] / total:.1f}%;background:var(--l{kinds.index(kind) % LEARNER_COLOURS})"></i>'
            for kind in row.bytes
        )
        cells = "".join(f"<td>{format_bytes(round(row.bytes[k])) if row.bytes.get(k) else '–'}</td>" for k in kinds)
        body.append(
            f'<tr><th scope="row">{escape(row.learner)}</th><td><span class="bar" aria-hidden="true">{bar}</span></td>'
            f"{cells}<td>{_size(row.total_bytes)}</td></tr>"
        )
    heads = "".join(
        f'<th scope="col"><span style="color:var(--l{k % LEARNER_COLOURS})" aria-hidden="true">■</span> {kind}</th>'
        for k, kind in enumerate(kinds)
    )
    return (
        '<section><h2>Bytes by kind</h2><p class="soft">At the end, mean over seeds.</p><div class="scroll"><table '
        f'class="figures"><thead><tr><th scope="col">Learner</th><th scope="col">Share</th>{heads}<th scope="col">Total'
        f"</th></tr></thead><tbody>{''.join(body)}</tbody></table></div></section>"
    )


def _every_metric(rows: Sequence[Row], units: Units) -> str:
    names = list(dict.fromkeys(name for row in rows for name, spread in row.metrics.items() if spread.n))
    names = [name for name in names if name not in ("accuracy", "bytes_peak")]
    if not names:
        return ""
    heads = "".join(f'<th scope="col">{escape(named(name))}</th>' for name in names)
    body = "".join(
        f'<tr><th scope="row">{escape(row.learner)}</th>'
        + "".join(f"<td>{units.spread(row.metrics.get(name, Spread()))}</td>" for name in names)
        + "</tr>"
        for row in rows
    )
    return (
        '<section><details><summary>Every metric</summary><div class="scroll"><table class="figures"><thead><tr>'
        f'<th scope="col">Learner</th>{heads}</tr></thead><tbody>{body}</tbody></table></div></details></section>'
    )


def _setting(rows: Sequence[Row], configuration: str, versions: Mapping[str, str]) -> str:
    results = [result for row in rows for result in row.results]
    seeds = ", ".join(map(str, sorted({result.seed for result in results})))
    notes: dict[str, list[int]] = {}
    for result in results:
        for key, value in {
            **result.notes,
            **({} if result.status == "finished" else {"status": result.status}),
        }.items():
            notes.setdefault(f"{result.learner}: {named(key)}: {_plain(value)}", []).append(result.seed)
    listed = "".join(
        f"<li>{escape(text)}{'' if len(where) == len(seeds.split(', ')) else escape(f' (seed {_joined(where)})')}</li>"
        for text, where in notes.items()
    )
    noted = f'<h2>Notes</h2><ul class="notes">{listed}</ul>' if listed else ""
    versioned = "\n".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"<section>{noted}<h2>How it was made</h2><p>Seeds: {seeds or 'none'}.</p>"
        + (f"<h3>Configuration</h3><pre>{escape(configuration)}</pre>" if configuration else "")
        + (f"<h3>Versions</h3><pre>{escape(versioned)}</pre>" if versioned else "")
        + "</section>"
    )


def _legend(entries: Sequence[tuple[str, str, str, int]], row: bool = False) -> str:
    items = "".join(
        f'<li><button type="button" data-line="{key}" aria-pressed="false"><svg width="22" height="8" aria-hidden="true">'
        f'<line x1="0" x2="22" y1="4" y2="4" style="stroke:var(--{colour})" '
        f'stroke-dasharray="{drawing.DASHES[dash % len(drawing.DASHES)]}"/></svg>{escape(name)}</button></li>'
        for key, name, colour, dash in entries
    )
    return f'<ul class="legend{" row" if row else ""}">{items}</ul>'


def _look(number: int) -> tuple[str, int]:
    return f"l{number % LEARNER_COLOURS}", number // LEARNER_COLOURS


def _test_colours(count: int) -> str:
    """CSS variables t0, t1…: viridis from early to late, within what can be read on each page colour."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    def block(low: float, high: float) -> str:
        steps = np.linspace(low, high, max(count, 1))
        return "".join(f"--t{k}:{to_hex(colormaps['viridis'](step))};" for k, step in enumerate(steps))

    return f":root{{{block(0.0, 0.82)}}}@media (prefers-color-scheme: dark){{:root{{{block(0.35, 1.0)}}}}}"


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


def _size(spread: Spread) -> str:
    return "–" if spread.mean is None else format_bytes(round(spread.mean))


def _seconds(spread: Spread) -> str:
    return "–" if spread.mean is None else f"{spread.mean:.3g}" if spread.mean < 100 else f"{spread.mean:.0f}"


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _joined(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))
