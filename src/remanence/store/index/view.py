"""The mapped files of an index, as one reader sees them at one moment.

A view never changes the size of a file and nobody ever shortens one, so a map that is open stays good: a file
that grows is mapped again, one that is replaced has another name.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from remanence.store.index.files import codes_path, lengths_path, mapped
from remanence.store.index.header import Header
from remanence.store.index.inverted_lists import InvertedLists
from remanence.store.index.postings import Postings, opened_postings


@dataclass(frozen=True)
class View:
    """The files at one moment.

    Shapes
    ------
    codes (capacity, dimension) int8, lengths (capacity,) float32: inverse lengths of the codes, 0 where a
    place is empty.
    """

    header: Header
    codes: NDArray[np.int8]
    lengths: NDArray[np.float32]
    lists: InvertedLists | None
    postings: Postings | None

    @classmethod
    def opened(cls, folder: Path, header: Header, *, writable: bool = False) -> View:
        """Map the files that a header names.

        Raises
        ------
        StateError, FileNotFoundError
            If one is too short, or not there.
        """
        shape = (header.capacity, header.dimension)
        codes = mapped(codes_path(folder, header.generation), np.int8, shape, writable=writable)
        lengths = mapped(lengths_path(folder, header.generation), np.float32, shape[:1], writable=writable)
        lists = InvertedLists.opened(folder, header, writable=writable) if header.ordered else None
        postings = opened_postings(folder, header, writable=writable) if header.spann else None
        return cls(header, codes, lengths, lists, postings)

    @property
    def end(self) -> int:
        """The first place after which nothing ever stood."""
        return max(self.header.highest + 1, self.header.ordered)

    def there(self) -> NDArray[np.int64]:
        """The places where a row stands."""
        return np.flatnonzero(self.lengths[: self.end])

    def places(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where rows stand, all of them below the capacity."""
        if self.lists is None:
            return rows
        low = rows < self.header.ordered
        found = rows.copy()
        found[low] = self.lists.place[rows[low]]
        return found

    def rows(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which rows stand at places."""
        if self.lists is None:
            return places
        low = places < self.header.ordered
        found = places.copy()
        found[low] = self.lists.row[places[low]]
        return found
