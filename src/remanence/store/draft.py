"""What shall be written, checked once: texts, scopes, ids, times, tags and metadata as every database takes them."""

from __future__ import annotations

import functools
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from remanence.errors import UsageError, nearest
from remanence.store.record import Record
from remanence.store.times import instant

KINDS = ("episode", "fact", "skill", "case", "note")
_HALVES = re.compile("[\ud800-\udfff]")
LONGEST = 1_000_000
"""Characters of one text; longer ones are refused, since one vector and one hit cannot stand for a book."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A checked record on its way into a database: instants instead of datetimes, JSON as text."""

    text: str
    kind: str
    scope: str
    speaker: str | None
    said_at: int | None
    valid_from: int | None
    valid_to: int | None
    source: str | None
    tags: str
    metadata: str
    strength: float
    parent: str | None
    id: str


GIVEN = tuple(f.name for f in fields(Draft))
"""What a caller may set when writing."""


def draft(given: Mapping[str, Any] | Record | str, fresh: Callable[[], str] | None = None) -> Draft:
    """Check what shall be written, once, and bring it into the form that databases take; `fresh` makes ids.

    Raises
    ------
    UsageError
        Naming the field, what it was and what it must be.
    """
    if isinstance(given, Record):
        given = {name: getattr(given, name) for name in GIVEN}
    elif isinstance(given, str):
        given = {"text": given}
    elif not isinstance(given, Mapping):
        raise UsageError(
            f"a {type(given).__name__} was given to write, expected a text, a Record, or a mapping of its fields"
        )
    for name in given:
        if name not in GIVEN:
            raise UsageError(f"a record has no field {name!r} that can be written: {nearest(name, GIVEN)}")
    kind = given.get("kind") or "episode"
    if kind not in KINDS:
        raise UsageError(f"the kind is {kind!r}, expected one of {', '.join(KINDS)}")
    valid_from, valid_to = instant(given.get("valid_from"), "valid_from"), instant(given.get("valid_to"), "valid_to")
    if valid_from is not None and valid_to is not None and valid_to < valid_from:
        raise UsageError("valid_to lies before valid_from: a record is true from the one until the other")
    strength = given.get("strength", 1.0)
    if isinstance(strength, bool) or not isinstance(strength, int | float) or not 0 <= strength <= 1e18:
        raise UsageError(f"the strength is {str(strength)[:40]!r}, expected a number from 0 to 1e18")
    parent = given.get("parent")
    return Draft(
        text_of(given.get("text")),
        kind,
        scope_of(given.get("scope") or ""),
        _line("speaker", given.get("speaker")),
        instant(given.get("said_at"), "said_at"),
        valid_from,
        valid_to,
        _line("source", given.get("source")),
        _tags(given.get("tags") or ()),
        _metadata(given.get("metadata") or {}),
        float(strength),
        identity(parent) if parent else None,
        identity(given["id"]) if given.get("id") else (fresh or new_id)(),
    )


def text_of(text: Any) -> str:
    """A text that can be remembered: a string with something in it, of bearable length."""
    if not isinstance(text, str):
        raise UsageError(f"the text of a record was given as a {type(text).__name__}, expected a string")
    if not text.strip():
        raise UsageError("the text of a record is empty: give it something to remember")
    if len(text) > LONGEST:
        raise UsageError(
            f"the text of a record has {len(text):,} characters, at most {LONGEST:,} can be remembered as one: "
            "split it into passages"
        )
    return clean(text)


def scope_of(scope: Any) -> str:
    """A scope as the store keeps it: parts joined by ``/``, none empty."""
    if not isinstance(scope, str):
        raise UsageError(f"the scope was given as a {type(scope).__name__}, expected a path such as 'user/42'")
    return _path(scope)


@functools.lru_cache(maxsize=4096)
def _path(scope: str) -> str:
    path = scope.strip("/")
    if len(path) > 500 or any(not part.strip() or part in ("*", "..", ".") for part in path.split("/") if path):
        raise UsageError(f"the scope {scope[:80]!r} is no path: give parts joined by '/', such as 'user/42'")
    return clean(path)


def identity(given: Any) -> str:
    """An id as the store writes it: 32 hexadecimal digits."""
    text = given.replace("-", "").lower() if isinstance(given, str) else ""
    if len(text) != 32 or any(c not in "0123456789abcdef" for c in text):
        raise UsageError(
            f"{str(given)[:80]!r} is no id of a record: ids are 32 hexadecimal digits, as write returns them"
        )
    return text


def new_id() -> str:
    """A fresh id: milliseconds since 1970, then 80 random bits, so that ids sort by time (the layout of UUID 7)."""
    number = (time.time_ns() // 1_000_000 << 80) | int.from_bytes(os.urandom(10), "big")
    number = (number & ~(0xF << 76)) | (0x7 << 76)
    number = (number & ~(0x3 << 62)) | (0x2 << 62)
    return f"{number:032x}"


def _line(name: str, given: Any) -> str | None:
    if given is None or given == "":
        return None
    if not isinstance(given, str) or len(given) > 1000:
        raise UsageError(f"the {name} was given as {str(given)[:60]!r}, expected a string of at most 1,000 characters")
    return clean(given)


def clean(text: str) -> str:
    """What no database can hold, the NUL character and halves of surrogate pairs, becomes a replacement character."""
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    if not text.isascii():
        text = "".join("\ufffd" if 0xD800 <= ord(c) <= 0xDFFF else c for c in text) if _HALVES.search(text) else text
    return text


def _tags(given: Any) -> str:
    if given == ():
        return "[]"
    if isinstance(given, str) or not isinstance(given, Iterable) or not all(isinstance(tag, str) for tag in given):
        raise UsageError(f"the tags were given as {str(given)[:60]!r}, expected a list of strings")
    return json.dumps([clean(tag) for tag in dict.fromkeys(given)], ensure_ascii=False)


def _metadata(given: Any) -> str:
    if given == {}:
        return "{}"
    if not isinstance(given, Mapping):
        raise UsageError(f"the metadata was given as a {type(given).__name__}, expected a mapping")
    try:
        text = clean(json.dumps(dict(given), ensure_ascii=False, allow_nan=False))
        # JSON escapes the NUL character, and PostgreSQL cannot read it back even so
        return json.dumps(_cleaned(json.loads(text)), ensure_ascii=False) if "\\u0000" in text else text
    except RecursionError:
        raise UsageError("the metadata is nested too deeply to be written as JSON: make it flatter") from None
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"the metadata cannot be written as JSON ({error}): give texts, numbers, lists and mappings"
        ) from None


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [_cleaned(one) for one in value]
    if isinstance(value, dict):
        return {clean(key): _cleaned(one) for key, one in value.items()}
    return value
