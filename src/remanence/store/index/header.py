"""The header of an index: which files hold it, how far they go, and that they are whole.

Two copies stand in one small file. A change is written over the older copy and flushed after everything it
speaks of, so that a process that dies leaves the newer copy as it was; each copy carries a checksum.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from remanence.errors import StateError

MAGIC = b"RMNINDX1"
_FIELDS = struct.Struct("<8s32sIIQQQQQQQQQQQ")
_SUM = struct.Struct("<I")
_COPY = 512
"""Bytes from one copy to the other: no sector holds both."""


@dataclass(frozen=True)
class Header:
    """What the files hold.

    Parameters
    ----------
    key:
        SHA-256 of the store and encoder they belong to.
    dimension:
        Entries of a vector.
    generation:
        In the names of the files; a rebuilt index has the next one.
    sequence:
        Grows with every change of the header.
    capacity:
        Places in the files, from 0; place 0 is never used by a row.
    highest:
        The highest row there ever was.
    applied:
        How far the change log of the database is in the files.
    ordered:
        Rows below this one stand in another order than by row: cluster after cluster; 0 if none do.
    clustered:
        Places that belong to a cluster; the ones after them are searched exactly.
    lists:
        Clusters.
    spann:
        Generation of the file of posting lists; 0 if there is none.
    posted:
        Rows below this one are in posting lists.
    postings, entries:
        Posting lists, and entries in them.
    """

    key: bytes
    dimension: int
    generation: int = 0
    sequence: int = 0
    capacity: int = 0
    highest: int = 0
    applied: int = 0
    ordered: int = 0
    clustered: int = 0
    lists: int = 0
    spann: int = 0
    posted: int = 0
    postings: int = 0
    entries: int = 0

    def packed(self) -> bytes:
        """As bytes, with a checksum."""
        body = _FIELDS.pack(
            MAGIC,
            self.key,
            self.dimension,
            self.lists,
            self.generation,
            self.sequence,
            self.capacity,
            self.highest,
            self.applied,
            self.ordered,
            self.clustered,
            self.spann,
            self.posted,
            self.postings,
            self.entries,
        )
        return body + _SUM.pack(zlib.crc32(body))


def digest(key: str) -> bytes:
    """The key as it stands in the header: neither a path nor a name leaks through it."""
    return hashlib.sha256(key.encode()).digest()


def read(path: Path) -> Header | None:
    """The newer of the two copies that is whole; None where there is no file.

    Raises
    ------
    StateError
        If there is a file without a whole copy in it.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    copies = [header for at in (0, _COPY) if (header := _unpacked(raw[at : at + _COPY])) is not None]
    if not copies:
        raise StateError(f"{path.name} is not the header of an index, or is torn: rebuild the index")
    return max(copies, key=lambda header: header.sequence)


def write(path: Path, header: Header) -> Header:
    """Write over the older copy, durably; what was written, with its sequence."""
    with contextlib.suppress(StateError):
        before = read(path)
        if before is not None:
            header = replace(header, sequence=before.sequence + 1)
            with open(path, "r+b") as file:
                file.seek(_COPY * (header.sequence % 2))
                file.write(header.packed())
                file.flush()
                os.fsync(file.fileno())
            return header
    header = replace(header, sequence=1)
    with fresh(path) as file_path:
        file_path.write_bytes(bytes(_COPY) + header.packed().ljust(_COPY, b"\0"))
    return header


@contextlib.contextmanager
def fresh(path: Path) -> Iterator[Path]:
    """A temporary path whose file takes the place of `path` at the end, durably."""
    temporary = path.with_name(path.name + ".new")
    yield temporary
    with open(temporary, "r+b") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)
    flush_folder(path.parent)


def flush_folder(folder: Path) -> None:
    """Make names in a folder durable, where the system knows such a thing."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _unpacked(raw: bytes) -> Header | None:
    if len(raw) < _FIELDS.size + _SUM.size:
        return None
    body, (found,) = raw[: _FIELDS.size], _SUM.unpack_from(raw, _FIELDS.size)
    if zlib.crc32(body) != found:
        return None
    magic, key, dimension, lists, generation, sequence, *rest = _FIELDS.unpack(body)
    if magic != MAGIC:
        return None
    capacity, highest, applied, ordered, clustered, spann, posted, postings, entries = rest
    return Header(
        key,
        dimension,
        generation,
        sequence,
        capacity,
        highest,
        applied,
        ordered,
        clustered,
        lists,
        spann,
        posted,
        postings,
        entries,
    )
