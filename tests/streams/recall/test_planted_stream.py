"""A text with planted facts as a stream: nothing of the text is lost, and every fact is asked where it was planted."""

import pytest
import torch

import remanence as rm
from remanence.errors import UsageError
from remanence.randomness import derive
from remanence.streams.facts import SMALL_TALK
from remanence.streams.recall.needle_text import needle_text
from remanence.streams.recall.planted_stream import MARGIN, NOTE, _places, lines_of
from remanence.streams.text_rows import unpack, unpack_texts

TALK = "".join(f"{line}\n" for line in SMALL_TALK)


def texts_of(stream):
    return [[row["text"] for row in unpack(segment.examples.x)] for segment in stream.segments]


@pytest.mark.parametrize(("tokens", "facts"), [(300, 1), (MARGIN + 5 * NOTE, 5), (1500, 4)])
def test_the_lines_are_the_text_and_every_fact_is_asked_where_it_stands(tokens, facts):
    stream = rm.streams.planted("recall", experiences=6, tokens=tokens, facts=facts, filler="talk", seed=3)
    text = needle_text(6 * tokens, derive(3, "recall"), facts=6 * facts, at=_places(6, tokens, facts, 3), filler=TALK)
    told = texts_of(stream)
    assert "".join(f"{line}\n" for lines in told for line in lines).rstrip("\n") == text.text.rstrip("\n")
    assert len(stream.tests) == 6
    for k, (lines, test) in enumerate(zip(told, stream.tests, strict=True)):
        asked, right = unpack(test.x), unpack_texts(test.y)
        assert len(asked) == facts
        for question, answer in zip(asked, right, strict=True):
            [fact] = [fact for fact in text.facts if fact.question == question["question"]]
            assert answer == fact.value and question["length"] == len(answer)
            assert k * tokens <= fact.start and fact.end <= (k + 1) * tokens
            assert fact.sentence.rstrip("\n") in [line.rstrip("\n") for line in lines]
    far = [(fact.start // tokens + 1) * tokens - fact.value_at for fact in text.facts]
    assert stream.distances == pytest.approx([sum(far) / len(far) + k * tokens for k in range(6)])
    ids = torch.cat([segment.examples.ids for segment in stream.segments])
    assert ids.tolist() == list(range(len(ids)))


def test_empty_lines_stand_with_the_one_before():
    for text in ("\n\nALL:\n\n\nSpeak.\n", "Speak.", "\n"):
        assert "".join(f"{line.text}\n" for line in lines_of(text)).rstrip("\n") == text.rstrip("\n")
        for line in lines_of(text):
            assert text[line.start :].startswith(line.text)


def test_it_is_made_from_the_command_line_and_by_seed(data):
    one = rm.streams.parse("recall", ["planted:experiences=2,tokens=400,facts=2"], seed=4)
    again = rm.streams.parse("recall", ["planted:experiences=2,tokens=400,facts=2"], seed=4)
    other = rm.streams.parse("recall", ["planted:experiences=2,tokens=400,facts=2"], seed=5)
    assert texts_of(one) == texts_of(again) != texts_of(other)
    assert one.task == ("answering", "exact match")
    assert len(rm.streams.parse("recall")) == 12


def test_a_part_of_its_questions_keeps_what_the_report_counts():
    stream = rm.streams.planted("recall", experiences=3, tokens=400, facts=4, filler="talk")
    assert rm.streams.fold(stream, 2, seed=1).distances == stream.distances
    assert len(rm.streams.fold(stream, 2, seed=1).tests[0].y) == 2
    one = rm.streams.alone(stream, seed=2)
    assert len(one) == len(one.tests) == len(one.distances) == 1


def test_what_cannot_be_is_said():
    stream = rm.streams.planted("recall", experiences=2, tokens=400, facts=2, filler="talk")
    for wrong, says in (
        (lambda: rm.streams.planted("recall", tokens=100, filler="talk"), "4 facts do not go into experiences of 100"),
        (lambda: rm.streams.planted("recall", facts=0), "facts must be"),
        (lambda: rm.streams.planted("recall", filler="silence"), "filler must be"),
        (lambda: rm.streams.parse("recall", experiences=3), "set by an option of the scenario planted"),
        (lambda: rm.streams.hold_out(stream), "nothing can be held out"),
        (lambda: rm.streams.unlabelled(stream), "no labels to hide"),
        (lambda: rm.make("er", stream), "does classification, regression"),
    ):
        with pytest.raises(UsageError, match=says):
            wrong()
