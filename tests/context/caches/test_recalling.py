"""Where what leaves the window lies, and what queries read of it, against keys that were never rotated and loops."""

import math
from dataclasses import replace

import pytest
import torch
import transformers

import remanence as rm
from remanence.context.caches.bank import Found, best
from remanence.context.caches.forward_call import ForwardCall
from remanence.context.caches.layer_cache import LayerCache
from remanence.context.caches.recalling import Recalling
from remanence.context.caches.rotary import Rotary

ROTARY = Rotary(torch.tensor([1.0, 0.1], dtype=torch.float64))
SINKS, RECENT, READ, NEW = 2, 4, 11, 3


class Everything(Recalling):
    """Recalls what a function of query head, new token and entry says."""

    sinks, recent = SINKS, RECENT

    def recalled(self, search):
        batch, heads, group, new, count = search.scores().shape
        first = search.bank.first
        there = [
            [[[chosen(h * group + g, t, first + m) for m in range(count)] for t in range(new)] for g in range(group)]
            for h in range(heads)
        ]
        return Found(torch.arange(count).expand(batch, heads, -1), torch.tensor(there)[None])


def chosen(head, token, entry):
    return (head + 2 * token + entry) % 3 != 0


def raw_keys(llama, tokens):
    """The keys of the first layer before any rotation, which follow from the tokens alone: (1, heads, n, features)."""
    layer = llama.model.layers[0]
    keys = layer.self_attn.k_proj(layer.input_layernorm(llama.model.embed_tokens(tokens)))
    return keys.view(1, tokens.shape[1], -1, layer.self_attn.head_dim).transpose(1, 2)


@pytest.mark.parametrize("name", ["extended-mind", "memorizing-transformers", "em-llm"])
@pytest.mark.parametrize("cuts", [[30, 60], [50, 51, 52, 53, 80], list(range(1, 90))])
def test_the_bank_is_at_position_0_and_sinks_stand_before_the_window(llama, text, name, cuts):
    cache = rm.context.cache(name, model=llama, tokens=60, recent=12, sinks=3)
    with cache.attach(llama):
        for start, end in zip([0, *cuts], [*cuts, 90], strict=True):
            llama(text[:, start:end], past_key_values=cache)
    held, raw = cache.held[0], raw_keys(llama, text)
    away, index = cache.policy.away(held)[0, 0], held.index[0, 0].long()
    assert bool(away.any())
    assert torch.allclose(held.keys[:, :, away], raw[:, :, index[away]], atol=1e-4)
    # What is not away is the sinks and the newest, at the positions right before the next token
    front = index[~away]
    assert front.tolist() == [0, 1, 2, *range(90 - len(front) + 3, 90)]
    position = int(cache.rows.next[0]) - len(front) + torch.arange(len(front))
    cos, sin = llama.model.rotary_emb(raw, position[None])
    expected = transformers.models.llama.modeling_llama.apply_rotary_pos_emb(
        raw[:, :, front], raw[:, :, front], cos, sin
    )[1]
    assert torch.allclose(held.keys[:, :, ~away], expected, atol=1e-4)


@pytest.mark.parametrize("name", ["extended-mind", "memorizing-transformers", "em-llm", "camelot"])
def test_where_the_bank_lies_is_known_until_it_changes(llama, text, name):
    cache = rm.context.cache(name, model=llama, tokens=40, recent=8, sinks=2)
    with cache.attach(llama):
        for at in range(90):
            if at == 70:
                cache.drop(40, 64)
            llama(text[:, at : at + 1], past_key_values=cache)
            for held in cache.held:
                known = cache.policy.bank(held)
                held.follows.pop("bank")
                found = cache.policy.bank(held)
                held.follows["bank"] = known
                assert replace(known, longest=found.longest, count=found.count) == found
                assert known.longest + held.count - known.count == found.longest
    assert any(cache.policy.bank(held).end for held in cache.held)


