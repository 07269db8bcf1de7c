"""The files of an index: their names and sizes, mapping them, making them durable, deleting those of the past."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from remanence.errors import StateError
from remanence.store.index.header import Header

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
