"""Expressions of time ("last May", "two weeks ago", "7 May 2023") as days, each form by its own pattern."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, timedelta

Days = tuple[date, date]
"""The first day, and the first day after."""

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_SEASONS = {"spring": 3, "summer": 6, "autumn": 9, "fall": 9, "winter": 12}
_COUNTS = {
    name: number
    for number, names in enumerate(
        ["", "a an one", "two couple", "three few", "four", "five", "six", "seven several", "eight", "nine", "ten"]
    )
    for name in names.split()
} | {"eleven": 11, "twelve": 12}

_MONTH = r"(?P<month>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\b\.?"
_YEAR = r"(?P<year>(?:19|20)\d\d)\b"
_DAY = r"(?P<day>[0-3]?\d)(?:st|nd|rd|th)?\b"
_WEEKDAY = rf"(?P<weekday>{'|'.join(_DAYS)})\b"
_SEASON = rf"(?P<season>{'|'.join(_SEASONS)})\b"
_COUNT = rf"(?P<count>\d{{1,3}}|(?:a\s+)?(?:{'|'.join(sorted(_COUNTS, key=len, reverse=True))}))(?:\s+of)?"
_UNIT = r"(?P<unit>day|week|month|year)"
_WHICH = r"(?P<which>last|past|previous|this|next)"
_LEAD = r"(?:in|during|of|by|until|till|since|before|after|from|to|and|between|early|late|mid)"


def _month(year: int, number: int) -> Days:
    """A month, counted on beyond December or back before January."""
    year, number = year + (number - 1) // 12, (number - 1) % 12 + 1
    return date(year, number, 1), date(year + number // 12, number % 12 + 1, 1)


def _number(name: str) -> int:
    return _MONTHS.index(name[:3].lower()) + 1


def _count(text: str) -> int:
    word = text.lower().split()[-1]
    return int(word) if word.isdigit() else _COUNTS[word]


def _one_day(year: int, number: int, day: int) -> Days:
    found = date(year, number, day)
    return found, found + timedelta(days=1)


def _of_year(made: Callable[[int], Days], which: str, today: date) -> Days:
    """What comes every year: the last that has begun; or before, or after, the one of now."""
    latest = next(days for year in (today.year, today.year - 1) if (days := made(year))[0] <= today)
    running = latest[0] <= today < latest[1]
    if which == "next":
        return made(latest[0].year + 1)
    return made(latest[0].year - 1) if which in ("last", "past", "previous") and running else latest


def _full_date(m: re.Match[str], today: date) -> Days:
    return _one_day(int(m["year"]), _number(m["month"]), int(m["day"]))


def _numeric(m: re.Match[str], today: date) -> Days:
    return _one_day(int(m["year"]), int(m["number"]), int(m["day"]))


def _day_of_month(m: re.Match[str], today: date) -> Days:
    number, day = _number(m["month"]), int(m["day"])
    return _of_year(lambda year: _one_day(year, number, day), "", today)


def _month_of_year(m: re.Match[str], today: date) -> Days:
    return _month(int(m["year"]), _number(m["month"]))


def _some_month(m: re.Match[str], today: date) -> Days:
    number = _number(m["month"])
    return _of_year(lambda year: _month(year, number), (m.groupdict().get("which") or "").lower(), today)


def _season(m: re.Match[str], today: date) -> Days:
    first = _SEASONS[m["season"].lower()]

    def made(year: int) -> Days:
        return _month(year, first)[0], _month(year, first + 2)[1]

    groups = m.groupdict()
    return made(int(groups["year"])) if groups.get("year") else _of_year(made, (groups["which"] or "").lower(), today)


def _weekday(m: re.Match[str], today: date) -> Days:
    number = _DAYS.index(m["weekday"].lower())
    back = (today.weekday() - number) % 7
    which = (m["which"] or "").lower()
    if which == "next":
        back -= 7
    elif which == "this":
        back = today.weekday() - number
    elif which and back == 0:
        back = 7
    day = today - timedelta(days=back)
    return day, day + timedelta(days=1)


def _unit(start: date, unit: str, step: int) -> Days:
    """The day, week (from Monday), month or year of a day, or the one `step` further on."""
    if unit == "year":
        return date(start.year + step, 1, 1), date(start.year + step + 1, 1, 1)
    if unit == "month":
        return _month(start.year, start.month + step)
    if unit == "week":
        start -= timedelta(days=start.weekday())
    length = timedelta(days=7 if unit == "week" else 1)
    return start + step * length, start + (step + 1) * length


def _which_unit(m: re.Match[str], today: date) -> Days:
    step = {"this": 0, "next": 1}.get(m["which"].lower(), -1)
    if m["unit"].lower() == "weekend":
        monday, following = _unit(today, "week", step)
        return monday + timedelta(days=5), following
    return _unit(today, m["unit"].lower(), step)


def _ago(m: re.Match[str], today: date) -> Days:
    """About as exact as it is said: a day; the seven days around two weeks ago; the month, the year."""
    count, unit = _count(m["count"]), m["unit"].lower()
    if unit == "week":
        middle = today - timedelta(days=7 * count)
        return middle - timedelta(days=3), middle + timedelta(days=4)
    if unit == "day" and m["count"].lower().split()[-1] in ("couple", "few", "several"):
        return today - timedelta(days=count + 2), today - timedelta(days=count - 2)
    return _unit(today, unit, -count)


def _stretch(m: re.Match[str], today: date) -> Days:
    count = _count(m["count"]) if m["count"] else 1
    days = count * {"day": 1, "week": 7, "month": 30, "year": 365}[m["unit"].lower()]
    following = today + timedelta(days=1)
    return (today, following + timedelta(days=days)) if m["which"] == "next" else (today - timedelta(days), following)


def _named_day(m: re.Match[str], today: date) -> Days:
    name = " ".join(m[0].lower().split())
    offset = {"the day before yesterday": -2, "yesterday": -1, "last night": -1, "tomorrow": 1}.get(name, 0)
    return today + timedelta(days=offset), today + timedelta(days=offset + 1)


def _recently(m: re.Match[str], today: date) -> Days:
    return today - timedelta(days=30), today + timedelta(days=1)


def _year(m: re.Match[str], today: date) -> Days:
    return date(int(m["year"]), 1, 1), date(int(m["year"]) + 1, 1, 1)


_FORMS: list[tuple[re.Pattern[str], Callable[[re.Match[str], date], Days]]] = [
    (re.compile(pattern, re.IGNORECASE), read)
    for pattern, read in [
        (rf"\b{_YEAR}-(?P<number>[01]\d)-(?P<day>[0-3]\d)\b", _numeric),
        (rf"\b{_DAY}\s+(?:of\s+)?{_MONTH},?\s+{_YEAR}", _full_date),
        (rf"\b{_MONTH}\s+{_DAY},?\s+{_YEAR}", _full_date),
        (rf"\b{_MONTH},?\s+(?:of\s+)?{_YEAR}", _month_of_year),
        (rf"\b(?:the\s+)?{_DAY}\s+(?:of\s+)?{_MONTH}", _day_of_month),
        (rf"\b{_MONTH}\s+(?:the\s+)?{_DAY}", _day_of_month),
        (r"\b(?:the day before yesterday|yesterday|today|tonight|last night|tomorrow)\b", _named_day),
        (rf"\b{_COUNT}\s+{_UNIT}s?\s+(?:ago|before now|earlier)\b", _ago),
        (rf"\b(?:the|these)\s+(?P<which>last|past|next)\s+(?:{_COUNT}\s+)?{_UNIT}s?\b", _stretch),
        (rf"\b(?P<which>last|past|next)\s+{_COUNT}\s+{_UNIT}s?\b", _stretch),
        (rf"\b{_WHICH}\s+(?P<unit>day|weekend|week|month|year)\b", _which_unit),
        (rf"\b{_WHICH}\s+{_MONTH}", _some_month),
        (rf"\b{_SEASON}\s+(?:of\s+)?{_YEAR}", _season),
        (rf"\b(?:{_WHICH}|(?:in|during|over)(?:\s+the)?)\s+{_SEASON}", _season),
        (rf"\b(?:{_WHICH}|on)\s+{_WEEKDAY}", _weekday),
        (rf"\b{_LEAD}[\s-]+{_MONTH}", _some_month),
        (rf"\b{_YEAR}", _year),
        (r"\b(?:recently|lately)\b", _recently),
    ]
]


def first_expression(text: str, today: date) -> tuple[int, int, Days] | None:
    """The first expression: where it begins and ends in the text, and its days; the longer form where two begin alike."""
    best: tuple[int, int, Days] | None = None
    for form, read in _FORMS:
        for m in form.finditer(text):
            begin = _beginning(m)
            if best is not None and (begin > best[0] or (begin == best[0] and m.end() <= best[1])):
                break
            if m.groupdict().get("month") == "may" and not m.groupdict().get("year") and not m.groupdict().get("day"):
                continue  # "what may come"
            try:
                best = begin, m.end(), read(m, today)
            except (ValueError, OverflowError):
                continue  # the 31st of June
            break
    return best


def _beginning(m: re.Match[str]) -> int:
    """Where the time itself begins, without the word that leads to it."""
    return min(m.start(name) for name, value in m.groupdict().items() if value) if m.groupdict() else m.start()