@pytest.fixture
def read():
    """A layer that has read some tokens and sent the middle of them away, and the keys and values as they came."""
    draw = torch.Generator().manual_seed(7)
    keys, values = (torch.randn(1, 2, READ + NEW, 4, generator=draw) for _ in range(2))
    held = LayerCache(0, Recalling.entry_stats, ROTARY)
    held.capacity = held.whole = READ
    held.append(ROTARY.turn(keys[:, :, :READ], torch.arange(READ)), values[:, :, :READ], torch.arange(READ)[None])
    policy = Everything()
    policy.on_forward_end([held], torch.tensor([READ]), 512)
    return policy, held, keys, values


def test_queries_read_the_bank_at_one_distance_as_a_loop_does(read):
    policy, held, keys, values = read
    new = torch.arange(READ, READ + NEW)
    held.append(ROTARY.turn(keys[:, :, READ:], new), values[:, :, READ:], new[None])
    query = torch.randn(1, 4, NEW, 4, generator=torch.Generator().manual_seed(8))
    call = ForwardCall(None, None, NEW, new[None])
    see = policy.visible(held, call, READ)
    output, _ = policy.attend(held, ROTARY.turn(query, new), see, 0.5, call)

    def product(head, token, entry):
        """Of query and key, None where the query sees nothing of the entry."""
        if SINKS <= entry < READ - RECENT:
            if not chosen(head, token, entry):
                return None
            distance = SINKS + RECENT
        elif entry > READ + token:
            return None
        else:  # the gap is closed: a sink stands as many places later as entries went
            place = entry + (READ - RECENT - SINKS if entry < SINKS else 0)
            distance = READ + token - place
        # A product of rotated vectors depends on their distance alone
        moved = ROTARY.turn(query[0, head, token][None], torch.tensor([distance]))[0]
        return float(moved @ keys[0, head // 2, entry]) * 0.5

    for head in range(4):
        for token in range(NEW):
            scores = [product(head, token, entry) for entry in range(READ + NEW)]
            weights = [0.0 if score is None else math.exp(score) for score in scores]
            expected = torch.tensor(weights) / sum(weights)
            assert torch.allclose(output[0, head, token], expected @ values[0, head // 2], atol=1e-5)


def test_the_oldest_of_the_bank_goes_first(read):
    policy, held, _, _ = read
    kept, gone = policy.choose(held, READ - 3)
    assert gone[0, 0].tolist() == [2, 3, 4]
    assert kept[0, 1].tolist() == [0, 1, *range(5, READ)]


def test_nothing_is_sent_away_while_there_is_room(read):
    policy, held, keys, values = read
    other = LayerCache(0, Recalling.entry_stats, ROTARY)
    other.capacity = READ + 1
    other.append(keys[:, :, :READ], values[:, :, :READ], torch.arange(READ)[None])
    policy.on_forward_end([other], torch.tensor([READ]), 512)
    assert not bool(policy.away(other).any())
    # nor twice: the window is as small as it gets
    before = held.keys.clone()
    policy.on_forward_end([held], torch.tensor([READ]), 512)
    assert torch.equal(held.keys, before)


def test_half_of_the_positions_is_the_longest_window(read):
    policy, _, keys, values = read
    other = LayerCache(0, Recalling.entry_stats, ROTARY)
    other.capacity = 1000
    other.append(keys[:, :, :READ], values[:, :, :READ], torch.arange(READ)[None])
    policy.on_forward_end([other], torch.tensor([READ]), 2 * READ)
    assert not bool(policy.away(other).any())
    policy.on_forward_end([other], torch.tensor([READ]), 2 * READ - 2)
    assert int(policy.positioned(other)[0, 0].sum()) == SINKS + RECENT


def test_the_best_are_those_of_a_sort():
    draw = torch.Generator().manual_seed(2)
    scores, among = torch.randn(3, 9, generator=draw), torch.rand(3, 9, generator=draw) < 0.6
    for k in (1, 4, 20):
        found = best(scores, among, k)
        for row in range(3):
            allowed = sorted(among[row].nonzero().flatten().tolist(), key=lambda at: -float(scores[row, at]))
            assert found.places[row][found.there[row]].tolist() == allowed[:k]
