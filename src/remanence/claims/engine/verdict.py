"""A verdict: what running a claim gave, with all that is needed to judge and repeat it."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from rich.console import Group
from rich.table import Table
from rich.text import Text

from remanence.footprint import format_bytes

Standing = Literal["shown", "not shown", "not run"]


@dataclass(frozen=True)
class Verdict:
    """What became of a claim.

    Parameters
    ----------
    name:
        The system that the claim is about.
    claim:
        The claim, as data.
    paper:
        Its source.
    verdict, why:
        ``shown``, ``not shown`` or ``not run``, and why where a figure alone does not say.
    seeds:
        Of the paired runs.
    values:
        The metric by learner, one per seed; None where a run diverged.
    differences, mean, bound:
        System less baseline by seed, their mean, and its one-sided 95 % bound on the side that matters.
    bytes:
        Bytes by learner and kind at the end, mean over seeds, with ``total``, and ``peak`` after any
        experience.
    updates:
        Updates, examples, rehearsed rows, forward and backward rows and optimizer steps by learner, mean.
    accuracy:
        Final accuracy by learner, one per seed, whatever the metric is; none where no stream was learned.
    figures:
        Every figure of an experiment by label and name, one per seed, of what is told beside too.
    search:
        What the search found, by learner.
    settings:
        Everything the reported runs were built from, by learner.
    seconds:
        Wall time of all runs added up, searches included, however many processes there were.
    protocol:
        How it was measured, in words.
    commit, code, versions:
        What ran: the commit, a fingerprint of the code both learners depend on, and packages.
    """

    name: str
    claim: dict[str, Any]
    paper: str = ""
    verdict: Standing = "not run"
    why: str = ""
    seeds: list[int] = field(default_factory=list)
    values: dict[str, list[float | None]] = field(default_factory=dict)
    differences: list[float] = field(default_factory=list)
    mean: float | None = None
    bound: float | None = None
    bytes: dict[str, dict[str, int]] = field(default_factory=dict)
    updates: dict[str, dict[str, int]] = field(default_factory=dict)
    accuracy: dict[str, list[float | None]] = field(default_factory=dict)
    figures: dict[str, dict[str, list[float | None]]] = field(default_factory=dict)
    search: dict[str, dict[str, Any]] = field(default_factory=dict)
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    seconds: float = 0.0
    protocol: dict[str, str] = field(default_factory=dict)
    commit: str = ""
    code: str = ""
    versions: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Verdict:
        return cls(**data)

    @property
    def standing(self) -> str:
        """The verdict, with the reason where there is one."""
        return f"{self.verdict} ({self.why})" if self.why else self.verdict

    @property
    def difference(self) -> str:
        """The mean difference with its bound, ``+0.312 (at least +0.280)``."""
        if self.mean is None or self.bound is None:
            return "–"
        digits = 3 if abs(self.mean) < 100 else 0
        word = "at least" if self.claim["better"] == "higher" else "at most"
        return f"{self.mean:+,.{digits}f} ({word} {self.bound:+,.{digits}f})"


def verdict_table(verdict: Verdict) -> Group:
    """What `remanence prove` prints."""
    claim = verdict.claim
    table = Table(show_header=True)
    for column in ("learner", claim["metric"], "final accuracy", "bytes", "updates", "forward rows", "settings found"):
        table.add_column(column, justify="left" if column in ("learner", "settings found") else "right")
    for label in (claim["system"], claim["baseline"]):
        if label not in verdict.values:
            continue
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
    for key, text in verdict.protocol.items():
        facts.add_row(key, Text(text))
    colour = {"shown": "green", "not shown": "yellow", "not run": "red"}[verdict.verdict]
    headline = Text(f"{verdict.name}: {verdict.standing}", style=f"bold {colour}")
    return Group(headline, facts, *([table] if verdict.values else []), *_figures(verdict))


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


def spread(values: list[float | None], digits: int = 3) -> str:
    """Mean ± standard deviation, and how many diverged.

    >>> spread([0.5, 0.7]), spread([0.5, None])
    ('0.600 ± 0.141', '0.500 (1 diverged)')
    """
    known = [value for value in values if value is not None]
    if not known:
        return "diverged" if values else "–"
    digits = digits if abs(known[0]) < 100 else 0
    text = f"{statistics.fmean(known):,.{digits}f}"
    if len(known) > 1:
        text += f" ± {statistics.stdev(known):,.{digits}f}"
    lost = len(values) - len(known)
    return text + (f" ({lost} diverged)" if lost else "")
