"""Turning the columns of a table into numbers, using for each row nothing but the rows before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy
import torch
from torch import Tensor

from remanence.errors import UsageError
from remanence.streams.text import encode as encode_text

CLIP = 5.0
"""Standardised numbers are cut here: the first rows have hardly any statistics to be measured by."""
SLOTS = 50
_DAY, _WEEK, _YEAR = 86_400.0, 604_800.0, 31_556_952.0
Array = numpy.ndarray[Any, numpy.dtype[Any]]


class RunningStatistics(NamedTuple):
    """Running statistics of k numbers: how many were present, their mean, and the sum of squared deviations."""

    number: Array
    mean: Array
    m2: Array

    @classmethod
    def empty(cls, k: int) -> RunningStatistics:
        return cls(numpy.zeros(k), numpy.zeros(k), numpy.zeros(k))


def advance(state: RunningStatistics, matrix: Array) -> RunningStatistics:
    """The statistics after the rows of `matrix` (n, k) too; NaN is missing. Combines as Chan et al. (1979) do."""
    valid = ~numpy.isnan(matrix)
    added = valid.sum(0).astype(float)
    mean = numpy.where(valid, matrix, 0.0).sum(0) / numpy.maximum(added, 1.0)
    m2 = numpy.where(valid, matrix - mean, 0.0)
    count = state.number + added
    gap = numpy.where(added > 0, mean - state.mean, 0.0)
    share = added / numpy.maximum(count, 1.0)
    return RunningStatistics(
        count, state.mean + gap * share, state.m2 + (m2 * m2).sum(0) + gap * gap * state.number * share
    )


def standardise(matrix: Array, state: RunningStatistics, scaled: Array) -> Array:
    """Each row of `matrix` (n, k) by the mean and standard deviation of all rows before it.

    Missing values become that mean. Columns that are not `scaled` keep their values.
    """
    valid = ~numpy.isnan(matrix)
    first = matrix[valid.argmax(0), numpy.arange(matrix.shape[1])]
    shift = numpy.where(state.number > 0, state.mean, numpy.nan_to_num(first))
    deviation = numpy.where(valid, matrix - shift, 0.0)
    count = state.number + _before(valid.astype(float))
    sums, squares = _before(deviation), state.m2 + _before(deviation * deviation)
    known = numpy.maximum(count, 1.0)
    mean = sums / known
    spread = numpy.sqrt(numpy.maximum(squares / known - mean * mean, 0.0))
    floor = 1e-8 * numpy.abs(shift + mean) + 1e-12
    score = numpy.where(valid & (count > 1), (deviation - mean) / numpy.maximum(spread, floor), 0.0)
    plain = numpy.where(valid, matrix, numpy.where(count > 0, shift + mean, 0.0))
    return numpy.where(scaled, numpy.clip(score, -CLIP, CLIP), plain)


def _before(array: Array) -> Array:
    """Sums over the rows above each row."""
    total = numpy.zeros_like(array)
    numpy.cumsum(array[:-1], axis=0, out=total[1:])
    return total


class Categories:
    """Slots of one column of categories, given to values as they first appear.

    The last two slots are for values that came when all others were taken, and for missing ones.
    """

    def __init__(self, name: str, distinct: int) -> None:
        self.name = name
        self.room = min(SLOTS, max(4, 2 * distinct))
        self.slots: dict[Any, int] = {}
        self.overflow = 0

    @property
    def width(self) -> int:
        return self.room + 2

    def learn(self, column: Any) -> None:
        values, codes = coded(column)
        for value in values:
            if value not in self.slots and len(self.slots) < self.room:
                self.slots[value] = len(self.slots)
        self.overflow += int((self._slots(values)[codes] == self.room).sum())

    def encode(self, column: Any) -> Array:
        """The slot of each row (n,)."""
        values, codes = coded(column)
        slots: Array = self._slots(values)[codes]
        return slots

    def _slots(self, values: Sequence[Any]) -> Array:
        """The slot of each value, and at the end, where the code -1 points, that of a missing one."""
        return numpy.array([*(self.slots.get(value, self.room) for value in values), self.room + 1])


class Encoder:
    """All input columns of a table as one float32 row.

    Parameters
    ----------
    kinds:
        ``number``, ``boolean``, ``date``, ``category`` or ``text`` for each column.
    sample:
        The first rows, which decide how many slots a column of categories gets.
    """

    def __init__(self, kinds: dict[str, str], sample: Any) -> None:
        self.kinds = kinds
        self.numbers = [name for name, kind in kinds.items() if kind in ("number", "boolean", "date")]
        self.scaled = numpy.array([kinds[name] != "boolean" for name in self.numbers], dtype=bool)
        self.texts = [name for name, kind in kinds.items() if kind == "text"]
        self.categories = [
            Categories(name, len(coded(sample.column(name))[0])) for name, kind in kinds.items() if kind == "category"
        ]
        self.dates = {name: _cycles_of(sample.column(name)) for name, kind in kinds.items() if kind == "date"}
        self.missing = dict.fromkeys(kinds, 0)
        self.state = RunningStatistics.empty(len(self.numbers))
        if self.texts:
            encode_text(["ready?"])

    @property
    def inputs(self) -> list[str]:
        """A name for each number of an encoded row."""
        names = list(self.numbers)
        for column in self.categories:
            known = sorted(column.slots, key=column.slots.__getitem__)
            spare = [f"{column.name}=(free {k})" for k in range(len(known), column.room)]
            names += [*(f"{column.name}={value}" for value in known), *spare]
            names += [f"{column.name}=(other)", f"{column.name}=(missing)"]
        for name, cycles in self.dates.items():
            words = {_DAY: "day", _WEEK: "week", _YEAR: "year"}
            names += [f"{name} {part} of {words[cycle]}" for cycle in cycles for part in ("sine", "cosine")]
        for name in self.texts:
            names += [f"{name}[{k}]" for k in range(384)]
        return names

    @property
    def width(self) -> int:
        cycles = sum(2 * len(found) for found in self.dates.values())
        return len(self.numbers) + sum(column.width for column in self.categories) + cycles + 384 * len(self.texts)

    def learn(self, table: Any) -> None:
        """Take the next chunk into the statistics."""
        for name in self.kinds:
            self.missing[name] += table.column(name).null_count
        matrix = self._matrix(table)
        for place, name in enumerate(self.numbers):  # infinite numbers count as missing too
            self.missing[name] += int(numpy.isnan(matrix[:, place]).sum()) - table.column(name).null_count
        self.state = advance(self.state, matrix)
        for column in self.categories:
            column.learn(table.column(column.name))

    def encode(self, table: Any, state: RunningStatistics) -> Tensor:
        """Rows (n, width) of a chunk, given the statistics at its beginning."""
        rows = len(table)
        out = numpy.zeros((rows, self.width), dtype=numpy.float32)
        at = len(self.numbers)
        if at:
            out[:, :at] = standardise(self._matrix(table), state, self.scaled)
        for column in self.categories:
            out[numpy.arange(rows), at + column.encode(table.column(column.name))] = 1.0
            at += column.width
        for name, cycles in self.dates.items():
            when = floats(table.column(name))
            for cycle in cycles:
                angle = numpy.nan_to_num(when % cycle) * (2 * numpy.pi / cycle)
                out[:, at] = numpy.where(numpy.isnan(when), 0.0, numpy.sin(angle))
                out[:, at + 1] = numpy.where(numpy.isnan(when), 0.0, numpy.cos(angle))
                at += 2
        for name in self.texts:
            given = table.column(name).to_pylist()
            present = numpy.flatnonzero([bool(text and text.strip()) for text in given])
            if len(present):
                out[present, at : at + 384] = encode_text([given[k] for k in present]).numpy()
            at += 384
        return torch.from_numpy(out)

    def _matrix(self, table: Any) -> Array:
        if not self.numbers:
            return numpy.zeros((len(table), 0))
        return numpy.stack([floats(table.column(name)) for name in self.numbers], axis=1)


def coded(column: Any) -> tuple[list[Any], Array]:
    """The distinct values of a column in order of appearance, and the place of each row's value; -1 is missing."""
    found = column.combine_chunks().dictionary_encode() if hasattr(column, "combine_chunks") else column
    if hasattr(found, "chunks"):  # an empty chunked array stays one
        return [], numpy.zeros(0, dtype=numpy.int64)
    return found.dictionary.to_pylist(), found.indices.fill_null(-1).to_numpy(zero_copy_only=False)


