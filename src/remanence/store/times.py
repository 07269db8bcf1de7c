"""Instants: whole microseconds since 1970 UTC inside a store, aware datetimes outside."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

from remanence.errors import UsageError

Instant = datetime | date | str
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST, _LAST = (
    (edge.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1) for edge in (datetime.min, datetime.max)
)
NEVER = -62_135_596_800_000_000
"""Before every instant: what ended then was never true."""

_SHORT = re.compile(r"(\d{4})(?:-(\d{2}))?")


def instant(given: Instant | None, what: str = "the time") -> int | None:
    """Microseconds since 1970 UTC of a datetime, a date or an ISO 8601 text; None stays None.

    A time without a zone is taken as UTC; a year or a month means its first moment.

    Raises
    ------
    UsageError
        If the text is no ISO 8601 time.

    Example
    -------
    >>> instant("1970-01-01T00:00:01Z")
    1000000
    >>> instant("2026-05") == instant("2026-05-01T00:00+00:00")
    True
    """
    if given is None:
        return None
    if isinstance(given, str):
        given = _parsed(given.strip(), what)
    elif not isinstance(given, datetime):
        if not isinstance(given, date):
            raise UsageError(
                f"{what} was given as a {type(given).__name__}, expected a datetime or an ISO 8601 text such as "
                "'2026-05-03T10:00Z'"
            )
        given = datetime(given.year, given.month, given.day, tzinfo=UTC)
    if given.tzinfo is None:
        given = given.replace(tzinfo=UTC)
    found = (given - _EPOCH) // timedelta(microseconds=1)
    if not _FIRST <= found <= _LAST:
        raise UsageError(f"{what} {given.isoformat()} lies outside the years 1 to 9999 in UTC: give a time within them")
    return found


def _parsed(text: str, what: str) -> datetime:
    short = _SHORT.fullmatch(text)
    try:
        if short:
            return datetime(int(short[1]), int(short[2] or 1), 1, tzinfo=UTC)
        return datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{what} {text[:80]!r} is no ISO 8601 time: write it as 2026-05-03T10:00Z") from None


def moment(microseconds: int | None) -> datetime | None:
    """The aware datetime (UTC) of an instant; None stays None."""
    return None if microseconds is None else _EPOCH + timedelta(microseconds=microseconds)


def now() -> int:
    """The present instant."""
    return (datetime.now(UTC) - _EPOCH) // timedelta(microseconds=1)
