"""What holds for every memory layer, to be called from the test of each."""

import pytest
import torch

from remanence.context import tree
from remanence.errors import UsageError

CUTS = [(), (1,), (4,), (3, 4, 9), tuple(range(1, 11))]
"""Ways to cut eleven positions: not at all, after the first, anywhere, at each."""


def drawn(layer, length=11, batch=3, seed=0):
    x = torch.randn(batch, length, layer.width, generator=torch.Generator().manual_seed(seed))
    return x.to(next(layer.parameters()).dtype)


def alike(one, other, **near):
    """Two states with the same names and numbers."""
    ones, others = dict(tree.leaves(one)), dict(tree.leaves(other))
    assert ones.keys() == others.keys()
    for name, tensor in ones.items():
        torch.testing.assert_close(others[name], tensor, **near)


def reads_alike(layer, **near):
    """At once, in pieces, and step by step: the same outputs and the same state, with and without one to begin from."""
    x = drawn(layer)
    _, earlier = layer(drawn(layer, 5, seed=1))
    for begin in (None, earlier):
        whole, last = layer(x, begin)
        assert whole.shape == x.shape
        for cuts in CUTS:
            found, state = [], begin
            for piece in torch.tensor_split(x, cuts, 1):
                y, state = layer(piece, state)
                found.append(y)
            torch.testing.assert_close(torch.cat(found, 1), whole, **near)
            alike(last, state, **near)
        found, state = [], begin
        for position in x.unbind(1):
            y, state = layer.step(position, state)
            found.append(y)
        torch.testing.assert_close(torch.stack(found, 1), whole, **near)
        alike(last, state, **near)


def looks_back_only(layer):
    """An output does not depend on what comes after it."""
    x = drawn(layer)
    changed = x.clone()
    changed[:, 6:] += 1.0
    torch.testing.assert_close(layer(changed)[0][:, :6], layer(x)[0][:, :6])
    assert (layer(changed)[0][:, 6:] - layer(x)[0][:, 6:]).abs().max() > 1e-3


def keeps_rows_apart(layer):
    """A sequence is read as if it were alone."""
    x = drawn(layer)
    whole, last = layer(x)
    alone, state = layer(x[1:2])
    torch.testing.assert_close(alone, whole[1:2])
    for (_, one), (_, other) in zip(tree.leaves(state), tree.leaves(last), strict=True):
        torch.testing.assert_close(one, other[1:2] if other.dim() else other)


def state_lives(layer, path):
    """A state is counted, cut from the graph, saved, and read on from as if nothing had happened."""
    x = drawn(layer).requires_grad_()
    _, state = layer(x[:, :6])
    assert layer.state_bytes == sum(t.numel() * t.element_size() for _, t in tree.leaves(layer.initial(1)))
    assert any(tensor.grad_fn is not None for _, tensor in tree.leaves(state))
    cut = tree.detach(state)
    assert all(tensor.grad_fn is None for _, tensor in tree.leaves(cut))
    tree.save(cut, path)
    loaded = tree.load(path)
    alike(cut, loaded, rtol=0, atol=0)
    torch.testing.assert_close(layer(x[:, 6:], loaded)[0], layer(x[:, 6:], state)[0], rtol=0, atol=0)


def learns_throughout(layer):
    """A loss at the end reaches every parameter and the first position; sizes of state do not grow."""
    x = drawn(layer).requires_grad_()
    y, state = layer(x)
    y[:, -1].square().sum().backward()
    assert x.grad[:, 0].abs().max() > 0
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name
    assert tree.nbytes(tree.apply(state, lambda t: t.detach().clone())) == tree.nbytes(
        tree.apply(layer(x, state)[1], lambda t: t.detach().clone())
    )


def refuses_other_shapes(layer):
    name = type(layer).__name__
    with pytest.raises(UsageError, match=rf"{name} was given .*, expected \(batch, length, {layer.width}\)"):
        layer(torch.zeros(2, 3, layer.width + 1))
    with pytest.raises(UsageError, match="width must be greater than or equal to 1"):
        type(layer)(width=0)


SPLITS = ([1] * 11, [11], [5, 6], [1, 4, 2, 4], [0, 7, 0, 4])


def keeps_its_promises(layer, path, *, grows=False):
    """At once, in pieces and step by step it reads the same; its state has one size, and can be cut, saved and reopened."""
    layer = layer.double()
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(2, sum(SPLITS[0]), layer.width, generator=draw, dtype=torch.float64)
    whole, last = layer(x)
    assert whole.shape == x.shape and bool(whole.isfinite().all())
    for cuts in SPLITS:
        read, state = [], None
        for piece in x.split(cuts, 1):
            y, state = layer(piece, state)
            read.append(y)
            assert grows or tree.nbytes(state) == tree.nbytes(layer.initial(2))
        same(torch.cat(read, 1), whole)
        same_state(state, last)
    read, state = [], None
    for position in x.unbind(1):
        y, state = layer.step(position, state)
        read.append(y)
    same(torch.stack(read, 1), whole)
    same_state(state, last)
    for row in range(2):
        same(layer(x[row : row + 1])[0], whole[row : row + 1])
    changed = x.clone()
    changed[:, 6:] += 1
    same(layer(changed)[0][:, :6], whole[:, :6])
    _, state = layer(x[:, :5])
    tree.save(tree.detach(state), path / "state.safetensors")
    again = tree.load(path / "state.safetensors")
    assert not any(leaf.requires_grad for _, leaf in tree.leaves(again))
    same(layer(x[:, 5:], again)[0], whole[:, 5:])
    assert grows or layer.state_bytes == tree.nbytes(tree.apply(layer.initial(1), torch.clone))
    whole.square().sum().backward()
    idle = [name for name, weight in layer.named_parameters() if weight.grad is None or not bool(weight.grad.any())]
    assert not idle, f"no gradient reaches {idle}"


def same(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def same_state(found, expected):
    alike(found, expected, rtol=1e-9, atol=1e-9)
