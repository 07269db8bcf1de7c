"""What both kinds of claims hand to the judge: every figure of the paired runs on some seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from remanence.arena.tuning import Found
from remanence.claims.engine.claim import Claim
from remanence.claims.engine.experiment import Experiment
from remanence.claims.engine.judging import Better, Evidence, Judgement, judge

Rows = dict[str, list[float | None]]
"""One figure by label, one value a seed."""


@dataclass(frozen=True)
class Measurement:
    """The figures of all labels on some seeds.

    Parameters
    ----------
    values, accuracy, bytes, updates, figures, settings, seconds:
        As in `Verdict`.
    level, floors, level_better:
        As in `judging.Evidence`.
    problem:
        Why the figures count for nothing, such as a budget that was not kept; ``""`` where they do.
    """

    values: Rows
    bytes: dict[str, dict[str, int]]
    updates: dict[str, dict[str, int]]
    settings: dict[str, dict[str, Any]]
    seconds: float
    accuracy: Rows = field(default_factory=dict)
    figures: dict[str, Rows] = field(default_factory=dict)
    level: list[float | None] = field(default_factory=list)
    floors: Rows = field(default_factory=dict)
    level_better: Better = "higher"
    problem: str = ""

    def judged(self, claim: Claim | Experiment) -> Judgement:
        """What they say about a claim."""
        return judge(
            Evidence(
                self.values[claim.system],
                self.values[claim.baseline],
                claim.metric,
                claim.better,
                {label: self.values[label] for label in claim.controls},
                self.level,
                self.floors,
                self.level_better,
                (claim.system, claim.baseline),
            )
        )


class Runner(Protocol):
    """How one kind of claim is searched and measured."""

    def search(self) -> dict[str, Found]:
        """The settings of every label that has a grid."""
        ...

    def measure(self, seeds: list[int], best: Mapping[str, dict[str, Any]]) -> Measurement:
        """Paired runs with some settings on some seeds."""
        ...

    def stale(self, seeds: list[int], fresh: list[int]) -> str:
        """Why an audit with other seeds would see no data that the verdict did not, ``""`` where it would."""
        ...

    def protocol(self, seeds: list[int], found: Mapping[str, Found], given: Measurement) -> dict[str, str]:
        """How it was measured, in words."""
        ...


def chosen(claim: Claim | Experiment, found: Mapping[str, Found]) -> dict[str, dict[str, Any]]:
    """The settings of every label: those found for it, or for the side whose learner a control or a further row is."""
    best: dict[str, dict[str, Any]] = {}
    for label in claim.labels:
        if label in found:
            best[label] = found[label].best
            continue
        like = [side for side in (claim.system, claim.baseline) if _learner(side) == _learner(label)]
        inherited = found[like[0]].best if like and like[0] in found else {}
        own = claim.settings.get(label, {})
        best[label] = {name: value for name, value in inherited.items() if name not in own}
    return best


def _learner(label: str) -> str:
    return label.partition("#")[0]
