"""The report as one HTML file that asks the network for nothing: tables, charts, configuration, versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files

import numpy as np

from remanence.arena import distance, heatmaps, page_tables, svg
from remanence.arena.rows import AxisUnit, Row
from remanence.arena.styles import budget_lines, styles


def render(
    title: str,
    rows: Sequence[Row],
    unit: AxisUnit,
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
        _head(title, rows, unit, prequential),
        page_tables.results_table(rows, unit),
        distance.section(rows, unit),
        _overview(rows, unit, prequential),
        _against_bytes(rows, unit, areas),
        heatmaps.score_of_each(rows, unit) if prequential else heatmaps.matrices(rows, unit),
        "" if prequential else _curves(rows, unit, tests),
        page_tables.bytes_table(rows),
        page_tables.metrics_table(rows, unit),
        page_tables.setting(rows, configuration, versions),
    ]
    policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" '
        f'content="{policy}"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>{escape(title)}</title>'
        f"<style>{style}{_test_colours(tests)}</style></head><body><main>{''.join(sections)}</main>"
        f'<div id="tip" aria-hidden="true"></div><script>{script}</script></body></html>'
    )


def _head(title: str, rows: Sequence[Row], unit: AxisUnit, prequential: bool) -> str:
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
        facts[f"best: {ranked[0].learner}"] = unit.interval(ranked[0].accuracy) + (" %" if unit.percent else "")
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


def _overview(rows: Sequence[Row], unit: AxisUnit, prequential: bool) -> str:
    drawn = []
    for row, style in zip(rows, styles(rows), strict=True):
        updates, scores = row.seen_so_far
        if len(updates):
            drawn.append(svg.Line(row.learner, updates, scores, f"l{style.colour}", style.line))
    if not drawn:
        return ""
    what = (
        "Score of what came since the last probe, each tested before it was learned"
        if prequential
        else "Mean score on the test sets taught so far"
    )
    passed = max(len(row.ends) for row in rows)
    chart = svg.lines(
        drawn,
        title=f"{what} over the stream, one line per learner; the last values are in the table of results",
        percent=unit.percent,
        boundaries=range(1, passed) if passed <= 30 else (),
        width=860,
        height=360,
        most=400,
        x_label="Experiences passed",
    )
    legend = _legend([(str(k), line.name, line.colour, line.dash) for k, line in enumerate(drawn)])
    return (
        f'<section><h2>While learning</h2><p class="soft">{what}, mean over seeds. Dotted uprights mark where an '
        f'experience ends.</p><div class="beside"><figure>{chart}</figure>{legend}</div></section>'
    )


def _against_bytes(rows: Sequence[Row], unit: AxisUnit, areas: Mapping[str, Mapping[str, float]]) -> str:
    drawn = []
    line_of = {place: line for line, places in enumerate(budget_lines(rows)) for place in places}
    for number, (row, style) in enumerate(zip(rows, styles(rows), strict=True)):
        size, score = row.total_bytes.mean, row.accuracy
        if size and score.mean is not None:
            spread, line = score.deviation or 0.0, line_of.get(number)
            name = row.learner if line is None else row.family
            drawn.append(svg.Point(name, size, score.mean, spread, f"l{style.colour}", row.reference, line))
    if not drawn:
        return ""
    chart = svg.points(
        drawn,
        title=f"Final {unit.word.lower()} against bytes held at the end, one point per learner and budget; both are in "
        "the table of results",
        percent=unit.percent,
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
        f'<section><h2>{unit.word} against bytes</h2><p class="soft">Uprights show one standard deviation; hollow points '
        "are references; lines join the budgets of one learner. Everything a learner keeps is counted.</p>"
        f"<figure>{chart}</figure>{table}</section>"
    )


_AREAS = {"auc_a": "AUC-A", "auc_l": "AUC-L", "mean_a": "AUC-A per MB", "mean_l": "AUC-L per MB"}


def _curves(rows: Sequence[Row], unit: AxisUnit, tests: int) -> str:
    shown = [row for row in rows if row.curves[1].size]
    if not shown or not tests:
        return ""
    most = max(24, min(160, 30_000 // (tests * len(shown))))
    figures = []
    names = next((result.tests for row in shown for result in row.finished if result.tests), [])
    for row in shown:
        updates, scores = row.curves
        drawn = [
            svg.Line(names[j] if j < len(names) else str(j + 1), updates, scores[:, j], f"t{j}")
            for j in range(scores.shape[1])
        ]
        chart = svg.lines(
            drawn,
            title=f"Score of {row.learner} on each test set over updates",
            percent=unit.percent,
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


def _legend(entries: Sequence[tuple[str, str, str, int]], row: bool = False) -> str:
    items = "".join(
        f'<li><button type="button" data-line="{key}" aria-pressed="false"><svg width="22" height="8" aria-hidden="true">'
        f'<line x1="0" x2="22" y1="4" y2="4" style="stroke:var(--{colour})" '
        f'stroke-dasharray="{svg.DASHES[dash % len(svg.DASHES)]}"/></svg>{escape(name)}</button></li>'
        for key, name, colour, dash in entries
    )
    return f'<ul class="legend{" row" if row else ""}">{items}</ul>'


def _test_colours(count: int) -> str:
    """CSS variables t0, t1…: viridis from early to late, within what can be read on each page colour."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    def block(low: float, high: float) -> str:
        steps = np.linspace(low, high, max(count, 1))
        return "".join(f"--t{k}:{to_hex(colormaps['viridis'](step))};" for k, step in enumerate(steps))

    return f":root{{{block(0.0, 0.82)}}}@media (prefers-color-scheme: dark){{:root{{{block(0.35, 1.0)}}}}}"
