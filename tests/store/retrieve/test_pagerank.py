"""Personalised PageRank against its closed form."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import sparse

from remanence.errors import UsageError
from remanence.store.retrieve.pagerank import personalised_pagerank, walk_by_part


def closed_form(weights: NDArray[np.float64], seeds: NDArray[np.float64], damping: float) -> NDArray[np.float64]:
    """(I - d Pᵀ)⁻¹ (1 - d) s, a node without edges leading to the seeds."""
    seeds = seeds / seeds.sum()
    total = weights.sum(axis=1, keepdims=True)
    transitions = np.where(total > 0, weights / np.where(total > 0, total, 1), seeds[None, :])
    return np.linalg.solve(np.eye(len(seeds)) - damping * transitions.T, (1 - damping) * seeds)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    nodes=st.integers(1, 12),
    density=st.floats(0, 1),
    damping=st.sampled_from([0.0, 0.3, 0.5, 0.85, 0.95]),
    symmetric=st.booleans(),
)
def test_it_is_the_solution_of_the_linear_system(
    seed: int, nodes: int, density: float, damping: float, symmetric: bool
) -> None:
    random = np.random.default_rng(seed)
    weights = random.uniform(0.1, 3, (nodes, nodes)) * (random.uniform(size=(nodes, nodes)) < density)
    if symmetric:
        weights = weights + weights.T
    seeds = random.uniform(0, 1, nodes) * (random.uniform(size=nodes) < 0.5)
    seeds[random.integers(nodes)] = 1.0
    found = personalised_pagerank(sparse.csr_array(weights), seeds, damping)
    np.testing.assert_allclose(found, closed_form(weights, seeds, damping), atol=1e-9)
    assert found.sum() == pytest.approx(1)


def test_unreached_nodes_have_no_mass() -> None:
    weights = sparse.csr_array(np.array([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0.0]]))
    found = personalised_pagerank(weights, np.array([1.0, 0, 0, 0]))
    assert found[2] == found[3] == 0
    assert found[0] > found[1] > 0


def test_scaling_weights_or_seeds_changes_nothing() -> None:
    random = np.random.default_rng(1)
    weights = sparse.csr_array(random.uniform(size=(6, 6)))
    seeds = random.uniform(size=6)
    once = personalised_pagerank(weights, seeds)
    np.testing.assert_allclose(personalised_pagerank(weights * 7, seeds * 3), once, atol=1e-12)


@pytest.mark.parametrize(
    ("seeds", "damping", "says"),
    [
        ([1.0, 0.0, 0.0], 0.5, r"shape \(2, 2\)"),
        ([0.0, 0.0], 0.5, "somewhere to start"),
        ([1.0, -1.0], 0.5, "somewhere to start"),
        ([1.0, np.nan], 0.5, "somewhere to start"),
        ([1.0, 0.0], 1.0, "below 1"),
        ([1.0, 0.0], -0.1, "below 1"),
    ],
)
def test_what_cannot_be_walked_is_refused(seeds: list[float], damping: float, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        personalised_pagerank(sparse.csr_array(np.eye(2)), np.array(seeds), damping)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), nodes=st.integers(1, 12), density=st.floats(0, 1))
def test_parts_add_up_to_the_walk_from_all_seeds(seed: int, nodes: int, density: float) -> None:
    random = np.random.default_rng(seed)
    weights = sparse.csr_array(
        random.uniform(0.1, 3, (nodes, nodes)) * (random.uniform(size=(nodes, nodes)) < density / 2)
    )
    parts = {name: random.uniform(size=nodes) * (random.uniform(size=nodes) < 0.5) for name in "abc"}
    parts["a"][random.integers(nodes)] = 1.0
    found = walk_by_part(weights, parts, 0.6)
    together = personalised_pagerank(weights, sum(parts.values(), np.zeros(nodes)), 0.6)
    np.testing.assert_allclose(sum(found.values(), np.zeros(nodes)), together, atol=1e-8)


def test_parts_without_a_seed_bring_nothing() -> None:
    found = walk_by_part(sparse.csr_array(np.eye(2)), {"a": np.zeros(2), "b": np.zeros(2)})
    assert not found["a"].any()
    assert not found["b"].any()
