"""A file of a table read chunk by chunk: bounds are found in one pass, then any chunk is read again on its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from remanence.errors import UsageError, nearest


class Piece(NamedTuple):
    """Where a chunk lies: a byte range and first line of a CSV file, or a row group and a place within it."""

    start: int
    stop: int
    first: int = 0


class Reader(ABC):
    """One file, as chunks of at most `rows` records, each an arrow table.

    Parameters
    ----------
    path:
        The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = 8192
        self.types: dict[str, Any] = {}
        self.pieces: list[Piece] = []
        self._stamp = self._stat()

    names: Sequence[str] = ()

    @abstractmethod
    def sample(self, rows: int) -> Any:
        """The first records, with types as they look."""

    @abstractmethod
    def scan(self, columns: Sequence[str]) -> Iterator[Any]:
        """All chunks in order, noting in `pieces` where each lies."""

    @abstractmethod
    def read(self, number: int, columns: Sequence[str]) -> Any:
        """One chunk again, after `scan`."""

    def typed(self, types: dict[str, Any]) -> None:
        """Settle the types in which columns are read from now on."""
        self.types = types

    def _stat(self) -> tuple[int, int]:
        found = self.path.stat()
        return found.st_size, found.st_mtime_ns

    def _unchanged(self) -> None:
        if self._stat() != self._stamp:
            raise UsageError(f"{self.path} was changed while it was read: open the stream again")

    def require(self, column: str, role: str) -> None:
        """Raise a `UsageError` with the nearest names if there is no such column."""
        if column not in self.names:
            raise UsageError(f"{self.path.name} has no column {column!r} ({role}): {nearest(column, self.names)}")


def first_line(error: object) -> str:
    """The first line of an error's text, short enough to stand in a sentence."""
    return str(error).split("\n")[0].rstrip(".")[:120]
