"""A verdict: what running a claim gave, with all that is needed to judge and repeat it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from remanence.claims.engine.judging import holds_more

Standing = Literal["shown", "not shown", "not run"]
GRADES = (
    "shown",
    "shown (not audited)",
    "shown at more bytes",
    "shown at more bytes (not audited)",
    "not shown",
    "not run",
)
"""Every way a claim can stand, as counted."""
RULES = 2
"""Of verdicts that were judged with edges, ties, floors and controls looked at; 1 of those before."""
SECONDS, MOST_SECONDS = 600, 2400
"""Seconds of runs that a claim takes as a rule, five minutes on two cores, and at most."""


@dataclass(frozen=True)
class Audit:
    """The same measurement with the settings found, on seeds that neither search nor verdict saw.

    Parameters are those of `Verdict` with the same name.
    """

    verdict: Standing
    why: str = ""
    seeds: list[int] = field(default_factory=list)
    values: dict[str, list[float | None]] = field(default_factory=dict)
    floors: dict[str, list[float | None]] = field(default_factory=dict)
    differences: list[float] = field(default_factory=list)
    mean: float | None = None
    bound: float | None = None
    seconds: float = 0.0
    commit: str = ""
    code: str = ""


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
    floors:
        What the baseline has to clear, by name, one per seed.
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
    rules:
        By which rules it was judged, `RULES` being the present ones.
    audit:
        What five fresh seeds gave, None where none was asked for.
    """

    name: str
    claim: dict[str, Any]
    paper: str = ""
    verdict: Standing = "not run"
    why: str = ""
    seeds: list[int] = field(default_factory=list)
    values: dict[str, list[float | None]] = field(default_factory=dict)
    floors: dict[str, list[float | None]] = field(default_factory=dict)
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
    rules: int = 1
    audit: Audit | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Verdict:
        """What `as_dict` gave."""
        audit = data.get("audit")
        known = {field.name for field in fields(cls)}
        if set(data) - known:
            raise ValueError(f"a verdict has no {min(set(data) - known)!r}")
        return cls(**{**data, "audit": Audit(**audit) if audit else None})

    @property
    def more_bytes(self) -> bool:
        """Whether the system held more bytes than its baseline, by more than 5 %; never where bytes are the metric."""
        sides = [self.bytes.get(self.claim[side], {}) for side in ("system", "baseline")]
        return self.claim["metric"] != "bytes" and all(sides) and holds_more(*sides)

    @property
    def grade(self) -> str:
        """How the claim stands, one of `GRADES`."""
        if self.verdict != "shown":
            return self.verdict
        return (
            "shown"
            + " at more bytes" * self.more_bytes
            + " (not audited)" * (self.audit is None or self.audit.verdict == "not run")
        )

    @property
    def standing(self) -> str:
        """The grade, with the reason where there is one."""
        return f"{self.grade}: {self.why}" if self.why else self.grade

    @property
    def difference(self) -> str:
        """The mean difference with its bound, ``+0.312 (at least +0.280)``."""
        return _difference(self.mean, self.bound, self.claim["better"])

    @property
    def audited(self) -> str:
        """What the audit gave, in words, ``""`` where there was none."""
        if self.audit is None:
            return ""
        if self.audit.verdict == "not run":
            return f"not run: {self.audit.why}"
        seeds = f"seeds {self.audit.seeds[0]} to {self.audit.seeds[-1]}"
        why = f", {self.audit.why}" if self.audit.why else ""
        return f"{self.audit.verdict}, {_difference(self.audit.mean, self.audit.bound, self.claim['better'])} on {seeds}{why}"

    @property
    def time(self) -> str:
        """What the runs took, beside what they may take."""
        text = f"{self.seconds:,.0f} s of runs; the rule is {SECONDS} (five minutes on two cores), the most {MOST_SECONDS:,}"
        return text + ("; above the most" if self.seconds > MOST_SECONDS else "")


def _difference(mean: float | None, bound: float | None, better: str) -> str:
    if mean is None or bound is None:
        return "–"
    digits = 3 if abs(mean) < 100 else 0
    word = "at least" if better == "higher" else "at most"
    return f"{mean:+,.{digits}f} ({word} {bound:+,.{digits}f})"
