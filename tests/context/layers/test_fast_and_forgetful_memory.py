"""Fast and forgetful memory: its sum written out, where episodes begin, and lengths at which powers overflow."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import memory_layers
from remanence.context.layers.fast_and_forgetful_memory import FastAndForgetfulMemory
from remanence.errors import StateError, UsageError


def made(**settings):
    torch.manual_seed(0)
    return FastAndForgetfulMemory(4, **{"memory": 3, "context": 2, "max_period": 20, **settings})


def test_it_is_a_memory_layer(tmp_path):
    layer = made()
    memory_layers.reads_alike(layer)
    memory_layers.looks_back_only(layer)
    memory_layers.keeps_rows_apart(layer)
    memory_layers.state_lives(layer, tmp_path / "state.safetensors")
    memory_layers.learns_throughout(layer)
    memory_layers.refuses_other_shapes(layer)


def test_the_cell_written_out():
    """The state is Σ γ^(t-i) x̃_i, the paper's sum, and the output the gated reading of it."""
    layer = made().double()
    x = memory_layers.drawn(layer)
    gamma = torch.exp(torch.complex(-layer.alpha.abs()[:, None].expand(3, 2), -layer.omega.expand(3, 2)))
    value, through, in_gate, out_gate = layer.pre(x).split([3, 4, 3, 4], -1)
    written = value * in_gate.sigmoid()
    y, state = layer(x)
    for t in (0, 3, 10):
        total = sum(gamma ** (t - i) * written[:, i, :, None] for i in range(t + 1))
        read = layer.mix(torch.view_as_real(total).flatten(1))
        read = (read - read.mean(-1, keepdim=True)) / (read.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt()
        gate = out_gate[:, t].sigmoid()
        torch.testing.assert_close(y[:, t], read * gate + through[:, t] * (1 - gate))
    torch.testing.assert_close(torch.view_as_complex(state.contiguous()), total)


def test_a_sign_of_alpha_does_not_matter():
    layer = made()
    x = memory_layers.drawn(layer)
    before = layer(x)[0]
    with torch.no_grad():
        layer.alpha.neg_()
    torch.testing.assert_close(layer(x)[0], before)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(0, 9), max_size=4, unique=True))
def test_an_episode_begins_as_if_nothing_had_been(starts):
    layer, edges = made(), sorted(starts)
    x = memory_layers.drawn(layer, 10, batch=2)
    begins = torch.zeros(2, 10, dtype=torch.bool)
    begins[0, edges] = True
    _, earlier = layer(memory_layers.drawn(layer, 4, batch=2, seed=1))
    y, state = layer(x, earlier, begins)
    torch.testing.assert_close(y[1], layer(x, earlier)[0][1])
    carried = earlier
    for low, high in zip([0, *edges], [*edges, 10], strict=True):
        if low in edges:
            carried = None
        if high > low:
            piece, carried = layer(x[:, low:high], carried)
            torch.testing.assert_close(y[0, low:high], piece[0])
    torch.testing.assert_close(state[0], carried[0])


def test_long_sequences_neither_overflow_nor_vanish():
    """Decays of one half over 5,000 positions: their negative powers would be 2^5000."""
    layer = made(memory=2)
    with torch.no_grad():
        layer.alpha.fill_(math.log(2.0))
        layer.omega.zero_()
    x = torch.ones(1, 5000, 4)
    y, state = layer(x)
    value, _, gate, _ = layer.pre(x[:, 0]).split([2, 4, 2, 4], -1)
    torch.testing.assert_close(state[0, :, 0, 0], 2 * (value * gate.sigmoid())[0], rtol=1e-4, atol=1e-4)
    y.square().sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in layer.parameters())


def test_how_it_begins():
    """The slowest trace keeps the share β after the longest period; the fastest follows from max_len alone."""
    layer = made(memory=5, context=4, max_period=100, forgotten_at=0.05)
    left = torch.exp(-layer.alpha.abs() * 100)
    assert left.max().item() == pytest.approx(0.05, rel=1e-4)
    assert (layer.alpha.diff() < 0).all()
    torch.testing.assert_close(2 * math.pi / layer.omega, torch.linspace(1, 100, 4))
    assert layer.state_bytes == 8 * 5 * 4


@pytest.mark.parametrize("max_period", [64, 1024])
def test_the_decays_are_those_of_the_authors_program(max_period):
    limit = math.log(torch.finfo(torch.double).max) / 1024 - 0.01
    low, high = -limit + 0.01, math.log(0.01) / max_period
    layer = made(memory=7, max_period=max_period)
    torch.testing.assert_close(-layer.alpha, torch.linspace(low, high, 7))
    assert layer.alpha[0].item() == pytest.approx(0.673, abs=1e-3)


def test_a_slow_end_never_beyond_the_fast_one():
    layer = made(memory=3, max_len=10_000, max_period=2)
    assert layer.alpha.max() == layer.alpha.min() > 0
    with pytest.raises(UsageError, match="periods from 9 to 4 positions"):
        made(min_period=9, max_period=4)


def test_gradients():
    layer = FastAndForgetfulMemory(2, memory=2, context=2, max_period=9).double()
    x = torch.randn(1, 5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    before = torch.randn(1, 2, 2, 2, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda given, state: layer(given, state), (x, before))


def test_nothing_read_changes_nothing():
    layer = made()
    y, state = layer(torch.zeros(2, 0, 4))
    assert y.shape == (2, 0, 4)
    memory_layers.alike(state, layer.initial(2))


def test_what_cannot_be_read_is_refused():
    with pytest.raises(StateError, match="a state that is not its own"):
        made()(torch.zeros(2, 3, 4), torch.zeros(2, 3))
    with pytest.raises(UsageError, match=r"begins is \(2, 4\), expected \(2, 3\)"):
        made()(torch.zeros(2, 3, 4), None, torch.zeros(2, 4, dtype=torch.bool))
    with pytest.raises(UsageError, match="forgotten_at must be less than 1"):
        FastAndForgetfulMemory(4, forgotten_at=1.0)
