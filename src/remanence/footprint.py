"""What a memory costs: bytes by kind, measured on the tensors and files themselves."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from remanence.errors import UsageError

if TYPE_CHECKING:
    import torch

KINDS = (
    "parameters",
    "statistics",
    "rehearsal",
    "importances",
    "snapshots",
    "optimizer",
    "indexes",
    "activations",
    "files",
    "counters",
)
"""Every byte belongs to one of these kinds; `statistics` are running or sufficient statistics."""

_UNITS = {"": 1, "b": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3}
_UNITS |= {"kib": 1024, "mib": 1024**2, "gib": 1024**3}


@dataclass(frozen=True)
class Footprint:
    """Bytes by kind.

    Parameters
    ----------
    bytes:
        Number of bytes (0 or more) for each kind in `KINDS`; absent kinds cost nothing.

    Example
    -------
    >>> Footprint({"parameters": 400, "rehearsal": 100}).total
    500
    """

    bytes: Mapping[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(self.bytes.values())

    def __add__(self, other: Footprint) -> Footprint:
        kinds = [kind for kind in KINDS if kind in self.bytes or kind in other.bytes]
        return Footprint({k: self.bytes.get(k, 0) + other.bytes.get(k, 0) for k in kinds})

    def as_dict(self) -> dict[str, int]:
        """Bytes by kind in the order of `KINDS`, and `total`."""
        parts = {kind: self.bytes[kind] for kind in KINDS if self.bytes.get(kind)}
        return {**parts, "total": self.total}


def measure(tensors: Iterable[tuple[str, torch.Tensor]], files: Iterable[str | os.PathLike[str]] = ()) -> Footprint:
    """Count the storage behind (kind, tensor) pairs once, however many views share it.

    A view that shows a part of a larger storage costs the whole storage, since that is what is held.
    A storage seen under two kinds is counted under the first.
    """
    seen: set[tuple[str, int]] = set()
    held: dict[str, int] = {}
    for kind, tensor in tensors:
        if kind not in KINDS:
            raise UsageError(f"a tensor has the kind {kind!r}, expected one of {', '.join(KINDS)}")
        storage = tensor.untyped_storage()
        key = (str(tensor.device), storage.data_ptr())
        if storage.nbytes() == 0 or key in seen:
            continue
        seen.add(key)
        held[kind] = held.get(kind, 0) + storage.nbytes()
    size = sum(os.path.getsize(path) for path in files)
    if size:
        held["files"] = held.get("files", 0) + size
    return Footprint({kind: held[kind] for kind in KINDS if kind in held})


def parse_bytes(text: str | int) -> int:
    """Read a number of bytes such as ``200KB``, ``1.5 MiB`` or ``4096``.

    KB, MB and GB are powers of 1000; KiB, MiB and GiB of 1024.

    >>> parse_bytes("200KB"), parse_bytes("1 KiB"), parse_bytes(7)
    (200000, 1024, 7)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", str(text))
    if match is None or match[2].lower() not in _UNITS:
        raise UsageError(f"the budget {text!r} is not a number of bytes: write it like 200KB, 1.5MB or 4096")
    return int(float(match[1]) * _UNITS[match[2].lower()])


def format_bytes(count: int) -> str:
    """Write a number of bytes for people.

    >>> format_bytes(999), format_bytes(70_400), format_bytes(12_000_000)
    ('999 B', '70.4 KB', '12.0 MB')
    """
    for unit, size in (("GB", 1000**3), ("MB", 1000**2), ("KB", 1000)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"
