"""Relations between the records of a store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from remanence.errors import UsageError
from remanence.store.draft import clean, identity
from remanence.store.record import Link, Record
from remanence.store.revision import current

if TYPE_CHECKING:
    from remanence.store.protocol import Records


class Linking:
    """What a store does with links: each is directed, named, weighted, and goes when one of its ends is forgotten."""

    def link(self: Records, source: str, target: str, relation: str, weight: float = 1.0) -> Link:
        """Relate two records: ``link(a, b, "supports")``."""
        made = Link(identity(source), identity(target), _relation(relation), _weight(weight))
        self.database.link([made], self.clock())
        return made

    def unlink(self: Records, source: str, target: str, relation: str) -> bool:
        """Take a link back; whether there was one."""
        return bool(self.database.unlink([Link(identity(source), identity(target), _relation(relation))]))

    def links(self: Records, record_id: str | None = None) -> Sequence[Link]:
        """The links that begin or end at a record, or all."""
        return self.database.links(None if record_id is None else [identity(record_id)])

    def neighbours(self: Records, record_id: str, relation: str | None = None) -> Sequence[Record]:
        """The records that a link joins to this one, either way."""
        me = current(self, record_id).id
        found = [one for one in self.database.links([me]) if relation is None or one.relation == relation]
        ids = dict.fromkeys(one.target if one.source == me else one.source for one in found)
        return [stored.record() for stored in self.database.current([one for one in ids if one != me])]


def _relation(given: Any) -> str:
    if not isinstance(given, str) or not given.strip() or len(given) > 200:
        raise UsageError(f"the relation of a link is {str(given)[:60]!r}, expected a short text such as 'supports'")
    return clean(given.strip())


def _weight(given: Any) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not abs(given) <= 1e18:
        raise UsageError(f"the weight of a link is {str(given)[:60]!r}, expected a number of at most 1e18")
    return float(given)
