"""What a store asks of its database: the truth, and search over it.

Everything is about versions of records, addressed by `row`; nothing here encodes text, ranks by more than
one measure, or knows what a hit is. A database is safe to use from several threads and processes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from remanence.store.draft import Draft
from remanence.store.record import Link, Removal
from remanence.store.version import StoredVersion
from remanence.store.where import Filter

Rows = NDArray[np.int64]
Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Space:
    """A set of comparable vectors in the database: one encoder's.

    `number` names its tables, `precision` is float32 or float16, `serving` says that reading uses it; another
    space may be filling in the background.
    """

    number: int
    name: str
    dimension: int
    precision: str
    serving: bool


def scope_setting(what: str, path: str) -> str:
    """The name of a setting that is about one scope, and goes when the scope is forgotten."""
    return f"{what} scope:{path}"


class Database(ABC):
    """The contract. Every method may be called from any thread; those that write are transactions of their own
    unless they run inside `transaction()`."""

    dialect: str

    # Life

    @abstractmethod
    def close(self) -> None: ...

    @abstractmethod
    def transaction(self) -> AbstractContextManager[None]:
        """All or nothing; durable when it ends. The one writer at a time holds it; nesting joins the outer one."""

    @abstractmethod
    def setting(self, key: str) -> str | None: ...

    @abstractmethod
    def set_setting(self, key: str, value: str | None) -> None: ...

    # Records

    @abstractmethod
    def insert(self, drafts: Sequence[Draft], recorded_at: int) -> list[int]:
        """Write first versions and queue them for the spaces; their rows, in order. A used id is a `UsageError`."""

    @abstractmethod
    def restore(self, versions: Sequence[StoredVersion]) -> None:
        """Write versions as they once were, under new rows, and queue them for the spaces."""

    @abstractmethod
    def replace(self, old: StoredVersion, new: Draft, at: int, closed_to: int) -> int:
        """Make `new` the current version after `old`, whose validity ends at `closed_to`; the new row."""

    @abstractmethod
    def current(self, ids: Sequence[str]) -> list[StoredVersion]:
        """The current versions of the ids that exist, in the order given."""

    @abstractmethod
    def history(self, record_id: str) -> list[StoredVersion]:
        """All versions, oldest first."""

    @abstractmethod
    def stored(self, rows: Sequence[int] | Rows) -> list[StoredVersion]:
        """The versions at these rows that exist, in the order given."""

    @abstractmethod
    def find(
        self, wanted: Filter, limit: int | None = None, *, newest: bool = False, after: int = 0
    ) -> list[StoredVersion]:
        """The versions that a filter admits, by row, from beyond row `after` (or before it, newest first)."""

    @abstractmethod
    def matching(self, wanted: Filter) -> Rows:
        """The rows that a filter admits, ascending."""

    @abstractmethod
    def admitted(self, rows: Rows, wanted: Filter) -> Rows:
        """Those of the rows that a filter admits, in the order given."""

    @abstractmethod
    def count(self, wanted: Filter) -> int: ...

    @abstractmethod
    def neighbours_in_order(self, rows: Rows, reach: int, wanted: Filter) -> NDArray[np.int64]:
        """For each row the `reach` versions before and after it of the same scope and source: (n, 2·reach), nearest
        first on each side (before 1, before 2, …, after 1, after 2, …), 0 where there is none or the filter bars it."""

    @abstractmethod
    def adjust(
        self, rows: Sequence[int], *, strength: Sequence[float] | None = None, used_at: int | None = None
    ) -> None:
        """Set strengths, or count one more use at an instant, without making versions."""

    @abstractmethod
    def made_from(self, ids: Sequence[str]) -> list[str]:
        """The records that were made from any of these, by `parent` or by a link "made from", and so on down."""

    @abstractmethod
    def delete(self, ids: Sequence[str], fingerprints: Iterable[str] = ()) -> int:
        """Delete records with all versions, vectors, queue entries and links, and note that their bytes have to be
        purged, with the fingerprints of what outer caches hold of them; the number of versions that went."""

    # Scopes

    @abstractmethod
    def scopes(self) -> list[str]:
        """Every scope that ever held a record and was not forgotten, in order."""

    @abstractmethod
    def holds_scope(self, scope: str, *, only: bool = False) -> bool:
        """Whether a record was written under a scope (to none, if empty); with `only`, whether none was elsewhere."""

    @abstractmethod
    def speakers(self, wanted: Filter, limit: int) -> list[str]:
        """At most `limit` of those who speak in the scopes of a filter; none where these are too many to ask."""

    # Links

    @abstractmethod
    def link(self, links: Sequence[Link], at: int) -> None:
        """Write links between existing records; one that exists takes the new weight."""

    @abstractmethod
    def unlink(self, links: Sequence[Link]) -> int: ...

    @abstractmethod
    def links(self, ids: Sequence[str] | None = None) -> list[Link]:
        """The links that begin or end at any of the ids, or all."""

    # Spaces, vectors and the queue

    @abstractmethod
    def spaces(self) -> list[Space]: ...

    @abstractmethod
    def add_space(self, name: str, dimension: int, precision: str, *, serving: bool) -> Space:
        """Make the tables of a new space, and queue every version for it."""

    @abstractmethod
    def serve(self, space: Space) -> None:
        """Let reading use this space, from now on, and drop the others."""

    @abstractmethod
    def queued(self, space: Space, limit: int, wanted: Filter | None = None) -> list[tuple[int, str]]:
        """Rows that still lack a vector, with their texts, oldest first."""

    @abstractmethod
    def queue_length(self, space: Space, wanted: Filter | None = None) -> int: ...

    @abstractmethod
    def put_vectors(self, space: Space, rows: Rows, vectors: Vectors) -> None:
        """Write vectors of versions that still exist and take them from the queue."""

    @abstractmethod
    def vectors(self, space: Space, rows: Rows) -> tuple[Rows, Vectors]:
        """The vectors of those rows that have one, ascending by row."""

    # Search

    @abstractmethod
    def dense(self, space: Space, query: Vectors, k: int, wanted: Filter) -> tuple[Rows, NDArray[np.float32]]:
        """The rows nearest to a unit vector (dimension,) by cosine among those that a filter admits, best first."""

    @abstractmethod
    def words(self, terms: Sequence[str], k: int, wanted: Filter) -> tuple[Rows, NDArray[np.float32]]:
        """The rows that hold any of the terms, best first by the database's own text ranking (BM25), higher better."""

    @abstractmethod
    def frequencies(self, terms: Sequence[str]) -> list[int]:
        """In how many versions each word occurs with any ending (about)."""

    # Care

    @abstractmethod
    def unpurged(self) -> list[str] | None:
        """Fingerprints of what outer caches may still hold of deleted records; None where nothing is left to purge."""

    @abstractmethod
    def purge(self, texts: Sequence[str] = ()) -> tuple[dict[str, Removal], str]:
        """Rewrite what still holds bytes of deleted records; place by place whether that is done, and how it was
        checked. `texts` are some that were deleted, to look for."""

    @abstractmethod
    def purged(self) -> None:
        """Note that nothing of what was deleted is left anywhere."""

    @abstractmethod
    def check(self, repair: bool) -> list[str]:
        """What is wrong, one sentence each, mended where `repair`; empty when all is well."""

    @abstractmethod
    def statistics(self) -> dict[str, Any]:
        """Counts and bytes: records, versions, links, scopes, queued, bytes on disk by part."""

    def optimize(self, progress: Callable[[int, int], None] | None = None) -> bool:
        """Slow upkeep that searching gains from; whether there was any to do."""
        return False

    def export_rows(self) -> Iterator[StoredVersion]:
        """Every version, oldest first, read in blocks."""
        after = 0
        everything = Filter(scope=None, history=True)
        while block := self.find(everything, 1000, after=after):
            yield from block
            after = block[-1].row
