"""The window holds the newest entries, and attention sees what it would see without sinks."""

import pytest
import torch

import remanence as rm


@pytest.mark.parametrize("tokens", [5, 12])
def test_it_holds_the_newest_and_nothing_else(llama, text, tokens):
    cache = rm.context.cache("sliding-window", model=llama, tokens=tokens, slack=1)
    for at in range(30):
        llama(text[:, at : at + 1], past_key_values=cache)
        for held in cache.held:
            there = held.index[0, 0].tolist()
            assert there == list(range(at + 1 - len(there), at + 1))
            assert min(at + 1, tokens - 1) <= len(there) <= tokens


def test_it_reads_as_attention_sinks_without_sinks(llama, text):
    window = rm.context.cache("sliding-window", model=llama, tokens=10, slack=1)
    sinks = rm.context.cache("attention-sinks", model=llama, tokens=10, slack=1, sinks=0)
    for at in range(0, 40, 4):
        one, other = (llama(text[:, at : at + 4], past_key_values=cache).logits for cache in (window, sinks))
        assert torch.equal(one, other)
