"""Choosing settings by measurement so that neither the end of a grid nor the last digit decides.

A search begins with a grid. Where its best point lies at an end of an axis, the axis goes on there until the best
lies inside, with equally many points for every side of a comparison. What differs by less than the noise of the
seeds is measured on more of them; what is still alike then is settled by the order of trying.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from remanence.arena.axes import above, below, between, numeric, points
from remanence.errors import UsageError

TUNE_SEEDS = (1000, 1001)
"""Seeds that every point is measured on; none may be reported."""
SPARE_SEEDS = (1002, 1003, 1004, 1005)
"""Seeds that only points which differ by less than the noise are measured on, two at a time."""
EXTENSIONS = 4
"""How many times the axes of a comparison go on where a best point lies at an end."""

Settings = dict[str, Any]
Ask = tuple[Settings, int]
"""Settings and a seed."""
Measure = Callable[[Sequence[Ask]], Sequence[float | None]]
"""The scores of some settings with some seeds, None where a run gave none."""


@dataclass(frozen=True)
class Found:
    """What a search found.

    Parameters
    ----------
    best:
        The settings chosen.
    by:
        The metric they were chosen by.
    table:
        Every point with its score on each seed (None where the run diverged) and their mean.
    seeds:
        Those that every point was measured on.
    share:
        The share of the training examples held out, where it was that.
    seconds:
        The wall time of all its runs added up.
    given, distinct:
        How many points the grid had before it was extended, and how many of all points gave figures of their own.
    ends:
        What still lies at an end, in words, by axis: that the extensions were used up, that the range ends there, or
        that the axis has no order.
    tie:
        How points that the first seeds could not tell apart were settled, ``""`` where they could.
    """

    best: Settings = field(default_factory=dict)
    by: str = "accuracy"
    table: list[dict[str, Any]] = field(default_factory=list)
    seeds: list[int] = field(default_factory=lambda: list(TUNE_SEEDS))
    share: float = 0.0
    seconds: float = 0.0
    given: int = 1
    distinct: int = 1
    ends: dict[str, str] = field(default_factory=dict)
    tie: str = ""


@dataclass
class _Point:
    settings: Settings
    scores: dict[int, float | None] = field(default_factory=dict)

    def mean(self, seeds: Sequence[int], sign: float) -> float:
        known = _known(self, seeds)
        return sign * statistics.fmean(known) if len(known) == len(seeds) else -math.inf


class Tuning:
    """One side of a comparison whose settings are searched.

    Parameters
    ----------
    grid:
        Values by setting; every combination is tried.
    measure:
        Gives the scores; what it refuses with a `UsageError` lies outside the range of a setting, unless it is in the
        grid itself.
    seeds, spare:
        Seeds for every point, and for those that these cannot tell apart.
    higher:
        Whether a higher score is better.
    allowed:
        Whether settings lie within their ranges, asked before they are measured.

    Example
    -------
    >>> side = Tuning({"lr": [0.01, 0.1]}, lambda asked: [-abs(s["lr"] - 1.0) for s, _ in asked])
    >>> compare([side])
    >>> side.best
    {'lr': 1.0}
    """

    def __init__(
        self,
        grid: Mapping[str, Sequence[Any]],
        measure: Measure,
        *,
        seeds: Sequence[int] = TUNE_SEEDS,
        spare: Sequence[int] = SPARE_SEEDS,
        higher: bool = True,
        allowed: Callable[[Settings], bool] = lambda settings: True,
    ) -> None:
        self.axes = {name: list(values) for name, values in grid.items()}
        self.measure, self.seeds, self.spare, self.allowed = measure, list(seeds), list(spare), allowed
        self.sign = 1.0 if higher else -1.0
        self.tried: dict[str, _Point] = {}
        self.outside: set[str] = set()
        self.tie = ""
        tries = points(grid)
        self.given = len(tries)
        self.best: Settings = tries[0]
        if self.given > 1:
            if not self.seeds:
                raise UsageError("a search was asked for without a seed to tune on: give one or more")
            self._measure([_Point(point) for point in tries], self.seeds)
            self.best = self._chosen()

    def add(self, tries: Sequence[Settings]) -> None:
        """Measure further points and choose again."""
        for settings in tries:
            try:
                self._measure([_Point(settings)], self.seeds)
            except UsageError:
                self.outside.add(_key(settings))
                continue
            for name, values in self.axes.items():
                if settings[name] not in values:
                    values.append(settings[name])
        self.best = self._chosen()

    def frontier(self) -> list[Settings]:
        """What must be tried before the best point is known to lie inside: its neighbours on each axis of numbers."""
        return list(self._frontier().values()) if self.given > 1 else []

    def refined(self, count: int) -> list[Settings]:
        """So many points between those tried, those beside the best first: effort that another side spends at an end."""
        found = itertools.islice(self._between(), count) if self.given > 1 else []
        return list(found)

    def found(self, by: str, *, share: float = 0.0, seconds: float = 0.0) -> Found:
        """What came of it."""
        table = [
            {
                "settings": point.settings,
                "scores": list(point.scores.values()),
                "mean": _mean_of(point.scores.values()),
            }
            for point in self.tried.values()
        ]
        different = {tuple(point.scores[seed] for seed in self.seeds) for point in self.tried.values()}
        return Found(
            self.best,
            by,
            table,
            self.seeds,
            share,
            round(seconds, 1),
            self.given,
            len(different) or 1,
            self._ends(),
            self.tie,
        )

    def _measure(self, given: Sequence[_Point], seeds: Sequence[int]) -> None:
        asked = [(point, seed) for seed in seeds for point in given if seed not in point.scores]
        scores = self.measure([(point.settings, seed) for point, seed in asked])
        for (point, seed), score in zip(asked, scores, strict=True):
            point.scores[seed] = score
        for point in given:
            self.tried[_key(point.settings)] = point

    def _chosen(self) -> Settings:
        """The best point; those that some seeds cannot tell apart are measured on more."""
        seeds, spare = list(self.seeds), list(self.spare)
        self.tie = ""
        alike = self._alike(list(self.tried.values()), seeds)
        first = len(alike)
        while len(alike) > 1 and spare:
            more, spare = spare[:2], spare[2:]
            self._measure(alike, more)
            seeds += more
            alike = self._alike(alike, seeds)
        if first > 1:
            told = "settled it" if len(alike) == 1 else f"left {len(alike)}, of which the first tried is taken"
            self.tie = f"{first} points within the noise of {len(self.seeds)} seeds, {len(seeds)} seeds {told}"
        return alike[0].settings

    def _alike(self, among: Sequence[_Point], seeds: Sequence[int]) -> list[_Point]:
        """The best point and those that these seeds cannot tell from it, in the order of trying, equal ones once."""
        leader = max(among, key=lambda point: point.mean(seeds, self.sign))
        kept: list[_Point] = []
        for point in among:
            same = any(all(point.scores[s] == other.scores[s] for s in seeds) for other in kept)
            if not same and (point is leader or self._within_noise(leader, point, seeds)):
                kept.append(point)
        return kept

    def _within_noise(self, leader: _Point, point: _Point, seeds: Sequence[int]) -> bool:
        if point.mean(seeds, self.sign) == -math.inf:
            return leader.mean(seeds, self.sign) == -math.inf
        gaps = [self.sign * (a - b) for a, b in zip(_known(leader, seeds), _known(point, seeds), strict=True)]
        noise = statistics.stdev(gaps) / math.sqrt(len(gaps)) if len(gaps) > 1 else 0.0
        scale = 1e-9 * max(1.0, *(abs(score) for score in _known(leader, seeds)))
        return statistics.fmean(gaps) <= max(noise, scale)

    def _frontier(self) -> dict[tuple[str, int], Settings]:
        found = {}
        for name, side, value in self._neighbours():
            settings = {**self.best, name: value}
            if value is not None and self._new(settings) and self.allowed(settings):
                found[name, side] = settings
        return found

    def _neighbours(self) -> Iterator[tuple[str, int, float | None]]:
        for name, values in self.axes.items():
            if numeric(values):
                known, here = sorted(set(values)), self.best[name]
                place = known.index(here)
                yield name, -1, known[place - 1] if place else below(known)
                yield name, 1, known[place + 1] if place + 1 < len(known) else above(known)

    def _between(self) -> Iterator[Settings]:
        """Points between the tried ones of each axis through the best, nearest to it first."""
        for name, values in self.axes.items():
            if not numeric(values):
                continue
            known, here = sorted(set(values)), self.best[name]
            pairs = sorted(
                itertools.pairwise(known), key=lambda pair: min(abs(known.index(v) - known.index(here)) for v in pair)
            )
            for low, high in pairs:
                value = between(low, high, known)
                settings = {**self.best, name: value}
                if value is not None and self._new(settings) and self.allowed(settings):
                    yield settings

    def _new(self, settings: Settings) -> bool:
        return _key(settings) not in self.tried and _key(settings) not in self.outside

    def _ends(self) -> dict[str, str]:
        """What of the best point still lies at an end, and why no more was tried there."""
        if self.given == 1:
            return {}
        open_ends = {name for name, _ in self._frontier()}
        found = {}
        for name, values in self.axes.items():
            if len(set(map(repr, values))) < 2:
                continue
            if not numeric(values):
                found[name] = f"{self.best[name]} was chosen among kinds, which have no ends"
            elif name in open_ends:
                found[name] = (
                    f"{self.best[name]} lies at an end of what was tried, after as many extensions as are made"
                )
            elif self.best[name] in (min(values), max(values)):
                found[name] = f"{self.best[name]} lies where its range ends"
        return found


def compare(sides: Sequence[Tuning], extensions: int = EXTENSIONS) -> None:
    """Extend the grids of a comparison until every best point lies inside, with equally many points for every side.

    A side whose best point lies inside is tried between its points as often as another is tried beyond its end.
    """
    for _ in range(extensions):
        beyond = [side.frontier() for side in sides]
        most = max(map(len, beyond))
        if most == 0:
            break
        for side, tries in zip(sides, beyond, strict=True):
            more = [*tries, *side.refined(most - len(tries))]
            if more:
                side.add(more)


def _key(settings: Settings) -> str:
    return repr(sorted(settings.items()))


def _known(point: _Point, seeds: Sequence[int]) -> list[float]:
    return [score for seed in seeds if (score := point.scores[seed]) is not None]


def _mean_of(scores: Any) -> float | None:
    known = list(scores)
    return None if None in known else statistics.fmean(known)
