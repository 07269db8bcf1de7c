"""A filter as a condition in SQL, its values bound, its columns from a fixed list."""

from __future__ import annotations

from typing import Any, Protocol

from remanence.store.where import Condition, Filter, Group

Bound = tuple[str, list[Any]]

_COLUMNS = {
    "kind": "r.kind",
    "speaker": "r.speaker",
    "source": "r.source",
    "text": "r.text",
    "id": "r.id",
    "parent": "r.parent",
    "said_at": "r.said_at",
    "recorded_at": "r.recorded_at",
    "valid_from": "r.valid_from",
    "valid_to": "coalesce(r.closed_to, r.valid_to)",
    "used_at": "r.used_at",
    "strength": "r.strength",
    "uses": "r.uses",
    "version": "r.version",
}


class Dialect(Protocol):
    """What databases say differently."""

    def metadata_is(self, path: tuple[str, ...], operator: str, value: Any) -> Bound:
        """A comparison with a value below the metadata."""

    def has_tag(self, tag: str) -> Bound:
        """Whether the tags hold one."""

    def contains(self, column: str, text: str) -> Bound:
        """Whether a column contains a text, in any case of letters."""


def condition(wanted: Filter, dialect: Dialect) -> Bound:
    """The condition on ``records r`` that a filter states, and the values it binds."""
    parts = [_times(wanted), scope_condition(wanted), _part(wanted.where, dialect)]
    kept = [part for part in parts if part[0]]
    return " AND ".join(part[0] for part in kept) or "1=1", [value for part in kept for value in part[1]]


def scope_condition(wanted: Filter) -> Bound:
    """The condition on the scope of ``r`` alone."""
    if wanted.scope is None:
        return "", []
    if not wanted.scope:
        return "r.scope IN (SELECT scope FROM scopes WHERE path = '')", []
    # "0" is the character after "/": the range holds exactly what lies below the scope
    return (
        "r.scope IN (SELECT scope FROM scopes WHERE path = ? OR (path >= ? AND path < ?))",
        [wanted.scope, wanted.scope + "/", wanted.scope + "0"],
    )


def _times(wanted: Filter) -> Bound:
    if wanted.history:
        return "", []
    if wanted.known_at is None and wanted.true_at is None:
        return (
            "r.replaced_at IS NULL AND (r.valid_from IS NULL OR r.valid_from <= ?) AND (r.valid_to IS NULL OR r.valid_to > ?)",
            [wanted.now, wanted.now],
        )
    # A revision that reaches further back than the one before it speaks of a time that older versions speak of
    # too: of all that claim an instant, the latest holds
    text, values = _claims("r", wanted)
    later, bound = _claims("later", wanted)
    return (
        f"{text} AND NOT EXISTS (SELECT 1 FROM records later WHERE later.id = r.id AND later.version > r.version "
        f"AND {later})",
        [*values, *bound],
    )


def _claims(name: str, wanted: Filter) -> Bound:
    """That a version, as it was known, says what was true at the instant asked about."""
    true = wanted.true_at if wanted.true_at is not None else wanted.now
    begun = f"({name}.valid_from IS NULL OR {name}.valid_from <= ?)"
    ends = f"coalesce({name}.closed_to, {name}.valid_to)"
    if wanted.known_at is None:
        return f"{begun} AND ({ends} IS NULL OR {ends} > ?)", [true, true]
    # A version that was replaced after the instant asked about was still open then: its own valid_to counts,
    # not the one that its successor closed it with.
    known = wanted.known_at
    then = f"CASE WHEN {name}.replaced_at IS NULL OR {name}.replaced_at > ? THEN {name}.valid_to ELSE {ends} END"
    return (
        f"{name}.recorded_at <= ? AND {begun} AND ({then} IS NULL OR {then} > ?)",
        [known, true, known, known, true],
    )


def _part(part: Condition | Group, dialect: Dialect) -> Bound:
    if isinstance(part, Condition):
        return _one(part, dialect)
    below = [_part(one, dialect) for one in part.parts]
    values = [value for _, bound in below for value in bound]
    texts = [text or "1=1" for text, _ in below]
    if part.how == "any":
        return "(" + (" OR ".join(texts) or "1=0") + ")", values
    if part.how == "not":
        # where a field is empty a comparison is neither true nor false; what is not true is let through
        return f"NOT coalesce(({texts[0]}), 1=0)", values
    return " AND ".join(texts), values


def _one(one: Condition, dialect: Dialect) -> Bound:
    if one.field == "metadata":
        if one.operator in ("in", "not in"):
            parts = [dialect.metadata_is(one.path, "=", value) for value in one.value]
            text = " OR ".join(part[0] for part in parts) or "1=0"
            text = f"({text})" if one.operator == "in" else f"NOT coalesce(({text}), 1=0)"
            return text, [value for part in parts for value in part[1]]
        return dialect.metadata_is(one.path, one.operator, one.value)
    if one.field == "tags":
        text, values = dialect.has_tag(one.value)
        return (text if one.operator == "has" else f"NOT {text}"), values
    column = _COLUMNS[one.field]
    value = _bytes(one.value) if one.field in ("id", "parent") else one.value
    if one.operator == "contains":
        return dialect.contains(column, value)
    if one.operator in ("in", "not in"):
        marks = ", ".join("?" * len(value))
        inside = f"{column} IN ({marks})" if value else "1=0"
        return (inside if one.operator == "in" else f"NOT coalesce({inside}, 1=0)"), list(value)
    if value is None:
        return f"{column} IS {'NOT ' if one.operator != '=' else ''}NULL", []
    if one.operator == "!=":
        return f"({column} IS NULL OR {column} <> ?)", [value]
    return f"{column} {one.operator} ?", [value]


def _bytes(value: Any) -> Any:
    if isinstance(value, tuple):
        return [bytes.fromhex(one) for one in value]
    return None if value is None else bytes.fromhex(value)
