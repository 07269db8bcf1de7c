"""A rehearsal memory: some rows of the past, raw, with whatever a part keeps beside them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from remanence.errors import UsageError
from remanence.request import Request
from remanence.weights.batch import Batch


class Memory(nn.Module):
    """Up to `size` rows, stored as they came (``uint8`` images stay ``uint8``).

    The tensors are made when the first rows arrive, at full size, so that what is counted does not
    creep. `counts` is how many rows are held and how many were ever offered; a reservoir that lost the
    second would forget nearly everything, so both are part of the saved structure.

    Parameters
    ----------
    size:
        How many rows (1 or more).

    Attributes
    ----------
    elastic:
        Whether it may give up rows to keep a budget: True where the budget chose its size, False
        where a person did.
    """

    kind = "rehearsal"

    def __init__(self, size: int) -> None:
        super().__init__()
        if size < 1:
            raise UsageError(f"a memory of size {size} was asked for, expected 1 or more")
        self.size = size
        self.elastic = False
        self.extra_names: list[str] = []
        for name, dtype in (("x", torch.float32), ("y", torch.int64), ("ids", torch.int64)):
            self.register_buffer(name, torch.empty(0, dtype=dtype))
        self.counts = [0, 0]
        self.x: Tensor
        self.y: Tensor
        self.ids: Tensor

    def __len__(self) -> int:
        return self.counts[0]

    @property
    def seen(self) -> int:
        """How many rows were offered."""
        return self.counts[1]

    @property
    def row_bytes(self) -> int:
        """Bytes of one row, 0 before the first arrived."""
        return sum(column[:1].nbytes for column in self._columns().values()) if len(self.y) else 0

    def extra(self, name: str) -> Tensor:
        """A column kept beside the rows, (size, …)."""
        return self._buffers[f"extra_{name}"]  # type: ignore[return-value]

    def reservoir(self, batch: Batch, draw: torch.Generator, extras: dict[str, Tensor] | None = None) -> Tensor:
        """Offer the new rows of a batch; each row ever seen is kept with the same probability.

        Source: Vitter, Random Sampling with a Reservoir, 1985.

        Returns
        -------
        Tensor
            (m, 2) int64: the position in the batch, and the slot, of each row that was kept.
        """
        fresh, filled, seen = batch.fresh, self.counts[0], self.counts[1]
        self.counts[1] += fresh
        slots = torch.rand(fresh, generator=draw, dtype=torch.float64)
        slots = slots.mul_(torch.arange(seen + 1, seen + fresh + 1)).long()
        if filled < self.size:
            room = min(self.size - filled, fresh)
            slots[:room] = torch.arange(filled, filled + room)
        kept = (slots < self.size).nonzero().squeeze(1)
        slots = slots.index_select(0, kept)
        count = len(slots)
        if count > 1:  # of two rows that drew one slot the later stays, as if they had come one by one
            ordered, order = torch.sort(slots, stable=True)
            later = torch.ones(count, dtype=torch.bool)
            later[order[:-1]] = ordered[1:] != ordered[:-1]
            kept, slots = kept[later], slots[later]
        if count:
            self.write(slots, batch, kept, extras)
        return torch.stack([kept, slots], 1)

    def write(self, slots: Tensor, batch: Batch, rows: Tensor, extras: dict[str, Tensor] | None = None) -> None:
        """Put the batch's `rows` into `slots`; `extras` are columns aligned with the new rows of the batch."""
        if batch.y is None:
            raise UsageError("rows without targets were offered to a rehearsal memory: it keeps labelled rows only")
        if self.counts[0] < self.size:
            self.counts[0] = max(self.counts[0], int(slots.max()) + 1)
        columns = {"x": batch.x, "y": batch.y, "ids": batch.ids}
        columns |= {f"extra_{name}": value for name, value in (extras or {}).items()}
        device = batch.x.device  # all columns lie where the rows do; slots are drawn on the CPU
        slots, rows = slots.to(device), rows.to(device)
        for name, values in columns.items():
            there = values.to(device)
            self._place(name, there).index_copy_(0, slots, there.index_select(0, rows))

    def _place(self, name: str, like: Tensor) -> Tensor:
        held = self._buffers.get(name)
        if held is None or len(held) == 0:
            held = like.new_zeros((self.size, *like.shape[1:]))
            self.register_buffer(name, held)
            if name.startswith("extra_") and name not in self.extra_names:
                self.extra_names.append(name)
        elif held.shape[1:] != like.shape[1:]:  # scores widen as classes appear
            wider = held.new_zeros((self.size, *like.shape[1:]))
            wider[:, : held.shape[1]] = held
            held = wider
            self._buffers[name] = held
        return held

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Slots of up to `count` different rows, drawn uniformly."""
        held = len(self)
        if count >= held:
            return torch.randperm(held, generator=generator)
        if held > 2000 and 4 * count < held:  # drawing again on a clash is quicker than permuting everything
            slots = torch.randint(held, (count,), generator=generator)
            while len(torch.unique(slots)) < count:
                slots = torch.randint(held, (count,), generator=generator)
            return slots
        return torch.randperm(held, generator=generator)[:count]

    def batch(self, slots: Tensor) -> Batch:
        """Remembered rows as a batch of their own."""
        slots = slots.to(self.y.device)
        extras = {name.removeprefix("extra_"): self._buffers[name][slots] for name in self.extra_names}  # type: ignore[index]
        return Batch(self.x[slots], self.y[slots], self.ids[slots], 0, slots, extras=extras)

    def append_to(self, batch: Batch, slots: Tensor) -> Batch:
        """The batch with remembered rows behind its own."""
        if batch.y is None:
            raise UsageError("remembered rows were added to a batch without targets")
        slots = slots.to(self.y.device)
        extras = {name.removeprefix("extra_"): self._buffers[name][slots] for name in self.extra_names}  # type: ignore[index]
        return Batch(
            torch.cat([batch.x, self.x.index_select(0, slots)]),
            torch.cat([batch.y, self.y.index_select(0, slots)]),
            torch.cat([batch.ids, self.ids.index_select(0, slots)]),
            batch.fresh,
            slots if batch.origin is None else torch.cat([batch.origin, slots]),
            extras=extras,
        )

    def keep(self, slots: Tensor) -> None:
        """Keep these rows, in this order, and drop the others."""
        for name, column in self._columns().items():
            kept = column[slots]
            column.zero_()
            column[: len(slots)] = kept
            self._buffers[name] = column
        self.counts[0] = len(slots)

    def forget(self, request: Request) -> int:
        """Drop the rows that were asked for; return how many there were."""
        held = len(self)
        if not held:
            return 0
        gone = torch.isin(self.ids[:held], torch.tensor(request.ids, dtype=torch.int64, device=self.ids.device))
        if request.label is not None:
            gone |= self.y[:held] == request.label
        if request.x is not None:
            if request.x.shape[1:] != self.x.shape[1:]:
                raise UsageError(
                    f"rows of shape {tuple(request.x.shape[1:])} were to be forgotten, those kept are "
                    f"{tuple(self.x.shape[1:])}: give them as the stream did"
                )
            kept = self.x[:held].flatten(1)
            for row in request.x.to(self.x).flatten(1):  # one by one: all at once would hold their product
                gone |= (kept == row).all(1)
        self.keep((~gone).nonzero().squeeze(1))
        return int(gone.sum())

    def resize(self, size: int, generator: torch.Generator) -> None:
        """Change the capacity; rows over it are given up at random."""
        if size < 1:
            raise UsageError(f"a memory of size {size} was asked for, expected 1 or more")
        kept = torch.randperm(len(self), generator=generator)[:size].sort().values
        for name, column in self._columns().items():
            resized = column.new_zeros((size, *column.shape[1:]))
            resized[: len(kept)] = column[kept]
            self._buffers[name] = resized
        self.size = size
        self.counts[0] = len(kept)

    def shrink(self, excess: int) -> int:
        """Give up enough rows to free `excess` bytes, keeping one at least; return the bytes freed."""
        row = self.row_bytes
        if not row or not self.elastic:
            return 0
        size = max(1, self.size - -(-excess // row))
        freed = (self.size - size) * row
        if freed:
            self.resize(size, torch.Generator().manual_seed(self.seen))
        return freed

    def _columns(self) -> dict[str, Tensor]:
        return {name: value for name, value in self._buffers.items() if value is not None and len(value)}

    def structure(self) -> dict[str, Any]:
        return {
            "size": self.size,
            "elastic": self.elastic,
            "counts": list(self.counts),
            "extras": list(self.extra_names),
        }

    def restructure(self, structure: dict[str, Any]) -> None:
        self.size, self.elastic = structure["size"], structure["elastic"]
        self.counts = list(structure["counts"])
        for name in self.extra_names:
            self._buffers.pop(name, None)
        self.extra_names = list(structure["extras"])
        for name in self.extra_names:
            self.register_buffer(name, torch.empty(0))
