"""A CSV or Parquet file as a stream in the order of time, however large it is."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from remanence.errors import UsageError
from remanence.streams.examples import Examples, Rows
from remanence.streams.experience import Disclosure, Segment, Stream, TestSet
from remanence.streams.readers import open_reader
from remanence.streams.slices import equal
from remanence.streams.table_scan import TableScan

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
    >>> stream.class_names, stream.shape, stream.segment_ends
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
def _opened(path: str, stamp: tuple[int, int], reading: tuple[Any, ...]) -> TableScan:
    return TableScan(open_reader(path, reading[-1]), *reading[:-1])


class FileRows(Examples):
    """A range of rows of a table, read when they are cut."""

    ordered = True

    def __init__(self, source: TableScan, start: int, stop: int) -> None:
        self.source, self.start, self.stop = source, start, stop

    def __len__(self) -> int:
        return self.stop - self.start

    def cut(self, index: Tensor) -> Rows:
        return self.source.cut(index + self.start)

    def span(self, start: int, stop: int) -> Rows:
        return self.source.span(self.start + start, self.start + min(stop, len(self)))

    def labels(self) -> Tensor:
        return self.source.labels(self.start, self.stop)
