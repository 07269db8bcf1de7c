"""Which channels go, against a loop; that they are really gone; and that keys without them are moved and seen right."""

import pytest
import torch

import remanence as rm
from remanence.context.caches.layer_cache import LayerCache
from remanence.context.caches.rotary import Rotary
from remanence.context.caches.think import Channels, ThinK
from small_llama import small_llama

FREQUENCIES = torch.tensor([1.0, 0.3, 0.1, 0.01], dtype=torch.float64)


def layer(rotary, whole=2, ratio=0.5, entries=9):
    """Nine entries of two heads with eight features, and the squares of queries."""
    draw = torch.Generator().manual_seed(1)
    held = LayerCache(0, (), rotary, Channels(ratio, whole))
    held.capacity, held.whole = 40, 9
    keys = torch.randn(1, 2, entries, 8, generator=draw)
    held.append(keys, torch.randn(1, 2, entries, 8, generator=draw), torch.arange(entries)[None])
    held.besides["queries"] = torch.rand(1, 2, 8, generator=draw)
    return held, keys


def norms(held, keys, head):
    """The paper's score of each channel: the norm of it over queries times its norm over keys."""
    scores = []
    for channel in range(8):
        queries = float(held.besides["queries"][0, head, channel]) ** 0.5
        scores.append(queries * sum(float(key[channel]) ** 2 for key in keys[0, head]) ** 0.5)
    return scores


@pytest.mark.parametrize("paired", [True, False])
def test_the_channels_of_the_highest_scores_stay(paired):
    held, keys = layer(Rotary(FREQUENCIES) if paired else None)
    scores = [norms(held, keys, head) for head in range(2)]
    held.compress()
    for head in range(2):
        if paired:
            squared = [scores[head][k] ** 2 + scores[head][k + 4] ** 2 for k in range(4)]
            best = sorted(range(4), key=lambda k: -squared[k])[:2]
            expected = sorted([*best, *(k + 4 for k in best)])
        else:
            expected = sorted(sorted(range(8), key=lambda k: -scores[head][k])[:4])
        assert held.besides["channels"][0, head].tolist() == expected
        kept = torch.zeros(8).index_fill(0, torch.tensor(expected), 1.0)
        assert torch.equal(held.keys[0, head, :7], keys[0, head, :7] * kept)
        assert torch.equal(held.keys[0, head, 7:], keys[0, head, 7:])


def test_the_bytes_of_channels_are_really_gone():
    held, _ = layer(None)
    before = held.nbytes
    held.compress()
    held._resize(9)
    queries, channels = 2 * 8 * 4, 2 * 4 * 2
    assert before - held.nbytes == 2 * 7 * 4 * 4 + queries - channels
    shapes = {name: tuple(tensor.shape) for name, tensor in held.tensors()}
    assert shapes["compressed"] == (1, 2, 7, 4)
    assert shapes["keys"] == (1, 2, 2, 8)


def test_keys_leave_the_window_one_by_one_and_those_that_stay_keep_what_they_have():
    held, keys = layer(None)
    held.compress()
    more = torch.randn(1, 2, 3, 8)
    held.append(more[:, :, :1], more[:, :, :1], torch.tensor([[9]]))
    held.compress()
    assert (held.count, held.older) == (10, 8)
    held.append(more[:, :, 1:], more[:, :, 1:], torch.tensor([[10, 11]]))
    held.compress()
    every = torch.cat([keys, more], 2)
    kept = torch.zeros(1, 2, 1, 8).scatter(3, held.besides["channels"].long().unsqueeze(2), 1.0)
    assert torch.equal(held.keys, torch.cat([every[:, :, :10] * kept, every[:, :, 10:]], 2))
    held.select(torch.tensor([[[0, 3, 9, 10, 11], [1, 2, 3, 4, 11]]]), close=False)
    assert held.older == 3
    assert torch.equal(held.keys[0, 0], torch.cat([every[0, 0, [0, 3, 9]] * kept[0, 0], every[0, 0, 10:]]))
    # An entry that other heads' choices move back into the window does not get its channels back
    assert torch.equal(held.keys[0, 1], torch.cat([every[0, 1, [1, 2, 3, 4]] * kept[0, 1], every[0, 1, 11:]]))


