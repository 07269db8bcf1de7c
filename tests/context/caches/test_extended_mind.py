"""Which entries each query of extended mind attends to, against a search of all."""

import pytest
import torch

from bank_search import found_by, search_of
from remanence.context.caches.extended_mind import ExtendedMind
from remanence.context.caches.forward_call import ForwardCall
from remanence.context.caches.layer_cache import PAD, LayerCache

COUNT, AWAY = 12, 7


@pytest.fixture
def held():
    """Two heads of twelve entries, the first padding, seven more of them in the bank."""
    draw = torch.Generator().manual_seed(3)
    layer = LayerCache(1, ExtendedMind.entry_stats)
    layer.capacity = layer.whole = COUNT
    index = torch.tensor([[PAD, *range(COUNT - 1)]])
    layer.append(*torch.randn(2, 1, 2, COUNT, 4, generator=draw), index)
    layer.stat("away")[:, :, 1 : AWAY + 1] = layer.keys[:, :, 1 : AWAY + 1].norm(dim=-1)
    return layer


def asked(policy, held):
    """What each of four query heads and three new tokens recalls, and the queries."""
    query = torch.randn(1, 4, 3, 4, generator=torch.Generator().manual_seed(4))
    return found_by(policy, search_of(policy, held, query))[0], query[0]


@pytest.mark.parametrize("similarity", [-1.0, 0.0, 0.4])
@pytest.mark.parametrize("topk", [1, 3, 50])
def test_the_most_alike_of_the_bank_are_recalled(held, topk, similarity):
    found, query = asked(ExtendedMind(topk=topk, similarity=similarity), held)
    some = 0
    for head in range(4):
        for token in range(3):
            alike = {
                at: float(torch.cosine_similarity(query[head, token], held.keys[0, head // 2, at], dim=0))
                for at in range(1, AWAY + 1)
            }
            expected = sorted((at for at in alike if alike[at] >= similarity), key=lambda at: -alike[at])[:topk]
            assert found[head // 2, head % 2, token].nonzero().flatten().tolist() == sorted(expected)
            some += len(expected)
    assert some


def test_layers_below_the_first_read_the_window_alone(held):
    query = torch.randn(1, 4, 3, 4, generator=torch.Generator().manual_seed(4))
    call = ForwardCall(None, None, 3, torch.arange(COUNT - 3, COUNT)[None])
    policies = [ExtendedMind(first_layer=first, similarity=-1.0) for first in (1, 2)]
    visible = (policies[0].bank(held).outside(held.index) >= 0).unsqueeze(2)
    read = [policy.attend(held, query, visible, 0.5, call)[0] for policy in policies]
    keys, values = (some[:, :, AWAY + 1 :].repeat_interleave(2, 1) for some in (held.keys, held.values))
    window = (query @ keys.transpose(2, 3) * 0.5).softmax(-1) @ values
    assert torch.allclose(read[1], window, atol=1e-6)
    assert not torch.allclose(read[0], window, atol=1e-2)
