"""Entries of a layer: whatever is taken in and let go, keys stand where a list of them says."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from remanence.context.caches.layer_cache import PAD, LayerCache
from remanence.context.caches.rotary import Rotary

ROTARY = Rotary(torch.tensor([1.0, 0.3], dtype=torch.float64))
ACTIONS = st.lists(st.tuples(st.booleans(), st.integers(1, 5), st.integers(0, 10**6)), min_size=1, max_size=12)


def vectors(count, seed):
    return torch.randn(1, 2, count, 5, generator=torch.Generator().manual_seed(seed))


@settings(deadline=None)
@given(ACTIONS)
def test_keys_stand_where_a_list_says(actions):
    """Two heads let different entries go; each entry moves on by what went after it."""
    held, seen = LayerCache(0, entry_stats=("number",), rotary=ROTARY), 0
    lists = [[], []]  # of each head: (index, unrotated key, value, position)
    for grow, count, seed in actions:
        if grow or len(lists[0]) <= count:
            keys, values = vectors(count, seed), vectors(count, seed + 1)
            index = torch.arange(seen, seen + count, dtype=torch.int32)[None]
            held.append(ROTARY.turn(keys, index[:, None]), values, index)
            held.stat("number")[:, :, -count:] = index.float()
            for head in range(2):
                for at in range(count):
                    lists[head].append([seen + at, keys[0, head, at], values[0, head, at], seen + at])
            seen += count
        else:
            draw = torch.Generator().manual_seed(seed)
            chosen = torch.stack(
                [torch.randperm(held.count, generator=draw)[: held.count - count].sort().values for _ in range(2)]
            )
            held.select(chosen[None], close=held.valid)
            for head in range(2):
                stay = set(chosen[head].tolist())
                for place, entry in enumerate(lists[head]):
                    entry[3] += sum(1 for later in range(place + 1, len(lists[head])) if later not in stay)
                lists[head] = [entry for place, entry in enumerate(lists[head]) if place in stay]
    assert held.count == len(lists[0])
    for head in range(2):
        for place, (index, key, value, position) in enumerate(lists[head]):
            assert held.index[0, head, place] == held.stat("number")[0, head, place] == index
            assert torch.equal(held.values[0, head, place], value)
            expected = ROTARY.turn(key, torch.tensor(position))
            assert torch.allclose(held.keys[0, head, place], expected, atol=1e-4)


@given(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6))
def test_turning_twice_is_turning_by_the_sum(one, other):
    key = vectors(1, 0)
    twice = ROTARY.turn(ROTARY.turn(key, torch.tensor([one])), torch.tensor([other]))
    assert torch.allclose(twice, ROTARY.turn(key, torch.tensor([one + other])), atol=1e-5)
    assert torch.equal(twice[..., 4], key[..., 4])


def test_dropped_tokens_are_zeros_and_padding():
    held = LayerCache(0, entry_stats=("number",))
    held.append(vectors(6, 0), vectors(6, 1), torch.arange(6, dtype=torch.int32)[None])
    held.stat("number").fill_(3.0)
    assert held.drop(2, 4) == 4
    assert held.index[0, 0].tolist() == [0, 1, PAD, PAD, 4, 5]
    assert not held.keys[:, :, 2:4].any()
    assert not held.values[:, :, 2:4].any()
    assert held.stat("number")[0, 0].tolist() == [3, 3, 0, 0, 3, 3]


def test_room_beyond_what_is_held_can_be_given_back():
    held = LayerCache(0)
    held.capacity = 100
    for at in range(20):
        held.append(vectors(3, at), vectors(3, at), torch.arange(3 * at, 3 * at + 3, dtype=torch.int32)[None])
    held.trim(0)
    assert held.nbytes == sum(tensor.nbytes for tensor in held.state().values())
    assert held.count == 60


def test_what_is_taken_off_leaves_no_marks():
    held = LayerCache(0, entry_stats=("number",))
    held.capacity = held.whole = 8
    held.append(vectors(4, 0), vectors(4, 1), torch.arange(4)[None])
    held.stat("number").fill_(7.0)
    held.follows["something"] = True
    held.truncate(2)
    assert not held.follows
    held.append(vectors(1, 2), vectors(1, 3), torch.tensor([[2]]))
    assert held.stat("number")[0, 0].tolist() == [7.0, 7.0, 0.0]
