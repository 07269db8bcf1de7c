"""The library's own gradient descent against torch's."""

import pytest
import torch
from torch import nn

from remanence.weights import optimizers


def _net() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3), nn.Linear(3, 3))


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_sgd_is_equal_to_torch_to_the_bit(momentum: float, weight_decay: float) -> None:
    ours, theirs = _net(), _net()
    settings = {"optimizer": "sgd", "lr": 0.1, "momentum": momentum, "weight_decay": weight_decay}
    named = dict(ours.named_parameters())
    body = {name: p for name, p in named.items() if name.startswith("0")}
    rest = {name: p for name, p in named.items() if not name.startswith("0")}
    mine = optimizers.make(settings, [(1.0, body), (0.5, rest)])
    groups = [
        {"params": list(theirs[0].parameters()), "lr": 0.1},
        {"params": [*theirs[2].parameters(), *theirs[3].parameters()], "lr": 0.05},
    ]
    other = torch.optim.SGD(groups, lr=0.1, momentum=momentum, weight_decay=weight_decay, foreach=True)
    for step in range(8):
        x = torch.randn(4, 5, generator=torch.Generator().manual_seed(step))
        for net, optimizer in ((ours, mine), (theirs, other)):
            optimizer.zero_grad()
            hidden = net[2](net[1](net[0](x)))
            # The last layer takes part from the third step on, so that its momentum starts later.
            (hidden if step < 3 else net[3](hidden)).square().mean().backward()
            optimizer.step()
        assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
    kept = optimizers.tensors(mine, named)
    assert set(kept) == ({f"{name}|momentum_buffer" for name in named} if momentum else set())


def test_momentum_moves_to_another_optimizer_by_name() -> None:
    settings = {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.0}
    net = _net()
    named = dict(net.named_parameters())
    first = optimizers.make(settings, [(1.0, named)])
    net(torch.ones(2, 5)).sum().backward()
    first.step()
    second = optimizers.make(settings, [(1.0, named)])
    optimizers.put(second, named, optimizers.tensors(first, named))
    for name, p in named.items():
        assert torch.equal(second.state[p]["momentum_buffer"], first.state[p]["momentum_buffer"]), name


def test_rates_are_set_as_factors_of_their_base() -> None:
    named = dict(_net().named_parameters())
    optimizer = optimizers.make({"optimizer": "sgd", "lr": 0.2, "momentum": 0.0, "weight_decay": 0.0}, [(0.5, named)])
    optimizers.set_rates(optimizer, 0.1)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.01)
