"""Hopfield retrieval: energies fall, fixed points are still, separated patterns come back, zeros are exact."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from remanence.context.layers.hopfield import (
    Hopfield,
    HopfieldLayer,
    HopfieldPooling,
    energy,
    retrieve,
    shares,
)
from remanence.errors import UsageError

ALPHAS = [1.0, 1.2, 1.5, 2.0]


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(deadline=None, max_examples=80)
@given(st.integers(0, 10**6), st.sampled_from(ALPHAS), st.floats(0.05, 20), st.integers(1, 12), st.integers(1, 6))
def test_no_update_raises_the_energy(seed, alpha, beta, count, width):
    patterns, x = draw(count, width, seed=seed), 2 * draw(3, width, seed=seed + 1)
    before = energy(patterns, x, beta=beta, alpha=alpha)
    for _ in range(4):
        x = retrieve(patterns, x, beta=beta, alpha=alpha)
        after = energy(patterns, x, beta=beta, alpha=alpha)
        assert (after <= before + 1e-6 * (1 + before.abs())).all()
        before = after


@pytest.mark.parametrize("alpha", ALPHAS)
def test_the_energy_is_flat_where_an_update_changes_nothing(alpha):
    patterns = draw(5, 4)
    x = retrieve(patterns, draw(2, 4, seed=1), beta=1.3, alpha=alpha, steps=150).requires_grad_()
    torch.testing.assert_close(retrieve(patterns, x, beta=1.3, alpha=alpha), x)
    (slope,) = torch.autograd.grad(energy(patterns, x, beta=1.3, alpha=alpha).sum(), x)
    torch.testing.assert_close(slope, torch.zeros_like(x), atol=1e-6, rtol=0)


def test_the_dense_energy_is_that_of_the_paper_but_for_a_constant():
    patterns, x, beta = draw(5, 4), draw(3, 4, seed=1), 0.7
    count, largest = 5, patterns.norm(dim=1).max()
    lse = ((beta * x @ patterns.T).exp().sum(1)).log() / beta
    ramsauer = -lse + 0.5 * x.square().sum(1) + math.log(count) / beta + 0.5 * largest**2
    constant = ramsauer - energy(patterns, x, beta=beta)
    torch.testing.assert_close(constant, constant[0].expand(3))


@pytest.mark.parametrize("alpha", [1.2, 1.5, 2.0])
def test_a_pattern_that_stands_apart_comes_back_exactly_if_and_only_if_the_margin_is_wide_enough(alpha):
    patterns = torch.eye(4, dtype=torch.float64)
    # The scores of a pattern and of the others differ by β; entmax is one-hot from a difference of 1/(α − 1) on.
    wide, narrow = 1.001 / (alpha - 1), 0.99 / (alpha - 1)
    assert torch.equal(retrieve(patterns, patterns, beta=wide, alpha=alpha) > 1 - 1e-9, patterns.bool())
    assert (shares(patterns, patterns, wide, alpha) > 0).sum(1).tolist() == [1] * 4
    assert (shares(patterns, patterns, narrow, alpha) > 0).sum(1).tolist() == [4] * 4
    assert (shares(patterns, patterns, wide, 1.0) > 0).all()


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.floats(0.1, 5))
def test_the_dense_error_keeps_its_bound(seed, beta):
    patterns = draw(8, 16, seed=seed)
    x = patterns[:1] + 0.3 * draw(1, 16, seed=seed + 1)
    scores = patterns @ x[0]
    gap = scores[0] - scores[1:].max()
    error = (retrieve(patterns, x, beta=beta)[0] - patterns[0]).norm()
    bound = 2 * patterns.norm(dim=1).max() * 7 * math.exp(-beta * gap)
    assert float(error) <= float(bound) + 1e-9


def test_at_one_temperature_sparse_retrieval_errs_less_under_noise():
    patterns = draw(200, 32)
    noisy = patterns + 0.5 * draw(200, 32, seed=1)
    errors = [
        float((retrieve(patterns, noisy, beta=0.2, alpha=alpha) - patterns).norm(dim=1).mean()) for alpha in ALPHAS
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.5 * errors[0]


def test_a_query_finds_only_what_it_may_and_zeros_where_that_is_nothing():
    patterns, x = draw(5, 4), draw(3, 4, seed=1)
    held = torch.tensor([[1, 1, 0, 0, 1], [0, 0, 0, 0, 0], [0, 1, 0, 0, 0]]).bool()
    for alpha in (*ALPHAS, torch.tensor(1.4, dtype=torch.float64)):
        found = retrieve(patterns, x, beta=0.5, alpha=alpha, held=held)
        torch.testing.assert_close(found[0], retrieve(patterns[[0, 1, 4]], x[:1], beta=0.5, alpha=alpha)[0])
        assert not found[1].any()
        torch.testing.assert_close(found[2], patterns[1])


def test_with_softmax_a_layer_is_attention_over_its_own_keys():
    torch.manual_seed(0)
    layer = Hopfield(8, heads=2, alpha=1.0)
    queries, stored = torch.randn(2, 3, 8), torch.randn(2, 5, 8)
    keys = layer.keys(stored)
    q, k, v = (x.unflatten(-1, (2, 4)).transpose(1, 2) for x in (layer.queries(queries), keys, layer.values(keys)))
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    torch.testing.assert_close(layer(queries, stored), layer.out(expected))


def test_more_updates_move_the_queries_among_the_keys():
    torch.manual_seed(0)
    once, thrice = Hopfield(8, alpha=2.0), Hopfield(8, alpha=2.0, steps=3)
    thrice.load_state_dict(once.state_dict())
    queries, stored = torch.randn(2, 3, 8), torch.randn(2, 5, 8)
    moved = retrieve(once.keys(stored), once.queries(queries), beta=once.beta, alpha=2.0, steps=2)
    expected = once.out(shares(once.keys(stored), moved, once.beta, 2.0) @ once.values(once.keys(stored)))
    torch.testing.assert_close(thrice(queries, stored), expected)


def test_alpha_is_learned_between_one_and_two():
    torch.manual_seed(0)
    layer = Hopfield(4)
    assert float(layer.alpha.detach()) == 1.5
    layer(torch.randn(1, 3, 4), torch.randn(1, 6, 4)).square().sum().backward()
    assert float(layer.raw.grad) != 0
    with torch.no_grad():
        layer.raw.fill_(50.0)
    assert float(layer.alpha.detach()) == 2.0
    assert len(list(Hopfield(4, alpha=1.5).parameters())) == len(list(layer.parameters())) - 1


def test_pooling_and_lookup_keep_their_patterns_as_parameters():
    torch.manual_seed(0)
    x = torch.randn(2, 6, 8)
    pooling = HopfieldPooling(Hopfield(8, heads=2), 8, queries=3)
    assert torch.allclose(pooling(x), pooling(x[:, torch.randperm(6)]), atol=1e-6)
    assert pooling(x).shape == (2, 3, 8)
    lookup = HopfieldLayer(Hopfield(8, heads=2), 8, patterns=5)
    torch.testing.assert_close(lookup(x)[:, 2:3], lookup(x[:, 2:3]))
    for layer, own in ((pooling, pooling.queries), (lookup, lookup.patterns)):
        layer(x).square().sum().backward()
        assert own.grad.abs().sum() > 0


def test_what_does_not_fit_is_said():
    with pytest.raises(UsageError, match="3 heads"):
        Hopfield(8, heads=3)
    with pytest.raises(UsageError, match="0 updates"):
        Hopfield(8, steps=0)
