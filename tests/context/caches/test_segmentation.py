"""Modularity and conductance against their definitions, node by node; the best cut against all cuts."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from remanence.context.caches.segmentation import conductance, modularity, refined, surprise


def graph(size, seed):
    weights = torch.rand(size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return weights + weights.T


def modularity_by_loop(adjacency, cut):
    """Newman's sum over all pairs of one community."""
    ties, size = adjacency.tolist(), len(adjacency)
    degree = [sum(row) for row in ties]
    total = sum(degree)
    return (
        sum(
            ties[i][j] - degree[i] * degree[j] / total
            for i in range(size)
            for j in range(size)
            if (i < cut) == (j < cut)
        )
        / total
    )


def conductance_by_loop(adjacency, cut):
    ties, size = adjacency.tolist(), len(adjacency)
    across = sum(ties[i][j] for i in range(cut) for j in range(cut, size))
    before = sum(ties[i][j] for i in range(cut) for j in range(size))
    after = sum(ties[i][j] for i in range(cut, size) for j in range(size))
    return across / min(before, after)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 8), st.integers(0, 1000), st.data())
def test_both_are_their_definitions(size, seed, data):
    adjacency, cut = graph(size, seed), data.draw(st.integers(1, size - 1))
    assert math.isclose(float(modularity(adjacency, cut)), modularity_by_loop(adjacency, cut), abs_tol=1e-9)
    assert math.isclose(float(conductance(adjacency, cut)), conductance_by_loop(adjacency, cut), abs_tol=1e-9)
    assert modularity(adjacency, cut) <= 0.5
    assert 0 <= conductance(adjacency, cut) <= 1


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 8), st.integers(0, 1000))
def test_the_cut_is_the_best_of_all(size, seed):
    adjacency = graph(size, seed)
    places = range(1, size)
    highest = max(places, key=lambda cut: modularity_by_loop(adjacency, cut))
    lowest = min(places, key=lambda cut: conductance_by_loop(adjacency, cut))
    assert refined(adjacency, "modularity") == highest
    assert refined(adjacency, "conductance") == lowest


@pytest.mark.parametrize("measure", ["modularity", "conductance"])
@pytest.mark.parametrize("block", [2, 3, 6])
def test_two_blocks_are_cut_between_them(measure, block):
    adjacency = torch.full((9, 9), 0.05)
    adjacency[:block, :block] = adjacency[block:, block:] = 1.0
    assert refined(adjacency, measure) == block


@pytest.mark.parametrize("measure", ["modularity", "conductance"])
def test_where_nothing_ties_there_is_still_a_cut(measure):
    assert refined(torch.zeros(4, 4), measure) == 1


def test_surprise_is_the_logarithm_of_what_was_predicted():
    logits, tokens = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(1)), torch.arange(10).view(2, 5) % 7
    found = surprise(logits, tokens)
    for row in range(2):
        for at in range(5):
            odds = [math.exp(float(x)) for x in logits[row, at]]
            expected = -math.log(odds[int(tokens[row, at])] / sum(odds))
            assert math.isclose(float(found[row, at]), expected, abs_tol=1e-5)
