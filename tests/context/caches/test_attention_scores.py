"""Accumulated attention against loops, which entries stay by it, and entries given out among layers."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import remanence as rm
from remanence.context.caches.split_budget import split_budget
from remanence.errors import UsageError


def weights_of(model, tokens):
    """(layers, heads of keys, queries, keys): attention summed over the query heads that share keys."""
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    found = model(tokens, output_attentions=True).attentions
    model.set_attn_implementation(before)
    return torch.stack([layer[0].view(2, 2, *layer.shape[2:]).sum(1) for layer in found])


@pytest.mark.parametrize("cuts", [[50], [20, 21, 22, 50], list(range(1, 51))])
def test_accumulated_attention_is_that_of_a_loop(llama, text, cuts):
    cache, at = rm.context.cache("heavy-hitters", model=llama, tokens=200), 0
    with cache.attach(llama):
        for cut in cuts:
            llama(text[:, at:cut], past_key_values=cache)
            at = cut
    expected = weights_of(llama, text[:, :50])
    for held in cache.held:
        scores = torch.zeros(2, 50)
        for query in range(50):
            for key in range(query + 1):
                scores[:, key] += expected[held.layer, :, query, key]
        assert torch.allclose(held.stat("attention")[0], scores, atol=1e-4)


def test_a_window_is_the_mean_of_its_last_queries(llama, text):
    cache = rm.context.cache("snap-kv", model=llama, tokens=200, window=8, kernel=1)
    with cache.attach(llama):
        llama(text[:, :30], past_key_values=cache)
        llama(text[:, 30:50], past_key_values=cache)
    expected = weights_of(llama, text[:, :50])
    for held in cache.held:
        assert torch.allclose(held.stat("attention")[0], expected[held.layer, :, -8:].mean(1), atol=1e-5)
    with cache.attach(llama):
        llama(text[:, 50:52], past_key_values=cache)
    after = weights_of(llama, text[:, :52])
    for held in cache.held:
        mean = torch.cat([expected[held.layer, :, -8:].mean(1), torch.zeros(2, 2)], 1)
        assert torch.allclose(held.stat("attention")[0], mean * 6 / 8 + after[held.layer, :, -2:].sum(1) / 8, atol=1e-5)


def test_padding_gives_no_attention(llama, text):
    row = text[:, :20]
    padded = torch.cat([torch.zeros(1, 6, dtype=torch.int64), row], 1)
    mask = torch.cat([torch.zeros(1, 6, dtype=torch.int64), torch.ones_like(row)], 1)
    cache = rm.context.cache("heavy-hitters", model=llama, tokens=200)
    with cache.attach(llama):
        llama(padded, attention_mask=mask, past_key_values=cache)
    expected = weights_of(llama, row).sum(2)
    for held in cache.held:
        assert torch.allclose(held.stat("attention")[0, :, 6:], expected[held.layer], atol=1e-4)


def test_every_head_keeps_its_own_heavy_hitters_and_the_newest(llama, text):
    cache = rm.context.cache("heavy-hitters", model=llama, tokens=20, recent_share=0.25, slack=1)
    with cache.attach(llama):
        llama(text[:, :60], past_key_values=cache)
    scores = weights_of(llama, text[:, :60]).sum(2)
    for held in cache.held:
        for head in range(2):
            most = sorted(range(56), key=lambda k: -scores[held.layer, head, k])[:15]
            assert held.index[0, head].tolist() == [*sorted(most), *range(56, 60)]


@pytest.mark.parametrize("pooling", ["average", "largest"])
def test_pooling_is_over_neighbours(llama, text, pooling):
    cache = rm.context.cache("snap-kv", model=llama, tokens=200, kernel=3, pooling=pooling)
    with cache.attach(llama):
        llama(text[:, :30], past_key_values=cache)
    held = cache.held[1]
    scores, pooled = held.stat("attention")[0, 0].tolist(), cache.policy.score(held)[0, 0]
    around = [[scores[n] for n in (k - 1, k, k + 1) if 0 <= n < 30] for k in range(30)]
    expected = [sum(some) / 3 if pooling == "average" else max(some) for some in around]
    assert torch.allclose(pooled, torch.tensor(expected), atol=1e-6)


def test_an_even_kernel_is_refused(llama):
    with pytest.raises(UsageError, match="expected an odd number: take 5"):
        rm.context.cache("snap-kv", model=llama, tokens=200, kernel=4)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=6), st.integers(0, 200), st.integers(0, 5), st.integers(0, 300))
def test_shares_are_whole_bounded_and_give_out_everything(weights, free, least, most):
    total = free + least * len(weights)
    shares = split_budget(weights, total, least=least, most=least + most)
    assert all(least <= share <= least + most for share in shares)
    assert sum(shares) == min(total, (least + most) * len(weights))


def test_shares_follow_the_weights():
    assert split_budget([1.0, 2.0, 5.0], 80, least=0) == [10, 20, 50]
    assert split_budget([0.0, 0.0], 7, least=0) == [4, 3]