def floats(column: Any) -> Array:
    """Numbers, booleans, or dates as seconds, as float64; missing and infinite ones are NaN."""
    import pyarrow
    from pyarrow import types

    kind = column.type
    if types.is_timestamp(kind) or types.is_date(kind):
        micro = pyarrow.timestamp("us", getattr(kind, "tz", None))
        column = column.cast(micro, safe=False).cast(pyarrow.int64())
        return floats(column) / 1e6
    if types.is_time(kind) or types.is_duration(kind):
        column = column.cast(pyarrow.int32() if types.is_time32(kind) else pyarrow.int64())
    if types.is_boolean(kind):
        column = column.cast(pyarrow.int8())
    array: Array = column.cast(pyarrow.float64(), safe=False).to_numpy(zero_copy_only=False).astype(float)
    if numpy.isinf(array).any():
        array = numpy.where(numpy.isinf(array), numpy.nan, array)
    return array


def _cycles_of(sample: Any) -> list[float]:
    """The cycles that a column of dates may follow: those of the day only if it tells the time."""
    when = floats(sample)
    timed = bool((numpy.nan_to_num(when % _DAY) != 0).any())
    return [_DAY, _WEEK, _YEAR] if timed else [_WEEK, _YEAR]


def kind_of(column: Any) -> str:
    """What a column holds, judged by its type and, for strings, by how its first values look."""
    from pyarrow import types

    kind = column.type
    if types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_null(kind):
        return "unknown"
    if types.is_boolean(kind):
        return "boolean"
    if types.is_timestamp(kind) or types.is_date(kind):
        return "date"
    numeric = (types.is_integer, types.is_floating, types.is_decimal, types.is_time, types.is_duration)
    if any(check(kind) for check in numeric):
        return "number"
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return "text" if _reads_like_text(column) else "category"
    return str(kind)


