"""torch's optimizers by name, with state that is saved and moved by the names of parameters."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from remanence.errors import UsageError


class SGD:
    """Stochastic gradient descent with the arithmetic, groups and state of ``torch.optim.SGD``.

    It changes all tensors of a group in one call and leaves out the hooks and profiler marks that
    torch wraps around every step, which cost as much as the step itself for a small network.

    Parameters
    ----------
    param_groups:
        As of torch: dictionaries with ``params`` and ``lr``.
    momentum:
        0 to 1, 1 excluded.
    weight_decay:
        0 or more.
    """

    def __init__(self, param_groups: list[dict[str, Any]], momentum: float = 0.0, weight_decay: float = 0.0) -> None:
        self.param_groups, self.momentum, self.weight_decay = param_groups, momentum, weight_decay
        self.state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        self._parameters = [parameter for group in param_groups for parameter in group["params"]]

    def zero_grad(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            gradients: Any = [parameter.grad for parameter in parameters]
            if not gradients:
                continue
            if self.weight_decay:
                gradients = torch._foreach_add(gradients, parameters, alpha=self.weight_decay)
            if self.momentum:
                gradients = self._gather(parameters, gradients)
            torch._foreach_add_(parameters, gradients, alpha=-group["lr"])

    def _gather(self, parameters: list[Tensor], gradients: Any) -> list[Tensor]:
        """The momentum of every parameter with its gradient taken in; it starts as the gradient."""
        old, new = [], []
        for parameter, gradient in zip(parameters, gradients, strict=True):
            held = self.state[parameter].get("momentum_buffer")
            if held is None:
                self.state[parameter]["momentum_buffer"] = gradient.clone()
            else:
                old.append(held)
                new.append(gradient)
        if old:
            torch._foreach_mul_(old, self.momentum)
            torch._foreach_add_(old, new)
        return [self.state[parameter]["momentum_buffer"] for parameter in parameters]


Optimizer = SGD | torch.optim.Optimizer


def make(settings: Mapping[str, Any], groups: Sequence[tuple[float, Mapping[str, nn.Parameter]]]) -> Optimizer:
    """An optimizer over groups of (factor on the learning rate, parameters by name)."""
    lr = settings["lr"]
    listed = [{"params": list(named.values()), "lr": lr * rate, "base": lr * rate} for rate, named in groups if named]
    if not listed:
        listed = [{"params": [nn.Parameter(torch.empty(0))], "lr": lr, "base": lr}]
    if settings["optimizer"] == "sgd":
        return SGD(listed, settings["momentum"], settings["weight_decay"])
    kind = torch.optim.Adam if settings["optimizer"] == "adam" else torch.optim.AdamW
    return kind(listed, lr=lr, weight_decay=settings["weight_decay"], foreach=True)


def is_plain(optimizer: Optimizer) -> bool:
    """Whether a step only adds the gradient times a rate."""
    return isinstance(optimizer, SGD) and not optimizer.momentum and not optimizer.weight_decay


def tensors(optimizer: Optimizer, named: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """What the optimizer keeps, as ``name|key`` to tensor."""
    kept = {}
    for name, parameter in named.items():
        for key, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                kept[f"{name}|{key}"] = value
    return kept


def put(optimizer: Optimizer, named: Mapping[str, nn.Parameter], kept: Mapping[str, Tensor]) -> None:
    """Give state back by name; entries of a parameter that has grown start at zero."""
    for full, value in kept.items():
        name, key = full.rsplit("|", 1)
        if name not in named:
            continue
        parameter = named[name]
        if value.dim() and value.shape != parameter.shape:
            wider = value.new_zeros(parameter.shape)
            wider[tuple(slice(0, size) for size in value.shape)] = value
            value = wider
        # torch counts steps on the CPU, wherever the parameters are
        optimizer.state[parameter][key] = value.to(parameter.device).clone() if value.dim() else value.cpu().clone()


def preview(optimizer: Optimizer, named: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """The change that a step would make, by name; parameters and state are left as they are."""
    before = {name: parameter.detach().clone() for name, parameter in named.items()}
    kept = {key: value.clone() for key, value in tensors(optimizer, named).items()}
    optimizer.step()
    with torch.no_grad():
        change = {name: parameter - before[name] for name, parameter in named.items()}
        for name, parameter in named.items():
            parameter.copy_(before[name])
    optimizer.state.clear()
    put(optimizer, named, kept)
    return change


def set_rates(optimizer: Optimizer, factor: float) -> None:
    """Set every group's learning rate to a factor of its base."""
    for group in optimizer.param_groups:
        group["lr"] = group["base"] * factor


def clear(optimizer: Optimizer, named: Mapping[str, nn.Parameter], entries: Mapping[str, Tensor]) -> None:
    """Set to zero what is kept for some entries: masks by name, of a parameter's shape or broadcasting to it."""
    for name, mask in entries.items():
        if name not in named:
            raise UsageError(f"moments of {name!r} were to be cleared, which the optimizer does not move")
        for value in optimizer.state.get(named[name], {}).values():
            if isinstance(value, Tensor) and value.dim():
                value.masked_fill_(mask.to(value.device), 0)
