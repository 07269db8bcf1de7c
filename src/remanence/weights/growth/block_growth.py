"""What systems share that add a block to the body for each experience, and rehearse exemplars beside the new rows."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from remanence.streams.experience import Experience
from remanence.weights.context import Context, Step
from remanence.weights.growth.expansion import add_block, expandable, is_older_block
from remanence.weights.replay.exemplar_rehearsal import ExemplarRehearsal


class BlockGrowth(ExemplarRehearsal):
    """From the second experience on a block is added, which alone learns, with an auxiliary loss of its own.

    Parameters
    ----------
    size:
        Exemplars in all (1 or more).
    auxiliary:
        Weight of the auxiliary loss (0 or more).
    specialised:
        How many of the last layers with weights make a block; 0 for the whole body.
    """

    def __init__(self, size: int, auxiliary: float, specialised: int) -> None:
        super().__init__(size)
        self.auxiliary, self.specialised = auxiliary, specialised
        self.experiences, self.old = 0, 0

    def setup(self, context: Context) -> None:
        expandable(context.model, self.specialised)

    def before_experience(self, context: Context, experience: Experience) -> None:
        if not context.first_time("grow"):
            return
        self.old = len(context.model.classes)
        self.experiences += 1
        if self.experiences > 1:
            new = [label for label in experience.classes or () if label not in set(context.model.classes)]
            context.grow(lambda model: add_block(model, len(new) + 1 if new and self.auxiliary else 0))

    def loss(self, step: Step) -> Tensor | None:
        if step.columns is None:
            return None
        found = step.model.body.auxiliary_loss(step.features, step.columns, self.old)
        return None if found is None else self.auxiliary * found

    def lr_multiplier(self, name: str) -> float:
        return 0.0 if is_older_block(name, self.experiences) else 1.0

    def structure(self) -> dict[str, Any]:
        return {"experiences": self.experiences, "old": self.old}

    def restructure(self, structure: dict[str, Any]) -> None:
        self.experiences, self.old = structure["experiences"], structure["old"]
