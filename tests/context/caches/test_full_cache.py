"""With no policy and no budget a cache gives what the model gives by itself."""

import torch

import remanence as rm


def test_without_a_budget_it_is_the_model_alone(llama, text):
    cache, found = rm.context.cache("full-cache", model=llama), []
    for at, end in ((0, 13), (13, 14), (14, 30), (30, 50)):
        found.append(llama(text[:, at:end], past_key_values=cache).logits)
    assert torch.allclose(torch.cat(found, 1), llama(text[:, :50], use_cache=False).logits, atol=1e-4)
    assert set(cache.counts) == {50}


def test_within_a_budget_the_oldest_go(llama, text):
    cache = rm.context.cache("full-cache", model=llama, tokens=16, slack=1)
    for at in range(40):
        llama(text[:, at : at + 1], past_key_values=cache)
    for held in cache.held:
        there = held.index[0, 0].tolist()
        assert 15 <= len(there) <= 16 and there == list(range(40 - len(there), 40))
