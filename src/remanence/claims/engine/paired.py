"""The statistics of a claim: paired differences and a one-sided bound on their mean."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from remanence.errors import UsageError

if TYPE_CHECKING:
    from remanence.claims.engine.verdict import Verdict

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Paired:
    """Differences of pairs, their mean, and the end of its one-sided confidence interval on the other side.

    For a claim of ``higher`` the mean difference lies above `bound` with the confidence asked for, for one
    of ``lower`` below it.
    """

    differences: list[float]
    mean: float
    bound: float
    holds: bool


def paired(system: Sequence[float], baseline: Sequence[float], better: Literal["higher", "lower"]) -> Paired:
    """Compare pairs by Student's t.

    Parameters
    ----------
    system, baseline:
        As many values of each, paired by seed (2 or more).
    better:
        The claimed side of system less baseline.

    Example
    -------
    >>> found = paired([0.9, 0.8, 0.9], [0.5, 0.5, 0.6], "higher")
    >>> round(found.mean, 3), round(found.bound, 3), found.holds
    (0.333, 0.236, True)
    """
    from scipy import stats

    if len(system) != len(baseline) or len(system) < 2:
        raise UsageError(f"{len(system)} and {len(baseline)} values were given: give as many of each, 2 or more")
    differences = [a - b for a, b in zip(system, baseline, strict=True)]
    mean = statistics.fmean(differences)
    count = len(differences)
    reach = float(stats.t.ppf(CONFIDENCE, count - 1)) * statistics.stdev(differences) / math.sqrt(count)
    bound = mean - reach if better == "higher" else mean + reach
    return Paired(differences, mean, bound, bound > 0 if better == "higher" else bound < 0)


def judged(verdict: Verdict, metric: str, better: Literal["higher", "lower"], sides: tuple[str, str]) -> Verdict:
    """The verdict with what its values say: shown or not, and why not where a run gave no value."""
    for label in sides:
        lost = sum(value is None for value in verdict.values[label])
        if lost:
            why = f"{lost} of {len(verdict.seeds)} runs of {label} gave no {metric}: they diverged, "
            why += "or this stream does not define it"
            return replace(verdict, verdict="not shown", why=why)
    system, baseline = ([v for v in verdict.values[label] if v is not None] for label in sides)
    found = paired(system, baseline, better)
    return replace(
        verdict,
        verdict="shown" if found.holds else "not shown",
        differences=found.differences,
        mean=found.mean,
        bound=found.bound,
    )
