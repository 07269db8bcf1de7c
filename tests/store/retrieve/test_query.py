"""What a question says before anything is searched."""

import pytest

from remanence.store.retrieve.query import query
from remanence.store.times import instant

SPEAKERS = ("Ana Silva", "Ben", "Will", "May", "user")


def test_names_of_speakers_are_neither_terms_nor_meaning():
    found = query("Where did Ana's sister and Ben live?", SPEAKERS)
    assert found.speakers == {"Ana Silva", "Ben"}
    assert found.terms == ("sister", "live")
    assert found.meaning == "Where did sister and live?"


def test_unknown_names_are_words():
    found = query("Where does Carla live?", SPEAKERS)
    assert found.speakers == frozenset()
    assert found.terms == ("carla", "live")
    assert found.meaning == "Where does Carla live?"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Where will she live?", set()),
        ("Where does Will live?", {"Will"}),
        ("Will she live in May's house?", {"May"}),
        ("what did ben say to the user", {"Ben", "user"}),
    ],
)
def test_names_that_are_common_words_need_their_capital(text, named):
    assert query(text, SPEAKERS).speakers == named


def test_a_question_of_nothing_but_a_name_keeps_it():
    found = query("Ben?", SPEAKERS)
    assert (found.speakers, found.terms, found.meaning) == ({"Ben"}, ("ben",), "Ben?")


@pytest.mark.parametrize("text", ["", "???", "'\"*", "\u0301", "ß" * 3, "日本語"])
def test_anything_can_be_asked(text):
    assert query(text, SPEAKERS).meaning == text


def test_whether_a_time_is_asked():
    assert [query(text).asks_time for text in ("When was it?", "how long?", "What year", "Who, when?")] == [
        True,
        True,
        True,
        False,
    ]


def test_times_are_read_where_now_is_known():
    assert query("last May").period is None
    assert query("last May", now=instant("2026-11-21")).period.holds(instant("2026-05-03"))