def test_thin_keys_are_moved_as_whole_ones_without_the_channels():
    rotary = Rotary(FREQUENCIES)
    held, keys = layer(rotary)
    held.compress()
    kept = torch.zeros(1, 2, 1, 8).scatter(3, held.besides["channels"].long().unsqueeze(2), 1.0)
    by = torch.tensor([0, 5, 5, 4, 3, 3, 2, 1, 0]).view(1, 1, 9).expand(1, 2, 9)
    held.move(by)
    turned = rotary.turn(keys, by)
    assert torch.allclose(held.keys, torch.cat([turned[:, :, :7] * kept, turned[:, :, 7:]], 2), atol=1e-6)


def test_replaced_keys_lose_their_channels_again():
    held, keys = layer(None)
    held.compress()
    held.replace(torch.tensor([[[1, 8], [1, 8]]]), torch.ones(1, 2, 2, 8), torch.ones(1, 2, 2, 8))
    assert held.keys[0, 0, 1].sum() == 4
    assert held.keys[0, 0, 8].sum() == 8
    assert torch.equal(held.keys[0, :, 7], keys[0, :, 7])


@pytest.mark.parametrize("positions", ["closed", "original"])
def test_more_entries_fit_the_same_bytes_and_stay_within_them(text, positions):
    llama = small_llama(hidden_size=64)
    settings = {"recent_share": 0.25, "positions": positions}
    compressed = rm.context.cache("think", model=llama, budget=60_000, ratio=0.5, whole=4, **settings)
    whole = rm.context.cache("heavy-hitters", model=llama, budget=60_000, **settings)
    for cache in (compressed, whole):
        with cache.attach(llama):
            for low, high in ((0, 30), (30, 60), *((at, at + 1) for at in range(60, 90))):
                llama(text[:, low:high], past_key_values=cache)
                assert cache.nbytes <= 60_000
    assert compressed.counts[0] > 1.15 * whole.counts[0]
    assert all(held.older == held.count - 4 for held in compressed.held)


def test_a_saved_cache_with_thin_keys_goes_on_equally(text, tmp_path):
    llama = small_llama(hidden_size=64)
    cache = rm.context.cache("think", model=llama, budget=45_000, whole=4)
    with cache.attach(llama):
        llama(text[:, :70], past_key_values=cache)
    assert cache.held[0].older
    cache.save(tmp_path / "compressed.safetensors")
    opened = rm.context.reopen(tmp_path / "compressed.safetensors", model=llama)
    for low, high in ((70, 71), (71, 90)):
        said = []
        for one in (cache, opened):
            with one.attach(llama):
                said.append(llama(text[:, low:high], past_key_values=one).logits)
        assert torch.equal(*said)


def test_queries_are_those_of_the_last_observed(llama, text):
    seen = []
    cache = rm.context.cache("think", model=llama, tokens=200, observed=8)
    given = cache.policy.on_attention

    def noted(held, query, weights, reading):
        if held.layer == 1:
            seen.append(query)
        given(held, query, weights, reading)

    cache.policy.on_attention = noted
    with cache.attach(llama):
        llama(text[:, :20], past_key_values=cache)
        llama(text[:, 20:22], past_key_values=cache)
    first = seen[0][0, :, -8:].square().mean(1).view(2, 2, -1).sum(1)
    both = first * 6 / 8 + seen[1][0].square().sum(1).view(2, 2, -1).sum(1) / 8
    assert torch.allclose(cache.held[1].besides["queries"][0], both, atol=1e-5)


def test_the_width_is_even_and_at_most_what_is_asked():
    assert [Channels(ratio, 0).width(10) for ratio in (0.0, 0.4, 0.5, 0.99)] == [10, 6, 6, 2]
    assert ThinK(ratio=0.5).smallest() == 18
