"""Which segment came first is what searching the excerpt says."""

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from remanence.errors import UsageError
from remanence.streams.recall.sequence_batch import IGNORE
from remanence.streams.recall.sequence_order import sequence_order


def places(text, segment):
    return [at for at in range(len(text) - len(segment) + 1) if text[at : at + len(segment)] == segment]


@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 4), st.integers(0, 30), st.data())
def test_the_answer_is_what_searching_says(seed, questions, segment, more, data):
    size, excerpt = 2 * segment + 2, 2 * segment + more
    nearest = data.draw(st.none() | st.integers(segment, excerpt - segment))
    farthest = data.draw(st.none() | st.integers(nearest or segment, excerpt - segment))
    try:
        drawn = sequence_order(
            3,
            seed,
            questions=questions,
            segment=segment,
            nearest=nearest,
            farthest=farthest,
            length=excerpt + questions * size,
            vocabulary=40,
        )
    except UsageError:
        assume(False)
    answers = []
    for tokens, targets, distance in zip(drawn.tokens.tolist(), drawn.targets.tolist(), drawn.distance, strict=True):
        text = tokens[:excerpt]
        assert min(text) > 1
        assert targets[:excerpt] == [IGNORE] * excerpt
        for start in range(excerpt, len(tokens), size):
            asked = tokens[start : start + size]
            assert (asked[0], asked[segment + 1]) == (0, 1)
            (one,), (other,) = places(text, asked[1 : segment + 1]), places(text, asked[segment + 2 :])
            assert (nearest or segment) <= abs(one - other) <= (farthest or excerpt - segment)
            assert targets[start : start + size] == [IGNORE] * (size - 1) + [int(other < one)]
            at = start + size - 1
            assert at - distance[at] == min(one, other) + segment - 1
            answers.append(int(other < one))
        assert distance.count_nonzero() == questions
    assert sum(answers) == len(answers) // 2


def test_equal_seeds_draw_equal_sequences():
    assert torch.equal(sequence_order(4, 1).tokens, sequence_order(4, 1).tokens)
    assert not torch.equal(sequence_order(4, 1).tokens, sequence_order(4, 2).tokens)


@pytest.mark.parametrize(
    "wrong",
    [
        {"questions": 0},
        {"segment": 0},
        {"vocabulary": 3},
        {"length": 17},
        {"nearest": 3},
        {"farthest": 243},
        {"nearest": 9, "farthest": 8},
    ],
)
def test_what_cannot_be_asked_is_refused(wrong):
    with pytest.raises(UsageError, match="the distance may be"):
        sequence_order(1, 0, **wrong)


def test_segments_that_come_twice_are_refused():
    with pytest.raises(UsageError, match="stand only once"):
        sequence_order(1, 0, segment=1, length=1000, vocabulary=4)
