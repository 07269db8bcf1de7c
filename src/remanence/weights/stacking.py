"""Parts of several seeds as one: those that treat every entry of every parameter alone, and those that say how."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from remanence.errors import Unsupported
from remanence.weights.hooks import overrides
from remanence.weights.part import Part
from remanence.weights.stacked_part import StackedPart, StackedStep

_IN_LOOP = ("rehearse", "augment", "objective", "loss", "on_gradient", "on_change", "after_step", "lr_schedule")
_ELEMENTWISE = ("loss", "on_gradient", "after_step")


class Elementwise(StackedPart):
    """A part whose hooks treat every entry of every parameter alone, run on stacked tensors as it is.

    A term that is a sum over entries becomes the sum over seeds, and its gradient falls apart by seed.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts
        self._one: Any = copy.deepcopy(parts[0])
        each = [dict(part.named_modules()) for part in parts]
        self._stacked: list[tuple[nn.Module, str, list[nn.Module]]] = []
        for name, module in self._one.named_modules():
            for key, _ in list(module.named_buffers(recurse=False)):
                owners = [modules[name] for modules in each]
                setattr(module, key, torch.stack([getattr(owner, key) for owner in owners]))
                self._stacked.append((module, key, owners))

    def loss(self, step: StackedStep) -> Tensor | None:
        term: Tensor | None = self._one.loss(step)
        return term

    def on_gradient(self, step: StackedStep) -> None:
        self._one.on_gradient(step)

    def after_step(self, step: StackedStep) -> None:
        self._one.after_step(step)

    def give_back(self) -> None:
        for module, key, owners in self._stacked:
            for value, owner in zip(getattr(module, key), owners, strict=True):
                setattr(owner, key, value.clone())


def stack_parts(parts: Sequence[Part]) -> StackedPart | None:
    """One part of every seed as one, None where it does nothing inside an update.

    Raises
    ------
    Unsupported
        If the part acts inside an update and does not say how it stacks.
    """
    first = parts[0]
    acts = [hook for hook in _IN_LOOP if overrides(first, hook)]
    if not acts:
        return None
    stacked: StackedPart | None = first.stacked(parts)
    if stacked is not None:
        return stacked
    if first.elementwise and set(acts) <= set(_ELEMENTWISE):
        return Elementwise(parts)
    raise Unsupported(
        f"{type(first).__name__} cannot be stacked (its {', '.join(acts)} work on one seed): run the seeds one by one"
    )
