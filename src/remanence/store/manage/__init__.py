"""Consolidation of a store: policies that look after what is kept, each by itself and in any order."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from remanence.errors import UsageError, nearest
from remanence.store.draft import scope_of
from remanence.store.manage.decay import Decay
from remanence.store.manage.link import LinkAlike
from remanence.store.manage.merge import Merge
from remanence.store.manage.policy import Policy
from remanence.store.manage.promote import Promote
from remanence.store.manage.summarise import Summarise

if TYPE_CHECKING:
    from remanence.store.encoding import Progress
    from remanence.store.protocol import Records

POLICIES: dict[str, type[Policy]] = {
    "merge": Merge,
    "link": LinkAlike,
    "decay": Decay,
    "summarise": Summarise,
    "promote": Promote,
}

__all__ = ["POLICIES", "Decay", "LinkAlike", "Merge", "Policy", "Promote", "Summarise", "consolidate"]


def consolidate(
    store: Records,
    wanted: str | Policy | Sequence[str | Policy],
    scope: str | None,
    settings: dict[str, Any],
    progress: Progress | None,
) -> dict[str, int]:
    """Run policies in order over every scope; what they did, counted."""
    several = [wanted] if isinstance(wanted, str) or not isinstance(wanted, Sequence) else list(wanted)
    policies = _made(several, dict(settings))
    counts: dict[str, int] = {}
    store.encode()
    for policy in policies:
        for path in _scopes(store, scope):
            for name, count in policy.run(store, path, progress).items():
                counts[name] = counts.get(name, 0) + count
        store.encode()
    return counts


def _scopes(store: Records, scope: str | None) -> list[str]:
    known = list(store.scopes())
    if scope is None or scope == "*":
        return known
    path = scope_of(scope)
    found = [one for one in known if one == path or (path and one.startswith(f"{path}/"))]
    if not found:
        raise UsageError(f"nothing was written under the scope {path!r}: {nearest(path, known)}")
    return found


def _made(wanted: Sequence[str | Policy], settings: dict[str, Any]) -> list[Policy]:
    """The policies by name, each with those of the settings that are its own."""
    made: list[Policy] = []
    taken: set[str] = set()
    for one in wanted:
        if not isinstance(one, str):
            if not hasattr(one, "run"):
                raise UsageError(f"a {type(one).__name__} was given as a policy, expected a name or an object with run")
            made.append(one)
            continue
        if one not in POLICIES:
            raise UsageError(f"there is no policy {one!r}: {nearest(one, POLICIES)}")
        own = set(inspect.signature(POLICIES[one].__init__).parameters) & settings.keys()
        taken |= own
        made.append(POLICIES[one](**{name: settings[name] for name in own}))
    unknown = sorted(settings.keys() - taken)
    if unknown:
        raise UsageError(f"none of the policies has a setting {unknown[0]!r}: see remanence.store.manage")
    return made
