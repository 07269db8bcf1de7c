"""Tensors, arrays and map-style torch datasets as streams."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy
import torch
from torch import Tensor

from remanence.errors import UsageError
from remanence.streams.examples import Examples, InMemory, Rows, Subset
from remanence.streams.experience import CLASSIFICATION, REGRESSION, Segment, Stream, TestSet

DEFAULTS: dict[str, object] = {"model": "mlp:100,100", "batch_size": 10, "epochs": 1, "size": 200}


def tensors(
    x: Any,
    y: Any = None,
    *,
    experiences: int = 1,
    hold_out: float = 0.0,
    test: Any = None,
    ordered: bool | None = None,
    class_names: tuple[str, ...] = (),
    name: str = "tensors",
) -> Stream:
    """Tensors (or numpy arrays), or a map-style ``torch.utils.data.Dataset`` of pairs, as a stream.

    Equal slices in the order given become experiences; without `test` and `hold_out` they are
    evaluated prequentially. With `test` and one experience it is a whole dataset, from which scenarios
    start: ``split(tensors(x, y, test=(u, v)), experiences=5)``.

    Parameters
    ----------
    x:
        Inputs (n, …), ``uint8`` images or numbers; or a dataset, whose items are read as they are cut.
    y:
        Labels (integers, or booleans: 0 or more) or values (floats) (n,); absent for a dataset.
    experiences:
        How many slices (1 to n).
    hold_out:
        Share of each slice, its last rows, that becomes its test set (0 up to, not including, 1).
    test:
        A test set of its own: a pair of tensors, or a dataset.
    ordered:
        Whether the rows come in the order of time and are never shuffled; by default they do, unless `test` is given.
    class_names:
        Names of the labels 0, 1, 2…
    name:
        What it is called in reports.

    Raises
    ------
    UsageError
        If lengths differ, there is a NaN, a label is negative, or a slice would be empty.

    Example
    -------
    >>> stream = tensors(torch.rand(100, 4), torch.arange(100) % 3, experiences=5, hold_out=0.2)
    >>> stream.shape, stream.segment_ends, len(stream.tests)
    ((4,), [16, 32, 48, 64, 80], 5)
    """
    if not isinstance(hold_out, int | float) or not 0 <= hold_out < 1:
        raise UsageError(f"hold_out is {hold_out!r}, expected a share from 0 up to, not including, 1")
    if not isinstance(experiences, int):
        raise UsageError(f"experiences is {experiences!r}, expected a whole number")
    if test is not None and (hold_out or experiences != 1):
        raise UsageError(
            "test was given together with hold_out or several experiences: give test alone, or leave it out"
        )
    in_time = test is None if ordered is None else ordered
    examples = _examples(x, y, in_time)
    if not 1 <= experiences <= len(examples):
        raise UsageError(
            f"{experiences} experiences were asked for, {len(examples)} rows were given: ask for 1 to that"
        )
    labels = examples.labels()
    task = REGRESSION if labels.is_floating_point() else CLASSIFICATION
    cuts = [round(k * len(examples) / experiences) for k in range(experiences + 1)]
    segments, tests = [], []
    for start, stop in pairwise(cuts):
        part = f"rows {start + 1:,}–{stop:,}" if experiences > 1 else name
        cut = stop
        if hold_out:
            cut = stop - max(1, round((stop - start) * hold_out))
            if cut <= start:
                raise UsageError(
                    f"an experience has {stop - start} rows, too few to hold out {hold_out}: ask for fewer"
                )
            asked = examples.span(cut, stop)
            tests.append(TestSet(part, asked.x, asked.y, classes=_classes(asked.y)))
        whole = start == 0 and cut == len(examples)
        mine = examples if whole else Subset(examples, torch.arange(start, cut))
        segments.append(Segment(mine, _classes(labels[start:cut]), name=part))
    if test is not None:
        if isinstance(test, tuple | list) and len(test) != 2:
            raise UsageError(f"test holds {len(test)} things, expected a pair of inputs and targets, or a dataset")
        u, v = test if isinstance(test, tuple | list) else (test, None)
        given = _examples(u, v, False)
        asked = given.span(0, len(given))
        if asked.x.shape[1:] != examples.span(0, 1).x.shape[1:]:
            raise UsageError(
                f"test inputs have the shape {tuple(asked.x.shape[1:])}, training inputs "
                f"{tuple(examples.span(0, 1).x.shape[1:])}: give the same"
            )
        if asked.y.dtype != labels.dtype:
            raise UsageError(
                "the targets of test and training data are of different kinds: give labels or values in both"
            )
        tests.append(TestSet(name, asked.x, asked.y, classes=_classes(asked.y)))
    shape = tuple(examples.span(0, 1).x.shape[1:])
    defaults = {**DEFAULTS, "model": "cnn"} if len(shape) == 3 and min(shape[1:]) >= 16 else dict(DEFAULTS)
    return Stream(name, segments, tests, task, shape, class_names=tuple(class_names), defaults=defaults)


class DatasetRows(Examples):
    """The pairs of a map-style dataset, read item by item when they are cut."""

    def __init__(self, dataset: Any, ordered: bool) -> None:
        self.dataset, self.ordered = dataset, ordered
        self._labels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.dataset)

    def cut(self, index: Tensor) -> Rows:
        pairs = [self.dataset[place] for place in index.tolist()]
        inputs = [_tensor(numpy.asarray(pair[0]), "an input of the dataset") for pair in pairs]
        shapes = {tuple(one.shape) for one in inputs}
        if len(shapes) > 1:
            raise UsageError(
                f"the inputs of the dataset have different shapes, {' and '.join(map(str, sorted(shapes)[:2]))}: resize them"
            )
        x = torch.stack(inputs)
        y = torch.stack([_tensor(pair[1], "a target of the dataset") for pair in pairs])
        return Rows(_inputs(x, int(index[0])), _targets(y, int(index[0])), index.clone())

    def labels(self) -> Tensor:
        """All targets: of the attribute `targets` where the dataset has one, else by reading every item once."""
        if self._labels is None:
            known = getattr(self.dataset, "targets", None)
            if known is not None and len(known) == len(self):
                self._labels = _targets(torch.as_tensor(known), 0)
            else:
                self._labels = torch.cat([self.cut(part).y for part in torch.split(torch.arange(len(self)), 1024)])
        return self._labels


def _examples(x: Any, y: Any, ordered: bool) -> Examples:
    if y is None and not isinstance(x, Tensor | numpy.ndarray):
        if not (hasattr(x, "__getitem__") and hasattr(x, "__len__")):
            raise UsageError(
                f"{type(x).__name__} is neither tensors nor a map-style dataset: give x and y, or one with len() and []"
            )
        if len(x) == 0:
            raise UsageError("the dataset has no items: give one with data")
        if not isinstance(x[0], tuple | list) or len(x[0]) != 2:
            raise UsageError("the items of the dataset are not pairs of input and target: wrap it so that they are")
        return DatasetRows(x, ordered)
    if y is None:
        raise UsageError("x was given without y: give the targets too")
    inputs, targets = _tensor(x, "x"), _tensor(y, "y")
    if len(inputs) != len(targets):
        raise UsageError(f"{len(inputs)} inputs and {len(targets)} targets were given: give as many of each")
    if len(inputs) == 0:
        raise UsageError("the tensors have no rows: give some data")
    return InMemory(_inputs(inputs, 0), _targets(targets, 0), ordered=ordered)


def _tensor(values: Any, name: str) -> Tensor:
    try:
        return torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError):
        raise UsageError(
            f"{name} ({type(values).__name__}) holds no plain numbers of one shape: give numbers, and labels from 0 on"
        ) from None


def _inputs(x: Tensor, first: int) -> Tensor:
    """Inputs as ``uint8`` or ``float32``; NaN is refused, named by its row."""
    if x.dim() < 2:
        raise UsageError(f"the inputs have the shape {tuple(x.shape)}, expected (rows, …): add a dimension")
    if x.dtype == torch.uint8:
        return x
    if x.is_complex():
        raise UsageError("the inputs are complex numbers: give their real and imaginary parts")
    x = x.to(torch.float32)
    finite = torch.isfinite(x.flatten(1)).all(1)
    if not finite.all():
        row = first + int((~finite).nonzero()[0])
        raise UsageError(f"row {row} of the inputs holds NaN or an infinite number: impute or drop it first")
    return x


def _targets(y: Tensor, first: int) -> Tensor:
    if y.dim() == 2 and y.shape[1] == 1:
        y = y.squeeze(1)
    if y.dim() != 1:
        raise UsageError(
            f"the targets have the shape {tuple(y.shape)}, expected one per row (n,): give labels or values"
        )
    if y.is_floating_point():
        y = y.to(torch.float32)
        if not torch.isfinite(y).all():
            row = first + int((~torch.isfinite(y)).nonzero()[0])
            raise UsageError(f"target {row} is NaN or infinite: drop that row first")
        return y
    y = y.to(torch.int64)
    if int(y.min()) < 0:
        raise UsageError(f"a label is {int(y.min())}, expected integers from 0 on: renumber the classes")
    return y


def _classes(labels: Tensor) -> tuple[int, ...]:
    return () if labels.is_floating_point() else tuple(torch.unique(labels).tolist())
