"""The rehearsal memories of several seeds as one: rows stacked, numbers drawn seed by seed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from remanence.errors import Unsupported
from remanence.weights.context import Context
from remanence.weights.replay.memory import Memory
from remanence.weights.stacked_part import StackedBatch, StackedPart, StackedStep


class StackedMemory:
    """Memories that hold as many rows each, with their columns (seeds · size, …) in one tensor.

    Slots are numbered through: slot s of memory i is row i · size + s.
    """

    def __init__(self, memories: Sequence[Memory]) -> None:
        first = memories[0]
        if len({(memory.size, *memory.counts) for memory in memories}) > 1 or first.extra_names:
            raise Unsupported("the seeds' rehearsal memories hold different numbers of rows: run the seeds one by one")
        self.memories, self.size, self.counts = memories, first.size, list(first.counts)
        self.columns: dict[str, Tensor] = {}
        self.offsets = torch.arange(len(memories)).unsqueeze(1) * self.size
        if len(first.y):
            self.columns = {name: torch.cat([getattr(m, name) for m in memories]) for name in ("x", "y", "ids")}

    def __len__(self) -> int:
        return self.counts[0]

    def draw(self, count: int, contexts: Sequence[Context]) -> Tensor:
        """Rows (seeds · count,) of all memories, drawn as each memory would."""
        drawn = [
            memory.draw(count, context.generator("rehearse"))
            for memory, context in zip(self.memories, contexts, strict=True)
        ]
        return torch.stack(drawn).add_(self.offsets).flatten().to(self.columns["y"].device)

    def append_to(self, batch: StackedBatch, rows: Tensor) -> StackedBatch:
        """The batch with remembered rows behind each seed's own."""
        seeds, columns = len(self.memories), self.columns
        x = columns["x"].index_select(0, rows).view(seeds, -1, *batch.x.shape[2:])
        y = columns["y"].index_select(0, rows).view(seeds, -1)
        return StackedBatch(torch.cat([batch.x, x], 1), torch.cat([batch.y, y], 1), batch.ids, batch.fresh)

    def reservoir(self, batch: StackedBatch, contexts: Sequence[Context]) -> None:
        """Offer the new rows of every seed; the same numbers as `Memory.reservoir`."""
        fresh, (held, seen) = batch.fresh, self.counts
        drawn = [
            torch.rand(fresh, generator=context.generator("reservoir"), dtype=torch.float64) for context in contexts
        ]
        slots = torch.stack(drawn).mul_(torch.arange(seen + 1, seen + fresh + 1)).long()
        if held < self.size:
            room = min(self.size - held, fresh)
            slots[:, :room] = torch.arange(held, held + room)
            held += room
        self.counts = [held, seen + fresh]
        for memory in self.memories:
            memory.counts = self.counts
        kept = (slots < self.size).flatten().nonzero().squeeze(1)
        if not len(kept):
            return
        rows = (slots + self.offsets).flatten().index_select(0, kept)
        ordered, order = torch.sort(rows, stable=True)
        later = torch.ones(len(rows), dtype=torch.bool)
        later[order[:-1]] = ordered[1:] != ordered[:-1]
        kept, rows = kept[later], rows[later]
        kept, rows = kept.to(batch.y.device), rows.to(batch.y.device)
        among = kept // fresh * batch.y.shape[1] + kept % fresh
        for name, values, chosen in (("x", batch.x, among), ("y", batch.y, among), ("ids", batch.ids, kept)):
            flat = values.flatten(0, 1)
            if name not in self.columns:
                self.columns[name] = flat.new_zeros((len(self.memories) * self.size, *flat.shape[1:]))
            self.columns[name].index_copy_(0, rows, flat.index_select(0, chosen))

    def give_back(self) -> None:
        """Copy every memory's own rows into it."""
        for number, memory in enumerate(self.memories):
            memory.counts = list(self.counts)
            for name, column in self.columns.items():
                memory.register_buffer(name, column[number * self.size : (number + 1) * self.size].clone())


class StackedRehearsal(StackedPart):
    """Rehearsal drawn per seed, from memories that are read and written together.

    Parameters
    ----------
    memories:
        One per seed.
    rehearsed:
        Remembered rows per update; 0 means as many as there are new ones.
    """

    def __init__(self, memories: Sequence[Memory], rehearsed: int) -> None:
        self.memory, self.rehearsed = StackedMemory(memories), rehearsed

    def rehearse(self, batch: StackedBatch, contexts: Sequence[Context]) -> StackedBatch:
        if not len(self.memory):
            return batch
        return self.memory.append_to(batch, self.memory.draw(self.rehearsed or batch.fresh, contexts))

    def after_step(self, step: StackedStep) -> None:
        self.memory.reservoir(step.batch, step.contexts)

    def give_back(self) -> None:
        self.memory.give_back()
