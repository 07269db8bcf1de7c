"""Repeat previous: what is asked for is the item k before."""

import pytest
import torch

from remanence.errors import UsageError
from remanence.streams.recall.repeat_previous import repeat_previous
from remanence.streams.recall.sequence_batch import IGNORE


@pytest.mark.parametrize(("k", "length"), [(1, 2), (4, 52), (32, 104)])
def test_what_is_asked_for_is_the_item_k_before(k, length):
    given = repeat_previous(20, seed=3, k=k, length=length, symbols=5)
    for row in range(20):
        for t in range(length):
            assert given.targets[row, t] == (given.tokens[row, t - k] if t >= k else IGNORE)
    assert (given.distance[given.asked] == k).all()
    assert int(given.asked.sum()) == 20 * (length - k)


def test_items_are_drawn_evenly_and_from_the_seed():
    given = repeat_previous(200, seed=0, k=4)
    share = torch.bincount(given.tokens.flatten(), minlength=4) / given.tokens.numel()
    assert share.shape == (4,)
    assert (share - 0.25).abs().max() < 0.02
    assert torch.equal(given.tokens, repeat_previous(200, seed=0, k=4).tokens)
    assert not torch.equal(given.tokens, repeat_previous(200, seed=1, k=4).tokens)


@pytest.mark.parametrize("wrong", [{"k": 0}, {"k": 52}, {"symbols": 1}])
def test_what_cannot_be_drawn_is_refused(wrong):
    with pytest.raises(UsageError, match="repeat_previous was asked for"):
        repeat_previous(1, seed=0, **wrong)
