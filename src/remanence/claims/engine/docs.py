"""The pages about claims, generated from what was run and never typed: an index, and a page a room."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from remanence import registry
from remanence.claims.engine.judging import spread
from remanence.claims.engine.registry import claims
from remanence.claims.engine.tables import labels_of
from remanence.claims.engine.verdict import GRADES, RULES, Verdict
from remanence.files import write_atomically
from remanence.footprint import format_bytes

INDEX, ROOMS = "claims.md", "claims"

HEAD = """\
# Claims

Every system is here with an experiment that shows, or fails to show, what its paper says. `remanence prove NAME`
runs one; `make claims` runs all, keeps every figure in `src/remanence/claims/results/`, a file for each system, and
writes this index and the pages of the rooms, which say how each was measured.

A claim is *shown* when the paired difference between system and baseline lies on the claimed side with a one-sided
95 % confidence bound (Student's t over the seeds), when the baseline is as clearly above chance and above the plain
learner, and the system as clearly ahead of every control. Hyperparameters of both are searched with the same number of
points, on other seeds and class orders than those reported, and on training examples held out of them, never on the
test data; a grid whose best point lies at its end is extended, on both sides, and what the seeds of a search cannot
tell apart is tried on more. *At more bytes* says that the system held over 5 % more than its baseline; *not audited*
that no five fresh seeds were run with the settings found (`remanence prove NAME --audit`). A claim that is not shown
at this scale stays here with its figures. *Seconds* add up the wall time of every run, searches and audit included, on
machines that did other work beside.
"""


EARLIER = " †"
"""Behind a verdict in the index that was reached by earlier rules."""


def write(folder: str | os.PathLike[str], verdicts: Mapping[str, Verdict], only: Iterable[str] | None = None) -> None:
    """Write the index and the pages of rooms, each whole or not at all.

    Parameters
    ----------
    folder:
        Usually ``docs``.
    verdicts:
        By system.
    only:
        Systems whose rooms are written; all if left out.
    """
    names = sorted({*verdicts, *claims()})
    wanted = {room_of(name) for name in (names if only is None else only)}
    for room in sorted(wanted):
        mine = [name for name in names if room_of(name) == room]
        write_atomically(Path(folder) / ROOMS / page_name(room), page(room, {n: verdicts.get(n) for n in mine}))
    write_atomically(Path(folder) / INDEX, index(verdicts))


def room_of(name: str) -> str:
    """The room of a system, ``weights/replay``."""
    return registry.get(name).room


def page_name(room: str) -> str:
    """The file of a room's page.

    >>> page_name("weights/replay")
    'weights-replay.md'
    """
    return room.replace("/", "-") + ".md"


def index(verdicts: Mapping[str, Verdict]) -> str:
    """All claims in a table for each room, in Markdown; those that were never run are listed as such."""
    names = sorted({*verdicts, *claims()})
    known = [verdicts[name] for name in names if name in verdicts]
    counts = {kind: sum(v.grade == kind for v in known) for kind in GRADES}
    counts["not run"] += len(names) - len(known)
    total = sum(v.seconds for v in known)
    lines = [HEAD]
    lines += [
        ", ".join(f"{count} {kind}" for kind, count in counts.items() if count) + f"; {total:,.0f} seconds in all."
    ]
    earlier = [v for v in known if v.rules < RULES]
    if earlier:
        shown = sum(v.verdict == "shown" for v in earlier)
        lines += [
            "",
            f"{EARLIER.strip()} Judged by earlier rules, which looked at no edges, ties, floors or controls: {len(earlier)} "
            f"verdicts, {shown} of them shown. Take these as not settled until they are run again.",
        ]
    rooms: dict[str, list[str]] = {}
    for name in names:
        rooms.setdefault(room_of(name), []).append(name)
    for room, mine in sorted(rooms.items()):
        lines += ["", f"## [{room}]({ROOMS}/{page_name(room)})", ""]
        lines += _table(INDEX_COLUMNS, [_brief(name, verdicts.get(name)) for name in mine])
    return "\n".join(lines).rstrip() + "\n"


def page(room: str, verdicts: Mapping[str, Verdict | None]) -> str:
    """The claims of one room with how each was measured, in Markdown."""
    lines = [f"# Claims about {room}", "", "[All claims](../claims.md)", ""]
    lines += _table(COLUMNS, [_row(name, verdict) for name, verdict in verdicts.items()])
    for verdict in filter(None, verdicts.values()):
        lines += ["", *_details(verdict)]
    return "\n".join(lines).rstrip() + "\n"


INDEX_COLUMNS = ("system", "baseline", "stream", "metric", "difference (bound)", "verdict")
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


def _table(columns: tuple[str, ...], rows: list[list[str]]) -> list[str]:
    ruled = ["|" + "|".join("---" for _ in columns) + "|"]
    return ["| " + " | ".join(columns) + " |", *ruled, *("| " + " | ".join(map(_cell, row)) + " |" for row in rows)]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _brief(name: str, verdict: Verdict | None) -> list[str]:
    told = claims()[name].as_dict() if verdict is None else verdict.claim
    standing = ["–", "not run yet"]
    if verdict is not None:
        standing = [verdict.difference, f"**{verdict.grade}**" + EARLIER * (verdict.rules < RULES)]
    place = f"{ROOMS}/{page_name(room_of(name))}"
    return [
        f"[`{told['system']}`]({place})",
        f"`{told['baseline']}`",
        _stream(told["stream"]),
        f"{told['metric']} {told['better']}",
        *standing,
    ]


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
        f"**{verdict.grade}**" + (f": {verdict.why}" if verdict.why else ""),
        f"{verdict.seconds:,.0f}",
    ]


def _paper(name: str) -> str:
    known = registry.all_systems()
    paper = known[name].paper if name in known else None
    if paper is None:
        return "a baseline"
    link = f" ([{paper.arxiv}](https://arxiv.org/abs/{paper.arxiv}))" if paper.arxiv else ""
    return f"{paper.title}, {paper.year}{link}"


def _stream(recipe: dict[str, Any]) -> str:
    return " / ".join([recipe["source"], *(name for name, _ in recipe["scenarios"])])


def _details(verdict: Verdict) -> list[str]:
    data = verdict.claim
    lines = [f"## {verdict.name}: {verdict.grade}", ""]
    if verdict.why:
        lines += [f"{verdict.why}.", ""]
    known = claims().get(verdict.name)
    if known is not None and known.cause and verdict.verdict == "not shown":
        lines += [f"Why: {known.cause}.", ""]
    if verdict.rules < RULES:
        lines += ["Judged by the earlier rules: edges, ties, floors and controls were not looked at.", ""]
    lines += [f"- {key}: {text}" for key, text in verdict.protocol.items()]
    lines += [f"- took: {verdict.time}"]
    if verdict.audit is not None:
        lines += [f"- audit: {verdict.audited}"]
    lines += [f"- floor, {name}: {spread(values)}" for name, values in verdict.floors.items()]
    for label in labels_of(verdict):
        found = verdict.search.get(label, {})
        best = ", ".join(f"{key} {value}" for key, value in found.get("best", {}).items())
        held = ", ".join(f"{kind} {format_bytes(size)}" for kind, size in verdict.bytes[label].items() if size)
        accuracy = verdict.accuracy.get(label)
        role = "control, " if label in data.get("controls", ()) else ""
        lines += [
            f"- {role}`{label}`: {data['metric']} {spread(verdict.values[label])}"
            + (f", final accuracy {spread(accuracy)}" if accuracy else "")
            + f"; {held}"
            + (f"; found {best}" if best else "")
        ]
    for label, figures in verdict.figures.items():
        told = ", ".join(f"{name} {spread(values)}" for name, values in figures.items())
        lines += [f"- measured, `{label}`: {told}; {format_bytes(verdict.bytes[label]['total'])}"]
    return lines
