"""The gated delta rule: the chunked form against the recurrence, and what the rule is for."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import logsigmoid, normalize

from memory_layers import same
from remanence.context.layers.delta import delta_rule


def given_numbers(length):
    draw = torch.Generator().manual_seed(length)
    q, k = normalize(torch.randn(2, 2, length, 3, generator=draw, dtype=torch.float64), dim=-1)
    v = torch.randn(2, length, 4, generator=draw, dtype=torch.float64)
    beta = torch.rand(2, length, generator=draw, dtype=torch.float64)
    log_decay = logsigmoid(torch.randn(2, length, generator=draw, dtype=torch.float64))
    return q, k, v, beta, log_decay, torch.randn(2, 3, 4, generator=draw, dtype=torch.float64)


@settings(max_examples=20, deadline=None)
@given(length=st.integers(1, 9), chunk=st.integers(1, 10))
def test_chunks_are_the_recurrence(length, chunk):
    q, k, v, beta, log_decay, memory = given_numbers(length)
    y, last = delta_rule(q, k, v, beta, log_decay, memory, chunk=chunk)
    for t in range(length):
        memory = log_decay[:, t, None, None].exp() * memory
        error = v[:, t] - (k[:, t, None] @ memory).squeeze(1)
        memory = memory + beta[:, t, None, None] * k[:, t, :, None] * error[:, None]
        same(y[:, t], (q[:, t, None] @ memory).squeeze(1))
    same(last, memory)


def test_a_second_value_of_a_key_replaces_the_first():
    k = torch.tensor([[[1.0, 0.0], [0.6, 0.8], [1.0, 0.0]]])
    v = torch.tensor([[[1.0], [2.0], [3.0]]])
    y, _ = delta_rule(k, k, v, torch.ones(1, 3), torch.zeros(1, 3), torch.zeros(1, 2, 1))
    torch.testing.assert_close(y, v)


def test_a_write_of_strength_zero_changes_nothing():
    q, k, v, beta, log_decay, memory = given_numbers(5)
    _, last = delta_rule(q, k, v, 0 * beta, 0 * log_decay, memory)
    same(last, memory)


def test_gradients():
    numbers = [number.requires_grad_() for number in given_numbers(3)]
    assert torch.autograd.gradcheck(lambda *numbers: delta_rule(*numbers, chunk=2), numbers)
