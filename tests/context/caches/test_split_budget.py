"""Entries given out among layers."""

from hypothesis import given
from hypothesis import strategies as st

from remanence.context.caches.split_budget import split_budget


@given(st.lists(st.floats(0, 100), min_size=1, max_size=6), st.integers(0, 200), st.integers(0, 5), st.integers(0, 300))
def test_shares_are_whole_bounded_and_give_out_everything(weights, free, least, most):
    total = free + least * len(weights)
    shares = split_budget(weights, total, least=least, most=least + most)
    assert all(least <= share <= least + most for share in shares)
    assert sum(shares) == min(total, (least + most) * len(weights))


def test_shares_follow_the_weights():
    assert split_budget([1.0, 2.0, 5.0], 80, least=0) == [10, 20, 50]
    assert split_budget([0.0, 0.0], 7, least=0) == [4, 3]
