"""The window's attention and its pooling, against the model's own."""

import pytest
import torch

import remanence as rm
from remanence.errors import UsageError


def weights_of(model, tokens):
    """(layers, heads of keys, queries, keys): attention summed over the query heads that share keys."""
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    found = model(tokens, output_attentions=True).attentions
    model.set_attn_implementation(before)
    return torch.stack([layer[0].view(2, 2, *layer.shape[2:]).sum(1) for layer in found])


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


@pytest.mark.parametrize("pooling", ["average", "largest"])
def test_pooling_is_over_neighbours(llama, text, pooling):
    cache = rm.context.cache("snap-kv", model=llama, tokens=200, kernel=3, pooling=pooling)
    with cache.attach(llama):
        llama(text[:, :30], past_key_values=cache)
    held = cache.held[1]
    window = cache.policy.window
    # As in the authors' program, the window is cut off before neighbours are pooled
    scores, pooled = held.stat("attention")[0, 0, :-window].tolist(), cache.policy.score(held)[0, 0, :-window]
    around = [[scores[n] for n in (k - 1, k, k + 1) if 0 <= n < 30 - window] for k in range(30 - window)]
    expected = [sum(some) / 3 if pooling == "average" else max(some) for some in around]
    assert torch.allclose(pooled, torch.tensor(expected), atol=1e-6)


def test_an_even_kernel_is_refused(llama):
    with pytest.raises(UsageError, match="expected an odd number: take 5"):
        rm.context.cache("snap-kv", model=llama, tokens=200, kernel=4)
