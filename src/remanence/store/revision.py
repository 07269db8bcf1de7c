"""A new version of a record: what changes, and when the old one was true."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from remanence.errors import Conflict, UsageError, nearest
from remanence.store.draft import GIVEN, draft, identity
from remanence.store.record import Record
from remanence.store.times import NEVER, Instant, instant, moment
from remanence.store.version import StoredVersion

if TYPE_CHECKING:
    from remanence.store.protocol import Records


def current(store: Records, record_id: str) -> StoredVersion:
    """The current version of a record; a `UsageError` if there is none of that id."""
    found = store.database.current([identity(record_id)])
    if not found:
        raise UsageError(f"there is no record {record_id}: it was never written, or it was forgotten")
    return found[0]


def revise(
    store: Records,
    record_id: str,
    changes: Mapping[str, Any],
    expected_version: int | None,
    valid_from: Instant | None,
    correction: bool,
) -> Record:
    """Write a new version with these fields changed; see `remanence.store.Store.revise`."""
    for name in changes:
        if name not in GIVEN or name == "id":
            raise UsageError(
                f"a record has no field {name!r} that can be revised: {nearest(name, set(GIVEN) - {'id'})}"
            )
    if not changes and valid_from is None:
        raise UsageError("nothing to revise was given: give a text or a field")
    with store.database.transaction():
        old = current(store, record_id)
        if expected_version is not None and old.version != expected_version:
            raise Conflict(
                f"record {old.id} is at version {old.version}, the change was made from version {expected_version}: "
                "read it again and decide anew"
            )
        at = store.clock()
        since = instant(valid_from, "valid_from")
        if correction:
            starts = old.valid_from if since is None else since
            closes = NEVER if old.valid_from is None else old.valid_from
        else:
            starts = closes = at if since is None else since
        known = old.record()
        given = {name: getattr(known, name) for name in GIVEN if name not in ("valid_from", "valid_to")}
        given |= {"valid_to": known.valid_to if correction else None, "valid_from": moment(starts)}
        row = store.database.replace(old, draft({**given, **changes}), at, closes)
        return store.database.stored([row])[0].record()
