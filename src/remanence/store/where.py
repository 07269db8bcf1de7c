"""Filters as data: fields, operators and values, never a query language of a database."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from remanence.errors import UsageError, nearest
from remanence.store.draft import KINDS, clean, identity, scope_of
from remanence.store.times import Instant, instant

FIELDS = {
    "kind": "text",
    "speaker": "text",
    "source": "text",
    "text": "text",
    "id": "id",
    "parent": "id",
    "said_at": "time",
    "recorded_at": "time",
    "valid_from": "time",
    "valid_to": "time",
    "used_at": "time",
    "strength": "number",
    "uses": "number",
    "version": "number",
    "tags": "tags",
}
"""What can be asked about, and of what type it is; besides, ``metadata.<key>`` for free metadata."""

OPERATORS = {
    "text": ("=", "!=", "in", "not in", "<", "<=", ">", ">=", "contains"),
    "id": ("=", "!=", "in", "not in"),
    "time": ("=", "!=", "<", "<=", ">", ">="),
    "number": ("=", "!=", "in", "not in", "<", "<=", ">", ">="),
    "tags": ("has", "has not"),
    "metadata": ("=", "!=", "in", "not in", "<", "<=", ">", ">=", "contains"),
}
_LARGEST = 10**18
"""Whole numbers up to this are the same in every database."""

DEEPEST = 50
"""Groups within groups."""
MOST = 500
"""Conditions of one filter; databases refuse expressions of about twice as many."""

_KEY = re.compile(r"[\w\- ]{1,100}")


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison. `path` is the key below ``metadata``, empty for the fields of a record."""

    field: str
    operator: str
    value: Any
    path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """Several conditions: ``all`` of them, ``any`` of them, or ``not`` all of them."""

    how: str
    parts: tuple[Condition | Group, ...]


EVERYTHING = Group("all", ())


def parse(given: Any) -> Group:
    """Read a `where`.

    Parameters
    ----------
    given:
        A mapping of fields to values (equal) or to mappings of operators to values, all of which must
        hold; ``{"any": [where, …]}`` and ``{"not": where}`` nest. Or a list of (field, operator, value).

    Raises
    ------
    UsageError
        If a field or an operator is unknown, or a value of the wrong type.

    Example
    -------
    >>> parse({"speaker": "Ana", "said_at": {">=": "2026-01-01"}}).parts[0]
    Condition(field='speaker', operator='=', value='Ana', path=())
    >>> parse([("metadata.city", "=", "Lisbon")]).parts[0].path
    ('city',)
    """
    try:
        found = _parsed(given)
    except RecursionError:
        found = None
    if found is None or _deepest(found) > DEEPEST:
        raise UsageError(f"where is nested more than {DEEPEST} deep: make it flatter")
    many = _counted(found)
    if many > MOST:
        raise UsageError(f"where has {many:,} conditions, at most {MOST} can be asked at once: use 'in' with a list")
    return found


def _parsed(given: Any) -> Group:
    if given is None:
        return EVERYTHING
    if isinstance(given, Mapping):
        parts: list[Condition | Group] = []
        for name, wanted in given.items():
            if name == "any":
                parts.append(Group("any", tuple(_parsed(one) for one in _several(wanted))))
            elif name == "not":
                parts.append(Group("not", (_parsed(wanted),)))
            elif isinstance(wanted, Mapping):
                parts += [_condition(name, operator, value) for operator, value in wanted.items()]
            else:
                parts.append(_condition(name, "has" if name == "tags" else "=", wanted))
        return Group("all", tuple(parts))
    if isinstance(given, Sequence) and not isinstance(given, str):
        triples = [tuple(one) if isinstance(one, Sequence) and not isinstance(one, str) else () for one in given]
        if all(len(triple) == 3 for triple in triples):
            return Group("all", tuple(_condition(*triple) for triple in triples))
    raise UsageError(
        f"where was given as {str(given)[:80]!r}, expected a mapping such as {{'speaker': 'Ana'}} "
        "or a list of (field, operator, value)"
    )


def _deepest(part: Condition | Group) -> int:
    """How deep groups are nested, gone through level by level so that no depth is too deep to be told."""
    depth, level = 0, [part]
    while level:
        level = [below for one in level if isinstance(one, Group) for below in one.parts]
        depth += 1
    return depth


def _counted(part: Condition | Group) -> int:
    if isinstance(part, Group):
        return sum(_counted(one) for one in part.parts)
    # one key of free metadata is compared with each value of a list by itself
    return len(part.value) if part.path and isinstance(part.value, tuple) else 1


