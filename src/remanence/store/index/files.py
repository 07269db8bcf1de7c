"""The mapped files of an index, as one reader sees them at one moment.

A view never changes the size of a file and nobody ever shortens one, so a map that is open stays good: a file
that grows is mapped again, one that is replaced has another name.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from remanence.errors import StateError
from remanence.store.index.header import Header
from remanence.store.index.spann import Postings

FIRST = 1024
STEP = 16384
"""Places that a file starts with, and by which a large one grows."""


def capacity_for(highest: int) -> int:
    """Places to have for rows up to the highest: doubling while small, then step by step."""
    needed = highest + 1
    if needed <= STEP:
        return max(FIRST, 1 << (needed - 1).bit_length())
    return -(-needed // STEP) * STEP


def codes_path(folder: Path, generation: int) -> Path:
    return folder / f"codes.{generation}"


def lengths_path(folder: Path, generation: int) -> Path:
    return folder / f"lengths.{generation}"


def order_path(folder: Path, generation: int) -> Path:
    return folder / f"order.{generation}"


def spann_path(folder: Path, generation: int) -> Path:
    return folder / f"spann.{generation}"


def mapped(path: Path, kind: Any, shape: tuple[int, ...], *, offset: int = 0, writable: bool = False) -> NDArray[Any]:
    """The first bytes of a file from an offset as an array; the map is let go with the last array over it.

    Raises
    ------
    StateError
        If the file is shorter than that.
    """
    count = int(np.prod(shape))
    needed = offset + count * np.dtype(kind).itemsize
    if not needed:
        return np.empty(shape, dtype=kind)
    with open(path, "r+b" if writable else "rb") as file:
        if os.fstat(file.fileno()).st_size < needed:
            raise StateError(f"{path.name} is shorter than the header says: rebuild the index")
        access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
        held = mmap.mmap(file.fileno(), needed, access=access)
    return np.frombuffer(held, dtype=kind, count=count, offset=offset).reshape(shape)


def grow(path: Path, size: int) -> None:
    """Make a file at least so long, of zeros, with its blocks really taken.

    A hole would be filled while a map is written to, where a full disk kills the process instead of raising.
    """
    with open(path, "ab"):
        pass
    with open(path, "r+b") as file:
        held = os.fstat(file.fileno()).st_size
        if held >= size:
            return
        if not _allocated(file.fileno(), held, size):
            file.seek(held)
            while held < size:
                held += file.write(bytes(min(size - held, 1 << 20)))
            file.flush()
        os.fsync(file.fileno())


def _allocated(handle: int, held: int, size: int) -> bool:
    """Whether the file system could take the blocks without writing them."""
    if not hasattr(os, "posix_fallocate"):
        return False
    try:
        os.posix_fallocate(handle, held, size - held)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            return False
        raise
    return True


def flush(path: Path) -> None:
    """Make what was written to a file, through whichever map, durable."""
    with open(path, "r+b") as file:
        os.fsync(file.fileno())


def sync(array: NDArray[Any], path: Path) -> None:
    """Make what was written to a mapped array durable."""
    base: Any = array
    while base is not None and not isinstance(base, mmap.mmap):
        base = base.obj if isinstance(base, memoryview) else base.base
    if base is not None:
        base.flush()
    if os.name == "nt":
        flush(path)


@dataclass(frozen=True)
class InvertedLists:
    """How clustered places are found.

    Shapes
    ------
    place (ordered,) int32 by row; row (ordered,) int32 by place; starts (lists + 1,) int64, list i being the
    places from starts[i] to starts[i + 1]; centroids (lists, dimension) int8; lengths (lists,) float32, the
    inverse lengths of the centroids, 0 for a list without rows.
    """

    place: NDArray[np.int32]
    row: NDArray[np.int32]
    starts: NDArray[np.int64]
    lengths: NDArray[np.float32]
    centroids: NDArray[np.int8]

    @staticmethod
    def layout(header: Header) -> list[tuple[Any, tuple[int, ...]]]:
        """Kind and shape of each of the arrays, as they follow one another in the file."""
        return [
            (np.int64, (header.lists + 1,)),
            (np.int32, (header.ordered,)),
            (np.int32, (header.ordered,)),
            (np.float32, (header.lists,)),
            (np.int8, (header.lists, header.dimension)),
        ]

    @classmethod
    def opened(cls, folder: Path, header: Header, *, writable: bool = False) -> InvertedLists:
        arrays, offset = [], 0
        for kind, shape in cls.layout(header):
            arrays.append(mapped(order_path(folder, header.generation), kind, shape, offset=offset, writable=writable))
            offset += arrays[-1].nbytes
        starts, place, row, lengths, centroids = arrays
        return cls(place, row, starts, lengths, centroids)

    def write(self, path: Path) -> None:
        with open(path, "wb") as file:
            for array in (self.starts, self.place, self.row, self.lengths, self.centroids):
                file.write(np.ascontiguousarray(array).tobytes())
            file.flush()
            os.fsync(file.fileno())


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


def unused_generation(folder: Path) -> int:
    """One more than any in the names of files."""
    suffixes = [path.name.rpartition(".")[2] for path in folder.iterdir()]
    return max((int(suffix) for suffix in suffixes if suffix.isdigit()), default=0) + 1


def remove_others(folder: Path, header: Header | None, *, overwrite: bool = False) -> list[Path]:
    """Delete the files that a header does not name and temporary ones; those that could not be deleted.

    A system that does not delete a file which another process has mapped leaves it for the next time,
    overwritten with zeros if that is asked for (whoever is reading it just then finds less).
    """
    keep = set()
    if header is not None:
        keep = {path(folder, header.generation).name for path in (codes_path, lengths_path, order_path)}
        keep.add(spann_path(folder, header.spann).name)
    left = []
    for path in list(folder.iterdir()):
        stem, dot, _ = path.name.partition(".")
        if path.name in keep or not dot or stem not in ("codes", "lengths", "order", "spann", "header"):
            continue
        try:
            path.unlink()
        except FileNotFoundError:
            continue
        except OSError:
            if overwrite:
                _overwrite(path)
            left.append(path)
    return left


def _overwrite(path: Path) -> None:
    with contextlib.suppress(OSError), open(path, "r+b") as file:
        left = os.fstat(file.fileno()).st_size
        while left > 0:
            left -= file.write(bytes(min(left, 1 << 20)))
        file.flush()
        os.fsync(file.fileno())
