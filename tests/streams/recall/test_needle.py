"""A key is found in the hay just once, and what follows it is the answer."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from remanence.errors import UsageError
from remanence.streams.recall.needle import needle

DEPTHS = st.none() | st.floats(0, 1)


def found(hay, key):
    return [at for at in range(len(hay) - len(key)) if hay[at : at + len(key)] == key]


@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 3), st.integers(0, 30), st.integers(2, 6), DEPTHS)
def test_the_answer_is_what_follows_the_only_place_of_the_key(seed, needles, key, more, spare, depth):
    length = needles * (2 * key + 2) + more
    drawn = needle(4, seed, needles=needles, key=key, length=length, vocabulary=needles * key + spare, depth=depth)
    hay = length - needles * (key + 1)
    for tokens, targets, distance, asked in zip(
        drawn.tokens.tolist(), drawn.targets, drawn.distance, drawn.asked, strict=True
    ):
        starts = []
        for question in range(needles):
            at = hay + question * (key + 1)
            assert tokens[at] == 0
            places = found(tokens[:hay], tokens[at + 1 : at + 1 + key])
            assert len(places) == 1
            starts += places
            assert targets[at + key] == tokens[places[0] + key]
            assert at + key - distance[at + key] == places[0] + key
        assert asked.sum() == needles
        assert not distance[~asked].any()
        assert 0 not in tokens[:hay]
        if depth is not None:
            first = round(depth * (hay - needles * (key + 1)))
            assert sorted(starts) == [first + n * (key + 1) for n in range(needles)]


def test_the_symbols_of_a_key_stand_in_the_hay_as_often_as_others():
    drawn = needle(400, 0, length=200, vocabulary=12)
    hay, key = drawn.tokens[:, :197], drawn.tokens[:, -2:]
    times = (hay.unsqueeze(2) == key.unsqueeze(1)).sum(1).double().mean(0)
    assert torch.allclose(times, torch.full((2,), 197 / 11, dtype=torch.float64), rtol=0.15)


def test_without_a_depth_needles_lie_everywhere():
    drawn = needle(3000, 0, length=14, vocabulary=12, needles=1)
    starts = 13 - drawn.distance[:, -1] - 2
    assert torch.allclose(
        torch.bincount(starts, minlength=9).double() / 3000, torch.full((9,), 1 / 9, dtype=torch.float64), atol=0.02
    )


def test_equal_seeds_draw_equal_sequences():
    assert torch.equal(needle(4, 1, needles=3).tokens, needle(4, 1, needles=3).tokens)
    assert not torch.equal(needle(4, 1, needles=3).tokens, needle(4, 2, needles=3).tokens)


@pytest.mark.parametrize(
    "wrong", [{"needles": 0}, {"key": 0}, {"length": 5}, {"vocabulary": 3}, {"depth": 1.5}, {"depth": float("nan")}]
)
def test_a_needle_that_does_not_fit_is_refused(wrong):
    with pytest.raises(UsageError, match=r"give at least (6 tokens of 4|4 tokens of 3) kinds"):
        needle(1, 0, **wrong)
