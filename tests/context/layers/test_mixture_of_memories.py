"""MoM: routing, what a token changes, and the layer against a loop."""

import pytest
import torch
from torch.nn.functional import normalize, silu, softplus

from memory_layers import keeps_its_promises, same
from remanence.context.layers.mixture_of_memories import MixtureOfMemories
from remanence.errors import StateError, UsageError

RULES = ["gated delta", "gated linear", "linear"]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("settings", [{}, {"heads": 2, "key_dim": 3, "shared": False, "convolution": 0, "topk": 1}])
def test_reading(rule, settings, tmp_path):
    layer = MixtureOfMemories(4, memories=3, rule=rule, **settings)
    if settings.get("topk") == 1:
        # One memory's weight is always one: nothing reaches the router but the balance of choices.
        layer.router.requires_grad_(False)
        layer.router.weight.grad = torch.ones_like(layer.router.weight)
    decay = ["forgetting.weight", "rate_log", "step_bias"]
    idle = {"gated delta": [], "gated linear": ["strength.weight"], "linear": ["strength.weight", *decay]}[rule]
    for name in idle:
        weight = layer.get_parameter(name)
        weight.grad = torch.ones_like(weight)
    keeps_its_promises(layer, tmp_path)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("shared", [True, False])
def test_it_is_a_loop_over_tokens_and_memories(rule, shared):
    torch.manual_seed(3)
    layer = MixtureOfMemories(4, memories=3, topk=2, heads=2, key_dim=3, value_dim=5, shared=shared, rule=rule)
    layer = layer.double()
    x = torch.randn(1, 7, 4, dtype=torch.float64)
    came = [[torch.zeros(2 * 3 * 2 + 2 * 5, dtype=torch.float64)] * 3 for _ in range(3 + shared)]
    memories = torch.zeros(3 + shared, 2, 3, 5, dtype=torch.float64)
    expected = []
    for t in range(7):
        probability = layer.router(x[0, t]).softmax(-1)
        chosen = probability.argsort(descending=True)[:2].tolist()
        weight = {m: probability[m] / probability[chosen].sum() for m in chosen}
        if shared:
            weight[3] = 1.0
        q = layer.queries(x[0, t])
        keys, values = layer.keys(x[0, t]).view(3 + shared, 6), layer.values(x[0, t]).view(3 + shared, 10)
        beta = layer.strength(x[0, t]).sigmoid().view(3 + shared, 2)
        step = softplus(layer.forgetting(x[0, t]).view(3 + shared, 2) + layer.step_bias)
        kept = (-layer.rate_log.exp() * step).exp()
        mixed = torch.zeros(2, 5, dtype=torch.float64)
        for m in weight:
            # The last four that came to this memory, this token the last
            came[m].append(torch.cat([q, keys[m], values[m]]))
            seen = silu(sum(layer.convolution.weight[j] * came[m][j - 4] for j in range(4)))
            for h in range(2):
                asked, k = (normalize(seen[at : at + 3], dim=0) for at in (3 * h, 6 + 3 * h))
                v, before = seen[12 + 5 * h : 17 + 5 * h], memories[m, h].clone()
                if rule != "linear":
                    before = kept[m, h] * before
                change = beta[m, h] * (v - k @ before) if rule == "gated delta" else v
                memories[m, h] = before + torch.outer(k, change)
                mixed[h] += weight[m] * (asked @ memories[m, h])
        expected.append(layer.out(layer.norm(mixed).flatten() * silu(layer.gate(x[0, t]))))
    y, state = layer(x)
    same(y[0], torch.stack(expected))
    same(state["memories"][0], memories)


@pytest.mark.parametrize("rule", RULES)
def test_a_token_changes_only_the_memories_it_was_sent_to(rule):
    layer = MixtureOfMemories(4, memories=4, topk=1, rule=rule)
    _, before = layer(torch.randn(1, 9, 4))
    x = torch.randn(1, 1, 4)
    _, after = layer(x, before)
    moved = (before["memories"] != after["memories"]).flatten(2).any(-1)[0]
    assert moved.nonzero().flatten().tolist() == [int(layer.router(x).argmax()), 4]


def test_weights_of_the_chosen_add_up_to_one():
    layer = MixtureOfMemories(4, memories=5, topk=3)
    probability, weights = layer.route(torch.randn(2, 6, 4))
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 6))
    assert bool(((weights > 0).sum(-1) == 3).all())
    kept = torch.where(weights > 0, probability, 0.0)
    torch.testing.assert_close(weights, kept / kept.sum(-1, keepdim=True))


def test_the_balance_loss_is_one_where_tokens_are_spread_evenly_and_grows_with_crowding():
    layer = MixtureOfMemories(4, memories=4, topk=1)
    with torch.no_grad():
        layer.router.weight.copy_(torch.eye(4))
    even = layer.balance_loss(30.0 * torch.eye(4).unsqueeze(0))
    crowded = layer.balance_loss(30.0 * torch.eye(4)[:1].expand(1, 8, 4))
    assert even.item() == pytest.approx(1.0) and crowded.item() == pytest.approx(4.0)
    assert torch.autograd.grad(layer.balance_loss(torch.randn(1, 9, 4)), layer.router.weight)[0].any()


def test_one_memory_is_the_rule_by_itself():
    layer = MixtureOfMemories(4, memories=1, topk=1, shared=False)
    _, weights = layer.route(torch.randn(2, 6, 4))
    assert torch.equal(weights, torch.ones(2, 6, 1))
    assert layer.state_bytes == 4 * (4 * 8 + 3 * (4 + 4 + 8))


@pytest.mark.parametrize("rule", RULES)
def test_gradients(rule):
    layer = MixtureOfMemories(3, memories=2, topk=1, rule=rule, convolution=2).double()
    x = torch.randn(1, 4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: layer(x)[0], x)


def test_mistakes():
    with pytest.raises(UsageError, match="sent to 3 of 2 memories: choose topk of 1 to 2"):
        MixtureOfMemories(4, memories=2, topk=3)
    with pytest.raises(UsageError, match="rule must be"):
        MixtureOfMemories(4, rule="hebb")
    with pytest.raises(StateError, match="mapping with memories"):
        MixtureOfMemories(4)(torch.zeros(1, 2, 4), torch.zeros(1))
