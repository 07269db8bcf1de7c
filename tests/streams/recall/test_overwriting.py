"""Every question has the answer of a dictionary that is written and read step by step."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from remanence.errors import UsageError
from remanence.streams.recall.overwriting import overwriting
from remanence.streams.recall.sequence_batch import IGNORE


@given(st.integers(0, 10**6), st.integers(1, 6), st.floats(0, 1), st.integers(2, 30))
def test_the_answers_are_those_of_a_dictionary(seed, keys, asked, steps):
    drawn = overwriting(3, seed, keys=keys, asked=asked, length=2 * steps, vocabulary=16)
    for tokens, targets, distance in zip(drawn.tokens.tolist(), drawn.targets, drawn.distance, strict=True):
        known, said = {}, {}
        for at in range(0, 2 * steps, 2):
            first, second = tokens[at : at + 2]
            assert targets[at] == IGNORE
            assert distance[at] == 0
            if first:
                assert 1 <= first <= 7 < second < 16
                known[first], said[first] = second, at + 1
                assert targets[at + 1] == IGNORE
                assert distance[at + 1] == 0
            else:
                assert targets[at + 1] == known[second]
                assert distance[at + 1] == at + 1 - said[second]
        assert targets[-1] != IGNORE
        assert len(known) <= keys


def test_values_are_overwritten_and_old_ones_are_wrong():
    drawn = overwriting(20, 0, keys=4, length=128)
    stale = 0
    for tokens, targets in zip(drawn.tokens.tolist(), drawn.targets.tolist(), strict=True):
        first = {}
        for at in range(0, 128, 2):
            if tokens[at]:
                first.setdefault(tokens[at], tokens[at + 1])
            else:
                stale += first[tokens[at + 1]] != targets[at + 1]
    assert stale > 0.7 * int(drawn.asked.sum())


def test_as_many_steps_ask_as_were_meant_to():
    drawn = overwriting(200, 0, keys=1, asked=0.3, length=202)
    assert abs(float(drawn.asked[:, 3:-2].double().mean()) - 0.15) < 0.01


def test_equal_seeds_draw_equal_sequences():
    assert torch.equal(overwriting(4, 1).tokens, overwriting(4, 1).tokens)
    assert not torch.equal(overwriting(4, 1).tokens, overwriting(4, 2).tokens)


@pytest.mark.parametrize("wrong", [{"keys": 0}, {"keys": 32}, {"length": 2}, {"length": 7}, {"asked": 1.1}])
def test_what_cannot_be_drawn_is_refused(wrong):
    with pytest.raises(UsageError, match="an even number of 4 or more tokens"):
        overwriting(1, 0, **wrong)
