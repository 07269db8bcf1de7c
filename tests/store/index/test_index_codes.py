import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from remanence.errors import MissingExtra, UsageError
from remanence.store.index import codes as module
from remanence.store.index.codes import TopK, gather, inverse_lengths, products, quantise, scan


def brute(codes, lengths, query, k, allowed=None):
    """Places of the k highest cosines among those that count, by numpy; of equal ones the first."""
    scores = (codes.astype(np.int64) @ query.astype(np.int64)).astype(np.float32) * lengths
    counts = lengths > 0 if allowed is None else (lengths > 0) & allowed
    order = [place for place in np.argsort(-scores, kind="stable") if counts[place]][:k]
    return order, scores[order]


small = st.integers(1, 40)


@settings(deadline=None, max_examples=60)
@given(st.data(), small, st.integers(1, 33), st.integers(1, 12), st.integers(1, 3))
def test_exact_search_is_brute_force_over_the_codes(data, n, dimension, k, queries):
    codes = data.draw(hnp.arrays(np.int8, (n, dimension), elements=st.integers(-127, 127)))
    lengths = inverse_lengths(codes)
    asked = data.draw(hnp.arrays(np.int8, (queries, dimension), elements=st.integers(-127, 127)))
    allowed = data.draw(st.none() | hnp.arrays(np.bool_, (n,)))
    best = [TopK(k) for _ in asked]
    scan(codes, lengths, asked, best, allowed=allowed)
    for query, one in zip(asked, best, strict=True):
        places, scores = one.ordered()
        expected, level = brute(codes, lengths, query, k, allowed)
        assert places.tolist() == expected
        assert scores.tolist() == level.tolist()


@pytest.mark.parametrize("queries", [1, 3])
def test_many_blocks_give_what_one_block_gives(monkeypatch, queries):
    rng = np.random.default_rng(0)
    codes = rng.integers(-127, 128, (997, 24), dtype=np.int8)
    codes[rng.random(997) < 0.3] = 0
    lengths = inverse_lengths(codes)
    asked = rng.integers(-127, 128, (queries, 24), dtype=np.int8)
    monkeypatch.setattr(module, "BLOCK", 64)
    monkeypatch.setattr(module, "TOGETHER", 2)
    some = np.sort(rng.choice(997, 300, replace=False))
    picked = np.isin(np.arange(997), some)
    everything, few = [TopK(50) for _ in asked], [TopK(50) for _ in asked]
    scan(codes, lengths, asked, everything)
    gather(codes, lengths, some, asked, few)
    for query, all_of_them, of_some in zip(asked, everything, few, strict=True):
        assert all_of_them.ordered()[0].tolist() == brute(codes, lengths, query, 50)[0]
        assert of_some.ordered()[0].tolist() == brute(codes, lengths, query, 50, picked)[0]


def test_empty_places_do_not_displace_rows_that_point_away():
    codes = np.zeros((10, 4), dtype=np.int8)
    codes[3], codes[7] = [-127, 0, 0, 0], [-127, 127, 0, 0]
    best = [TopK(5)]
    scan(codes, inverse_lengths(codes), np.array([[127, 0, 0, 0]], dtype=np.int8), best)
    assert best[0].ordered()[0].tolist() == [7, 3]


@settings(deadline=None, max_examples=40)
@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 4), st.integers(1, 50)),
        elements=st.floats(-1, 1, width=32).filter(lambda x: abs(x) > 1e-3 or x == 0),
    ).filter(lambda x: bool((np.abs(x).max(axis=1) > 0).all()))
)
def test_a_code_keeps_the_direction_and_uses_the_whole_range(vectors):
    codes, lengths = quantise(vectors)
    assert (np.abs(codes.astype(int)).max(axis=1) == 127).all()
    unit = vectors / np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    cosines = (unit * codes).sum(1) * lengths
    # Rounding moves each entry by at most half of a 127th of the largest.
    furthest = np.sqrt(vectors.shape[1]) * 0.5 / 127
    assert (cosines > 1 - furthest**2).all()


def test_products_are_exact_at_their_largest():
    codes = np.full((3, 1040), 127, dtype=np.int8)
    codes[1] = -127
    assert products(codes, codes[:1])[0].tolist() == [1040 * 127**2, -1040 * 127**2, 1040 * 127**2]
    assert products(codes, codes[:2])[1].tolist() == [-1040 * 127**2, 1040 * 127**2, -1040 * 127**2]


@pytest.mark.parametrize("wrong", [0.0, np.nan, np.inf])
def test_a_vector_without_direction_is_refused(wrong):
    with pytest.raises(UsageError, match="vector 1 is zero or not finite"):
        quantise(np.array([[1, 0], [wrong, 0]], dtype=np.float32))


def test_no_vectors_are_no_codes():
    codes, lengths = quantise(np.empty((0, 7), dtype=np.float32))
    assert codes.shape == (0, 7)
    assert lengths.shape == (0,)
    assert products(codes, np.ones((2, 7), dtype=np.int8)).shape == (2, 0)


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    module._kernels.cache_clear()
    monkeypatch.setitem(sys.modules, "numkong", None)
    with pytest.raises(MissingExtra, match=r"remanence-memory\[store\]"):
        products(np.ones((2, 4), dtype=np.int8), np.ones((1, 4), dtype=np.int8))
    monkeypatch.undo()
    assert products(np.ones((2, 4), dtype=np.int8), np.ones((1, 4), dtype=np.int8)).tolist() == [[4, 4]]
