"""What every memory layer promises, checked for one of them."""

import torch

from remanence.context import tree

CUTS = ([1] * 11, [11], [5, 6], [1, 4, 2, 4], [0, 7, 0, 4])


def keeps_its_promises(layer, path, *, grows=False):
    """At once, in pieces and step by step it reads the same; its state has one size, and can be cut, saved and reopened."""
    layer = layer.double()
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(2, sum(CUTS[0]), layer.width, generator=draw, dtype=torch.float64)
    whole, last = layer(x)
    assert whole.shape == x.shape and bool(whole.isfinite().all())
    for cuts in CUTS:
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
    found, expected = dict(tree.leaves(found)), dict(tree.leaves(expected))
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-9, atol=1e-9)
