"""Every question of associative recall has the answer that a dictionary gives."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from remanence.errors import UsageError
from remanence.streams.recall.mqar import mqar
from remanence.streams.recall.sequence_batch import IGNORE


@given(st.integers(0, 10**6), st.integers(1, 8), st.integers(0, 40))
def test_the_answers_are_those_of_a_dictionary(seed, pairs, noise):
    drawn = mqar(3, seed, pairs=pairs, length=4 * pairs + noise, vocabulary=33)
    for tokens, targets, distance in zip(drawn.tokens, drawn.targets, drawn.distance, strict=True):
        known = {int(k): int(v) for k, v in tokens[: 2 * pairs].view(-1, 2)}
        asked = [t for t in range(len(tokens)) if targets[t] != IGNORE]
        assert len(asked) == len(known) == pairs
        for t in asked:
            assert known[int(tokens[t])] == targets[t]
            assert tokens[t - distance[t]] == targets[t]
        assert not distance[targets == IGNORE].any()


def test_equal_seeds_draw_equal_sequences():
    one, same, other = mqar(4, 1), mqar(4, 1), mqar(4, 2)
    assert torch.equal(one.tokens, same.tokens)
    assert not torch.equal(one.tokens, other.tokens)


def test_more_pairs_than_keys_are_refused():
    with pytest.raises(UsageError, match="at most as many pairs as keys"):
        mqar(1, 0, pairs=9, length=64, vocabulary=17)
