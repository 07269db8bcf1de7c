"""What is to be copied is what stood there, in its order."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from remanence.errors import UsageError
from remanence.streams.recall.copying import copying
from remanence.streams.recall.sequence_batch import IGNORE


@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(0, 20), st.integers(3, 12), st.booleans())
def test_the_answers_are_the_first_symbols_in_order(seed, items, wait, vocabulary, shown):
    drawn = copying(3, seed, items=items, length=2 * items + wait, vocabulary=vocabulary, shown=shown)
    for tokens, targets, distance in zip(drawn.tokens.tolist(), drawn.targets.tolist(), drawn.distance, strict=True):
        written, delimiter = tokens[:items], tokens.index(vocabulary - 1)
        assert delimiter == items + wait
        assert all(0 < symbol < vocabulary - 1 for symbol in written)
        assert not any(tokens[items:delimiter])
        assert targets == [IGNORE] * delimiter + written
        assert tokens[delimiter + 1 :] == (written[:-1] if shown else [0] * (items - 1))
        for at in range(delimiter, len(tokens)):
            assert tokens[at - distance[at]] == targets[at]
        assert not distance[:delimiter].any()


def test_all_symbols_are_drawn_and_seeds_tell_draws_apart():
    one, same, other = copying(50, 1), copying(50, 1), copying(50, 2)
    assert torch.equal(one.tokens, same.tokens)
    assert not torch.equal(one.tokens, other.tokens)
    assert set(one.targets[one.asked].tolist()) == set(range(1, 9))


@pytest.mark.parametrize("wrong", [{"items": 0}, {"items": 5, "length": 9}, {"vocabulary": 2}])
def test_what_cannot_be_copied_is_refused(wrong):
    with pytest.raises(UsageError, match="two tokens for each item"):
        copying(1, 0, **wrong)
