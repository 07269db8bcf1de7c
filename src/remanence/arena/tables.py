"""The table at the end of a run, for the terminal."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from rich.table import Table

from remanence.arena.result import Result
from remanence.footprint import format_bytes


def by_learner(results: Sequence[Result]) -> list[tuple[str, list[Result]]]:
    """Results grouped by learner: best first, those that diverged behind, reference rows last."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(result.learner, []).append(result)

    def place(item: tuple[str, list[Result]]) -> tuple[bool, bool, float]:
        scores = [r.accuracy for r in item[1] if r.accuracy is not None]
        best = statistics.fmean(scores) if scores else 0.0
        higher = item[1][0].metric == "accuracy"
        return item[1][0].reference, not scores, -best if higher else best

    return sorted(groups.items(), key=place)


def spread(values: Sequence[float | None], digits: int = 3) -> str:
    """Mean ± standard deviation.

    >>> spread([0.5, 0.7]), spread([0.5]), spread([None])
    ('0.600 ± 0.141', '0.500', '–')
    """
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    text = f"{statistics.fmean(known):.{digits}f}"
    return f"{text} ± {statistics.stdev(known):.{digits}f}" if len(known) > 1 else text


def final_table(results: Sequence[Result]) -> Table:
    """Final score, forgetting, worst dip, bytes by kind and seconds by learner, best first."""
    metric = results[0].metric
    seeds = len({result.seed for result in results})
    kinds = sorted({kind for result in results for kind in result.bytes if kind != "total"})
    matrix = any(result.forgetting is not None for result in results)
    table = Table(title=f"{metric}, mean ± standard deviation over {seeds} seed{'s' if seeds != 1 else ''}, best first")
    table.add_column("learner")
    for name in (metric, *(("forgetting", "worst dip") if matrix else ()), *kinds, "total", "learning", "evaluation"):
        table.add_column(name, justify="right")
    for name, group in by_learner(results):
        diverged = sum(result.status == "diverged" for result in group)
        label = f"{name} (reference, outside any budget)" if group[0].reference else name
        if diverged:
            label += f" [red]({diverged} of {len(group)} diverged)[/red]"
        cells = [spread([r.accuracy for r in group])]
        if matrix:
            cells += [spread([r.forgetting for r in group]), spread([r.worst_dip for r in group])]
        for kind in (*kinds, "total"):
            mean = round(statistics.fmean(r.bytes.get(kind, 0) for r in group))
            cells.append(format_bytes(mean) if mean else "–")
        cells += [
            f"{statistics.fmean(r.seconds.get(kind, 0.0) for r in group):.1f} s" for kind in ("learning", "evaluation")
        ]
        table.add_row(label, *cells)
    return table
