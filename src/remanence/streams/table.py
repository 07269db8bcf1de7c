"""A CSV or Parquet file as a stream in the order of time, however large it is."""

from __future__ import annotations

import functools
import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor

from remanence.errors import UsageError
from remanence.streams.chunks import Reader, open_reader
from remanence.streams.columns import Array, Encoder, State, kinds_of, stored_as
from remanence.streams.experience import Disclosure, Examples, Rows, Segment, Stream, TestSet
from remanence.streams.slices import Groups, equal
from remanence.streams.target import Target

SAMPLE = 8192
CELLS = 4_000_000
# The learning rate and batch size that did best of 0.01 to 0.3 and 10, 32 on generated tables whose concept turns:
# prequential accuracy 0.86 (0.75 at 0.03), error 0.38 of the target's spread (0.43 at 0.03), two seeds, naive.
DEFAULTS: dict[str, object] = {"model": "mlp:100,100", "batch_size": 10, "epochs": 1, "size": 200, "lr": 0.1}


def table(
    path: str | os.PathLike[str],
    target: str | None = None,
    by: str | None = None,
    experiences: int | None = None,
    hold_out: float = 0.0,
    *,
    task: str | None = None,
    text: Sequence[str] = (),
    categories: Sequence[str] = (),
    ignore: Sequence[str] = (),
    dates: str | None = None,
    test_rows: int = 5000,
) -> Stream:
    """A CSV or Parquet file as a stream; its rows are taken in file order and never shuffled.

    Every row is encoded by what the rows before it show: numbers are standardised by the running mean
    and standard deviation (and cut at 5), missing ones become the running mean; categories are one-hot
    in slots given out as they appear, with one slot for those that find none free and one for missing
    ones; dates become a standardised number and the sine and cosine of their place in the day, week
    and year; text is encoded by the packaged MiniLM. The file is read once at opening, chunk by chunk,
    and then again as it is learned, so it may be larger than memory.

    Parameters
    ----------
    path:
        A ``.csv``, ``.tsv`` or ``.parquet`` file.
    target:
        The column to predict. Strings, booleans and at most twenty distinct whole numbers make
        classes; other numbers are values, measured from ``stream.scale[0]`` in units of
        ``stream.scale[1]``, two constants from the first thousand rows. Rows without a target are left out.
    by:
        A column whose consecutive equal values make an experience (it is no input then); a period
        (``hour``, ``day``, ``week``, ``month``, ``quarter``, ``year``) of the one column of dates, or
        of one of several as ``"sold:month"``. None cuts into equal slices.
    experiences:
        How many equal slices (1 or more, 5 by default); not together with `by`.
    hold_out:
        Share of each experience, its last rows, that becomes its test set (0 up to, not including, 1).
        With 0 there are no test sets: the stream is evaluated prequentially, test then train.
    task:
        ``"classification"`` or ``"regression"``, where the target's type would mislead.
    text, categories, ignore:
        Columns to read as text, to read as categories, and to leave out.
    dates:
        How dates in a CSV file are written where it is not ISO 8601, ``"%d/%m/%Y"``.
    test_rows:
        The most rows of a test set; a longer one is thinned evenly, since test sets are held in memory.

    Raises
    ------
    UsageError
        If the file cannot be read, a column is unknown or without any value, or the target has a
        single class.
    MissingExtra
        If pyarrow, or the encoder of a text column, is not installed.

    Example
    -------
    >>> import tempfile
    >>> from pathlib import Path
    >>> path = Path(tempfile.mkdtemp(), "sales.csv")
    >>> _ = path.write_text("price,shop,churned\\n" + "1.5,north,no\\n2.5,south,yes\\n" * 10)
    >>> stream = table(path, target="churned", experiences=2)
    >>> stream.class_names, stream.shape, stream.marks
    (('no', 'yes'), (7,), [10, 20])
    """
    if target is None:
        raise UsageError(f"no target was given for {Path(path).name}: name the column to predict, --target NAME")
    if not 0 <= hold_out < 1:
        raise UsageError(f"hold_out is {hold_out}, expected a share from 0 up to, not including, 1")
    if by is not None and experiences is not None:
        raise UsageError(f"both by={by!r} and experiences={experiences} were given: give one of them")
    if experiences is not None and experiences < 1:
        raise UsageError(f"experiences is {experiences}, expected 1 or more")
    if task not in (None, "classification", "regression"):
        raise UsageError(f"the task {task!r} is unknown: use classification or regression")
    if test_rows < 1:
        raise UsageError(f"test_rows is {test_rows}, expected 1 or more")
    for name, given in (("text", text), ("categories", categories), ("ignore", ignore)):
        if isinstance(given, str):
            raise UsageError(f"{name} is the string {given!r}, expected a list of columns: use [{given!r}]")
    file = Path(path).absolute()
    stamp = (file.stat().st_size, file.stat().st_mtime_ns) if file.is_file() else (0, 0)
    reading = (target, by, task, tuple(text), tuple(categories), tuple(ignore), dates)
    found = _opened(str(file), stamp, reading)
    bounds = found.groups.bounds(found.rows) if found.groups else equal(found.rows, experiences or 5, file.name)
    options: dict[str, object] = {"target": target, "by": by, "experiences": experiences, "hold_out": hold_out}
    options |= {"task": task, "text": list(text), "categories": list(categories), "ignore": list(ignore)}
    options |= {"dates": dates, "test_rows": test_rows}
    segments, tests = [], []
    for name, start, stop in bounds:
        cut = stop
        if hold_out:
            if stop - start < 2:
                raise UsageError(f"the experience {name!r} of {file.name} has one row, which cannot be held out: use 0")
            cut = max(start + 1, stop - max(1, round((stop - start) * hold_out)))
            asked = found.cut(torch.linspace(cut, stop - 1, min(stop - cut, test_rows)).round().long())
            tests.append(TestSet(name, asked.x, asked.y, classes=found.classes(cut, stop)))
        segments.append(Segment(FileRows(found, start, cut), found.classes(start, cut), name=name))
    defaults = {key: value for key, value in options.items() if value not in (None, [], 0.0)}
    return Stream(
        file.stem,
        segments,
        tests,
        found.target.task,
        (found.encoder.width,),
        Disclosure(classes=False),
        found.target.names,
        recipe={"source": "table", "path": str(file), "options": defaults, "scenarios": []},
        defaults=dict(DEFAULTS),
        notes=found.notes(),
        scale=(found.target.origin, found.target.unit),
    )


