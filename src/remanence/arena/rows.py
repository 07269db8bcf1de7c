"""Results of several seeds as one row per learner: what the table, the figures and the page all show."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from remanence.arena import metrics
from remanence.arena.result import Result
from remanence.footprint import KINDS

Numbers = npt.NDArray[np.float64]

COLOURS = 8
"""How many colours the page and the figures have for learners and kinds of bytes."""

SHOWN = ("forgetting", "worst_dip", "recovery", "min_acc", "wc_acc")
"""The metrics of the main table after the score, as far as any run has them; a second table has them all."""


RATIOS = frozenset({"recovery"})
"""Metrics that are shares whatever the score is."""


@dataclass(frozen=True)
class Interval:
    """Mean and standard deviation (n - 1) of a number over seeds; `n` counts the seeds that have it."""

    mean: float | None = None
    deviation: float | None = None
    n: int = 0

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Interval:
        """
        >>> Interval.of([1.0, None, 3.0]).mean
        2.0
        """
        known = [float(value) for value in values if value is not None and math.isfinite(value)]
        if not known:
            return cls()
        deviation = float(np.std(known, ddof=1)) if len(known) > 1 else None
        return cls(float(np.mean(known)), deviation, len(known))


@dataclass(frozen=True)
class AxisUnit:
    """How the numbers of a metric are written: accuracies in percent, errors as they are."""

    metric: str = "accuracy"

    @property
    def percent(self) -> bool:
        return self.metric != "rmse"

    @property
    def word(self) -> str:
        """What a score is called in headings."""
        return "Recall" if self.metric == "exact match" else "Score"

    @property
    def label(self) -> str:
        return f"{self.metric.capitalize()}, %" if self.percent else self.metric.upper()

    def score(self, value: float | None, digits: int = 1) -> str:
        """
        >>> AxisUnit().score(0.8734), AxisUnit("rmse").score(12.345), AxisUnit().score(None)
        ('87.3', '12.35', '–')
        """
        if value is None or not math.isfinite(value):
            return "–"
        return f"{100 * value:.{digits}f}" if self.percent else f"{value:.4g}"

    def interval(self, interval: Interval, metric: str = "") -> str:
        """The mean and deviation of the score, or of another metric in its units.

        >>> AxisUnit().interval(Interval(0.8, 0.02, 5)), AxisUnit("rmse").interval(Interval(1.8134, 0.01615, 5))
        ('80.0 ± 2.0', '1.813 ± 0.016')
        """
        unit = AxisUnit() if metric in RATIOS else self
        text = unit.score(interval.mean)
        if interval.deviation is None:
            return text
        return f"{text} ± {unit.score(interval.deviation) if unit.percent else f'{interval.deviation:.2g}'}"


@dataclass(frozen=True)
class Row:
    """One learner over its seeds. Seeds that diverged are counted, and left out of every mean."""

    learner: str
    results: Sequence[Result]
    metrics: dict[str, Interval] = field(default_factory=dict)

    @cached_property
    def finished(self) -> list[Result]:
        return [result for result in self.results if result.status == "finished"]

    @property
    def family(self) -> str:
        """The learner without the budget that several runs of it are told apart by: ``rag`` of ``rag@64KB``."""
        return self.learner.partition("@")[0]

    @property
    def at(self) -> str:
        """That budget as it was written."""
        return self.learner.partition("@")[2]

    @property
    def budget(self) -> int:
        """Its budget in bytes, 0 for none."""
        return max((int(result.notes.get("budget", 0)) for result in self.results), default=0)

    @property
    def diverged(self) -> int:
        return len(self.results) - len(self.finished)

    @property
    def reference(self) -> bool:
        return any(result.reference for result in self.results)

    @property
    def accuracy(self) -> Interval:
        return self.metrics["accuracy"]

    @cached_property
    def bytes(self) -> dict[str, float]:
        """Mean bytes by kind, without the total."""
        kinds = [kind for kind in KINDS if any(result.bytes.get(kind) for result in self.finished)]
        return {kind: _mean(result.bytes.get(kind, 0) for result in self.finished) for kind in kinds}

    @property
    def total_bytes(self) -> Interval:
        return Interval.of(result.bytes.get("total") for result in self.finished)

    def seconds(self, which: str) -> Interval:
        return Interval.of(result.seconds.get(which) for result in self.finished)

    @cached_property
    def matrix(self) -> Numbers:
        """Mean score of each test set (column) after each experience (row), NaN where there is none."""
        return _mean_of([_array(result.matrix) for result in self.finished])

    @cached_property
    def curves(self) -> tuple[Numbers, Numbers]:
        """Updates (n,) and mean scores (n, test sets): the probes, and the end of each experience.

        Seeds are joined by update. What was scored at the end of an experience stands half an update
        after its last probe, since some learners change once more there.
        """
        at: dict[float, list[list[float]]] = {}
        for result in self.finished:
            last = {}
            for probe in {probe.update: probe for probe in result.probes}.values():
                at.setdefault(probe.update, []).append([math.nan if s is None else s for s in probe.scores])
                last[probe.experience] = probe
            for experience, row in enumerate(result.matrix if result.tests else ()):
                before = last.get(experience)
                if before is not None and len(row) == len(before.scores):
                    pairs = zip(row, before.scores, strict=True)
                    end = [math.nan if s is None or asked is None else s for s, asked in pairs]
                    at.setdefault(before.update + 0.5, []).append(end)
        updates = sorted(at)
        return np.array(updates, dtype=np.float64), _array([_nanmean(_array(at[u]), axis=0).tolist() for u in updates])

    @cached_property
    def ends(self) -> list[int]:
        """The last probed update of each experience, as the first finished seed had it."""
        last: dict[int, int] = {}
        for probe in self.finished[0].probes if self.finished else ():
            if probe.experience >= 0:
                last[probe.experience] = max(last.get(probe.experience, 0), probe.update)
        return [last[experience] for experience in sorted(last)]

    @property
    def boundaries(self) -> list[int]:
        """The last update of each experience but the last."""
        return self.ends[:-1]

    @cached_property
    def seen_so_far(self) -> tuple[Numbers, Numbers]:
        """Experiences passed (2.5 is halfway through the third) and the mean score over the test sets taught so far.

        Counted in experiences, learners that make different numbers of updates stand side by side.
        Prequential: the score since the last probe.
        """
        updates, scores = self.curves
        if not scores.size:
            return np.empty(0), np.empty(0)
        ends = np.array(self.ends, dtype=np.float64) + 0.5
        passed = np.interp(updates, [0.0, *ends], np.arange(len(ends) + 1.0))
        if scores.shape[1] < len(ends):
            return passed, _nanmean(scores, axis=1)
        reached = np.searchsorted(ends[:-1], updates, side="left") + 1
        columns = np.arange(scores.shape[1])
        return passed, _nanmean(np.where(columns < reached[:, None], scores, math.nan), axis=1)


def rows_of(results: Sequence[Result]) -> list[Row]:
    """One row per learner: best first, those without a score after them, references at the end."""
    by_learner: dict[str, list[Result]] = {}
    for result in results:
        by_learner.setdefault(result.learner, []).append(result)
    joint = {result.seed: result for result in results if result.reference and result.status == "finished"}
    rows = [Row(name, given, _metrics(given, joint)) for name, given in by_learner.items()]
    sign = -1 if higher_is_better(results) else 1

    def place(row: Row) -> tuple[bool, bool, float]:
        mean = row.accuracy.mean
        return row.reference, mean is None, 0.0 if mean is None else sign * mean

    return sorted(rows, key=place)


def higher_is_better(results: Sequence[Result]) -> bool:
    return not results or results[0].metric != "rmse"


def prequential(results: Sequence[Result]) -> bool:
    """Whether the runs were tested on each experience just before learning it, and have no test sets."""
    return not any(result.tests for result in results)


def _metrics(results: Sequence[Result], joint: dict[int, Result]) -> dict[str, Interval]:
    finished = [result for result in results if result.status == "finished"]
    found: dict[str, list[float | None]] = {"accuracy": [result.accuracy for result in finished]}
    found["forgetting"] = [result.forgetting for result in finished]
    found["worst_dip"] = [result.worst_dip for result in finished]
    for name in dict.fromkeys(name for result in finished for name in result.metrics):
        found.setdefault(name, [result.metrics.get(name) for result in finished])
    found["intransigence"] = [
        metrics.intransigence(result.matrix, joint[result.seed].matrix, higher_is_better([result]))
        for result in finished
        if result.seed in joint and not result.reference
    ]
    return {name: Interval.of(values) for name, values in found.items()}


def _array(rows: Sequence[Sequence[float | None]]) -> Numbers:
    width = max((len(row) for row in rows), default=0)
    filled = [[math.nan if s is None else s for s in row] + [math.nan] * (width - len(row)) for row in rows]
    return np.array(filled, dtype=np.float64).reshape(len(rows), width)


def _mean_of(arrays: Sequence[Numbers]) -> Numbers:
    """Mean over arrays of the largest shape among them."""
    if not arrays:
        return np.empty((0, 0))
    largest = max(array.shape for array in arrays)
    return _nanmean(np.stack([array for array in arrays if array.shape == largest]), axis=0)


def _nanmean(values: Numbers, axis: int) -> Numbers:
    known = ~np.isnan(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0.0).sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), math.nan)


def metric_title(metric: str) -> str:
    """A metric's name for people.

    >>> metric_title("worst_dip"), metric_title("wc_acc")
    ('Worst dip', 'Worst-case accuracy')
    """
    return _NAMES.get(metric, metric.replace("_", " ").capitalize())


_NAMES = {
    "min_acc": "Minimum accuracy",
    "wc_acc": "Worst-case accuracy",
    "wf_10": "Windowed forgetting, 10",
    "wf_100": "Windowed forgetting, 100",
    "wp_10": "Windowed plasticity, 10",
    "wp_100": "Windowed plasticity, 100",
    "lca": "Learning curve area",
}


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed) if listed else 0.0
