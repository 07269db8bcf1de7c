"""What a consolidation policy is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from remanence.store.database.base import Rows, Vectors
from remanence.store.version import StoredVersion
from remanence.store.where import Filter

if TYPE_CHECKING:
    from remanence.store.encoding import Progress
    from remanence.store.protocol import Records

_BLOCK = 500


class Policy(ABC):
    """Looks after the records of one scope. Every step is a transaction of its own, so that it may be stopped anywhere
    and run again."""

    @abstractmethod
    def run(self, store: Records, scope: str, progress: Progress | None = None) -> dict[str, int]:
        """Do it; what was done, counted by name."""


def exactly(store: Records, scope: str) -> Filter:
    """The current records of a scope."""
    return Filter(scope=scope, now=store.clock())


def blocks(store: Records, scope: str, progress: Progress | None = None) -> Iterator[list[StoredVersion]]:
    """The current records of one scope itself, not of those below it, in order of writing."""
    wanted = exactly(store, scope)
    total = store.database.count(wanted) if progress else 0
    after = done = 0
    while block := store.database.find(wanted, _BLOCK, after=after):
        after = block[-1].row
        done += len(block)
        own = [stored for stored in block if stored.scope == scope]
        if own:
            yield own
        if progress:
            progress(done, total)


def vectors_of(store: Records, block: list[StoredVersion]) -> tuple[Rows, Vectors]:
    """The rows of a block that have a vector, and those."""
    space = store.encoding.serving
    rows = np.array([stored.row for stored in block], dtype=np.int64)
    if space is None:
        return rows[:0], np.zeros((0, 0), dtype=np.float32)
    return store.database.vectors(space, rows)
