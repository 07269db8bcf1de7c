"""The tables of the report's page: results, bytes by kind, every metric, and how it was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from remanence.arena.rows import COLOURS, SHOWN, AxisUnit, Interval, Row, metric_title
from remanence.footprint import format_bytes


def results_table(rows: Sequence[Row], unit: AxisUnit) -> str:
    shown = [name for name in SHOWN if any(row.metrics.get(name, Interval()).n for row in rows)]
    columns = [unit.label, *map(metric_title, shown), "Bytes", "Learning, s", "Evaluation, s"]
    body = []
    for row in rows:
        cells = [unit.interval(row.accuracy)]
        cells += [unit.interval(row.metrics.get(name, Interval()), name) for name in shown]
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
    if shown:
        note += " Forgetting and dips are positive where something got worse, transfer where it got better."
    return (
        f'<section><h2>Results</h2><p class="soft">{note}</p><div class="scroll"><table class="figures">'
        f'<thead><tr><th scope="col">Learner</th>{heads}</tr></thead><tbody>{"".join(body)}</tbody></table></div></section>'
    )


def _tags(row: Row) -> str:
    tags = '<span class="tag">reference</span>' if row.reference else ""
    for status in ("diverged", "refused"):
        count = sum(result.status == status for result in row.results)
        if count:
            tags += f'<span class="tag warn">{count} of {len(row.results)} {status}</span>'
    return tags


def bytes_table(rows: Sequence[Row]) -> str:
    kinds = list(dict.fromkeys(kind for row in rows for kind in row.bytes))
    if not kinds:
        return ""
    body = []
    for row in rows:
        total = sum(row.bytes.values()) or 1
        bar = "".join(
            f'<i style="width:{100 * row.bytes[kind] / total:.1f}%;background:var(--l{kinds.index(kind) % COLOURS})"></i>'
            for kind in row.bytes
        )
        cells = "".join(f"<td>{format_bytes(round(row.bytes[k])) if row.bytes.get(k) else '–'}</td>" for k in kinds)
        body.append(
            f'<tr><th scope="row">{escape(row.learner)}</th><td><span class="bar" aria-hidden="true">{bar}</span></td>'
            f"{cells}<td>{_size(row.total_bytes)}</td></tr>"
        )
    heads = "".join(
        f'<th scope="col"><span style="color:var(--l{k % COLOURS})" aria-hidden="true">■</span> {kind}</th>'
        for k, kind in enumerate(kinds)
    )
    return (
        '<section><h2>Bytes by kind</h2><p class="soft">At the end, mean over seeds.</p><div class="scroll"><table '
        f'class="figures"><thead><tr><th scope="col">Learner</th><th scope="col">Share</th>{heads}<th scope="col">Total'
        f"</th></tr></thead><tbody>{''.join(body)}</tbody></table></div></section>"
    )


def metrics_table(rows: Sequence[Row], unit: AxisUnit) -> str:
    names = list(dict.fromkeys(name for row in rows for name, interval in row.metrics.items() if interval.n))
    names = [name for name in names if name not in ("accuracy", "bytes_peak")]
    if not names:
        return ""
    heads = "".join(f'<th scope="col">{escape(metric_title(name))}</th>' for name in names)
    body = "".join(
        f'<tr><th scope="row">{escape(row.learner)}</th>'
        + "".join(f"<td>{unit.interval(row.metrics.get(name, Interval()), name)}</td>" for name in names)
        + "</tr>"
        for row in rows
    )
    return (
        '<section><details><summary>Every metric</summary><div class="scroll"><table class="figures"><thead><tr>'
        f'<th scope="col">Learner</th>{heads}</tr></thead><tbody>{body}</tbody></table></div></details></section>'
    )


def setting(rows: Sequence[Row], configuration: str, versions: Mapping[str, str]) -> str:
    results = [result for row in rows for result in row.results]
    seeds = ", ".join(map(str, sorted({result.seed for result in results})))
    notes: dict[str, list[int]] = {}
    for result in results:
        for key, value in {
            **result.notes,
            **({} if result.status == "finished" else {"status": result.status}),
        }.items():
            notes.setdefault(f"{result.learner}: {metric_title(key)}: {_plain(value)}", []).append(result.seed)
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


def _size(interval: Interval) -> str:
    return "–" if interval.mean is None else format_bytes(round(interval.mean))


def _seconds(interval: Interval) -> str:
    return "–" if interval.mean is None else f"{interval.mean:.3g}" if interval.mean < 100 else f"{interval.mean:.0f}"


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _joined(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))
