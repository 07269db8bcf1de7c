"""Text memories where answers are texts: what the reader is given, and what goes when a budget is passed."""

import json

import pytest
import torch

import remanence as rm
from remanence.errors import BudgetError, UsageError
from remanence.models.reader import Reply
from remanence.store.where import Filter
from remanence.streams.examples import InMemory
from remanence.streams.experience import Experience
from remanence.streams.text_rows import pack, unpack, unpack_texts
from small_language_model import folder as small_model


class Listening:
    """A reader that answers with the line it was given that begins as the answer shall, and remembers what it read."""

    def __init__(self):
        self.read = []

    def answer(self, context, question, length):
        self.read.append((context, question, length))
        wanted = question.removeprefix("Question: ")
        found = [line for line in context.splitlines() if wanted in line]
        return Reply(found[-1].partition(wanted)[2][:length] if found else "", -1.0)


@pytest.fixture
def stream():
    return rm.streams.planted("recall", experiences=3, tokens=400, facts=2, filler="talk", seed=1)


def made(stream, name, **settings):
    learner = rm.make(name, stream, language_model=small_model(), **settings)
    learner._reader = Listening()
    return learner


def learned(learner, stream):
    for experience in stream.experiences():
        learner.learn(experience)
    return learner


def test_it_reads_what_it_finds_in_the_order_of_its_arrival_and_answers_from_that(stream):
    learner = learned(made(stream, "bm25", records=3), stream)
    for test in stream.tests:
        answer = learner.predict(test.x)
        assert list(answer.texts) == unpack_texts(test.y)
        assert answer.scores.shape == (2, 1) and answer.records.shape == (2, 3)
    told = [row["text"] for segment in stream.segments for row in unpack(segment.examples.x)]
    (context, question, length), named = learner._reader.read[-1], sorted(answer.records[-1].tolist())
    assert context == "".join(f"{told[row].rstrip()}\n" for row in named if row >= 0)
    assert (question, length) == (unpack(test.x)[-1]["question"], 4)


def test_of_two_that_disagree_the_later_is_read_last(stream):
    notes = ["The key of sisok is 1111.", "A long week.", "The key of sisok is 2222."]
    width = stream.shape[0]
    rows = pack([{"text": note} for note in notes], width)
    asked = pack([{"question": "The key of sisok is ", "length": 4}], width)
    learner = made(stream, "bm25", records=2)
    learner.learn(Experience(0, InMemory(rows, torch.zeros(3, dtype=torch.int64), ordered=True)))
    assert learner.predict(asked).texts == ("2222",)


def test_before_anything_was_learned_it_answers_from_nothing(stream):
    learner = made(stream, "rag")
    assert learner.predict(stream.tests[0].x).texts == ("", "")
    assert learner._reader.read[0][0] == ""


def test_the_real_reader_scores_it_as_the_arena_does(stream):
    result = rm.run(rm.make("recent", stream, language_model=small_model()), stream).results[0]
    assert result.metric == "exact match"
    assert result.accuracy == 0.0 and result.distances == list(stream.distances)
    assert "parameters" not in result.bytes


@pytest.mark.parametrize("budget", [2_000, 8_000])
def test_the_oldest_records_go_when_the_budget_is_passed(stream, budget):
    learner = made(stream, "bm25", budget=budget)
    row = -1
    for experience in stream.experiences():
        for _ in learner.steps(experience):
            row += 1
            assert learner.footprint().total <= budget
            held = [json.loads(one.metadata)["rows"][0] for one in learner.store.database.find(Filter(scope=None))]
            assert sorted(held) == list(range(row - len(held) + 1, row + 1))
    assert 0 < len(held) < row


def test_a_budget_that_holds_no_record_is_refused(stream):
    learner = made(stream, "bm25", budget=100)
    with pytest.raises(BudgetError, match=r"bm25 holds .*, more than the budget of 100 B: raise --budget"):
        learned(learner, stream)


def test_settings_of_reading_are_told_apart_from_those_of_the_memory(stream):
    assert made(stream, "a-mem[rules]", records=2, link=False).reader_settings.records == 2
    for wrong, says in (({"records": 0}, "records must be"), ({"record": 3}, "no hyperparameter 'record'")):
        with pytest.raises(UsageError, match=says):
            made(stream, "rag", **wrong)
    with pytest.raises(UsageError, match="could not be read as a causal language model"):
        rm.make("rag", stream, language_model="no-such-model")
