"""Times that a question speaks of ("last May", "two weeks ago", "since 7 May 2023"), as periods in UTC.

English, in days and longer; written by hand since a general parser of dates takes longer than the search.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from remanence.store.retrieve.dates import first_expression
from remanence.store.times import instant, moment


@dataclass(frozen=True, slots=True)
class Period:
    """From an instant until before another (microseconds since 1970 UTC); None is open.

    Example
    -------
    >>> Period(10, 20).holds(10), Period(10, 20).holds(20), Period(None, 20).holds(-5)
    (True, False, True)
    """

    start: int | None
    end: int | None

    def holds(self, at: int) -> bool:
        return (self.start is None or self.start <= at) and (self.end is None or at < self.end)

    def overlaps(self, start: int | None, end: int | None) -> bool:
        """Whether it shares an instant with what began at `start` and ended before `end`."""
        begun = self.end is None or start is None or start < self.end
        return begun and (self.start is None or end is None or end > self.start)


@dataclass(frozen=True, slots=True)
class Event:
    """A time that is told by what happened: "before the trip"."""

    relation: str
    text: str


_RELATION = re.compile(
    r"\b(?:(?P<span>day|night|week|weekend|month|year)\s+)?(?P<name>before|until|till|by|after|since|from|between)\s+(?:the\s+)?(?:end of\s+)?$",
    re.IGNORECASE,
)
_UNTIL = re.compile(r"^[\s,]*(?:and|to|until|till|through|-|–)\s+", re.IGNORECASE)
_EVENT = re.compile(
    r"\b(before|after|since|during)\s+((?:the|his|her|their|my|our|its|that|\w+['’]s|\w+ing)\s+[^?.,;!]+)",
    re.IGNORECASE,
)


def period(text: str, now: int) -> Period | None:
    """The time that a text speaks of, if it does; the first where it speaks of several.

    Parameters
    ----------
    text:
        A question.
    now:
        The instant that it is asked at (microseconds since 1970 UTC).

    Example
    -------
    >>> now = instant("2026-11-21")
    >>> found = period("What did Ana do last May?", now)
    >>> moment(found.start).date().isoformat(), moment(found.end).date().isoformat()
    ('2026-05-01', '2026-06-01')
    """
    today = (moment(now) or datetime.now(UTC)).date()
    found = first_expression(text, today)
    if found is None:
        return None
    begin, end, (start, stop) = found
    relation = _RELATION.search(text[:begin])
    name = relation["name"].lower() if relation else ""
    if relation and relation["span"] and name in ("before", "after"):
        return _beside(start, stop, relation["span"].lower(), name)
    if name in ("before", "until", "till", "by"):
        return Period(None, _at(start if name == "before" else stop))
    if name in ("after", "since"):
        return Period(_at(stop if name == "after" else start), None)
    if name in ("between", "from"):
        # "between May and June 2023", "from 3 to 9 May": the second end says more than the first
        joint = _UNTIL.search(text[end:])
        second = first_expression(text[end + joint.end() :], today) if joint else None
        if second is not None and second[0] == 0 and second[2][1] > start:
            return Period(_at(start), _at(second[2][1]))
    return Period(_at(start), _at(stop))


def _beside(start: date, stop: date, span: str, name: str) -> Period:
    """The week before 16 November, the day after it."""
    days = timedelta(days={"week": 7, "weekend": 7, "month": 30, "year": 365}.get(span, 1))
    return Period(_at(start - days), _at(start)) if name == "before" else Period(_at(stop), _at(stop + days))


def event(text: str) -> Event | None:
    """What a time is told by, where it is told by something that happened.

    Example
    -------
    >>> event("What did Ana buy before the trip to Porto?")
    Event(relation='before', text='the trip to Porto')
    """
    found = _EVENT.search(text)
    return Event(found[1].lower(), found[2].strip()) if found else None


def around(at: int, relation: str) -> Period:
    """The time before, after or since an instant; three days on both sides of it for what was during it."""
    if relation == "before":
        return Period(None, at)
    if relation in ("after", "since"):
        return Period(at, None)
    days = timedelta(days=3) // timedelta(microseconds=1)
    return Period(at - days, at + days)


def _at(day: date) -> int | None:
    return instant(day)
