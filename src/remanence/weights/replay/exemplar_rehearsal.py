"""What systems that rehearse herded exemplars share: their turn in each epoch, and balanced passes at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from remanence.randomness import derive
from remanence.request import Removal, Request
from remanence.streams.experience import Experience
from remanence.update import Update
from remanence.weights.batch import Batch, BatchSampler
from remanence.weights.context import Context
from remanence.weights.part import Part
from remanence.weights.replay.herding import Exemplars


class ExemplarRehearsal(Part):
    """Rehearses herded exemplars so that each passes once an epoch beside the new rows.

    Parameters
    ----------
    size:
        Exemplars in all (1 or more).
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.memory: Exemplars = Exemplars(size)
        self._per_epoch = 1

    def batch_sampler(self, sampler: BatchSampler, context: Context, experience: Experience) -> BatchSampler:
        self._per_epoch = max(1, len(sampler) // context.epochs)
        return sampler

    def rehearse(self, batch: Batch, context: Context) -> Batch:
        slots = self.memory.share(context.k, self._per_epoch, context)
        return self.memory.append_to(batch, slots) if len(slots) else batch

    def herd(self, context: Context, experience: Experience) -> Iterator[Update]:
        """Choose exemplars of an experience that ended, once."""
        if context.first_time("herd"):
            cost = self.memory.select(context, experience.examples, len(context.model.classes))
            context.enforce_budget()
            yield cost

    def balanced(self, context: Context, size: int) -> tuple[Callable[[int], Batch], int]:
        """Batches of features of equally many exemplars of each class, shuffled each epoch, and their number in one."""
        slots, memory = self.memory.balanced(), self.memory
        per_epoch = -(-len(slots) // size)

        def batches(k: int) -> Batch:
            epoch, place = divmod(k, per_epoch)
            draw = torch.Generator().manual_seed(derive(context.seed, "balanced", context.experience, epoch))
            order = torch.randperm(len(slots), generator=draw).to(slots.device)
            chosen = memory.batch(slots[order[place * size : (place + 1) * size]])
            return Batch(context.features(chosen.x), chosen.y, chosen.ids, 0, chosen.origin, entry="head")

        return batches, per_epoch

    def forget(self, request: Request, context: Context) -> dict[str, Removal]:
        self.memory.forget(request)
        return {"rehearsal": "removed"}

    def shrink(self, excess: int) -> int:
        return self.memory.shrink(excess)
