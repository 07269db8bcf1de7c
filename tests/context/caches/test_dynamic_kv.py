"""Layer shares from a global top-k against a loop, and that they change as the text goes on."""

import torch

import remanence as rm
from remanence.context.caches.dynamic_kv import DynamicKV


def read(model, cache, tokens, cuts):
    at = 0
    with cache.attach(model):
        for cut in cuts:
            model(tokens[:, at:cut], past_key_values=cache)
            at = cut


def test_counts_are_those_of_sorting_all_scores(llama, text):
    cache = rm.context.cache("dynamic-kv", model=llama, tokens=200, window=4, kernel=3)
    read(llama, cache, text, [60])
    policy = cache.policy
    every = []
    for held in cache.held:
        pooled = policy.score(held)[0]
        every += [(float(pooled[head, k]), held.layer) for head in range(2) for k in range(60 - 4)]
    best = sorted(every, reverse=True)[: 2 * 50]
    expected = [sum(layer == one for _, layer in best) for one in range(3)]
    assert policy.counts(cache.held, 50) == expected


def test_shares_are_what_is_fixed_and_a_part_of_the_rest_by_the_counts(llama, text):
    cache = rm.context.cache("dynamic-kv", model=llama, tokens=30, window=4, slack=1)
    with cache.attach(llama):
        llama(text[:, :20], past_key_values=cache)
    assert [held.capacity for held in cache.held] == [30] * 3
    counted = {}
    given = DynamicKV.counts

    def noted(policy, layers, number):
        counted["weights"] = given(policy, layers, number)
        counted["number"] = number
        return counted["weights"]

    cache.policy.counts = noted.__get__(cache.policy)
    with cache.attach(llama):
        llama(text[:, 20:70], past_key_values=cache)
    assert counted["number"] == 90 - 3 * 5
    total = sum(counted["weights"])
    for held, weight in zip(cache.held, counted["weights"], strict=True):
        assert abs(held.capacity - 5 - 75 * weight / total) <= 1
        assert held.count == held.capacity - 1
    assert sum(held.capacity for held in cache.held) == 90


def test_no_layer_has_more_than_it_may(llama, text):
    cache = rm.context.cache("dynamic-kv", model=llama, tokens=30, window=4, most=1.0)
    read(llama, cache, text, [60, 90])
    assert [held.capacity for held in cache.held] == [30] * 3


def test_shares_go_on_changing_while_decoding_within_the_bytes(llama, text):
    cache = rm.context.cache("dynamic-kv", model=llama, budget=30_000, window=4)
    seen = set()
    with cache.attach(llama):
        for at in range(90):
            llama(text[:, at : at + 1], past_key_values=cache)
            assert cache.nbytes <= 30_000
            seen.add(tuple(held.capacity for held in cache.held))
    assert len(seen) > 3


def test_the_window_always_stays(llama, text):
    cache = rm.context.cache("dynamic-kv", model=llama, tokens=14, window=4)
    read(llama, cache, text, [33, 34, 60, 61])
    for held in cache.held:
        assert torch.equal(held.index[0, :, -4:], torch.arange(57, 61, dtype=torch.int32).expand(2, -1))
