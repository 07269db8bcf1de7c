"""Facts from plain English by rules: a table of sentences and what they tell."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remanence.store.retrieve.extract import MOST, mentions, phrase, sentences, titled, triples


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        (
            "Bubye River\nThe Bubye River is a river in Zimbabwe.",
            [("Bubye River", "is", "river"), ("Bubye River", "is a river in", "Zimbabwe")],
        ),
        (
            "Gisvi\nHe was born in Windhoek on 6 March 1982.",
            [("Gisvi", "he was born in", "Windhoek"), ("Gisvi", "on", "6 March 1982")],
        ),
        (
            "Judith Viorst\nViorst is a graduate of Rutgers University.",
            [("Judith Viorst", "is", "graduate"), ("Judith Viorst", "is a graduate of", "Rutgers University")],
        ),
        (
            "Brand (play)\nBrand is a play by the Norwegian playwright Henrik Ibsen.",
            [
                ("Brand", "is", "play"),
                ("Brand", "is a play by", "Norwegian"),
                ("Brand", "playwright", "Henrik Ibsen"),
                ("Norwegian", "playwright", "Henrik Ibsen"),
            ],
        ),
        (
            "SKYY vodka\nSKYY vodka is made by the Campari Group of Milan, Italy.",
            [
                ("SKYY vodka", "is made by", "Campari Group of Milan"),
                ("SKYY vodka", "is made by", "Italy"),
            ],
        ),
        (
            "Anna Blum met Carl in Rome. Blum left in 1990.",
            [
                ("Anna Blum", "met", "Carl"),
                ("Anna Blum", "in", "Rome"),
                ("Carl", "in", "Rome"),
                ("Anna Blum", "left in", "1990"),
            ],
        ),
        (
            'Songs\nShe wrote "Thinking Out Loud" for Ed Sheeran.',
            [
                ("Songs", "she wrote", "Thinking Out Loud"),
                ("Songs", "for", "Ed Sheeran"),
            ],
        ),
        ("the weather was fine and nothing happened", []),
        ("", []),
    ],
)
def test_what_a_text_tells(text: str, facts: list[tuple[str, str, str]]) -> None:
    assert triples(text) == facts


def test_a_speaker_is_who_speaks_of_nothing_else() -> None:
    assert triples("I moved to Lisbon in May", "Ana") == [("Ana", "i moved to", "Lisbon"), ("Ana", "in", "May")]
    assert triples("I'm fine. I've seen nothing.", "Ana") == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The University of the North opened.", ["University of the North"]),
        (
            "In 1963 the American Institute of Physics paid $1.5 million.",
            ["1963", "American Institute of Physics", "$1.5 million"],
        ),
        ("Étienne Azéma met José Antunes Sobrinho.", ["Étienne Azéma", "José Antunes Sobrinho"]),
        ("It was sold on January 5, 1990, not later.", ["January 5, 1990"]),
        ("Lake Winnipeg and the Nelson River", ["Lake Winnipeg", "Nelson River"]),
        ("I'm here. You are not.", []),
        ("``Little Boy'' fell.", ["Little Boy"]),
    ],
)
def test_what_is_a_name(text: str, found: list[str]) -> None:
    assert [mention.text for mention in mentions(text)] == found


def test_a_mention_lies_where_it_says() -> None:
    text = "When Vienna's Hofburg burned, Maria Theresia fled to Graz in 1741."
    for mention in mentions(text):
        assert text[mention.begin : mention.end].strip(" ,.;:") == mention.text


def test_a_title_is_a_short_first_line() -> None:
    assert titled("Canon law\nIn the Church of England …") == ("Canon law", "In the Church of England …")
    assert titled("x" * 121 + "\nbody")[0] == ""
    assert titled("(untitled)\nbody") == ("(untitled)", "body")
    assert titled("Dear Ana,\nhow are you?")[0] == ""


def test_abbreviations_do_not_end_a_sentence() -> None:
    assert sentences("He met Dr. Who. J. R. Tolkien wrote. It is so!") == [
        "He met Dr. Who.",
        "J. R. Tolkien wrote.",
        "It is so!",
    ]


def test_a_book_gives_a_bounded_number() -> None:
    assert len(triples(" ".join(f"Anna Number{n} met Bob Number{n}." for n in range(500)))) == MOST


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=400))
def test_any_text_is_borne(text: str) -> None:
    for subject, relation, other in triples(text):
        assert subject and relation and other
        assert phrase(subject) != phrase(other)


def test_long_texts_are_read_in_linear_time() -> None:
    # each of these made a naive pattern quadratic
    for piece in ("A ", "a, ", "(", '"', "``", "A-", "1.", "Of of ", "In ", "A. ", "It was a ", "a\n"):
        triples(piece * 10_000)
        triples(f"Title\n{piece * 10_000}")
