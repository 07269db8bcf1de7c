"""Linear state-space layers: the same as a recurrence and as a convolution, and HiPPO's matrices in their family."""

import pytest
import torch
from scipy.linalg import expm

import memory_layers
from remanence.context.layers.hippo_matrices import transition
from remanence.context.layers.lssl import LSSL, StructuredTransition
from remanence.errors import StateError, UsageError

MATRICES = ["legs", "legt", "lagt", "random"]


def made(matrix="legs", **settings):
    torch.manual_seed(0)
    return LSSL(3, **{"order": 5, "channels": 2, "matrix": matrix, **settings})


@pytest.mark.parametrize("mode", ["convolution", "recurrence"])
@pytest.mark.parametrize("matrix", MATRICES)
def test_it_is_a_memory_layer(matrix, mode, tmp_path):
    layer = made(matrix, mode=mode)
    memory_layers.reads_alike(layer, rtol=1e-4, atol=1e-5)
    memory_layers.looks_back_only(layer)
    memory_layers.keeps_rows_apart(layer)
    memory_layers.state_lives(layer, tmp_path / "state.safetensors")
    memory_layers.learns_throughout(layer)
    memory_layers.refuses_other_shapes(layer)


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("order", [1, 4, 64])
def test_both_modes_agree_in_outputs_and_gradients(matrix, order):
    layer = made(matrix, order=order).double()
    x = memory_layers.drawn(layer, 100)
    found = []
    for mode in ("convolution", "recurrence"):
        layer.mode = mode
        y, state = layer(x, layer(x)[1])
        gradients = torch.autograd.grad(y.square().sum() + state.square().sum(), tuple(layer.parameters()))
        found.append((y, state, *gradients))
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("matrix", ["legs", "legt", "lagt"])
def test_the_family_begins_as_hippo(matrix):
    A, B = StructuredTransition(32, matrix, 0.1)()
    expected = transition(matrix, 32)
    torch.testing.assert_close(A.double(), expected[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(B.double(), expected[1])


def test_the_system_written_out():
    """One feature and channel: the bilinear recurrence, GELU and the map, by hand."""
    torch.manual_seed(0)
    layer = LSSL(1, order=4).double()
    A, B = layer.transition()
    step = layer.log_step().exp()
    left, right = torch.eye(4) - step / 2 * A, torch.eye(4) + step / 2 * A
    x, h = memory_layers.drawn(layer, 9, 1), torch.zeros(4).double()
    for t, u in enumerate(x[0, :, 0]):
        h = torch.linalg.solve(left, right @ h + step * B * u)
        y = layer.out(torch.nn.functional.gelu(layer.C[0] @ h + layer.D[0] * u))
        torch.testing.assert_close(layer(x)[0][0, t], y)


def test_a_small_step_comes_near_the_continuous_system():
    """A constant input: h(t) = (e^{At} - I) A⁻¹ B."""
    layer = made(shortest=0.01, longest=0.01, rate=0.0).double()
    A, B = (part.numpy() for part in layer.transition())
    _, h = layer(torch.ones(1, 100, 3).double())
    expected = torch.from_numpy(
        (expm(A) - torch.eye(5).numpy()) @ torch.linalg.solve(*map(torch.from_numpy, (A, B))).numpy()
    )
    torch.testing.assert_close(h[0, 0], expected, rtol=2e-2, atol=2e-3)


def test_a_fixed_layer_learns_neither_matrices_nor_steps():
    names = {name.partition(".")[0] for name, _ in made(rate=0.0).named_parameters()}
    assert names == {"C", "D", "out"}
    names = {name.partition(".")[0] for name, _ in made().named_parameters()}
    assert names == {"transition", "log_step", "C", "D", "out"}


def test_the_rate_slows_what_adam_changes():
    moved = []
    for rate in (1.0, 0.1):
        layer = made(rate=rate)
        begin = layer.log_step().detach().clone()
        optimizer = torch.optim.Adam(layer.parameters(), lr=0.01)
        layer(memory_layers.drawn(layer))[0].square().sum().backward()
        optimizer.step()
        moved.append((layer.log_step() - begin).abs())
    torch.testing.assert_close(moved[1], 0.1 * moved[0], rtol=1e-3, atol=1e-7)


def test_steps_are_drawn_between_their_ends():
    torch.manual_seed(0)
    steps = LSSL(500, order=2, shortest=0.001, longest=0.1, rate=0.0).log_step().exp()
    assert 0.001 <= steps.min() < 0.0012
    assert 0.08 < steps.max() <= 0.1
    assert abs(float(steps.log10().mean()) + 2) < 0.1


def test_matrices_are_kept_only_while_nothing_learns():
    layer = made()
    with torch.no_grad():
        first = layer.matrices()
        assert layer.matrices()[0] is first[0]
        layer.log_step.offset += 1.0
        changed = layer.matrices()
        assert not torch.equal(changed[0], first[0])
    assert layer.matrices()[0].grad_fn is not None
    with torch.no_grad():
        assert layer.double().matrices()[0].dtype == torch.float64


def test_what_cannot_be_read_is_refused():
    with pytest.raises(StateError, match="a state that is not its own"):
        made()(torch.zeros(2, 3, 3), torch.zeros(2, 3, 4))
    with pytest.raises(UsageError, match="rate must be less than or equal to 1"):
        LSSL(3, rate=2.0)


def test_nothing_read_changes_nothing():
    layer = made()
    y, state = layer(torch.zeros(2, 0, 3))
    assert y.shape == (2, 0, 3)
    memory_layers.alike(state, layer.initial(2))
