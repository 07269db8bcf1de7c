"""The two halves of an update: what the model makes of a batch, and the change that follows from a loss."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from remanence.errors import Diverged
from remanence.models.model import Model
from remanence.weights import optimizers
from remanence.weights.context import Step
from remanence.weights.hooks import Hooks

_AS_IT_IS = nullcontext()


class Loop:
    """Forward and backward halves of updates, shared by the main loop and the phases outside it.

    Parameters
    ----------
    model:
        What is trained.
    hooks:
        Those of the parts.
    layers:
        Names of layers of the body to record in `step.maps`.
    precision:
        ``fp32`` or ``bf16``.
    device:
        Where the model is.
    """

    def __init__(self, model: Model, hooks: Hooks, layers: list[str], precision: str, device: torch.device) -> None:
        self.model, self.hooks, self.layers, self.device = model, hooks, layers, device
        self.halved = precision == "bf16"

    def precision(self) -> AbstractContextManager[Any]:
        """The precision in which the model computes."""
        return torch.autocast(self.device.type, torch.bfloat16) if self.halved else _AS_IT_IS

    def forward(self, step: Step) -> None:
        """Fill `columns`, `x`, `features`, `scores` and `maps` of a step."""
        batch, model = step.batch, self.model
        head = model.head
        if batch.y is not None and batch.y.dtype == torch.int64 and head.outputs == 0:
            step.columns = head.columns_of_seen(batch.y)
        with self.precision():
            if batch.entry is None:
                step.x = model.prepare(batch.x)
                for augment in self.hooks["augment"]:
                    step.x = augment(step.x, batch, step.context)
            if self.layers and batch.entry is None:
                with model.record(self.layers) as step.maps:
                    step.features = model.enter(step.x, None, batch.latents)
            elif batch.entry is None and batch.latents is None:
                step.features = model.body(step.x)
            else:
                step.features = model.enter(step.x, batch.entry, batch.latents)
            step.scores = head(step.features)
        if self.halved:  # losses and memories are computed in full precision
            step.features, step.scores = _full(step.features), _full(step.scores)
            step.maps = {name: _full(kept) for name, kept in step.maps.items()}

    def change(
        self, step: Step, optimizer: optimizers.Optimizer, moved: dict[str, nn.Parameter], hooks: Hooks
    ) -> float:
        """Backward pass, `on_gradient`, optimizer, `on_change`, `after_step`; the loss as a number."""
        value = float(step.loss.detach())
        if not math.isfinite(value):
            where = f"update {step.k} of experience {step.experience.index}"
            raise Diverged(f"the loss became {value} at {where}: lower lr")
        optimizer.zero_grad()
        step.loss.backward()  # type: ignore[no-untyped-call]
        step.optimizer = optimizer
        for on_gradient in hooks["on_gradient"]:
            on_gradient(step)
        if hooks["on_change"]:
            before = {name: parameter.detach().clone() for name, parameter in moved.items()}
            optimizer.step()
            edit_change(step, before, moved, hooks)
        else:
            optimizer.step()
        for after_step in hooks["after_step"]:
            after_step(step)
        return value


def edit_change(step: Step, before: dict[str, Tensor], moved: dict[str, nn.Parameter], hooks: Hooks) -> None:
    """Let parts edit the change that the optimizer made from `before`, and make it theirs."""
    with torch.no_grad():
        step.change = {name: parameter - before[name] for name, parameter in moved.items()}
        for on_change in hooks["on_change"]:
            on_change(step)
        for name, parameter in moved.items():
            torch.add(before[name], step.change[name], out=parameter)


def _full(values: Tensor) -> Tensor:
    return values.float() if values.dtype == torch.bfloat16 else values
