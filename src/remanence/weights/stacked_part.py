"""What parts become where the seeds of one learner are trained together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from remanence.weights.context import Context


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
