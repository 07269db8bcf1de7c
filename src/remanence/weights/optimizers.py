"""torch's optimizers by name, with state that is saved and moved by the names of parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn


def make(
    settings: Mapping[str, Any], groups: Sequence[tuple[float, Mapping[str, nn.Parameter]]]
) -> torch.optim.Optimizer:
    """An optimizer over groups of (factor on the learning rate, parameters by name)."""
    lr = settings["lr"]
    listed = [{"params": list(named.values()), "lr": lr * rate, "base": lr * rate} for rate, named in groups if named]
    if not listed:
        listed = [{"params": [nn.Parameter(torch.empty(0))], "lr": lr, "base": lr}]
    if settings["optimizer"] == "sgd":
        return torch.optim.SGD(
            listed, lr=lr, momentum=settings["momentum"], weight_decay=settings["weight_decay"], foreach=True
        )
    kind = torch.optim.Adam if settings["optimizer"] == "adam" else torch.optim.AdamW
    return kind(listed, lr=lr, weight_decay=settings["weight_decay"], foreach=True)


def tensors(optimizer: torch.optim.Optimizer, named: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """What the optimizer keeps, as ``name|key`` to tensor."""
    kept = {}
    for name, parameter in named.items():
        for key, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                kept[f"{name}|{key}"] = value
    return kept


def put(optimizer: torch.optim.Optimizer, named: Mapping[str, nn.Parameter], kept: Mapping[str, Tensor]) -> None:
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
        optimizer.state[parameter][key] = value.clone()


def preview(optimizer: torch.optim.Optimizer, named: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
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


def set_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set every group's learning rate to a factor of its base."""
    for group in optimizer.param_groups:
        group["lr"] = group["base"] * factor
