"""Times in questions, by a table of expressions; asked on Saturday, 21 November 2026."""

import pytest

from remanence.store.retrieve.temporal import Event, Period, around, event, period
from remanence.store.times import instant, moment

NOW = instant("2026-11-21T12:00Z")

TABLE = {
    "What did Ana do yesterday?": ("2026-11-20", "2026-11-21"),
    "the day before yesterday": ("2026-11-19", "2026-11-20"),
    "What happened today?": ("2026-11-21", "2026-11-22"),
    "last night": ("2026-11-20", "2026-11-21"),
    "last May": ("2026-05-01", "2026-06-01"),
    "in May": ("2026-05-01", "2026-06-01"),
    "in december": ("2025-12-01", "2026-01-01"),
    "last November": ("2025-11-01", "2025-12-01"),
    "this November": ("2026-11-01", "2026-12-01"),
    "next June": ("2027-06-01", "2027-07-01"),
    "in 2023": ("2023-01-01", "2024-01-01"),
    "May 2023": ("2023-05-01", "2023-06-01"),
    "in late August, 2023": ("2023-08-01", "2023-09-01"),
    "on 7 May 2023": ("2023-05-07", "2023-05-08"),
    "on May 7th, 2023": ("2023-05-07", "2023-05-08"),
    "on the 7th of May, 2023": ("2023-05-07", "2023-05-08"),
    "on the 7th of May": ("2026-05-07", "2026-05-08"),
    "on Aug 15th": ("2026-08-15", "2026-08-16"),
    "on Dec. 24": ("2025-12-24", "2025-12-25"),
    "2026-03-01": ("2026-03-01", "2026-03-02"),
    "last week": ("2026-11-09", "2026-11-16"),
    "this week": ("2026-11-16", "2026-11-23"),
    "last weekend": ("2026-11-14", "2026-11-16"),
    "last month": ("2026-10-01", "2026-11-01"),
    "next month": ("2026-12-01", "2027-01-01"),
    "last year": ("2025-01-01", "2026-01-01"),
    "on Monday": ("2026-11-16", "2026-11-17"),
    "last Saturday": ("2026-11-14", "2026-11-15"),
    "next Friday": ("2026-11-27", "2026-11-28"),
    "two days ago": ("2026-11-19", "2026-11-20"),
    "two weeks ago": ("2026-11-04", "2026-11-11"),
    "a couple of weeks ago": ("2026-11-04", "2026-11-11"),
    "a month ago": ("2026-10-01", "2026-11-01"),
    "3 years ago": ("2023-01-01", "2024-01-01"),
    "a few days ago": ("2026-11-16", "2026-11-20"),
    "in the past three months": ("2026-08-23", "2026-11-22"),
    "the last 10 days": ("2026-11-11", "2026-11-22"),
    "last summer": ("2026-06-01", "2026-09-01"),
    "in the summer of 2023": ("2023-06-01", "2023-09-01"),
    "last winter": ("2025-12-01", "2026-03-01"),
    "before May 2023": (None, "2023-05-01"),
    "until May 2023": (None, "2023-06-01"),
    "since 2024": ("2024-01-01", None),
    "after 3 March 2025": ("2025-03-04", None),
    "the week before 16 November 2023": ("2023-11-09", "2023-11-16"),
    "the day after 16 November 2023": ("2023-11-17", "2023-11-18"),
    "between May and July 2026": ("2026-05-01", "2026-08-01"),
    "from May 3, 2026 to May 9, 2026": ("2026-05-03", "2026-05-10"),
    "What has she done recently?": ("2026-10-22", "2026-11-22"),
    "What may come": None,
    "May I ask who you are?": None,
    "Did he march on?": None,
    "Who is the second of them?": None,
    "": None,
}


def dates(found: Period | None) -> tuple[str | None, str | None] | None:
    if found is None:
        return None
    start, end = moment(found.start), moment(found.end)
    return start and start.date().isoformat(), end and end.date().isoformat()


@pytest.mark.parametrize("text", TABLE)
def test_expression(text):
    assert dates(period(text, NOW)) == TABLE[text]


def test_days_that_do_not_exist_are_read_as_far_as_they_do():
    assert dates(period("on 31 June 2023", NOW)) == ("2023-06-01", "2023-07-01")


def test_years_beyond_the_calendar_are_no_times():
    assert period("999 years ago", NOW) is not None
    assert period("last May", instant("0001-01-02")) is None


def test_leap_days():
    assert dates(period("a year ago", instant("2024-02-29"))) == ("2023-01-01", "2024-01-01")
    assert period("on 29 February", instant("2026-03-01")) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    {
        "What did Ana buy before the trip to Porto?": Event("before", "the trip to Porto"),
        "Who came after Ben's birthday party, and why?": Event("after", "Ben's birthday party"),
        "What has she learned since moving to Lisbon?": Event("since", "moving to Lisbon"),
        "Before or after?": None,
        "What did she buy?": None,
    }.items(),
)
def test_event(text, expected):
    assert event(text) == expected


def test_periods_hold_and_overlap():
    span = Period(10, 20)
    assert [span.holds(at) for at in (9, 10, 19, 20)] == [False, True, True, False]
    assert span.overlaps(None, None)
    assert span.overlaps(None, 11)
    assert span.overlaps(19, None)
    assert not span.overlaps(20, None)
    assert not span.overlaps(0, 10)


def test_around():
    assert around(5, "before") == Period(None, 5)
    assert around(5, "since") == Period(5, None)
    assert around(5, "during").holds(5)
