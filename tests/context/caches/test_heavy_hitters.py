"""Accumulated attention against loops, and which entries stay by it."""

import pytest
import torch

import remanence as rm


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
