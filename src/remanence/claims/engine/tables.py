"""What `remanence prove` prints."""

from __future__ import annotations

from rich.console import Group
from rich.table import Table
from rich.text import Text

from remanence.claims.engine.judging import spread
from remanence.claims.engine.verdict import Verdict
from remanence.footprint import format_bytes


def verdict_table(verdict: Verdict) -> Group:
    """The verdict with its figures: the two sides, controls and what is told beside, floors, and how it was measured."""
    claim = verdict.claim
    table = Table(show_header=True)
    for column in ("learner", claim["metric"], "final accuracy", "bytes", "updates", "forward rows", "settings found"):
        table.add_column(column, justify="left" if column in ("learner", "settings found") else "right")
    for label in labels_of(verdict):
        counts, found = verdict.updates.get(label, {}), verdict.search.get(label, {})
        table.add_row(
            label,
            spread(verdict.values[label]),
            spread(verdict.accuracy.get(label, [])),
            format_bytes(verdict.bytes[label]["total"]) if label in verdict.bytes else "–",
            *(f"{counts[kind]:,}" if kind in counts else "–" for kind in ("updates", "forwards")),
            ", ".join(f"{key}={value}" for key, value in found.get("best", {}).items()) or "–",
        )
    facts = Table(show_header=False, box=None, pad_edge=False)
    side = f"{claim['system']} {claim['better']} than {claim['baseline']}"
    facts.add_row("claim", Text(f"{claim['says']} ({claim['metric']}: {side})"))
    facts.add_row("paper", Text(verdict.paper))
    facts.add_row("difference", f"{verdict.difference}, one-sided 95 % bound over {len(verdict.differences)} pairs")
    if verdict.audit is not None:
        facts.add_row("audit", Text(verdict.audited))
    if verdict.floors:
        facts.add_row("floors", ", ".join(f"{name} {spread(values)}" for name, values in verdict.floors.items()))
    for key, text in verdict.protocol.items():
        facts.add_row(key, Text(text))
    facts.add_row("took", verdict.time)
    colour = {"shown": "green", "not shown": "yellow", "not run": "red"}[verdict.verdict]
    headline = Text(f"{verdict.name}: {verdict.standing}", style=f"bold {colour}")
    return Group(headline, facts, *([table] if verdict.values else []), *_figures(verdict))


def labels_of(verdict: Verdict) -> list[str]:
    """What was measured, the two sides first."""
    sides = [verdict.claim["system"], verdict.claim["baseline"]]
    return [label for label in dict.fromkeys([*sides, *verdict.values]) if label in verdict.values]


def _figures(verdict: Verdict) -> list[Table]:
    """Every figure of an experiment, a row for each side and for what was measured beside."""
    if not verdict.figures:
        return []
    names = list(dict.fromkeys(name for known in verdict.figures.values() for name in known))
    table = Table("measured", *names, "bytes")
    for label, known in verdict.figures.items():
        cells = [spread(known.get(name, [])) for name in names]
        table.add_row(label, *cells, format_bytes(verdict.bytes[label]["total"]))
    return [table]
