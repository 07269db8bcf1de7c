"""Cutting a file into experiences: where the value of a column or a period changes, or into equal slices."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy

from remanence.errors import UsageError, nearest
from remanence.streams.columns import coded

PERIODS = {
    "hour": "%Y-%m-%d %H:00",
    "day": "%Y-%m-%d",
    "week": "%Y-%m-%d",
    "month": "%Y-%m",
    "quarter": "",
    "year": "%Y",
}
MOST = 10_000


class Groups:
    """Runs of rows, in file order, that share a value of a column or a period of a date.

    Parameters
    ----------
    by:
        A column; ``column:period``; or a period where the file has one column of dates.
    kinds:
        What each column holds.
    file:
        The name of the file, for messages.
    """

    def __init__(self, by: str, kinds: dict[str, str], file: str) -> None:
        self.by, self.file = by, file
        self.column, self.period = self._meaning(by, kinds)
        self.starts: list[int] = []
        self.names: list[str] = []
        self._last: Any = None

    def _meaning(self, by: str, kinds: dict[str, str]) -> tuple[str, str]:
        if by in kinds:
            return by, ""
        column, _, period = by.rpartition(":")
        dates = [name for name, kind in kinds.items() if kind == "date"]
        if period in PERIODS and not column:
            if len(dates) == 1:
                return dates[0], period
            held = f"has the date columns {', '.join(dates)}" if dates else "has no column of dates"
            advice = f"choose one with by='{dates[0]}:{period}'" if dates else "name a column, or leave by out"
            raise UsageError(f"{by!r} is a period and {self.file} {held}: {advice}")
        if period in PERIODS and column in kinds:
            if column not in dates:
                raise UsageError(
                    f"the column {column!r} of {self.file} holds no dates, so by={by!r} cannot be: use by={column!r}"
                )
            return column, period
        known = [*kinds, *(PERIODS if dates else ())]
        raise UsageError(f"{self.file} has no column {by!r} to group by: {nearest(by, known)}")

    def learn(self, column: Any, start: int) -> None:
        """Note where groups begin in the next rows, the first of which is row `start`."""
        if self.period:
            import pyarrow.compute as compute

            column = compute.floor_temporal(column, unit=self.period)
        values, codes = coded(column)
        known = numpy.flatnonzero(codes >= 0)  # a row without a value belongs to the group before it
        if not len(known):
            return
        codes = codes[known]
        changes = known[1:][codes[1:] != codes[:-1]].tolist()
        if values[codes[0]] != self._last:
            changes.insert(0, int(known[0]))
        places = numpy.searchsorted(known, changes)
        for place, code in zip(changes, codes[places].tolist(), strict=True):
            self.starts.append(start + place)
            self.names.append(self._name(values[code]))
        self._last = values[codes[-1]]
        if len(self.starts) > MOST:
            raise UsageError(
                f"{self.file} falls into more than {MOST} groups by {self.by!r}: sort it by that, or group by another"
            )

    def _name(self, value: Any) -> str:
        if self.period == "quarter":
            return f"{value.year}-Q{(value.month + 2) // 3}"
        return value.strftime(PERIODS[self.period]) if self.period else str(value)

    def bounds(self, rows: int) -> list[tuple[str, int, int]]:
        """Name, first row and end of every group."""
        if not self.starts:
            raise UsageError(f"{self.file} has no value to group by {self.by!r}: choose another column")
        starts = [0, *self.starts[1:]]
        return list(zip(self.names, starts, [*starts[1:], rows], strict=True))


def equal(rows: int, experiences: int, file: str) -> list[tuple[str, int, int]]:
    """Name, first row and end of equal slices in file order."""
    if rows < experiences:
        raise UsageError(f"{file} has {rows} rows with a target, fewer than {experiences} experiences: ask for fewer")
    cuts = [round(k * rows / experiences) for k in range(experiences + 1)]
    return [(f"rows {a + 1:,}–{b:,}", a, b) for a, b in pairwise(cuts)]
