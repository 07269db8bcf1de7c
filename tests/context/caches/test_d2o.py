"""Layer budgets from the density of attention, and the merging of what goes, against naive loops."""

import math

import pytest
import torch

import remanence as rm
from remanence.context.caches.d2o import D2O
from remanence.context.caches.layer_cache import PAD, LayerCache
from small_llama import small_llama


@pytest.fixture
def held():
    """Nine entries of two heads, the first of them padding."""
    draw = torch.Generator().manual_seed(5)
    layer = LayerCache(0, D2O.entry_stats)
    layer.capacity = layer.whole = 20
    index = torch.tensor([[PAD, *range(8)]], dtype=torch.int32)
    layer.append(torch.randn(1, 2, 9, 4, generator=draw), torch.randn(1, 2, 9, 3, generator=draw), index)
    layer.stat("attention").copy_(torch.rand(1, 2, 9, generator=draw))
    return layer


def merged_by_loop(held, kept, gone, thresholds):
    """Keys and values of the entries that stay, by the paper's equations, head by head."""
    keys, values, means = held.keys[0].tolist(), held.values[0].tolist(), []
    found = []
    for head in range(2):
        nearest = {}
        for g in gone[0, head].tolist():
            if held.index[0, head, g] != PAD:
                cosines = {
                    k: float(torch.cosine_similarity(torch.tensor(keys[head][g]), torch.tensor(keys[head][k]), dim=0))
                    for k in kept[0, head].tolist()
                }
                nearest[g] = max(cosines.items(), key=lambda one: one[1])
        mean = sum(u for _, u in nearest.values()) / len(nearest)
        threshold = mean if thresholds is None else 0.3 * mean + 0.7 * float(thresholds[0, head])
        means.append(threshold)
        for k in kept[0, head].tolist():
            parts = [(math.e, k)] + [
                (math.exp(u), g) for g, (place, u) in nearest.items() if place == k and u >= threshold
            ]
            total = sum(weight for weight, _ in parts)
            found.append(
                (
                    torch.tensor([sum(w * keys[head][j][f] for w, j in parts) / total for f in range(4)]),
                    torch.tensor([sum(w * values[head][j][f] for w, j in parts) / total for f in range(3)]),
                )
            )
    return found, torch.tensor([means])


@pytest.mark.parametrize("earlier", [None, torch.tensor([[0.9, -0.2]])])
def test_merging_is_that_of_a_loop(held, earlier):
    policy = D2O(smoothing=0.3)
    if earlier is not None:
        held.besides["threshold"] = earlier.clone()
    kept = torch.tensor([[[2, 4, 6, 7, 8], [1, 3, 5, 7, 8]]])
    gone = torch.tensor([[[0, 1, 3, 5], [0, 2, 4, 6]]])
    expected, thresholds = merged_by_loop(held, kept, gone, earlier)
    untouched = held.keys[0, 0, 1].clone()
    policy.merge(held, kept, gone)
    found = [(held.keys[0, h, k], held.values[0, h, k]) for h in range(2) for k in kept[0, h].tolist()]
    for (key, value), (wanted_key, wanted_value) in zip(found, expected, strict=True):
        assert torch.allclose(key, wanted_key, atol=1e-5)
        assert torch.allclose(value, wanted_value, atol=1e-5)
    assert torch.allclose(held.besides["threshold"], thresholds, atol=1e-5)
    assert torch.equal(held.keys[0, 0, 1], untouched)


def test_equal_keys_merge_to_themselves_and_values_to_their_mean(held):
    held.keys.copy_(held.keys[:, :, 2:3].expand_as(held.keys).clone())
    kept, gone = torch.tensor([[[2], [2]]]), torch.tensor([[[1], [1]]])
    mean = held.values[:, :, 1:3].mean(2)
    key = held.keys[:, :, 2].clone()
    D2O().merge(held, kept, gone)
    assert torch.allclose(held.keys[:, :, 2], key, atol=1e-5)
    assert torch.allclose(held.values[:, :, 2], mean, atol=1e-5)


def test_half_precision_keys_are_replaced_where_turning_is_put_off():
    from remanence.context.caches.rotary import Rotary

    layer = LayerCache(0, (), Rotary(torch.tensor([1.0, 0.1], dtype=torch.float64)))
    layer.capacity = layer.whole = 10
    keys = torch.randn(1, 1, 4, 4, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    layer.append(keys, keys, torch.arange(4)[None])
    layer.move(torch.tensor(3))
    seen = layer.keys.clone()
    layer.replace(torch.tensor([[[1]]]), torch.ones(1, 1, 1, 4, dtype=torch.bfloat16), keys[:, :, :1])
    assert torch.equal(layer.keys[0, 0, 1], torch.ones(4, dtype=torch.bfloat16))
    assert torch.equal(layer.keys[0, 0, [0, 2, 3]], seen[0, 0, [0, 2, 3]])
    assert torch.equal(layer.values[0, 0, 1], keys[0, 0, 0])


def test_density_is_that_of_the_authors_program():
    """Variances of the attention that entries were given, scaled among the heads of a layer, and their mean."""
    draw = torch.Generator().manual_seed(5)
    weights = torch.rand(1, 5, 7, 9, generator=draw) ** 3  # batch, heads, queries, keys
    variance = weights.sum(-2).var(-1).mean(0)
    expected = ((variance - variance.min()) / (variance.max() - variance.min() + 1e-6)).mean()
    layer = LayerCache(0, D2O.entry_stats)
    layer.append(
        torch.zeros(1, 5, 10, 4), torch.zeros(1, 5, 10, 4), torch.tensor([[PAD, *range(9)]], dtype=torch.int32)
    )
    layer.stat("attention")[:, :, 1:] = weights.sum(-2)
    layer.stat("attention")[:, :, 0] = 99.0
    assert float(D2O.density(layer)) == pytest.approx(float(expected), rel=1e-4)


def test_layers_share_the_entries_as_the_softmax_of_minus_density(text):
    llama = small_llama(num_key_value_heads=4)
    cache = rm.context.cache("d2o", model=llama, tokens=30, slack=1)
    with cache.attach(llama):
        llama(text[:, :25], past_key_values=cache)
        assert [held.capacity for held in cache.held] == [30] * 3
        llama(text[:, 25:40], past_key_values=cache)
    density = torch.stack([held.besides["density"].squeeze() for held in cache.held])
    wanted = torch.softmax(-density, 0) * 90
    shares = [held.capacity for held in cache.held]
    assert sum(shares) == 90
    assert all(abs(share - float(one)) <= 1 for share, one in zip(shares, wanted, strict=True))
    assert len(set(shares)) > 1
    with cache.attach(llama):
        llama(text[:, 40:90], past_key_values=cache)
    assert [held.capacity for held in cache.held] == shares