def _several(given: Any) -> Sequence[Any]:
    if isinstance(given, str | Mapping) or not isinstance(given, Sequence):
        raise UsageError(f"'any' was given {str(given)[:60]!r}, expected a list of filters")
    return given


def _condition(name: Any, operator: Any, value: Any) -> Condition:
    path: tuple[str, ...] = ()
    if isinstance(name, str) and name.startswith("metadata."):
        path = tuple(name.split(".")[1:])
        if not all(_KEY.fullmatch(key) for key in path):
            raise UsageError(f"{name[:80]!r} is no place in the metadata: name its keys, as in 'metadata.city'")
        kind, field = "metadata", "metadata"
    elif isinstance(name, str) and name in FIELDS:
        kind, field = FIELDS[name], name
    else:
        raise UsageError(
            f"there is no field {str(name)[:80]!r} to filter by: {nearest(str(name), [*FIELDS, 'metadata.…'])}"
        )
    if operator not in OPERATORS[kind]:
        raise UsageError(
            f"{name} cannot be compared by {str(operator)[:40]!r}: use one of {', '.join(OPERATORS[kind])}"
        )
    if operator in ("in", "not in"):
        if isinstance(value, str) or not isinstance(value, Sequence | set | frozenset):
            raise UsageError(f"{name} {operator} was given {str(value)[:60]!r}, expected a list")
        return Condition(field, operator, tuple(_value(name, kind, one) for one in value), path)
    if value is None and kind != "tags" and operator in ("=", "!="):
        return Condition(field, operator, None, path)
    return Condition(field, operator, _value(name, kind, value), path)


def _value(name: str, kind: str, value: Any) -> Any:
    if kind == "time":
        if value is None:
            raise UsageError(f"{name} was compared with nothing: only '=' and '!=' take None")
        return instant(value, name)
    if kind == "id":
        return identity(value)
    if kind == "number" and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise UsageError(f"{name} was compared with {str(value)[:60]!r}, expected a number")
    if isinstance(value, int | float) and not abs(value) <= _LARGEST:
        raise UsageError(f"{name} was compared with {str(value)[:60]!r}, expected a number of at most 18 digits")
    if kind in ("text", "tags") and not isinstance(value, str):
        raise UsageError(f"{name} was compared with {str(value)[:60]!r}, expected a string")
    if kind == "metadata" and not isinstance(value, str | int | float | bool):
        raise UsageError(
            f"{name} was compared with a {type(value).__name__}, expected a string, a number, true or false"
        )
    if name == "kind" and value not in KINDS:
        raise UsageError(f"there is no kind {value!r}: {nearest(str(value), KINDS)}")
    return clean(value) if isinstance(value, str) else value


@dataclass(frozen=True, slots=True)
class Filter:
    """Which versions may be found: scopes, conditions, and the two times.

    Parameters
    ----------
    scope:
        A path, with everything below it; empty for the records that have none; None for all.
    where:
        Conditions on the fields.
    true_at:
        The instant at which a version must be true; None for now, which only current versions are.
    known_at:
        The instant as of whose knowledge is asked; None for now, which means current versions.
    now:
        The instant taken as now.
    history:
        All versions, at all times.
    """

    scope: str | None = ""
    where: Group = EVERYTHING
    true_at: int | None = None
    known_at: int | None = None
    now: int = 0
    history: bool = False

    @property
    def plain(self) -> bool:
        """Whether only current versions are asked for, so that an index of those suffices."""
        return self.true_at is None and self.known_at is None and not self.history

    @property
    def key(self) -> str:
        """What the filter asks, as text: equal filters have equal keys."""
        return json.dumps(
            [
                self.scope,
                _listed(self.where),
                self.true_at,
                self.known_at,
                self.history,
                None if self.plain else self.now,
            ]
        )


def _listed(part: Condition | Group) -> list[Any]:
    if isinstance(part, Condition):
        return [part.field, part.operator, part.value, part.path]
    return [part.how, *(_listed(one) for one in part.parts)]


def filter_of(
    scope: str | None,
    where: Any = None,
    *,
    as_of: Instant | None = None,
    known_at: Instant | None = None,
    now: int,
    history: bool = False,
) -> Filter:
    """Check what a reader asked for and bring it into the form that databases take; ``"*"`` means all scopes."""
    path = None if scope is None or scope == "*" else scope_of(scope)
    known = instant(known_at, "known_at")
    true = instant(as_of, "as_of")
    return Filter(path, parse(where), known if true is None else true, known, now, history)
