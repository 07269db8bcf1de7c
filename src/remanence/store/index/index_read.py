"""Which places of an index a query looks at."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from remanence.store.index import ivf
from remanence.store.index.codes import TopK, gather, scan
from remanence.store.index.spann import Spann
from remanence.store.index.view import View

GATHER = 8
"""Rows given are picked out one by one where they are at most one in so many; else all are scanned past."""


def approximately(view: View, codes: NDArray[np.int8], best: list[TopK], probes: int, spann: Spann | None) -> None:
    """Of lists where there are any, and of what is in none."""
    begin = 0
    if view.postings is not None:
        begin = view.header.posted
        spann = spann or Spann()
        for code, one in zip(codes, best, strict=True):
            spann.search(view.postings, code, one, below=begin)
        for one in best:
            one.places = view.places(one.places)
        if view.lists is not None and begin < view.header.ordered:  # rows are not in order there: look at each
            gather(view.codes, view.lengths, np.sort(view.places(np.arange(begin, view.header.ordered))), codes, best)
            begin = view.header.ordered
    elif view.lists is not None:
        begin = view.header.clustered
        for code, one in zip(codes, best, strict=True):
            ivf.search(view, view.lists, code, one, probes)
    scan(view.codes, view.lengths, codes, best, begin=begin, end=view.end)


def within(view: View, codes: NDArray[np.int8], best: list[TopK], rows: NDArray[np.int64]) -> None:
    """Of some rows alone, exactly."""
    if len(rows) > 1 and not bool((rows[1:] > rows[:-1]).all()):
        rows = np.unique(rows)
    rows = rows[(rows > 0) & (rows <= view.header.highest)]
    places = view.places(rows)
    if len(places) * GATHER <= view.header.highest:
        gather(view.codes, view.lengths, np.sort(places), codes, best)
        return
    allowed = np.zeros(view.header.capacity, dtype=np.bool_)
    allowed[places] = True
    scan(view.codes, view.lengths, codes, best, end=view.end, allowed=allowed)
