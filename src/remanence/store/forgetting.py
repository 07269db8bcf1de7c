"""Forgetting on purpose: out of every place, down to the bytes, and a receipt that says so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from remanence.errors import UsageError
from remanence.store.draft import identity
from remanence.store.record import Receipt, Removal
from remanence.store.where import Filter, filter_of

if TYPE_CHECKING:
    from remanence.store.protocol import Records


def forget(store: Records, record: str | Iterable[str] | None, where: Any, scope: str | None) -> Receipt:
    """Delete records by id or by filter, and what was made from them."""
    if record is None and where is None and scope is None:
        raise UsageError("nothing was named to forget: give an id, ids, where=… or scope=… (scope='*' for everything)")
    if record is not None:
        if where is not None or scope is not None:
            raise UsageError("both records and where=… or scope=… were given to forget: give the one or the other")
        if isinstance(record, bytes | Mapping) or not isinstance(record, Iterable):
            raise UsageError(f"a {type(record).__name__} was given to forget, expected an id or a list of ids")
        given = [record] if isinstance(record, str) else list(record)
        ids = list(dict.fromkeys(identity(one) for one in given))
        known = {stored.id for stored in store.database.current(ids)}
        unknown = next((one for one in ids if one not in known), None)
        if unknown is not None:
            raise UsageError(f"there is no record {unknown} to forget: it was never written, or is forgotten already")
    else:
        wanted = filter_of(scope, where, now=store.clock())
        # What once matched in an older version is forgotten with the record, so history is searched too
        every = Filter(wanted.scope, wanted.where, now=wanted.now, history=True)
        ids = list(dict.fromkeys(stored.id for stored in store.database.find(every)))
    ids += [one for one in store.database.made_from(ids) if one not in set(ids)]
    texts = _texts(store, ids)
    versions = store.database.delete(ids, _fingerprints(store, texts + _graph_texts(store, ids)))
    places, checked = purge(store, texts)
    return Receipt(tuple(ids), len(ids), versions, places, checked)


def _texts(store: Records, ids: list[str]) -> list[str]:
    found: dict[str, None] = {}
    for one in ids:
        found |= dict.fromkeys(stored.text for stored in store.database.history(one))
    return list(found)


def _graph_texts(store: Records, ids: list[str]) -> list[str]:
    """What a memory that walks a graph had encoded for the sake of these records: phrases and facts."""
    from remanence.store.retrieve.graph import encoded_for
    from remanence.store.retrieve.recognise import facts_of, sources

    every = sources(store.database)
    versions = [stored for one in ids for stored in store.database.history(one)] if every else []
    return list(
        dict.fromkeys(text for source in every for stored in versions for text in encoded_for(facts_of(stored, source)))
    )


def _fingerprints(store: Records, texts: list[str]) -> list[str]:
    """Under which keys the encoder's cache holds the texts."""
    fingerprint = getattr(store.encoding.encoder, "fingerprint", None)
    return [fingerprint(text) for text in texts] if fingerprint else []


def purge(store: Records, texts: list[str] | None = None) -> tuple[dict[str, Removal], str]:
    """Finish what a deletion began; called again at the next opening where something blocked it."""
    fingerprints = store.database.unpurged()
    if fingerprints is None:
        return {}, "nothing was there to remove"
    places, checked = store.database.purge(texts or [])
    forget_cached = getattr(store.encoding.encoder, "forget", None)
    if forget_cached is not None:
        places["encoder cache"] = "removed" if forget_cached(fingerprints) else "pending"
    if "pending" not in places.values():
        store.database.purged()
    return places, checked
