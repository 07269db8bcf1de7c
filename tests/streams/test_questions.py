"""Streams of questions: text as rows, made-up talk and tasks with exact answers, folds, and the score."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import remanence as rm
from remanence.answer import Answer
from remanence.arena.evaluate import evidence_missed
from remanence.errors import UsageError
from remanence.streams.dialogues import evidence, said_at
from remanence.streams.experience import Task
from remanence.streams.facts import ATTRIBUTES
from remanence.streams.text_rows import pack, unpack


@given(st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=20), max_size=3), max_size=5))
def test_text_travels_as_rows_and_comes_back(rows):
    assert unpack(pack(rows)) == rows


def test_a_row_that_is_too_long_is_refused():
    with pytest.raises(UsageError, match="pack them together"):
        pack([{"text": "hello"}], width=3)


@given(st.integers(1, 4), st.data())
def test_missed_evidence_against_sets(k, data):
    numbers = st.lists(st.integers(0, 5), min_size=1, max_size=4, unique=True)
    wanted, named = data.draw(numbers), data.draw(numbers)
    evidence = torch.tensor([wanted + [-1] * (4 - len(wanted))])
    answer = Answer(torch.zeros(1, 4), (), torch.tensor([named + [-1] * (4 - len(named))]))
    found = len(set(wanted) & set(named[:k]))
    assert evidence_missed(answer, evidence, Task("retrieval", f"recall@{k}")) == pytest.approx(1 - found / len(wanted))
    assert evidence_missed(answer, evidence, Task("retrieval", f"hit@{k}")) == (found == 0)


def test_an_answer_without_records_is_refused():
    with pytest.raises(UsageError, match="names no records"):
        evidence_missed(Answer(torch.zeros(1, 1)), torch.zeros(1, 1), Task("retrieval", "hit@1"))


@pytest.mark.parametrize("seed", range(3))
def test_the_evidence_of_a_fact_states_its_present_value_and_nothing_older(seed):
    stream = rm.streams.changing("facts", sessions=10, people=5, changes=0.3, mentions=0.2, seed=seed)
    told = [row for segment in stream.segments for row in unpack(segment.examples.x)]
    asked = unpack(stream.tests[0].x)
    for question, numbers in zip(asked, stream.tests[0].y.tolist(), strict=True):
        (attribute,) = [
            a for a in ATTRIBUTES if any(question["question"] == p.format(n) for p in a.asked for n in _names(told))
        ]
        person = next(n for n in _names(told) if n in question["question"])
        stating = [
            (number, value)
            for number, row in enumerate(told)
            for value in attribute.values
            if row["speaker"] == person and _states(row["text"], attribute, value)
        ]
        present = stating[-1][1]
        last = max((n for n, value in stating if value != present), default=-1)
        assert [n for n in numbers if n >= 0] == [n for n, value in stating if value == present and n > last]


def _names(told):
    return {row["speaker"] for row in told}


def _states(text, attribute, value):
    return any(text == pattern.format(value) for pattern in (*attribute.first, *attribute.changed, *attribute.again))


@pytest.mark.parametrize("drift", [0.0, 0.5])
def test_a_case_is_evidence_if_it_worked_and_the_rules_still_say_so(drift):
    stream = rm.streams.working("cases", experiences=4, tasks=30, drift=drift, seed=2)
    told = [row["metadata"] for segment in stream.segments for row in unpack(segment.examples.x)]
    for numbers in stream.tests[0].y.tolist():
        there = [n for n in numbers if n >= 0]
        assert len({told[n]["action"] for n in there}) == 1
        assert all(told[n]["reward"] == 1 for n in there)
        action = told[there[0]]["action"]
        assert there == [n for n, one in enumerate(told) if one["action"] == action and one["reward"]]


def test_same_seed_same_stream_other_seed_another():
    streams = [rm.streams.parse("facts", seed=seed) for seed in (1, 1, 2)]
    assert torch.equal(streams[0].segments[3].examples.x, streams[1].segments[3].examples.x)
    assert streams[0].shape != streams[2].shape or not torch.equal(streams[0].tests[0].y, streams[2].tests[0].y)


def test_folds_part_the_questions_and_keep_the_records():
    whole = rm.streams.changing("facts", sessions=4, people=4, seed=0)
    parts = [rm.streams.fold(whole, 3, seed=k) for k in range(3)]
    assert sum(len(part.tests[0].y) for part in parts) == len(whole.tests[0].y)
    assert {tuple(row) for part in parts for row in part.tests[0].x.tolist()} == {
        tuple(row) for row in whole.tests[0].x.tolist()
    }
    assert all(part.segment_ends == whole.segment_ends for part in parts)


def test_what_cannot_be_asked_is_said():
    for wrong, says in (
        (lambda: rm.streams.fold("digits", 3), "asks no questions"),
        (lambda: rm.streams.alone("musique"), "no questions for every experience|comes from a folder"),
        (lambda: rm.streams.fold(rm.streams.changing("facts", sessions=1, people=1), 50, seed=49), "too few"),
        (lambda: rm.streams.parse("facts", experiences=3), "set by an option of the scenario changing"),
        (lambda: rm.streams.changing("facts", people=99), "people must be"),
        (lambda: rm.streams.parse("facts", ["held_out"]), "nothing can be held out"),
        (lambda: rm.make("er", rm.streams.parse("facts")), "does classification, regression"),
        (lambda: rm.make("rag", rm.streams.split("digits")), "does answering, retrieval"),
    ):
        with pytest.raises(UsageError, match=says):
            wrong()


def test_evidence_as_locomo_writes_it():
    known = {"D8:6": 4, "D9:17": 9}
    assert evidence(["D8:6; D9:17"], known) == (4, 9)
    assert evidence(["D8:6", "D", "D99:1"], known) == (4,)
    assert said_at("1:56 pm on 8 May, 2023") == "2023-05-08T13:56:00+00:00"
    assert said_at("some day") is None


@pytest.mark.data
def test_the_real_conversations_and_passages(data):
    locomo, musique = rm.streams.parse("locomo"), rm.streams.parse("musique")
    assert sum(len(segment.examples) for segment in locomo.segments) == 3435
    assert sum(len(test.y) for test in locomo.tests) == 883
    assert len(musique.tests[0].y) == 50
    third = rm.streams.parse("locomo", ["alone"], seed=8)
    assert [segment.name for segment in third.segments] == [locomo.segments[2].name] == [third.tests[0].name]
    row = unpack(locomo.segments[0].examples.x[:1])[0]
    assert row["speaker"] == "Caroline"
    assert row["said_at"] == "2023-05-08T13:56:00+00:00"
