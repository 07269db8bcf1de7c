"""HiPPO as a recurrent layer: its cell written out, its memory at any length, and what every memory layer does."""

import pytest
import torch
from torch.nn.functional import linear

import memory_layers
from remanence.context.layers.hippo import HiPPO
from remanence.context.layers.hippo_matrices import discretise_scaled, transition
from remanence.errors import StateError, UsageError

MEASURES = ["legs", "legt", "lagt", "fout"]


def made(measure="legs", **settings):
    torch.manual_seed(0)
    return HiPPO(4, order=6, hidden=5, memories=2, measure=measure, window=8.0, **settings)


@pytest.mark.parametrize("measure", MEASURES)
def test_it_is_a_memory_layer(measure, tmp_path):
    layer = made(measure)
    memory_layers.reads_alike(layer)
    memory_layers.looks_back_only(layer)
    memory_layers.keeps_rows_apart(layer)
    memory_layers.state_lives(layer, tmp_path / "state.safetensors")
    memory_layers.learns_throughout(layer)
    memory_layers.refuses_other_shapes(layer)


def test_the_cell_written_out():
    layer, x = made().double(), memory_layers.drawn(made().double())
    A, B = transition("legs", 6)
    h, c = torch.zeros(3, 5).double(), torch.zeros(3, 2, 6).double()
    for t in range(x.shape[1]):
        f = linear(torch.cat([x[:, t], h], 1), layer.written.weight, layer.written.bias)
        if t:
            Ad, Bd = discretise_scaled(A, B, torch.tensor(t))
            c = torch.einsum("nk,bmk->bmn", Ad, c) + f[:, :, None] * Bd
        else:
            c[:, :, 0] = f
        both = torch.cat([x[:, t], c.flatten(1)], 1)
        gate = torch.sigmoid(linear(both, layer.gate.weight, layer.gate.bias))
        h = (1 - gate) * h + gate * torch.tanh(linear(both, layer.candidate.weight, layer.candidate.bias))
    y, state = layer(x)
    torch.testing.assert_close(y[:, -1], layer.out(h))
    torch.testing.assert_close(state["memory"], c)
    assert int(state["seen"]) == x.shape[1]


@pytest.mark.parametrize("discretisation", ["forward", "backward", "bilinear", "exact"])
def test_every_discretisation_stays_finite(discretisation):
    layer = made(discretisation=discretisation)
    y, _ = layer(memory_layers.drawn(layer, 200))
    assert torch.isfinite(y).all()


def test_the_memory_is_the_projection_of_what_was_written():
    """With nothing from the hidden units, coefficients are those of the operator on the map of the input."""
    layer = made("legt")
    with torch.no_grad():
        layer.written.weight[:, 4:] = 0
    x = memory_layers.drawn(layer)
    written = linear(x, layer.written.weight[:, :4], layer.written.bias)
    torch.testing.assert_close(layer(x)[1]["memory"], layer.projection(written)[:, -1])


def test_bytes_of_the_state():
    assert made("legt").state_bytes == 4 * (2 * 6 + 5)
    assert made("legs").state_bytes == 4 * (2 * 6 + 5) + 8


def test_gradients():
    layer = HiPPO(2, order=3, hidden=2).double()
    x = torch.randn(1, 4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(lambda given: layer(given)[0], (x,))


def test_nothing_read_changes_nothing():
    layer = made()
    y, state = layer(torch.zeros(2, 0, 4))
    assert y.shape == (2, 0, 4)
    memory_layers.alike(state, layer.initial(2))


def test_a_state_of_another_layer_is_refused():
    with pytest.raises(StateError, match="a state that is not its own"):
        made()(torch.zeros(2, 3, 4), torch.zeros(2, 5))
    with pytest.raises(UsageError, match="window must be greater than 0"):
        HiPPO(4, window=0.0)
