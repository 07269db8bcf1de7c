"""The neural memory: its closed-form surprise and chunked recurrences against autograd and a loop."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import silu

from memory_layers import keeps_its_promises, same
from remanence.context.layers.neural_memory import NeuralMemory, Rates, memorise, recall, surprise
from remanence.errors import StateError, UsageError

WIDTH = 3


def drawn(layers, length, seed=0):
    draw = torch.Generator().manual_seed(seed)
    weights = tuple(torch.randn(2, WIDTH, WIDTH, generator=draw, dtype=torch.float64) for _ in range(layers))
    momentum = tuple(0.1 * torch.randn(2, WIDTH, WIDTH, generator=draw, dtype=torch.float64) for _ in range(layers))
    q, k, v = torch.randn(3, 2, length, WIDTH, generator=draw, dtype=torch.float64)
    kept, carried, step = torch.rand(3, 2, length, generator=draw, dtype=torch.float64)
    return weights, momentum, q, k, v, Rates(kept.log(), carried.log(), 0.2 * step)


def gradients(weights, k, v):
    """The gradients of the loss of one token a row, by autograd."""
    weights = [weight.detach().requires_grad_() for weight in weights]
    loss = (recall(tuple(weights), k.unsqueeze(1)).squeeze(1) - v).square().sum()
    return torch.autograd.grad(loss, weights)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_surprise_is_the_gradient(layers):
    weights, _, _, k, v, _ = drawn(layers, 4)
    factors = surprise(weights, k, v)
    for t in range(4):
        for (read, error), expected in zip(factors, gradients(weights, k[:, t], v[:, t]), strict=True):
            same(read[:, t, :, None] * error[:, t, None, :], expected)


@settings(max_examples=15, deadline=None)
@given(layers=st.integers(1, 3), length=st.integers(1, 7))
def test_a_chunk_is_the_loop_with_gradients_at_its_start(layers, length):
    weights, momentum, q, k, v, rates = drawn(layers, length, seed=length)
    start = tuple(weight + 0.1 for weight in weights)
    y, after, carried = memorise(start, weights, momentum, q, k, v, rates)
    for t in range(length):
        surprises = gradients(start, k[:, t], v[:, t])
        kept, old, step = (
            rate[:, t, None, None] for rate in (rates.log_kept.exp(), rates.log_carried.exp(), rates.step)
        )
        momentum = tuple(old * m - step * g for m, g in zip(momentum, surprises, strict=True))
        weights = tuple(kept * w + m for w, m in zip(weights, momentum, strict=True))
        same(y[:, t], recall(weights, q[:, t : t + 1]).squeeze(1))
    for found, expected in zip((*after, *carried), (*weights, *momentum), strict=True):
        same(found, expected)


def test_chunks_of_one_are_the_rule_token_by_token():
    layer = NeuralMemory(WIDTH, memory_layers=2, chunk=1, convolution=0).double()
    x = torch.randn(2, 5, WIDTH, dtype=torch.float64)
    y, state = layer(x)
    weights = tuple(weight.expand(2, -1, -1) for weight in layer.memory)
    momentum = tuple(torch.zeros_like(weight) for weight in weights)
    for t in range(5):
        q, k, v = (silu(make(x[:, t])) for make in (layer.queries, layer.keys, layer.values))
        q, k = (part / part.norm(dim=-1, keepdim=True) for part in (q, k))
        kept, carried, step = layer.rates(x[:, t]).sigmoid().unbind(-1)
        surprises = gradients(weights, k, v)
        momentum = tuple(
            carried[:, None, None] * m - layer.largest_step * step[:, None, None] * g
            for m, g in zip(momentum, surprises, strict=True)
        )
        weights = tuple(kept[:, None, None] * w + m for w, m in zip(weights, momentum, strict=True))
        answer = recall(weights, q.unsqueeze(1)).squeeze(1)
        same(y[:, t], layer.out(layer.norm(answer) * silu(layer.gate(x[:, t]))))
    for found, expected in zip((*state["weights"], *state["momentum"]), (*weights, *momentum), strict=True):
        same(found, expected)


@pytest.mark.parametrize(
    "settings",
    [{"chunk": 1}, {"chunk": 4}, {"chunk": 3, "memory_layers": 1, "convolution": 0}, {"chunk": 4, "memory_width": 3}],
)
def test_reading(settings, tmp_path):
    keeps_its_promises(NeuralMemory(4, **settings), tmp_path)


def test_what_is_switched_off_has_no_part(tmp_path):
    torch.manual_seed(0)
    layer = NeuralMemory(4, chunk=2, momentum=False, decay=False).double()
    rates = layer._rates(torch.randn(1, 3, 4, dtype=torch.float64))
    assert not rates.log_kept.any() and not rates.log_carried.exp().any()
    assert "momentum" not in layer.initial(1)
    keeps_its_promises(layer, tmp_path)


def test_repeated_tokens_leave_less_surprise():
    layer = NeuralMemory(4, memory_layers=2, chunk=1, largest_step=3.0, convolution=0, decay=False).double()
    x = torch.ones(1, 1, 4, dtype=torch.float64)
    k, v = torch.nn.functional.normalize(silu(layer.keys(x)), dim=-1), silu(layer.values(x))
    losses, state = [], layer.initial(1)
    for _ in range(30):
        losses.append((recall(state["weights"], k) - v).square().sum().item())
        _, state = layer(x, state)
    assert losses[-1] < 0.5 * losses[0]


def test_recall_changes_nothing_and_reads_the_weights():
    layer = NeuralMemory(4, chunk=2)
    x = torch.randn(1, 3, 4)
    _, state = layer(x)
    kept = [weight.clone() for weight in state["weights"]]
    q = torch.nn.functional.normalize(silu(layer.queries(x)), dim=-1)
    expected = layer.out(layer.norm(silu(q @ kept[0]) @ kept[1]) * silu(layer.gate(x)))
    torch.testing.assert_close(layer.recall(x, state), expected)
    assert all(torch.equal(a, b) for a, b in zip(kept, state["weights"], strict=True))


@pytest.mark.parametrize("chunk", [1, 3])
def test_gradients_flow_through_the_updates(chunk):
    layer = NeuralMemory(3, memory_layers=2, chunk=chunk, convolution=0).double()
    torch.nn.init.normal_(layer.memory[-1])
    x = torch.randn(1, 4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, *_: layer(x)[0], (x, *layer.memory, layer.rates.weight))


def test_mistakes():
    with pytest.raises(UsageError, match="memory_layers must be less than or equal to 4"):
        NeuralMemory(4, memory_layers=5)
    with pytest.raises(StateError, match="mapping with weights"):
        NeuralMemory(4)(torch.zeros(1, 2, 4), torch.zeros(1))
    with pytest.raises(StateError, match="tuple of matrices"):
        NeuralMemory(4).recall(torch.zeros(1, 2, 4), {"weights": None})
