"""Looking into a database file that SQLite has open in this process.

POSIX drops all of a process's locks on a file when it closes any descriptor of it. A process whose locks are gone is
invisible to the others: one that closes the store then takes itself for the last, removes the log, and what this
one writes afterwards is lost. So each file has one descriptor, which stays open for as long as a store does.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

_CHUNK = 1 << 22

_guard = threading.Lock()
_kept: dict[tuple[int, int], list[int]] = {}
"""By device and inode: the descriptor, and how many stores rely on it."""


def keep(path: Path) -> tuple[int, int]:
    """Open the one descriptor of a file, before SQLite opens it; what `release` takes."""
    with _guard:
        found = path.stat()
        key = (found.st_dev, found.st_ino)
        if key not in _kept:
            _kept[key] = [os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0)), 0]
        _kept[key][1] += 1
        return key


def release(key: tuple[int, int]) -> None:
    """A store has closed all its connections."""
    with _guard:
        entry = _kept[key]
        entry[1] -= 1
        if not entry[1]:
            os.close(entry[0])
            del _kept[key]


def keeps(path: Path) -> bool:
    """Whether a path is the file of a store that this process has open: nobody else may open and close it."""
    if not path.exists():
        return False
    found = path.stat()
    with _guard:
        return (found.st_dev, found.st_ino) in _kept


def beginning(key: tuple[int, int], length: int) -> bytes:
    """The first bytes of a kept file."""
    with _guard:
        return next(_read(_kept[key][0], length), b"")


def holding(paths: Sequence[Path], pieces: Sequence[bytes]) -> list[bytes]:
    """Which of the byte strings occur in any of the files. The map of the log, which holds no text, is left out."""
    found: list[bytes] = []
    overlap = max((len(piece) for piece in pieces), default=1) - 1
    for path in paths:
        if path.name.endswith("-shm") or not path.exists():
            continue
        tail = b""
        for chunk in _chunks(path):
            window = tail + chunk
            found += [piece for piece in pieces if piece not in found and piece in window]
            tail = window[-overlap:] if overlap else b""
    return found


def _chunks(path: Path) -> Iterator[bytes]:
    at = path.stat()
    with _guard:
        entry = _kept.get((at.st_dev, at.st_ino))
        if entry is not None:
            entry[1] += 1
    if entry is None:
        with open(path, "rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk
        return
    try:
        yield from _read(entry[0], _CHUNK)
    finally:
        release((at.st_dev, at.st_ino))


def _read(descriptor: int, size: int) -> Iterator[bytes]:
    place = 0
    while chunk := _at(descriptor, size, place):
        place += len(chunk)
        yield chunk


if hasattr(os, "pread"):
    _at = os.pread
else:  # Windows, where locks belong to a handle and not to the process

    def _at(descriptor: int, size: int, place: int) -> bytes:
        os.lseek(descriptor, place, os.SEEK_SET)
        return os.read(descriptor, size)


def _after_in_child() -> None:
    global _guard
    _guard = threading.Lock()  # another thread may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_in_child)