@functools.lru_cache(maxsize=2)
def _opened(path: str, stamp: tuple[int, int], reading: tuple[Any, ...]) -> Table:
    return Table(open_reader(path, reading[-1]), *reading[:-1])


class Table:
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
                raise _no_values(unknown[0], self.file)
        return kinds

    def _scan(self) -> None:
        """Read the whole file once."""
        self.states: list[State] = []
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
            raise _no_values(self.target.name, self.file)
        self.target.settle()
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
        first = int(numpy.searchsorted(self.starts, start, side="right")) - 1
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
        owner = numpy.searchsorted(self.starts, index.numpy(), side="right") - 1
        if owner[0] == owner[-1] and (owner == owner[0]).all():
            rows = self.chunk(int(owner[0]))
            return Rows(*(column[index - self.starts[owner[0]]] for column in rows))
        pieces, places = [], []
        for number in numpy.unique(owner).tolist():
            place = torch.from_numpy(numpy.flatnonzero(owner == number))
            rows = self.chunk(number)
            pieces.append(Rows(*(column[index[place] - self.starts[number]] for column in rows)))
            places.append(place)
        back = torch.argsort(torch.cat(places))
        return Rows(*(torch.cat(column)[back] for column in zip(*pieces, strict=True)))

    def labels(self, start: int, stop: int) -> Tensor:
        """The targets of rows from `start` up to `stop`, reading no other column."""
        first = int(numpy.searchsorted(self.starts, start, side="right")) - 1
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


class FileRows(Examples):
    """A range of rows of a table, read when they are cut."""

    ordered = True

    def __init__(self, source: Table, start: int, stop: int) -> None:
        self.source, self.start, self.stop = source, start, stop

    def __len__(self) -> int:
        return self.stop - self.start

    def cut(self, index: Tensor) -> Rows:
        return self.source.cut(index + self.start)

    def span(self, start: int, stop: int) -> Rows:
        return self.source.span(self.start + start, self.start + min(stop, len(self)))

    def labels(self) -> Tensor:
        return self.source.labels(self.start, self.stop)


def _no_values(name: str, file: str) -> UsageError:
    return UsageError(f"the column {name!r} of {file} has no values at all: leave it out with ignore=[{name!r}]")
