"""The keys that a query of memorizing transformers finds, and the gate, against a search of all and a loop."""

import math

import pytest
import torch

import remanence as rm
from bank_search import found_by, search_of
from remanence.context.caches.forward_call import ForwardCall
from remanence.context.caches.layer_cache import LayerCache
from remanence.context.caches.memorizing_transformers import MemorizingTransformers
from remanence.errors import UsageError
from remanence.randomness import generator

COUNT, AWAY = 40, 30


@pytest.fixture
def held():
    """Forty entries of two heads, the first thirty in the bank."""
    layer = LayerCache(2, MemorizingTransformers.entry_stats)
    layer.capacity = layer.whole = COUNT
    draw = torch.Generator().manual_seed(3)
    layer.append(*torch.randn(2, 1, 2, COUNT, 8, generator=draw), torch.arange(COUNT)[None])
    layer.stat("away")[:, :, :AWAY] = 1.0
    return layer


def asked(policy, held, layers=4):
    """What each of four query heads and three new tokens finds, with their scores (4, 3, count)."""
    policy.set_structure({"looks_up": range(layers)[policy.layer]})
    query = torch.randn(1, 4, 3, 8, generator=torch.Generator().manual_seed(4))
    scores = (query.view(1, 2, 6, 8) @ held.keys.transpose(2, 3)).view(1, 2, 2, 3, COUNT) * 8**-0.5
    found = found_by(policy, search_of(policy, held, query))
    return found.reshape(4, 3, COUNT), scores.reshape(4, 3, COUNT), query[0]


def best_of(scores, among, k):
    return sorted(sorted(among, key=lambda at: -float(scores[at]))[:k])


@pytest.mark.parametrize("topk", [1, 5, 100])
def test_an_exact_search_finds_the_highest_products(held, topk):
    found, scores, _ = asked(MemorizingTransformers(topk=topk), held)
    for head in range(4):
        for token in range(3):
            assert found[head, token].nonzero().flatten().tolist() == best_of(scores[head, token], range(AWAY), topk)


def test_an_approximate_search_finds_the_best_of_its_candidates(held):
    topk = 3
    found, scores, query = asked(MemorizingTransformers(topk=topk, search="approximate"), held)
    exact, _, _ = asked(MemorizingTransformers(topk=topk), held)
    projection = torch.randn(8, 4, generator=generator(0, "projection", 8))
    for head in range(4):
        for token in range(3):
            rough = (query[head, token] @ projection) @ (held.keys[0, head // 2] @ projection).T
            candidates = best_of(rough, range(AWAY), 4 * topk)
            expected = best_of(scores[head, token], candidates, topk)
            assert found[head, token].nonzero().flatten().tolist() == expected
    assert 0.3 < float((found & exact).sum() / exact.sum()) < 1


def test_only_one_layer_looks_up(held):
    query = torch.randn(1, 4, 3, 8, generator=torch.Generator().manual_seed(4))
    call = ForwardCall(None, None, 3, torch.arange(COUNT - 3, COUNT)[None])
    keys, values = (some[:, :, AWAY:].repeat_interleave(2, 1) for some in (held.keys, held.values))
    window = (query @ keys.transpose(2, 3) * 0.5).softmax(-1) @ values
    for layer, alone in ((-2, False), (2, False), (-1, True)):
        policy = MemorizingTransformers(layer=layer)
        policy.set_structure({"looks_up": range(4)[layer]})
        output = policy.attend(held, query, None, 0.5, call)[0]
        assert torch.allclose(output, window, atol=1e-6 if alone else 1e-2) == alone


@pytest.mark.parametrize("gate", [-3.0, 0.0, 1.5])
def test_the_gate_mixes_two_softmaxes(gate):
    draw = torch.Generator().manual_seed(6)
    near, far = torch.randn(1, 1, 1, 2, 3, generator=draw), torch.randn(1, 1, 1, 2, 4, generator=draw)
    seen = torch.tensor([[True, True, True], [True, True, False]])[None, None, None]
    recalled = torch.tensor([[True, False, True, False], [False] * 4])[None, None, None]
    shares = MemorizingTransformers(gate=gate).shares(near, seen, far, recalled)

    def softmax(scores, mask):
        weights = [math.exp(float(x)) if m else 0.0 for x, m in zip(scores, mask, strict=True)]
        return torch.tensor(weights) / sum(weights)

    share = 1 / (1 + math.exp(-gate))
    window = [softmax(near[0, 0, 0, row], seen[0, 0, 0, row]) for row in range(2)]
    mixed = torch.cat([(1 - share) * window[0], share * softmax(far[0, 0, 0, 0], recalled[0, 0, 0, 0])])
    # The second query finds nothing, and the gate has nothing to mix in
    expected = torch.stack([mixed, torch.cat([window[1], torch.zeros(4)])])
    assert torch.allclose(shares[0, 0, 0], expected, atol=1e-6)


def test_the_layer_that_looks_up_holds_more(llama, text):
    cache = rm.context.cache("memorizing-transformers", model=llama, tokens=40, recent=12, layer=1)
    with cache.attach(llama):
        for at in range(0, 90, 15):
            llama(text[:, at : at + 15], past_key_values=cache)
    first, looks_up, last = cache.counts
    assert first == last < 30 < 70 < looks_up
    assert sum(cache.counts) <= 3 * 40


def test_a_layer_that_is_not_there_is_refused(llama, text):
    cache = rm.context.cache("memorizing-transformers", model=llama, tokens=40, recent=12, layer=3)
    with cache.attach(llama), pytest.raises(UsageError, match="layer 3 shall look up, and the model has 3"):
        llama(text, past_key_values=cache)
