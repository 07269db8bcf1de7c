"""What a policy that recalls is asked in a call of a model, for tests that ask it themselves."""

import torch

from remanence.context.caches.bank import Search


def search_of(policy, held, query, call=None):
    """The search of queries (batch, query heads, n, features) in a layer's bank."""
    bank, scaling = policy.bank(held), query.shape[3] ** -0.5
    return Search(held, bank, call, query * scaling, bank.of(held.keys), bank.of(held.stat("away")), scaling)


def found_by(policy, search):
    """Of every entry of the layer, whether it is recalled: (batch, heads, group, n, count) bool."""
    found, shape = policy.recalled(search), search.scores().shape
    places = found.places if found.places.dim() == 5 else found.places[:, :, None, None]
    places = places.expand(*shape[:4], -1)
    there = torch.ones_like(places, dtype=torch.bool) if found.there is None else found.there.expand(places.shape)
    among = torch.zeros(shape).scatter_add(-1, places, there.float())
    assert int(among.max()) <= 1, "an entry was recalled twice"
    whole = torch.zeros(*shape[:4], search.held.count, dtype=torch.bool)
    whole[..., search.bank.first : search.bank.end] = among > 0
    assert not bool((whole & ~policy.away(search.held)[:, :, None, None]).any()), "recalled from outside the bank"
    return whole
