"""Consolidation into modes against a loop over tokens; what the window opens; which modes give way."""

import pytest
import torch

import remanence as rm
from bank_search import found_by, search_of
from remanence.context.caches.camelot import Camelot
from remanence.context.caches.forward_call import ForwardCall
from remanence.context.caches.layer_cache import PAD, LayerCache
from remanence.context.caches.rotary import Rotary

ROTARY = Rotary(torch.tensor([1.0, 0.1], dtype=torch.float64))
SINKS, RECENT, READ = 1, 3, 16


def alike_keys(seed=5):
    """Keys near a few directions, so that some are alike, and values: each (1, 2, READ, features)."""
    draw = torch.Generator().manual_seed(seed)
    centres = torch.randn(3, 4, generator=draw)
    chosen = torch.randint(3, (2, READ), generator=draw)
    keys = centres[chosen] + 0.4 * torch.randn(2, READ, 4, generator=draw)
    return keys[None], torch.randn(1, 2, READ, 3, generator=draw)


def consolidated(keys, values, novelty, dtype=torch.float32):
    """A layer whose middle went to the bank in two goes."""
    policy = Camelot(novelty=novelty, recent=RECENT, sinks=SINKS)
    held = LayerCache(0, policy.entry_stats, ROTARY)
    for first, end in ((0, 9), (9, READ)):
        at = torch.arange(first, end)
        held.capacity = held.whole = end
        held.append(ROTARY.turn(keys[:, :, first:end], at).to(dtype), values[:, :, first:end].to(dtype), at[None])
        policy.on_forward_end([held], torch.tensor([end]), 512)
    return policy, held


def modes_by_loop(keys, values, novelty, head):
    """Slot: its mean key and value, its tokens, and its latest token."""
    modes = {}
    for token in range(SINKS, READ - RECENT):
        key, value = keys[0, head, token], values[0, head, token]
        cosines = {slot: float(torch.cosine_similarity(key, mode[0], dim=0)) for slot, mode in modes.items()}
        nearest = max(cosines, key=cosines.get, default=None)
        if nearest is None or cosines[nearest] < novelty:
            modes[token] = [key, value, 1, token]
        else:
            old_key, old_value, tokens, _ = modes[nearest]
            modes[nearest] = [
                (old_key * tokens + key) / (tokens + 1),
                (old_value * tokens + value) / (tokens + 1),
                tokens + 1,
                token,
            ]
    return modes


@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-5), (torch.float64, 1e-5), (torch.bfloat16, 0.06)])
@pytest.mark.parametrize("novelty", [-1.0, 0.9, 1.0])
def test_modes_are_those_of_a_loop(novelty, dtype, close):
    keys, values = alike_keys()
    policy, held = consolidated(keys, values, novelty, dtype)
    sizes = set()
    for head in range(2):
        expected = modes_by_loop(keys, values, novelty, head)
        there = (policy.away(held) & held.valid)[0, head].nonzero().flatten().tolist()
        assert there == sorted(expected)
        for slot in there:
            key, value, tokens, latest = expected[slot]
            assert torch.allclose(held.keys[0, head, slot].float(), key, atol=close)
            assert torch.allclose(held.values[0, head, slot].float(), value, atol=close)
            assert held.stat("tokens")[0, head, slot] == tokens
            assert held.stat("touched")[0, head, slot] == latest
            sizes.add(tokens)
        assert sum(mode[2] for mode in expected.values()) == READ - RECENT - SINKS
    assert sizes == {-1.0: {12}, 1.0: {1}}.get(novelty, sizes)
    assert novelty != 0.9 or len(sizes) > 1


def test_the_mode_that_was_added_to_longest_ago_gives_way_first():
    keys, values = alike_keys()
    policy, held = consolidated(keys, values, 0.9)
    for head in range(2):
        modes = modes_by_loop(keys, values, 0.9, head)
        gone = policy.choose(held, held.count - 1)[1][0, head]
        merged = [at for at in range(SINKS, READ - RECENT) if at not in modes]
        # merged tokens left empty places, which are filled first
        assert gone.tolist() == [merged[0]]
        oldest = min(modes, key=lambda slot: modes[slot][3])
        both = policy.choose(held, max(SINKS + RECENT, held.count - len(merged) - 1))[1][0, head].tolist()
        assert both == sorted([*merged, oldest])


def test_a_token_of_the_window_opens_the_mode_nearest_to_it_for_itself_and_what_follows():
    keys, values = alike_keys()
    policy, held = consolidated(keys, values, 0.9)
    call = ForwardCall(None, None, 2, torch.tensor([[READ - 2, READ - 1]]))
    found = found_by(policy, search_of(policy, held, torch.zeros(1, 2, 2, 4), call))[0, :, 0]
    window = [0, *range(READ - RECENT, READ)]
    for head in range(2):
        modes = modes_by_loop(keys, values, 0.9, head)
        opened = [
            max(modes, key=lambda slot: float(torch.cosine_similarity(keys[0, head, at], modes[slot][0], dim=0)))
            for at in window
        ]
        # the last two tokens are the new ones
        assert found[head, 0].nonzero().flatten().tolist() == sorted(set(opened[:-1]))
        assert found[head, 1].nonzero().flatten().tolist() == sorted(set(opened))


def test_a_row_without_modes_recalls_nothing():
    keys, values = alike_keys()
    policy = Camelot(novelty=0.9, recent=RECENT, sinks=SINKS)
    held = LayerCache(0, policy.entry_stats, ROTARY)
    held.capacity = held.whole = READ
    index = torch.arange(READ).repeat(2, 1)
    index[1, : READ - RECENT - SINKS] = PAD
    turned = ROTARY.turn(keys, torch.arange(READ)).repeat(2, 1, 1, 1)
    held.append(turned, values.repeat(2, 1, 1, 1), index, padded=True)
    policy.on_forward_end([held], torch.tensor([READ, RECENT + SINKS]), 512)
    call = ForwardCall(None, None, 1, torch.tensor([[READ - 1], [RECENT + SINKS - 1]]))
    found = found_by(policy, search_of(policy, held, torch.zeros(2, 2, 1, 4), call))
    assert bool(found[0].any())
    assert not bool(found[1].any())


def test_what_was_compared_need_not_be_compared_again(llama, text):
    caches = [rm.context.cache("camelot", model=llama, tokens=40, recent=8, novelty=0.8) for _ in range(2)]
    for at in range(90):
        logits = []
        for cache, forgetful in zip(caches, (False, True), strict=True):
            if forgetful:
                for held in cache.held:
                    held.follows.clear()
            with cache.attach(llama):
                logits.append(llama(text[:, at : at + 1], past_key_values=cache).logits)
        assert torch.allclose(*logits, atol=1e-5)
        for one, other in zip(*(cache.held for cache in caches), strict=True):
            assert torch.equal(one.stat("touched"), other.stat("touched"))
    assert bool((caches[0].held[1].stat("touched") < 0).any())
