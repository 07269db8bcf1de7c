"""What parts become where the seeds of one learner are trained together."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from remanence.errors import Unsupported
from remanence.weights.context import Context
from remanence.weights.part import Part

_IN_LOOP = ("rehearse", "augment", "objective", "loss", "on_gradient", "on_change", "after_step")
_ELEMENTWISE = ("loss", "on_gradient", "after_step")


@dataclass(frozen=True, slots=True)
class StackedBatch:
    """The rows of one update of every seed: `x` (seeds, n, …), `y` (seeds, n), `ids` of the new rows (seeds, fresh)."""

    x: Tensor
    y: Tensor
    ids: Tensor
    fresh: int


class StackedContext:
    """What an elementwise part may see while seeds are trained together: the stacked parameters and the position."""

    def __init__(self, parameters: dict[str, nn.Parameter], experience: int) -> None:
        self._parameters, self.experience, self.k = parameters, experience, 0

    def trainable(self) -> dict[str, nn.Parameter]:
        return self._parameters


@dataclass(slots=True)
class StackedStep:
    """One update of all seeds, while it happens."""

    context: StackedContext
    contexts: Sequence[Context]
    batch: StackedBatch
    k: int
    total: int


class StackedPart:
    """The form of a part that acts on all seeds at once. All hooks are optional."""

    def rehearse(self, batch: StackedBatch, contexts: Sequence[Context]) -> StackedBatch:
        """Add remembered rows behind each seed's new ones."""
        return batch

    def loss(self, step: StackedStep) -> Tensor | None:
        """A term to add to the sum of the seeds' objectives."""
        return None

    def on_gradient(self, step: StackedStep) -> None:
        """After the backward pass."""

    def after_step(self, step: StackedStep) -> None:
        """After the change."""

    def give_back(self) -> None:
        """Put what was stacked back into the parts of the seeds."""


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
            for key in module._buffers:
                owners = [modules[name] for modules in each]
                module._buffers[key] = torch.stack([owner._buffers[key] for owner in owners])
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
            for value, owner in zip(module._buffers[key].clone(), owners, strict=True):  # type: ignore[union-attr]
                owner._buffers[key] = value.clone()


def stack_parts(parts: Sequence[Part]) -> StackedPart | None:
    """One part of every seed as one, None where it does nothing inside an update.

    Raises
    ------
    Unsupported
        If the part acts inside an update and does not say how it stacks.
    """
    first = parts[0]
    acts = [hook for hook in _IN_LOOP if getattr(type(first), hook) is not getattr(Part, hook)]
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
