"""What measurements say about a claim: paired differences with a bound, floors, and controls."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from remanence.errors import UsageError

CONFIDENCE = 0.95
MORE_BYTES = 1.05
"""The share of the baseline's bytes that a system may hold before it is said to hold more."""

Better = Literal["higher", "lower"]
Values = Sequence[float | None]
"""A metric by seed, None where a run gave none."""


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


def paired(system: Sequence[float], baseline: Sequence[float], better: Better) -> Paired:
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


@dataclass(frozen=True)
class Evidence:
    """What was measured on the seeds that are reported.

    Parameters
    ----------
    system, baseline:
        The metric on either side, one value a seed.
    metric, better:
        What is compared, and the side that is claimed.
    controls:
        The same metric of rows that would give another reason for the difference, by label.
    level:
        What the baseline has to clear the floors with: the metric, or the final score where the metric could be won by
        learning nothing.
    floors:
        What it has to clear, by name.
    level_better:
        Which side of the floors is the better one.
    names:
        How system and baseline are called in messages.
    """

    system: Values
    baseline: Values
    metric: str
    better: Better = "higher"
    controls: Mapping[str, Values] = field(default_factory=dict)
    level: Values = ()
    floors: Mapping[str, Values] = field(default_factory=dict)
    level_better: Better = "higher"
    names: tuple[str, str] = ("the system", "the baseline")


@dataclass(frozen=True)
class Judgement:
    """Whether a claim is shown, why not where a figure alone does not say, and the paired differences."""

    verdict: Literal["shown", "not shown"]
    why: str = ""
    differences: list[float] = field(default_factory=list)
    mean: float | None = None
    bound: float | None = None


def judge(given: Evidence) -> Judgement:
    """Judge a claim by all the rules.

    It is shown where system less baseline lies on the claimed side with a one-sided 95 % bound over the pairs, the
    baseline is as clearly above every floor, and the system as clearly ahead of every control.

    Example
    -------
    >>> scores = [0.90, 0.91, 0.92, 0.90, 0.91]
    >>> lower = [0.70, 0.72, 0.71, 0.70, 0.71]
    >>> judge(Evidence(scores, lower, "accuracy")).verdict
    'shown'
    >>> judge(Evidence(scores, lower, "accuracy", level=lower, floors={"naive": lower})).why
    'the baseline is at the floor: the baseline 0.708 ± 0.008, naive 0.708 ± 0.008'
    >>> judge(Evidence(scores, lower, "accuracy", controls={"more updates": scores})).why
    'a control equals or beats it: more updates 0.908 ± 0.008 against 0.908 ± 0.008'
    """
    for name, values in zip(given.names, (given.system, given.baseline), strict=True):
        lost = sum(value is None for value in values)
        if lost:
            why = f"{lost} of {len(values)} runs of {name} gave no {given.metric}: they diverged, "
            return Judgement("not shown", why + "or this stream does not define it")
    found = paired(_known(given.system), _known(given.baseline), given.better)
    why = _at_floor(given) or _toppled(given)
    shown = found.holds and not why
    return Judgement("shown" if shown else "not shown", why, found.differences, found.mean, found.bound)


def _at_floor(given: Evidence) -> str:
    """Where the baseline is not clearly above a floor, with the figures."""
    for name, floor in given.floors.items():
        if not _clearly(given.level, floor, given.level_better):
            return f"the baseline is at the floor: {given.names[1]} {spread(given.level)}, {name} {spread(floor)}"
    return ""


def _toppled(given: Evidence) -> str:
    """Where the system is not clearly ahead of a control, with the figures."""
    for name, control in given.controls.items():
        if not _clearly(given.system, control, given.better):
            return f"a control equals or beats it: {name} {spread(control)} against {spread(given.system)}"
    return ""


def _clearly(values: Values, others: Values, better: Better) -> bool:
    """Whether values are better than others with the bound; a run without a value is as bad as can be."""
    if None in values:
        return False
    pairs = [(a, b) for a, b in zip(_known(values), others, strict=True) if b is not None]
    if len(pairs) < 2:
        return True
    return paired([a for a, _ in pairs], [b for _, b in pairs], better).holds


def _known(values: Values) -> list[float]:
    return [value for value in values if value is not None]


def holds_more(system: Mapping[str, int], baseline: Mapping[str, int]) -> bool:
    """Whether a system holds more bytes than its baseline, by more than the 5 % that count as equal.

    >>> holds_more({"total": 104}, {"total": 100}), holds_more({"total": 106}, {"total": 100})
    (False, True)
    """
    return system.get("total", 0) > MORE_BYTES * baseline.get("total", 0)


def spread(values: Values, digits: int = 3) -> str:
    """Mean ± standard deviation, and how many diverged.

    >>> spread([0.5, 0.7]), spread([0.5, None])
    ('0.600 ± 0.141', '0.500 (1 diverged)')
    """
    known = _known(values)
    if not known:
        return "diverged" if values else "–"
    digits = digits if abs(known[0]) < 100 else 0
    text = f"{statistics.fmean(known):,.{digits}f}"
    if len(known) > 1:
        text += f" ± {statistics.stdev(known):,.{digits}f}"
    lost = len(values) - len(known)
    return text + (f" ({lost} diverged)" if lost else "")
