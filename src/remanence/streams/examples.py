"""Rows and the containers of them that experiences are cut from: in memory, chosen, transformed, one after another."""

from __future__ import annotations

import bisect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from remanence.errors import UsageError


class Rows(NamedTuple):
    """Some examples in memory: `x` (n, …) raw, `y` (n,) labels or values, `ids` (n,) stable row numbers.

    `x` is raw: images are ``uint8``, everything else ``float32``. `y` is ``int64`` for classification
    and ``float32`` for regression.
    """

    x: Tensor
    y: Tensor
    ids: Tensor


def in_order(pieces: Sequence[Rows], places: Sequence[Tensor]) -> Rows:
    """Rows that were cut piece by piece as one, each at the place where it was asked for.

    >>> one, two = (Rows(torch.zeros(1), torch.zeros(1), torch.tensor([k])) for k in (7, 8))
    >>> in_order([one, two], [torch.tensor([1]), torch.tensor([0])]).ids
    tensor([8, 7])
    """
    back = torch.argsort(torch.cat(list(places)))
    return Rows(*(torch.cat(column)[back] for column in zip(*pieces, strict=True)))


class Examples(ABC):
    """Training examples that are cut by position, in memory or not.

    `ordered` examples come in the order of time and must be read front to back (a trainer never
    shuffles them); `again` says whether they may be read a second time.
    """

    ordered: bool = False
    again: bool = True

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def cut(self, index: Tensor) -> Rows:
        """The rows at the positions `index` (n,) int64."""

    def learn(self, index: Tensor) -> Rows:
        """The same as `cut`, for rows that are learned now: whoever evaluates may ask about them first."""
        return self.cut(index)

    def span(self, start: int, stop: int) -> Rows:
        """The rows from `start` up to `stop`."""
        return self.cut(torch.arange(start, min(stop, len(self))))

    def chunks(self, size: int = 1024) -> Iterator[Rows]:
        """All rows front to back, `size` at a time."""
        for start in range(0, len(self), size):
            yield self.span(start, start + size)

    def labels(self) -> Tensor:
        """All targets (n,); kinds of examples that know them without touching their inputs say so."""
        return torch.cat([rows.y for rows in self.chunks(8192)])


class InMemory(Examples):
    """Examples held as tensors."""

    def __init__(self, x: Tensor, y: Tensor, ids: Tensor | None = None, *, ordered: bool = False) -> None:
        self.x, self.y = x, y
        self.ids = torch.arange(len(y)) if ids is None else ids
        self.ordered = ordered
        if not len(x) == len(y) == len(self.ids):
            raise UsageError(
                f"{len(x)} inputs, {len(y)} targets and {len(self.ids)} ids were given, expected as many of each"
            )

    def __len__(self) -> int:
        return len(self.y)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.x.shape[1:])

    def cut(self, index: Tensor) -> Rows:
        return Rows(self.x.index_select(0, index), self.y.index_select(0, index), self.ids.index_select(0, index))

    def span(self, start: int, stop: int) -> Rows:
        return Rows(self.x[start:stop], self.y[start:stop], self.ids[start:stop])

    def labels(self) -> Tensor:
        return self.y


class Subset(Examples):
    """A selection of other examples, in the order given, sharing their memory."""

    def __init__(self, base: Examples, index: Tensor, *, ordered: bool | None = None) -> None:
        self.base, self.index = base, index
        self.ordered = base.ordered if ordered is None else ordered
        self.again = base.again
        self.shape: tuple[int, ...] | None = getattr(base, "shape", None)

    def __len__(self) -> int:
        return len(self.index)

    def cut(self, index: Tensor) -> Rows:
        return self.base.cut(self.index.index_select(0, index))

    def labels(self) -> Tensor:
        return self.base.labels().index_select(0, self.index)


class Transformed(Examples):
    """Examples whose inputs pass through a function when they are cut (permuted, rotated)."""

    def __init__(self, base: Examples, function: Callable[[Tensor], Tensor]) -> None:
        self.base, self.function = base, function
        self.ordered, self.again = base.ordered, base.again

    def __len__(self) -> int:
        return len(self.base)

    def cut(self, index: Tensor) -> Rows:
        rows = self.base.cut(index)
        return rows._replace(x=self.function(rows.x))

    def span(self, start: int, stop: int) -> Rows:
        rows = self.base.span(start, stop)
        return rows._replace(x=self.function(rows.x))

    def labels(self) -> Tensor:
        return self.base.labels()


class Relabelled(Examples):
    """Examples with other targets than their own, sharing their inputs."""

    def __init__(self, base: Examples, y: Tensor) -> None:
        self.base, self.y = base, y
        self.ordered, self.again = base.ordered, base.again

    def __len__(self) -> int:
        return len(self.y)

    def cut(self, index: Tensor) -> Rows:
        return self.base.cut(index)._replace(y=self.y.index_select(0, index))

    def labels(self) -> Tensor:
        return self.y


class Unlabelled(Examples):
    """Examples whose targets are kept from whoever learns them: -1, or NaN for values."""

    def __init__(self, base: Examples) -> None:
        self.base = base
        self.ordered, self.again = base.ordered, base.again
        self.shape: tuple[int, ...] | None = getattr(base, "shape", None)

    def __len__(self) -> int:
        return len(self.base)

    def cut(self, index: Tensor) -> Rows:
        return self._hidden(self.base.cut(index))

    def span(self, start: int, stop: int) -> Rows:
        return self._hidden(self.base.span(start, stop))

    @staticmethod
    def _hidden(rows: Rows) -> Rows:
        return rows._replace(y=torch.full_like(rows.y, torch.nan if rows.y.is_floating_point() else -1))


class Concatenated(Examples):
    """Several examples one after another: what a learner sees where boundaries are hidden."""

    def __init__(self, parts: Sequence[Examples], *, ordered: bool = True) -> None:
        self.parts = list(parts)
        self.ordered = ordered
        self.again = all(part.again for part in parts)
        self.starts = [0]
        for part in self.parts:
            self.starts.append(self.starts[-1] + len(part))

    def __len__(self) -> int:
        return self.starts[-1]

    def cut(self, index: Tensor) -> Rows:
        if not len(index):
            return self.parts[0].cut(index)
        owner = torch.bucketize(index, torch.tensor(self.starts[1:]), right=True)
        first, last = int(owner.min()), int(owner.max())
        if first == last:
            return self.parts[first].cut(index - self.starts[first])
        pieces, places = [], []
        for part in range(first, last + 1):
            place = (owner == part).nonzero().squeeze(1)
            if len(place):
                pieces.append(self.parts[part].cut(index[place] - self.starts[part]))
                places.append(place)
        return in_order(pieces, places)

    def span(self, start: int, stop: int) -> Rows:
        stop = min(stop, len(self))
        part = bisect.bisect_right(self.starts, start) - 1
        if part < len(self.parts) and stop <= self.starts[part + 1]:
            return self.parts[part].span(start - self.starts[part], stop - self.starts[part])
        return self.cut(torch.arange(start, stop))

    def labels(self) -> Tensor:
        return torch.cat([part.labels() for part in self.parts])
