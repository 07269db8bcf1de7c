"""SPANN's posting lists: codes as often as they have lists, in one mapped file, and the lists' centroids."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from remanence.store.index.clusters import centroids_of
from remanence.store.index.files import mapped, spann_path
from remanence.store.index.header import Header


@dataclass(frozen=True)
class Postings:
    """Lists of codes, and their centroids.

    Shapes
    ------
    centroids (lists, dimension) int8, inverse (lists,) float32 their inverse lengths, 0 for a list without
    rows; starts (lists + 1,) int64; homes (lists,) int32, how many of a list's first entries have it as their
    closest; rows (entries,) int64, 0 where a row was removed; lengths (entries,) float32; codes (entries,
    dimension) int8.
    """

    centroids: NDArray[np.int8]
    inverse: NDArray[np.float32]
    starts: NDArray[np.int64]
    homes: NDArray[np.int32]
    rows: NDArray[np.int64]
    lengths: NDArray[np.float32]
    codes: NDArray[np.int8]

    def remove(self, rows: NDArray[np.int64]) -> None:
        """Make zeros of all entries of some rows, and the centroids of their lists anew, in place."""
        entries = np.flatnonzero(np.isin(self.rows, rows))
        self.lengths[entries] = 0
        self.rows[entries] = 0
        self.codes[entries] = 0
        for one in np.unique(np.searchsorted(self.starts, entries, side="right") - 1).tolist():
            begin, count = int(self.starts[one]), int(self.homes[one])
            if not (entries < begin + count)[entries >= begin].any():
                continue
            home = slice(begin, begin + count)
            centroid, inverse = centroids_of(self.codes[home], self.lengths[home], np.zeros(count, dtype=np.int64), 1)
            self.inverse[one] = 0
            self.centroids[one] = centroid[0]
            self.inverse[one] = inverse[0]


def posting_layout(header: Header) -> list[tuple[Any, tuple[int, ...]]]:
    """Kind and shape of each array of the posting lists, as they follow one another in the file."""
    lists, entries = header.postings, header.entries
    return [
        (np.int64, (lists + 1,)),
        (np.int64, (entries,)),
        (np.int32, (lists,)),
        (np.float32, (lists,)),
        (np.float32, (entries,)),
        (np.int8, (lists, header.dimension)),
        (np.int8, (entries, header.dimension)),
    ]


def opened_postings(folder: Path, header: Header, *, writable: bool = False) -> Postings:
    """Map the posting lists; their centroids are read into memory unless they are to be written."""
    arrays, offset = [], 0
    path = spann_path(folder, header.spann)
    for kind, shape in posting_layout(header):
        arrays.append(mapped(path, kind, shape, offset=offset, writable=writable))
        offset += arrays[-1].nbytes
    starts, rows, homes, inverse, lengths, centroids, codes = arrays
    if not writable:
        centroids, inverse, starts = centroids.copy(), inverse.copy(), starts.copy()
    return Postings(centroids, inverse, starts, homes, rows, lengths, codes)


def write_postings(path: Path, postings: Postings) -> None:
    with open(path, "wb") as file:
        for array in (
            postings.starts,
            postings.rows,
            postings.homes,
            postings.inverse,
            postings.lengths,
            postings.centroids,
            postings.codes,
        ):
            file.write(np.ascontiguousarray(array).data)
        file.flush()
        os.fsync(file.fileno())
