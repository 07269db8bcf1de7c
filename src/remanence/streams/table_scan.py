"""A file that was read once: what its columns hold, and the statistics from which any part is encoded again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy
import torch
from torch import Tensor

from remanence.errors import UsageError
from remanence.streams.columns import Array, Encoder, RunningStatistics, kinds_of, stored_as
from remanence.streams.examples import Rows, in_order
from remanence.streams.file_reader import Reader
from remanence.streams.slices import Groups
from remanence.streams.target import Target

SAMPLE = 8192
CELLS = 4_000_000


class TableScan:
    """A file that was read once: what its columns hold, and the statistics at the beginning of every chunk.

    Any range of rows is then encoded from the chunks it lies in alone.
    """

    def __init__(
        self,
        reader: Reader,
        target: str,
        by: str | None,
        task: str | None,
        text: Sequence[str],
        categories: Sequence[str],
        ignore: Sequence[str],
    ) -> None:
        self.reader = reader
        self.file = reader.path.name
        roles = [(target, "the target"), *((name, "to ignore") for name in ignore)]
        roles += [*((name, "as text") for name in text), *((name, "as categories") for name in categories)]
        for name, role in roles:
            reader.require(name, role)
        if target in ignore:
            raise UsageError(f"the target {target!r} is also among the columns to ignore: keep it")
        forced = dict.fromkeys(text, "text") | dict.fromkeys(categories, "category")
        self.columns = [name for name in reader.names if name not in ignore]
        sample = reader.sample(SAMPLE).select(self.columns)
        self.asked = target
        kinds = self._resolved(kinds_of(sample, forced, self.file), forced)
        self.groups = Groups(by, kinds, self.file) if by is not None else None
        if self.groups and self.groups.column == target:
            raise UsageError(f"the target {target!r} cannot also be what experiences are grouped by: use another")
        self.target = Target(target, kinds[target], task, self.file)
        grouping = self.groups.column if self.groups and kinds[self.groups.column] != "date" else None
        if grouping:
            kinds[grouping] = "category"
        inputs = {name: kind for name, kind in kinds.items() if name not in (target, grouping)}
        if not inputs:
            raise UsageError(f"{self.file} has no column besides the target {target!r}: add some to predict it from")
        types = {name: stored_as(sample.column(name), kind) for name, kind in kinds.items()}
        reader.typed(types)
        self.encoder = Encoder(inputs, reader.sample(SAMPLE))
        reader.rows = min(SAMPLE, max(256, CELLS // self.encoder.width)) if "text" not in inputs.values() else 512
        self._scan()
        self._cache: OrderedDict[int, Rows] = OrderedDict()
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_cache", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._cache, self._lock = OrderedDict(), threading.Lock()

    def _resolved(self, kinds: dict[str, str], forced: dict[str, str]) -> dict[str, str]:
        """Kinds of columns that have no value among the first rows, from the first rows where they have."""
        while unknown := [name for name, kind in kinds.items() if kind == "unknown"]:
            for chunk in self.reader.scan(unknown):
                found = kinds_of(chunk, forced, self.file)
                if any(kind != "unknown" for kind in found.values()):
                    kinds |= {name: kind for name, kind in found.items() if kind != "unknown"}
                    break
            else:
                raise _no_values(unknown[0], self.file, unknown[0] == self.asked)
        return kinds

    def _scan(self) -> None:
        """Read the whole file once."""
        self.states: list[RunningStatistics] = []
        self.starts, self.before = [0], [0]  # rows with a target, and rows of the file, ahead of each chunk
        self._labels: list[tuple[int, ...]] = []
        for chunk in self.reader.scan(self.columns):
            kept, _ = self._kept(chunk)
            self.states.append(self.encoder.state)
            self._labels.append(self.target.learn(kept.column(self.target.name)) if len(kept) else ())
            if len(kept):
                self.encoder.learn(kept)
                if self.groups:
                    self.groups.learn(kept.column(self.groups.column), self.starts[-1])
            self.starts.append(self.starts[-1] + len(kept))
            self.before.append(self.before[-1] + len(chunk))
        self.target.dropped = self.before[-1] - self.rows
        if not self.before[-1]:
            raise UsageError(f"{self.file} has no rows: give a file with data")
        if not self.rows:
            raise _no_values(self.target.name, self.file, True)
        self.target.finish()
        self._edges = numpy.array(self.starts)
        for name, missing in self.encoder.missing.items():
            if missing == self.rows:
                raise _no_values(name, self.file)

    def _kept(self, chunk: Any) -> tuple[Any, Array]:
        """The rows of a chunk that have a target, and their places in it."""
        present = self.target.present(chunk.column(self.target.name))
        places = numpy.flatnonzero(present)
        return (chunk if len(places) == len(chunk) else chunk.take(places)), places

    @property
    def rows(self) -> int:
        """How many rows have a target."""
        return self.starts[-1]

    def chunk(self, number: int) -> Rows:
        """One encoded chunk; the last two are held."""
        with self._lock:
            if number not in self._cache:
                kept, places = self._kept(self.reader.read(number, self.columns))
                x = self.encoder.encode(kept, self.states[number])
                y = self.target.encode(kept.column(self.target.name))
                while len(self._cache) > 1:
                    self._cache.popitem(last=False)
                self._cache[number] = Rows(x, y, torch.from_numpy(places + self.before[number]))
            self._cache.move_to_end(number)
            return self._cache[number]

    def span(self, start: int, stop: int) -> Rows:
        """The rows from `start` up to `stop`."""
        if start >= stop:
            return Rows(*(column[:0] for column in self.chunk(0)))
        first = int(numpy.searchsorted(self._edges, start, side="right")) - 1
        pieces = []
        while start < stop:
            begin, end = self.starts[first], self.starts[first + 1]
            if end > start:
                rows = self.chunk(first)
                pieces.append(Rows(*(column[start - begin : stop - begin] for column in rows)))
                start = end
            first += 1
        return pieces[0] if len(pieces) == 1 else Rows(*(torch.cat(column) for column in zip(*pieces, strict=True)))

    def cut(self, index: Tensor) -> Rows:
        """The rows at positions (n,), reading each chunk once."""
        if len(index) == 0:
            return self.span(0, 0)
        owner = numpy.searchsorted(self._edges, index.numpy(), side="right") - 1
        if owner[0] == owner[-1] and (owner == owner[0]).all():
            rows = self.chunk(int(owner[0]))
            return Rows(*(column[index - self.starts[owner[0]]] for column in rows))
        pieces, places = [], []
        for number in numpy.unique(owner).tolist():
            place = torch.from_numpy(numpy.flatnonzero(owner == number))
            rows = self.chunk(number)
            pieces.append(Rows(*(column[index[place] - self.starts[number]] for column in rows)))
            places.append(place)
        return in_order(pieces, places)

    def labels(self, start: int, stop: int) -> Tensor:
        """The targets of rows from `start` up to `stop`, reading no other column."""
        first = int(numpy.searchsorted(self._edges, start, side="right")) - 1
        found = [torch.empty(0, dtype=torch.int64 if self.target.labels else torch.float32)]
        for number in range(first, len(self.starts) - 1):
            begin = self.starts[number]
            if begin >= stop:
                break
            with self._lock:
                kept, _ = self._kept(self.reader.read(number, [self.target.name]))
            found.append(self.target.encode(kept.column(self.target.name))[max(0, start - begin) : stop - begin])
        return torch.cat(found)

    def classes(self, start: int, stop: int) -> tuple[int, ...]:
        """The labels that occur from row `start` up to `stop`; none for regression."""
        if not self.target.labels:
            return ()
        found: set[int] = set()
        for number, (begin, end) in enumerate(pairwise(self.starts)):
            if start <= begin and end <= stop:
                found.update(self._labels[number])
            elif begin < stop and start < end:
                found.update(self.labels(max(start, begin), min(stop, end)).tolist())
        return tuple(sorted(found))

    def notes(self) -> dict[str, object]:
        """Figures for the report: rows, dropped rows, and for each column its kind and what was missing."""
        columns: dict[str, dict[str, object]] = {}
        for name, kind in self.encoder.kinds.items():
            columns[name] = {"kind": kind, "missing": self.encoder.missing[name]}
        for column in self.encoder.categories:
            columns[column.name] |= {"categories": len(column.slots), "without a slot": column.overflow}
        target: dict[str, object] = {"column": self.target.name, "task": self.target.task.kind}
        if not self.target.labels:
            target |= {"origin": self.target.origin, "unit": self.target.unit}
        return {
            "rows": self.rows,
            "rows without a target": self.target.dropped,
            "missing values": sum(self.encoder.missing.values()),
            "target": target,
            "columns": columns,
        }


def _no_values(name: str, file: str, target: bool = False) -> UsageError:
    if target:
        return UsageError(f"the target {name!r} of {file} has no values at all: choose another column")
    return UsageError(f"the column {name!r} of {file} has no values at all: leave it out with ignore=[{name!r}]")
