"""The table at the end of a run, for the terminal."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from remanence.arena.result import Result
from remanence.footprint import KINDS, format_bytes


def by_learner(results: Sequence[Result]) -> list[tuple[str, list[Result]]]:
    """Results grouped by learner: best first, those that diverged behind, reference rows last."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(result.learner, []).append(result)

    def place(item: tuple[str, list[Result]]) -> tuple[bool, bool, float]:
        scores = [r.accuracy for r in item[1] if r.accuracy is not None]
        best = statistics.fmean(scores) if scores else 0.0
        higher = item[1][0].metric != "rmse"
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


def final_tables(results: Sequence[Result]) -> list[Table]:
    """Final score, forgetting, worst dip, bytes and seconds by learner, best first; then bytes by kind."""
    metric = results[0].metric
    seeds = len({result.seed for result in results})
    matrix = any(result.forgetting is not None for result in results)
    main = Table(title=f"{metric}, mean ± standard deviation over {seeds} seed{'s' if seeds != 1 else ''}, best first")
    main.add_column("learner", no_wrap=True)
    for name in (metric, *(("forgetting", "worst dip") if matrix else ()), "bytes", "seconds"):
        main.add_column(name, justify="right", no_wrap=True)
    kinds = [kind for kind in KINDS if any(result.bytes.get(kind) for result in results)]
    split = Table(title="bytes by kind")
    split.add_column("learner", no_wrap=True)
    for kind in kinds:
        split.add_column(kind, justify="right", no_wrap=True)
    for name, group in by_learner(results):
        stopped = {status: sum(r.status == status for r in group) for status in ("diverged", "refused")}
        label = Text(f"{name} *" if group[0].reference else name)
        for status, count in stopped.items():
            if count:
                label.append(f" ({count} of {len(group)} {status})", style="red")
        cells = [spread([r.accuracy for r in group])]
        if matrix:
            cells += [spread([r.forgetting for r in group], 2), spread([r.worst_dip for r in group], 2)]
        learning, evaluation = (
            statistics.fmean(r.seconds.get(kind, 0.0) for r in group) for kind in ("learning", "evaluation")
        )
        main.add_row(label, *cells, _bytes(group, "total"), f"{learning:.1f} + {evaluation:.1f}")
        split.add_row(name, *(_bytes(group, kind) for kind in kinds))
    notes = "seconds: learning + evaluation"
    if any(result.reference for result in results):
        notes += "\n* a reference row, outside any budget"
    for name, group in by_learner(results):
        reasons = dict.fromkeys(str(r.notes["stopped"]) for r in group if "stopped" in r.notes)
        notes += "".join(f"\n{name}: {reason}" for reason in list(reasons)[:1])
    main.caption = notes
    return [main, split]


def _bytes(group: Sequence[Result], kind: str) -> str:
    mean = round(statistics.fmean(result.bytes.get(kind, 0) for result in group))
    return format_bytes(mean) if mean else "–"