def _reads_like_text(column: Any) -> bool:
    """Long, mostly different values with several words each."""
    values, codes = coded(column)
    present = int((codes >= 0).sum())
    if present < 5 or len(values) < 0.5 * present:
        return False
    words = sum(len(value.split()) for value in values) / len(values)
    length = sum(map(len, values)) / len(values)
    return words >= 4 and length >= 20


def stored_as(column: Any, kind: str) -> Any:
    """The arrow type in which a column of a kind is read."""
    import pyarrow
    from pyarrow import types

    found = column.type
    if kind in ("category", "text"):
        return pyarrow.string()
    if kind == "boolean":
        return pyarrow.bool_()
    if kind == "date":
        fine = types.is_timestamp(found) and found.unit == "ns"
        return pyarrow.timestamp("ns" if fine else "us", getattr(found, "tz", None))
    if types.is_time(found) or types.is_duration(found):
        return found
    return pyarrow.float64()


def kinds_of(sample: Any, forced: dict[str, str], file: str) -> dict[str, str]:
    """The kind of every column, as given or as it looks.

    Raises
    ------
    UsageError
        If a column holds something that cannot be turned into numbers.
    """
    kinds = {}
    for name in sample.column_names:
        kind = forced.get(name) or kind_of(sample.column(name))
        if kind not in ("number", "boolean", "date", "category", "text", "unknown"):
            advice = "save the file in UTF-8" if kind == "binary" else f"leave it out with ignore=[{name!r}]"
            raise UsageError(f"the column {name!r} of {file} holds {kind} values, which cannot be read: {advice}")
        kinds[name] = kind
    return kinds
