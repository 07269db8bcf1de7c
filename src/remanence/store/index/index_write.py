"""What a writer does to the files of an index, under the lock, before it writes the header."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from remanence.store.index import files, ivf
from remanence.store.index.header import Header
from remanence.store.index.view import View


def enlarged(folder: Path, head: Header, highest: int) -> Header:
    """A header with room for rows up to the highest, and the files so long."""
    capacity = max(head.capacity, files.capacity_for(highest))
    if capacity > head.capacity:
        files.grow(files.codes_path(folder, head.generation), capacity * head.dimension)
        files.grow(files.lengths_path(folder, head.generation), capacity * 4)
    return replace(head, capacity=capacity, highest=max(head.highest, highest))


def put(
    folder: Path, view: View, rows: NDArray[np.int64], codes: NDArray[np.int8], lengths: NDArray[np.float32]
) -> Header:
    """Write codes where their rows stand, durably; the header, which has fewer rows in posting lists if need be."""
    places = view.places(rows)
    changed = (view.lengths[places] != lengths) | (view.codes[places] != codes).any(axis=1)
    places, codes, lengths = places[changed], codes[changed], lengths[changed]
    head = view.header
    if view.postings is not None:  # a row that comes late stands in no list: from it on all is searched exactly
        low = rows[rows < head.posted]
        head = replace(head, posted=int(low[~np.isin(low, view.postings.rows)].min(initial=head.posted)))
    if not len(places):
        return head
    view.lengths[places] = 0
    view.codes[places] = codes
    # The codes are on disk before anything says that they count.
    files.sync(view.codes, files.codes_path(folder, head.generation))
    view.lengths[places] = lengths
    files.sync(view.lengths, files.lengths_path(folder, head.generation))
    return head


def remove(folder: Path, view: View, rows: NDArray[np.int64]) -> None:
    """Make zeros of the codes of rows, wherever they are, durably."""
    if not len(rows):
        return
    places, head = view.places(rows), view.header
    view.lengths[places] = 0
    view.codes[places] = 0
    if view.lists is not None:
        ivf.renew(view, view.lists, places)
        _sync_lists(folder, view)
    if view.postings is not None:
        view.postings.remove(rows)
        for array in (view.postings.rows, view.postings.lengths, view.postings.codes):
            files.sync(array, files.spann_path(folder, head.spann))
        for array in (view.postings.inverse, view.postings.centroids):
            files.sync(array, files.spann_path(folder, head.spann))
    files.sync(view.lengths, files.lengths_path(folder, head.generation))
    files.sync(view.codes, files.codes_path(folder, head.generation))


def renew(folder: Path, head: Header) -> None:
    """Make the centroids of lists anew from which rows were removed while the lists were planned."""
    view = View.opened(folder, head, writable=True)
    gone = np.flatnonzero(view.lengths[: head.clustered] == 0)
    if len(gone) and view.lists is not None:
        ivf.renew(view, view.lists, gone)
        _sync_lists(folder, view)


def _sync_lists(folder: Path, view: View) -> None:
    if view.lists is not None:
        for array in (view.lists.centroids, view.lists.lengths):
            files.sync(array, files.order_path(folder, view.header.generation))
