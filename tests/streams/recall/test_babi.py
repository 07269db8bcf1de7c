"""Every answer is what reading the story gives, and the supporting facts alone give it too."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remanence.errors import UsageError
from remanence.streams.recall.babi import DROPS, MOVES, OBJECTS, PEOPLE, PLACES, TAKES, VOCABULARY, babi, stories

SHORTEST = {1: 10, 2: 16, 3: 25}


def read(sentences):
    """Where everybody is, and all places of each object in order."""
    where, holder, been = {}, {}, {}
    for who, verb, *rest in sentences:
        last = rest[-1]
        if verb in MOVES:
            where[who] = last
            for what in OBJECTS:
                if holder.get(what) == who:
                    been.setdefault(what, []).append(last)
        else:
            holder[last] = who if verb in TAKES else None
            if who in where and been.get(last, [None])[-1] != where[who]:
                been.setdefault(last, []).append(where[who])
    return where, been


def answered(sentences, question):
    where, been = read(sentences)
    if question[1] == "is":
        return where.get(question[2]) if question[2] in PEOPLE else been.get(question[3], [None])[-1]
    history = been.get(question[3], [])
    at = max((n for n, place in enumerate(history) if place == question[6]), default=0)
    return history[at - 1] if at else None


def cut(words):
    """The sentences of a story, each with the place of its first word."""
    found, start = [], 0
    for at, word in enumerate(words):
        if word in (".", "?"):
            found.append((start, words[start:at], word))
            start = at + 1
    assert start == len(words)
    return found


@given(st.integers(0, 10**6), st.sampled_from([1, 2, 3]), st.integers(0, 200), st.floats(0, 1))
def test_the_answers_are_what_reading_gives(seed, task, more, asked):
    length = SHORTEST[task] + more
    for story in stories(3, seed, task=task, length=length, asked=asked):
        assert len(story.words) <= length
        told, questions = [], iter(story.questions)
        for start, sentence, end in cut(story.words):
            if end == ".":
                told.append((start, sentence))
                continue
            question = next(questions)
            assert question.at == start + len(sentence)
            assert question.answer in PLACES
            assert question.answer == answered([words for _, words in told], sentence)
            facts = [words for at, words in told if at in question.facts]
            assert len(facts) == len(question.facts) == task
            assert answered(facts, sentence) == question.answer
            for fewer in combinations(facts, task - 1):
                assert answered(fewer, sentence) is None
            assert story.words[question.source] == question.answer
            assert any(at <= question.source < at + 6 for at in question.facts)
        assert next(questions, None) is None
        assert story.words[-1] == "?"


@given(st.integers(0, 10**6), st.sampled_from([1, 2, 3]))
def test_nobody_does_what_cannot_be_done(seed, task):
    for story in stories(2, seed, task=task, length=200):
        where, holder, lies = {}, {}, {}
        for _, (who, verb, *rest), end in cut(story.words):
            if end == "?":
                continue
            if verb in MOVES:
                assert where.get(who) != rest[-1]
                where[who] = rest[-1]
            elif verb in TAKES:
                assert holder.get(rest[-1]) is None
                assert lies.get(rest[-1], where[who]) == where[who]
                holder[rest[-1]] = who
            else:
                assert verb in DROPS
                assert holder[rest[-1]] == who
                holder[rest[-1]], lies[rest[-1]] = None, where[who]


@given(st.integers(0, 10**6), st.sampled_from([1, 2, 3]), st.integers(0, 60))
def test_tokens_are_the_words_of_the_stories(seed, task, more):
    length = SHORTEST[task] + more
    drawn, told = (make(4, seed, task=task, length=length) for make in (babi, stories))
    for row, story in enumerate(told):
        words, spare = [VOCABULARY[token] for token in drawn.tokens[row]], length - len(story.words)
        assert words == ["-"] * spare + story.words
        assert drawn.asked[row].nonzero().flatten().tolist() == [spare + question.at for question in story.questions]
        for question in story.questions:
            at = spare + question.at
            assert VOCABULARY[drawn.targets[row, at]] == question.answer == words[at - drawn.distance[row, at]]
        assert not drawn.distance[row][~drawn.asked[row]].any()


def test_all_words_are_used_and_none_twice():
    assert len(set(VOCABULARY)) == len(VOCABULARY)
    said = {word for task in (1, 2, 3) for story in stories(20, 0, task=task) for word in story.words}
    assert said | {"-"} == set(VOCABULARY)


def test_a_story_can_be_long():
    (story,) = stories(1, 0, task=3, length=20000)
    assert 19900 < len(story.words) <= 20000
    assert len(story.questions) > 500


@pytest.mark.parametrize("task", [1, 2, 3])
def test_a_story_too_short_is_refused(task):
    with pytest.raises(UsageError, match=f"give {SHORTEST[task]} or more"):
        babi(1, 0, task=task, length=SHORTEST[task] - 1)


@pytest.mark.parametrize("wrong", [{"task": 4}, {"asked": 1.5}])
def test_other_tasks_are_refused(wrong):
    with pytest.raises(UsageError, match="give task 1, 2 or 3"):
        babi(1, 0, **wrong)
