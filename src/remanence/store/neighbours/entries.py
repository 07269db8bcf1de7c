"""What learners that answer by neighbours share: labelled vectors, found exactly by their cosine."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from remanence.errors import UsageError
from remanence.randomness import derive
from remanence.request import Request

PRODUCTS = 4_000_000
"""Cosines computed at once, so that a search of any size holds a bounded matrix (16 MB)."""

SAME = 1e-5
"""Up to this largest difference of a value, the vector of a row given again is the vector of the row."""


class Entries(nn.Module):
    """Labelled vectors of length one, in the order in which they came.

    With a limit, the entries kept are those of the least key, where the key of an entry is a hash of its
    id and the seed: a uniform sample of all that came, whatever the order. The places of the tensors are
    made as they are needed, a quarter ahead.

    Parameters
    ----------
    width:
        Length of a vector.
    limit:
        At most so many entries, 0 for no bound.
    seed:
        Seeds the keys.
    marks:
        Whether each entry has a number of its own beside it (int32), for what a learner notes about it.

    Example
    -------
    >>> entries = Entries(2)
    >>> entries.add(torch.tensor([[3.0, 4.0], [0.0, 1.0]]), torch.tensor([5, 7]), torch.tensor([0, 1]))
    >>> entries.nearest(torch.tensor([[0.0, 2.0]]), 2)[1].tolist()
    [[1, 0]]
    """

    kind = "indexes"

    def __init__(self, width: int, limit: int = 0, *, seed: int = 0, marks: bool = False) -> None:
        super().__init__()
        self.limit, self.count = limit, 0
        self._salt = derive(seed, "entries")
        self._names = ["_vectors", "_labels", "_ids", *(["_marks"] if marks else [])]
        self.register_buffer("_vectors", torch.zeros(0, width))
        self.register_buffer("_labels", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("_ids", torch.zeros(0, dtype=torch.int64))
        self._ids: Tensor
        if marks:
            self.register_buffer("_marks", torch.zeros(0, dtype=torch.int32))

    @staticmethod
    def bytes_each(width: int, *, marks: bool = False) -> int:
        """Bytes of one entry."""
        return 4 * width + 16 + (4 if marks else 0)

    def __len__(self) -> int:
        return self.count

    @property
    def vectors(self) -> Tensor:
        """(entries, width) float32, each of length one."""
        return self._held("_vectors")

    @property
    def labels(self) -> Tensor:
        """(entries,) int64."""
        return self._held("_labels")

    @property
    def ids(self) -> Tensor:
        """(entries,) int64."""
        return self._held("_ids")

    @property
    def marks(self) -> Tensor:
        """(entries,) int32, where they were asked for."""
        return self._held("_marks")

    def add(self, vectors: Tensor, labels: Tensor, ids: Tensor, mark: int = 0) -> None:
        """Insert entries; over the limit, those of the largest keys are given up."""
        if not bool(torch.isfinite(vectors).all()):
            raise UsageError("a feature to remember is not a finite number: clean the inputs, or mend the encoder")
        columns = {"_vectors": unit(vectors), "_labels": labels, "_ids": ids}
        if "_marks" in self._names:
            columns["_marks"] = torch.full((len(labels),), mark, dtype=torch.int32)
        if self.limit and self.count + len(labels) > self.limit:
            kept = torch.argsort(self._keys(torch.cat([self.ids, ids.to(self.ids)])), stable=True)[: self.limit]
            new = kept[kept >= self.count].sort().values - self.count
            if not len(new):
                return
            self.keep(kept[kept < self.count].sort().values)
            columns = {name: values.to(new.device)[new] for name, values in columns.items()}
        first, self.count = self.count, self.count + len(columns["_ids"])
        self._reserve()
        for name, values in columns.items():
            self._held(name)[first:] = values.to(self._held(name))

    def keep(self, places: Tensor) -> None:
        """Keep the entries at these places, in this order, and drop the others with their bytes."""
        for name in self._names:
            self._buffers[name] = self._held(name)[places]
        self.count = len(places)

    def nearest(self, queries: Tensor, k: int, *, within: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Cosine and place of the `k` nearest entries of each query, nearest first.

        Parameters
        ----------
        queries:
            (n, width), of any length above 0.
        k:
            How many (1 to the number of entries).
        within:
            Places of the entries to search among, all if left out; what comes back are places in it.

        Returns
        -------
        tuple
            Two tensors (n, k): cosines, float32, and places, int64.
        """
        vectors = self.vectors if within is None else self.vectors[within]
        cosines, places = [], []
        asked, step = unit(queries), max(1, PRODUCTS // max(1, len(vectors)))
        for first in range(0, len(asked), step):
            best = torch.topk(asked[first : first + step] @ vectors.T, k, dim=1)
            cosines.append(best.values)
            places.append(best.indices)
        if not cosines:
            return vectors.new_zeros(0, k), torch.zeros(0, k, dtype=torch.int64)
        return torch.cat(cosines), torch.cat(places)

    def others(self, k: int, within: Tensor) -> tuple[Tensor, Tensor]:
        """The same for the entries at the places `within` themselves, each of which does not find itself."""
        vectors = self.vectors[within]
        cosines, places = [], []
        step = max(1, PRODUCTS // max(1, len(vectors)))
        for first in range(0, len(vectors), step):
            products = vectors[first : first + step] @ vectors.T
            rows = torch.arange(len(products))
            products[rows, rows + first] = -torch.inf
            best = torch.topk(products, k, dim=1)
            cosines.append(best.values)
            places.append(best.indices)
        return torch.cat(cosines), torch.cat(places)

    def columns(self, classes: list[int]) -> Tensor:
        """The column of each entry's label (entries,) in a list of classes that has it."""
        known = torch.tensor(classes, device=self.labels.device)
        order = known.argsort()
        return order[torch.searchsorted(known[order], self.labels)]

    def asked_for(self, request: Request, vectors: Tensor | None) -> Tensor:
        """Which entries (entries,) bool a request to forget names; `vectors` are those of its rows."""
        gone = torch.isin(self.ids, torch.tensor(request.ids, dtype=torch.int64, device=self.ids.device))
        if request.label is not None:
            gone |= self.labels == request.label
        if vectors is not None and request.y is not None:
            for vector, label in zip(unit(vectors), request.y.to(self.labels), strict=True):
                gone |= ((self.vectors - vector).abs().amax(1) <= SAME) & (self.labels == label)
        return gone

    def _keys(self, ids: Tensor) -> Tensor:
        """A hash of each id (n,) int64, by the finaliser of splitmix64."""
        mixed = ids ^ self._salt
        for shift, factor in ((30, -0x40A7B892E31B1A47), (27, -0x6B2FB644ECCEEE15)):
            mixed = (mixed ^ ((mixed >> shift) & ((1 << (64 - shift)) - 1))) * factor
        return mixed ^ ((mixed >> 31) & ((1 << 33) - 1))

    def _held(self, name: str) -> Tensor:
        column: Tensor = getattr(self, name)
        return column[: self.count]

    def _reserve(self) -> None:
        room = len(self._ids)
        if self.count <= room:
            return
        more = max(self.count, room + room // 4)
        more = min(more, self.limit) if self.limit else more
        for name in self._names:
            column: Tensor = getattr(self, name)
            wider = column.new_zeros((more, *column.shape[1:]))
            wider[:room] = column
            self._buffers[name] = wider

    def structure(self) -> dict[str, Any]:
        return {"count": self.count}

    def restructure(self, structure: dict[str, Any]) -> None:
        self.count = structure["count"]


def unit(vectors: Tensor) -> Tensor:
    """Vectors scaled to length one, float32; zeros stay zeros."""
    return nn.functional.normalize(vectors.float(), dim=1)


def tally(weights: Tensor, columns: Tensor, classes: int) -> Tensor:
    """Votes (n, classes): the sum of the weights (n, k) of those neighbours whose column (n, k) it is."""
    return weights.new_zeros(len(weights), classes).scatter_add_(1, columns, weights)
