"""The target of a table: which task it asks for, and its values as labels or numbers."""

from __future__ import annotations

from typing import Any

import numpy
import torch
from torch import Tensor

from remanence.errors import UsageError
from remanence.streams.columns import Array, coded, floats
from remanence.streams.experience import CLASSIFICATION, REGRESSION, Task

FEW = 20
MANY = 100_000
FIRST = 1000


class Target:
    """One column that is to be predicted.

    Strings, booleans and up to twenty distinct whole numbers are classes, numbered in the order in
    which they appear; everything else is a value. Values are counted from the mean of the first
    thousand in units of their standard deviation, so that a learner meets numbers near one; the two
    are constants, hence a prediction can be turned back.

    Parameters
    ----------
    name:
        The column.
    kind:
        What it holds.
    task:
        ``"classification"``, ``"regression"``, or None to judge by the values.
    file:
        The name of the file, for messages.
    """

    def __init__(self, name: str, kind: str, task: str | None, file: str) -> None:
        self.name, self.file = name, file
        self.kind = "number" if kind == "boolean" and task == "regression" else kind
        self.wanted = task
        if kind == "date" or (kind in ("category", "text") and task == "regression"):
            held = "dates" if kind == "date" else "strings"
            raise UsageError(
                f"the target {name!r} of {file} holds {held}, expected "
                f"{'numbers for regression' if task == 'regression' else 'numbers or classes'}: choose another column"
            )
        self.labels: dict[Any, int] = {}
        self.whole = True
        self.first: list[float] = []
        self.origin, self.unit = 0.0, 1.0
        self.dropped = 0

    def present(self, column: Any) -> Array:
        """Which rows (n,) have a target."""
        if self.kind in ("category", "text"):
            there: Array = column.is_valid().to_numpy().astype(bool)
            return there
        return ~numpy.isnan(floats(column))

    def learn(self, column: Any) -> tuple[int, ...]:
        """Take the targets of the next chunk, all present, into account; the labels in it, if they are classes."""
        if self.kind == "number":
            values = floats(column)
            if len(self.first) < FIRST:
                self.first += values[: FIRST - len(self.first)].tolist()
            self.whole = self.whole and bool((values == numpy.floor(values)).all())
            if self.wanted == "regression" or (self.wanted is None and (not self.whole or len(self.labels) > FEW)):
                return ()
        found = tuple(self.labels.setdefault(value, len(self.labels)) for value in coded(column)[0])
        if len(self.labels) > MANY:
            raise UsageError(f"the target {self.name!r} of {self.file} has more than {MANY} classes: choose another")
        return found

    def finish(self) -> None:
        """Decide the task, after all of the file was seen."""
        if self.kind == "number" and self.wanted != "classification":
            few = self.whole and len(self.labels) <= FEW
            if self.wanted == "regression" or not few:
                values = numpy.array(self.first)
                spread = float(values.std())
                self.origin, self.unit = float(values.mean()), spread if spread > 0 else 1.0
                self.labels = {}
                return
        if len(self.labels) < 2:
            only = next(iter(self.names), "")
            raise UsageError(
                f"the target {self.name!r} of {self.file} has the single class {only!r}: choose one with two or more"
            )

    @property
    def task(self) -> Task:
        return CLASSIFICATION if self.labels else REGRESSION

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the classes, by label."""
        whole = self.kind == "number" and self.whole
        return tuple(str(int(value)) if whole else str(value) for value in self.labels)

    def encode(self, column: Any) -> Tensor:
        """Labels (n,) int64 or values (n,) float32 of rows that all have a target."""
        if not self.labels:
            return torch.from_numpy(((floats(column) - self.origin) / self.unit).astype(numpy.float32))
        values, codes = coded(column)
        numbers = numpy.array([self.labels[value] for value in values], dtype=numpy.int64)
        return torch.from_numpy(numbers[codes])
