"""The table of claims in the docs, generated from what was run and never typed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from remanence import systems
from remanence.claims.registry import claims
from remanence.claims.verdict import Verdict, spread
from remanence.errors import StateError
from remanence.files import write_atomically
from remanence.footprint import format_bytes

TABLE, FIGURES = "claims.md", "claims.jsonl"
STANDINGS = Path(__file__).with_name("verdicts.jsonl")
"""How each claim stands, packed with the library for `remanence systems` and `remanence show`."""

HEAD = """\
# Claims

Every system is here with an experiment that shows, or fails to show, what its paper says. `remanence prove NAME`
runs one, `make claims` runs all and writes this page and [claims.jsonl](claims.jsonl), which holds every figure.

A claim is *shown* when the paired difference between system and baseline lies on the claimed side with a one-sided
95 % confidence bound (Student's t over the seeds). Hyperparameters of both are searched with the same number of
points, on other seeds and class orders than those reported, and on training examples held out of them, never on the
test data. A claim that is not shown at this scale stays here with its figures. *Seconds* add up
the wall time of every run, searches included, on machines that did other work beside.
"""


def read(folder: str | os.PathLike[str]) -> dict[str, Verdict]:
    """The verdicts written before, by system.

    Raises
    ------
    StateError
        If the file is not what `write` writes.
    """
    path = Path(folder) / FIGURES
    if not path.exists():
        return {}
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        return {row["name"]: Verdict.from_dict(row) for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        raise StateError(f"{path} cannot be read ({error}): move it away and run the claims again") from None


def write(
    folder: str | os.PathLike[str], verdicts: Mapping[str, Verdict], standings: str | os.PathLike[str] | None = None
) -> None:
    """Write table and figures, whole or not at all.

    Parameters
    ----------
    folder:
        Usually ``docs``.
    verdicts:
        By system.
    standings:
        A file for how each claim stands, or None for none.
    """
    rows = [verdicts[name] for name in sorted(verdicts)]
    write_atomically(Path(folder) / FIGURES, _lines([row.as_dict() for row in rows]))
    write_atomically(Path(folder) / TABLE, page(verdicts))
    if standings is not None:
        brief = [
            {"system": row.name, "verdict": row.verdict, "difference": row.difference, "commit": row.commit}
            for row in rows
        ]
        write_atomically(standings, _lines(brief))


def _lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def page(verdicts: Mapping[str, Verdict]) -> str:
    """The page in Markdown; claims that were never run are listed as such."""
    names = sorted({*verdicts, *claims()})
    known = [verdicts[name] for name in names if name in verdicts]
    counts = {kind: sum(v.verdict == kind for v in known) for kind in ("shown", "not shown", "not run")}
    counts["not run"] += len(names) - len(known)
    total = sum(v.seconds for v in known)
    lines = [HEAD]
    lines += [", ".join(f"{count} {kind}" for kind, count in counts.items()) + f"; {total:,.0f} seconds in all.", ""]
    lines += _table([_row(name, verdicts.get(name)) for name in names])
    lines += ["", "## How each was measured", ""]
    for verdict in known:
        lines += [*_details(verdict), ""]
    return "\n".join(lines).rstrip() + "\n"


COLUMNS = (
    "system",
    "paper",
    "claim",
    "baseline",
    "stream",
    "metric",
    "difference (bound)",
    "bytes",
    "bytes of baseline",
    "seeds",
    "verdict",
    "seconds",
)


def _table(rows: list[list[str]]) -> list[str]:
    ruled = ["|" + "|".join("---" for _ in COLUMNS) + "|"]
    return ["| " + " | ".join(COLUMNS) + " |", *ruled, *("| " + " | ".join(map(_cell, row)) + " |" for row in rows)]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _row(name: str, verdict: Verdict | None) -> list[str]:
    if verdict is None:
        claim = claims()[name]
        paper, where = _paper(name), _stream(claim.stream)
        return [
            f"`{name}`",
            paper,
            claim.says,
            f"`{claim.baseline}`",
            where,
            claim.metric,
            *["–"] * 4,
            "not run yet",
            "–",
        ]
    data = verdict.claim
    held = [
        format_bytes(verdict.bytes[label]["total"]) if label in verdict.bytes else "–"
        for label in (data["system"], data["baseline"])
    ]
    return [
        f"`{data['system']}`",
        _paper(name),
        data["says"],
        f"`{data['baseline']}`",
        _stream(data["stream"]),
        f"{data['metric']} {data['better']}",
        verdict.difference,
        *held,
        str(len(verdict.differences) or "–"),
        f"**{verdict.verdict}**" + (f": {verdict.why}" if verdict.why else ""),
        f"{verdict.seconds:,.0f}",
    ]


def _paper(name: str) -> str:
    known = systems.all_systems()
    paper = known[name].paper if name in known else None
    if paper is None:
        return "a baseline"
    link = f" ([{paper.arxiv}](https://arxiv.org/abs/{paper.arxiv}))" if paper.arxiv else ""
    return f"{paper.title}, {paper.year}{link}"


def _stream(recipe: dict[str, Any]) -> str:
    return " / ".join([recipe["source"], *(name for name, _ in recipe["scenarios"])])


def _details(verdict: Verdict) -> list[str]:
    data = verdict.claim
    lines = [f"### {verdict.name}: {verdict.verdict}", ""]
    if verdict.why:
        lines += [f"{verdict.why}.", ""]
    known = claims().get(verdict.name)
    if known is not None and known.cause and verdict.verdict == "not shown":
        lines += [f"Why: {known.cause}.", ""]
    lines += [f"- {key}: {text}" for key, text in verdict.protocol.items()]
    for label in (data["system"], data["baseline"]):
        if label in verdict.values:
            found = verdict.search.get(label, {})
            best = ", ".join(f"{key} {value}" for key, value in found.get("best", {}).items())
            held = ", ".join(f"{kind} {format_bytes(size)}" for kind, size in verdict.bytes[label].items() if size)
            accuracy = verdict.accuracy.get(label)
            lines += [
                f"- `{label}`: {data['metric']} {spread(verdict.values[label])}"
                + (f", final accuracy {spread(accuracy)}" if accuracy else "")
                + f"; {held}"
                + (f"; found {best}" if best else "")
            ]
    for label, figures in verdict.figures.items():
        told = ", ".join(f"{name} {spread(values)}" for name, values in figures.items())
        lines += [f"- measured, `{label}`: {told}; {format_bytes(verdict.bytes[label]['total'])}"]
    return lines
