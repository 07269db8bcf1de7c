"""Whatever a planted text says about itself is found in it by searching for strings."""

import re
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from remanence.errors import UsageError
from remanence.streams.recall.needle_text import needle_rows, needle_text
from remanence.streams.shakespeare import tiny_shakespeare

LINES = "The wind blows.\nAnd the rain falls on all of us, every day.\n\nSo it goes.\n"


@given(st.integers(0, 10**6), st.integers(0, 600), st.integers(1, 5), st.integers(0, 4), st.integers(0, 5))
def test_notes_questions_and_answers_are_where_they_are_said_to_be(seed, room, facts, revisions, asked):
    asked = min(asked, facts)
    length = 600 + room
    drawn = needle_text(length, seed, facts=facts, revisions=revisions, questions=asked, filler=LINES)
    assert len(drawn.text.encode("ascii")) == length
    notes = list(re.finditer(r"^Note: the key of (\w{5})=([a-z0-9]{4})\.\n", drawn.text, re.M))
    assert [(n[1], n[2], n.start(), n.end()) for n in notes] == [
        (fact.name, fact.value, fact.start, fact.end) for fact in drawn.facts
    ]
    assert len(drawn.facts) == facts + revisions
    assert len({fact.value for fact in drawn.facts}) == facts + revisions
    known: dict[str, tuple[str, int]] = {}
    found = []
    for line in re.finditer(r"^(Note|Question): the key of (\w{5})=([a-z0-9]{4})\.\n", drawn.text, re.M):
        if line[1] == "Note":
            known[line[2]] = line[3], line.start(3)
        else:
            assert known[line[2]][0] == line[3]
            found.append((line.start(), line.end(), line.start(3), line.start(3) - known[line[2]][1]))
    assert found == [(q.start, q.end, q.answer_at, q.distance) for q in drawn.questions]
    assert len(found) == asked
    assert {fact.name: fact.value for fact in drawn.latest} == {name: value for name, (value, _) in known.items()}
    for fact in drawn.facts:
        assert drawn.text[fact.value_at :].startswith(fact.value)


@given(st.integers(0, 10**6), st.integers(0, 200))
def test_the_rest_of_the_text_is_the_filler(seed, room):
    drawn = needle_text(300 + room, seed, facts=2, revisions=1, questions=2, filler=LINES)
    rest = re.sub(r"^(Note|Question): the key of .*\n", "", drawn.text, flags=re.M)
    assert rest in LINES * (len(rest) // len(LINES) + 2)


@given(st.integers(0, 10**6), st.integers(0, 150), st.integers(0, 100))
def test_a_gap_bounds_the_distance(seed, low, more):
    drawn = needle_text(600, seed, facts=1, questions=1, gap=(low, low + more), filler=LINES)
    (question,) = drawn.questions
    # Both lines move to the beginning of a line, and the question is longer than the note by four letters.
    longest = max(map(len, LINES.splitlines(keepends=True)))
    assert low - longest < question.distance - 33 < low + more + longest


def test_facts_stand_at_the_lines_that_were_asked_for():
    drawn = needle_text(2000, 5, facts=3, at=(0, 700, 1900), filler=LINES)
    for fact, place in zip(drawn.facts, (0, 700, 1900), strict=True):
        assert 0 <= place - fact.start < 80
        assert fact.start == 0 or drawn.text[fact.start - 1] == "\n"
    assert needle_text(400, 5, facts=1, at=(400,), filler=LINES).facts[0].end <= 400


@given(st.integers(0, 10**6))
def test_rows_ask_for_every_byte_of_an_answer(seed):
    drawn = needle_rows(3, 400, seed, facts=3, revisions=2, questions=3, filler=LINES)
    assert drawn.tokens.shape == (3, 400)
    assert drawn.vocabulary == 256
    assert (drawn.asked.sum(1) == 12).all()
    for tokens, targets, distance, asked in zip(drawn.tokens, drawn.targets, drawn.distance, drawn.asked, strict=True):
        for place in asked.nonzero().flatten().tolist():
            back = int(distance[place])
            assert targets[place] == tokens[place + 1] == tokens[place - back]
            # What stands before the value in the note stands before the answer as well.
            assert torch.equal(tokens[place - 4 : place + 1], tokens[place - back - 5 : place - back])
    text = bytes(drawn.tokens[0].tolist()).decode()
    answers = [text[m.start(1) : m.end(1)] for m in re.finditer(r"Question: the key of \w{5}=([a-z0-9]{4})", text)]
    assert "".join(answers) == bytes(drawn.targets[0][drawn.asked[0]].tolist()).decode()


def test_equal_seeds_draw_equal_texts():
    one, same, other = (needle_text(500, seed, facts=3, questions=2, filler=LINES) for seed in (1, 1, 2))
    assert one == same
    assert one.text != other.text


def test_values_cannot_be_guessed():
    values = [needle_text(40, seed, facts=1, filler=LINES).facts[0].value for seed in range(3600)]
    for place in range(4):
        counts = Counter(value[place] for value in values)
        assert len(counts) == 36
        assert min(counts.values()) > 50
    assert max(Counter(values).values()) <= 2


@pytest.mark.parametrize(
    ("length", "settings", "says"),
    [
        (57, {"facts": 2}, "do not go into 57 bytes"),
        (500, {"facts": 0}, "at least one fact"),
        (500, {"facts": 1, "questions": 2}, "no more questions than facts"),
        (500, {"facts": 1, "questions": 1, "gap": (900, 1000)}, "a gap from 900 to 1000"),
        (500, {"facts": 1, "questions": 1, "gap": (9, 3)}, "a gap from 9 to 3"),
        (500, {"facts": 2, "at": (5,)}, "at gives 1 places for 2 facts"),
        (500, {"facts": 2, "at": (9, 5)}, "rising"),
        (500, {"facts": 1, "filler": "no line"}, "ends with a line break"),
        (500, {"facts": 1, "filler": "Ça ira\n"}, "ASCII"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(length, settings, says):
    with pytest.raises(UsageError, match=says) as error:
        needle_text(length, 0, **{"filler": LINES, **settings})
    assert "\n" not in str(error.value)


def test_the_default_filler_is_the_half_that_was_asked_for(data, monkeypatch):
    training, held_out = (tiny_shakespeare(held_out=held) for held in (False, True))
    assert len(training) + len(held_out) == 1_115_394
    assert held_out.endswith("\n") and training.endswith("\n")
    for held, source in ((False, training), (True, held_out)):
        text = needle_text(400, 3, facts=1, at=(0,), held_out=held).text
        assert text[40:] in source + source
    monkeypatch.delenv("REMANENCE_DATA")
    with pytest.raises(UsageError, match="set REMANENCE_DATA to one that holds tinyshakespeare/input"):
        needle_text(400, 3)
