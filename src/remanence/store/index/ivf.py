"""Approximate search by lists, at no cost in bytes: the codes themselves stand cluster after cluster.

A query reads the lists whose centroids are closest to it, each in one piece. Centroids are means of the rows
in their list now: where a row is removed, its list's centroid is made anew of those that stay.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from remanence.store.index import clusters, files
from remanence.store.index.clusters import Progress
from remanence.store.index.codes import TopK, products
from remanence.store.index.header import Header
from remanence.store.index.inverted_lists import InvertedLists
from remanence.store.index.view import View

PER_ROOT = 4
"""Lists for the square root of the rows."""
PROBES = 128
"""Lists that a query reads."""
_BLOCK = 1 << 15


def lists_for(rows: int) -> int:
    """How many lists so many rows get."""
    return max(1, min(rows, round(PER_ROOT * math.sqrt(rows))))


def plan(view: View, seed: int = 0, progress: Progress | None = None) -> tuple[InvertedLists, int]:
    """Where every row up to the highest shall stand, and how many of the places belong to lists.

    Rows without a vector come after the lists, where they are searched exactly if they get one later.
    """
    size = view.end
    lengths = view.lengths[:size].copy()  # what is removed from now on is left out by whoever copies
    there = np.flatnonzero(lengths)
    count = lists_for(len(there))
    told = None if progress is None else lambda part: progress("assigning", part)
    centroids, inverse = clusters.fit(view.codes, lengths, count, seed, among=there, progress=progress)
    cluster = clusters.assign(view.codes[:size], centroids, inverse, progress=told)
    centroids, inverse = clusters.centroids_of(view.codes[:size], lengths, cluster, count)
    cluster = cluster[there]
    order = np.argsort(cluster, kind="stable")
    rows = np.concatenate([view.rows(there[order]), _rest(view.rows(there), size)])
    place = np.empty(size, dtype=np.int32)
    place[rows] = np.arange(size, dtype=np.int32)
    starts = np.searchsorted(cluster[order], np.arange(count + 1)).astype(np.int64)
    return InvertedLists(place, rows.astype(np.int32), starts, inverse, centroids), len(there)


def _rest(rows: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    missing = np.ones(size, dtype=np.bool_)
    missing[rows] = False
    return np.flatnonzero(missing)


def copy(view: View, folder: Path, head: Header, lists: InvertedLists, progress: Progress | None = None) -> None:
    """Write the files of a new generation: the codes of a view as they are now, in the planned order."""
    files.grow(files.codes_path(folder, head.generation), head.capacity * head.dimension)
    files.grow(files.lengths_path(folder, head.generation), head.capacity * 4)
    lists.write(files.order_path(folder, head.generation))
    new = View.opened(folder, head, writable=True)
    end = new.end
    for begin in range(0, end, _BLOCK):
        places = np.arange(begin, min(begin + _BLOCK, end))
        old = view.places(new.rows(places))
        new.codes[begin : begin + len(places)] = view.codes[old]
        new.lengths[begin : begin + len(places)] = view.lengths[old]
        if progress is not None:
            progress("writing", min(1.0, (begin + _BLOCK) / end))
    files.sync(new.codes, files.codes_path(folder, head.generation))
    files.sync(new.lengths, files.lengths_path(folder, head.generation))


def search(view: View, lists: InvertedLists, query: NDArray[np.int8], best: TopK, probes: int = PROBES) -> int:
    """Offer the rows of the closest lists to a query's best; how many rows were read.

    Shapes
    ------
    query (dimension,) int8.
    """
    scores = products(lists.centroids, query[None])[0] * lists.lengths
    scores[lists.lengths == 0] = -np.inf
    probes = min(probes, len(scores))
    chosen = np.sort(np.argpartition(-scores, probes - 1)[:probes])
    begins, ends = lists.starts[chosen], lists.starts[chosen + 1]
    total = int((ends - begins).sum())
    found = np.empty(total, dtype=np.float32)
    places = np.empty(total, dtype=np.int64)
    at = 0
    for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
        if end > begin:
            upto = at + end - begin
            scale = view.lengths[begin:end].copy()  # before the codes, as in `scan`
            part = products(view.codes[begin:end], query[None])[0]
            part *= scale
            part[scale == 0] = -np.inf
            found[at:upto] = part
            places[at:upto] = np.arange(begin, end)
            at = upto
    best.offer(found[:at], places[:at])
    return at


def renew(view: View, lists: InvertedLists, places: NDArray[np.int64]) -> None:
    """Make the centroids of the lists that hold some places anew, of the rows that are there now."""
    touched = np.unique(np.searchsorted(lists.starts, places[places < lists.starts[-1]], side="right") - 1)
    for one in touched.tolist():
        begin, end = int(lists.starts[one]), int(lists.starts[one + 1])
        centroid, inverse = clusters.centroids_of(
            view.codes[begin:end], view.lengths[begin:end], np.zeros(end - begin, dtype=np.int64), 1
        )
        lists.lengths[one] = 0
        lists.centroids[one] = centroid[0]
        lists.lengths[one] = inverse[0]
