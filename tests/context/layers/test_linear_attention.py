"""Linear attention: the chunked form against the recurrence, and the layer."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import logsigmoid

from memory_layers import keeps_its_promises, same
from remanence.context.layers.linear_attention import EluPlusOne, LinearAttention, decays, linear_attention
from remanence.errors import StateError, UsageError

NARROW = {"dtype": torch.float64}


def stepped(q, k, v, memory, log_decay, normalised):
    """The recurrence, one position at a time."""
    if normalised:
        v = torch.cat([v, torch.ones_like(v[..., :1])], -1)
    read = []
    for t in range(q.shape[-2]):
        memory = log_decay[..., t, None, None].exp() * memory + k[..., t, :, None] * v[..., t, None, :]
        y = (q[..., t, None, :] @ memory).squeeze(-2)
        read.append(y[..., :-1] / y[..., -1:] if normalised else y)
    return torch.stack(read, -2), memory


@settings(max_examples=25, deadline=None)
@given(length=st.integers(1, 9), chunk=st.integers(1, 10), normalised=st.booleans(), decay=st.booleans())
def test_chunks_are_the_recurrence(length, chunk, normalised, decay):
    draw = torch.Generator().manual_seed(length)
    q, k = torch.rand(2, 2, 3, length, 4, generator=draw, **NARROW)
    v = torch.randn(2, 3, length, 5, generator=draw, **NARROW)
    memory = torch.rand(2, 3, 4, 5 + normalised, generator=draw, **NARROW)
    log_decay = logsigmoid(torch.randn(2, 3, length, generator=draw, **NARROW)) if decay else None
    found = linear_attention(q, k, v, memory, log_decay=log_decay, normalised=normalised, chunk=chunk)
    none = torch.zeros(2, 3, length, **NARROW)
    expected = stepped(q, k, v, memory, none if log_decay is None else log_decay, normalised)
    same(found[0], expected[0])
    same(found[1], expected[1])


def test_decays_are_products_in_a_loop():
    log_decay = logsigmoid(torch.randn(2, 5, **NARROW))
    found = decays(log_decay)
    for t in range(5):
        for i in range(5):
            expected = log_decay[:, i + 1 : t + 1].sum(-1).exp() if i <= t else torch.zeros(2, **NARROW)
            same(found[:, t, i], expected)


def test_a_decay_to_nothing_has_finite_gradients():
    log_decay = torch.full((1, 6), -1e4, requires_grad=True)
    decays(log_decay).sum().backward()
    assert bool(log_decay.grad.isfinite().all())


def test_weights_without_decay_are_those_of_all_pairs():
    layer = LinearAttention(4, feature_dim=3).double()
    x = torch.randn(1, 70, 4, **NARROW)
    q, k = layer.feature_map(layer.queries(x)), layer.feature_map(layer.keys(x))
    weights = (q @ k.transpose(1, 2)).tril()
    same(layer(x)[0], layer.out(weights @ layer.values(x) / weights.sum(-1, keepdim=True)))


@pytest.mark.parametrize("settings", [{}, {"heads": 2, "feature_dim": 3, "convolution": 3}])
def test_reading(settings, tmp_path):
    keeps_its_promises(LinearAttention(4, **settings), tmp_path)


def test_gradients():
    layer = LinearAttention(4, feature_dim=3, convolution=2).double()
    x = torch.randn(1, 4, 4, **NARROW, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: layer(x)[0], x)


def test_elu_plus_one_is_that_and_positive():
    x = torch.linspace(-50, 50, 101)
    assert bool((EluPlusOne()(x) > 0).all())
    torch.testing.assert_close(EluPlusOne()(x), torch.nn.functional.elu(x) + 1)


def test_mistakes():
    with pytest.raises(UsageError, match="width 4 was given for 3 heads"):
        LinearAttention(4, heads=3)
    with pytest.raises(StateError, match="mapping with a memory"):
        LinearAttention(4)(torch.zeros(1, 2, 4), torch.zeros(1))
