"""Many records in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from remanence.errors import UsageError
from remanence.store.draft import Draft, draft
from remanence.store.record import Record

if TYPE_CHECKING:
    from remanence.store.database.base import Database
    from remanence.store.encoding import Progress

_BULK = 5000


def write_many(
    database: Database,
    records: Iterable[Mapping[str, Any] | Record | str],
    fresh: Callable[[], str],
    at: int,
    progress: Progress | None,
) -> list[str]:
    """Write all or none; their ids in order. See `remanence.store.Store.write_many`."""
    if isinstance(records, str | bytes | Mapping | Record) or not isinstance(records, Iterable):
        raise UsageError(f"a {type(records).__name__} was given to write_many, expected several: give a list")
    total = len(records) if isinstance(records, Sequence) else 0
    ids: list[str] = []
    with database.transaction():
        block: list[Draft] = []
        for given in records:
            block.append(draft(given, fresh))
            ids.append(block[-1].id)
            if len(block) == _BULK:
                database.insert(block, at)
                block = []
                if progress:
                    progress(len(ids), total)
        if block:
            database.insert(block, at)
    if progress:
        progress(len(ids), total or len(ids))
    return ids
