"""What one layer of a model holds of the past: keys, values, and a few numbers for each entry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from remanence.context.caches.rotary import Rotary

PAD = -1
"""The index of an entry that stands for padding, or for nothing: no query sees it."""


class Held:
    """The entries of one layer, in order of their tokens.

    Heads of one layer may hold different tokens, but as many of them; where a row or a head has fewer, the rest of
    its entries are padding.

    Parameters
    ----------
    layer:
        Which layer it is, from 0.
    marks:
        Names of the numbers (float32) kept with each entry, 0 for a new one.
    rotary:
        How keys are moved; None where they stay at the positions they came with.

    Attributes
    ----------
    capacity:
        The most entries it holds between two calls of the model.
    count:
        Entries now.
    """

    def __init__(self, layer: int, marks: Iterable[str] = (), rotary: Rotary | None = None) -> None:
        self.layer, self.rotary = layer, rotary
        self.capacity, self.count = 0, 0
        self._names = ("keys", "values", "index", *marks)
        self._buffers: dict[str, Tensor] = {}

    # What it holds

    @property
    def empty(self) -> bool:
        """Whether nothing was ever put in."""
        return not self._buffers

    def _used(self, name: str) -> Tensor:
        return self._buffers[name][:, :, : self.count]

    @property
    def keys(self) -> Tensor:
        """(batch, heads, count, features) as attention is to see them."""
        keys = self._used("keys")
        if "turned" in self._buffers and self.rotary is not None:
            return self.rotary.turn(keys, self._used("turned"))
        return keys

    @property
    def values(self) -> Tensor:
        """(batch, heads, count, features)."""
        return self._used("values")

    @property
    def index(self) -> Tensor:
        """(batch, heads, count) int32: the number of each entry's token, from 0; `PAD` for padding."""
        return self._used("index")

    def mark(self, name: str) -> Tensor:
        """(batch, heads, count) float32; may be changed in place."""
        return self._used(name)

    @property
    def valid(self) -> Tensor:
        """(batch, heads, count) bool: entries that are no padding."""
        return self.index != PAD

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Every tensor held, with its unused room."""
        yield from self._buffers.items()

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors, unused room counted."""
        return sum(tensor.untyped_storage().nbytes() for tensor in self._buffers.values())

    # Taking in

    def append(self, keys: Tensor, values: Tensor, index: Tensor) -> None:
        """Put new entries at the end: keys and values (batch, heads, n, features), index (batch, n)."""
        new = keys.shape[2]
        if not self._buffers:
            self._begin(keys, values)
        slots = self._buffers["index"].shape[2]
        if self.count + new > slots:
            # Room grows by halves up to the capacity; what goes beyond it is let go before the next call
            self._resize(max(self.count + new, min(self.capacity, slots + slots // 2)))
        at = slice(self.count, self.count + new)
        for name, buffer in self._buffers.items():
            if name == "keys":
                buffer[:, :, at] = keys.detach()
            elif name == "values":
                buffer[:, :, at] = values.detach()
            elif name == "index":
                buffer[:, :, at] = index.unsqueeze(1)
            else:
                buffer[:, :, at] = 0
        self.count += new

    def _begin(self, keys: Tensor, values: Tensor) -> None:
        batch, heads = keys.shape[:2]
        for name in self._names:
            like = {"keys": keys, "values": values}.get(name)
            if like is not None:
                self._buffers[name] = like.new_zeros(batch, heads, 0, like.shape[3])
            else:
                kind = torch.int32 if name == "index" else torch.float32
                self._buffers[name] = torch.zeros(batch, heads, 0, dtype=kind, device=keys.device)
        if self.rotary is not None and keys.dtype in (torch.float16, torch.bfloat16):
            # Turning a rounded key again and again would wear it off: it stays as it came, with how far it was moved
            self._buffers["turned"] = torch.zeros(batch, heads, 0, dtype=torch.int32, device=keys.device)

    def _resize(self, slots: int) -> None:
        for name, buffer in self._buffers.items():
            room = buffer.new_zeros(*buffer.shape[:2], slots, *buffer.shape[3:])
            room[:, :, : self.count] = buffer[:, :, : self.count]
            self._buffers[name] = room

    # Letting go

    def select(self, chosen: Tensor, *, close: bool) -> None:
        """Hold only the entries ``chosen`` (batch, heads, m) int64, ascending; the memory of the others is freed.

        With `close` the gaps are closed: every entry moves on by as many positions as newer entries went.
        """
        moved = self._gaps(chosen) if close and self.rotary is not None else None
        count = chosen.shape[2]
        slots = max(count, min(self.capacity, self._buffers["index"].shape[2]))
        for name, buffer in self._buffers.items():
            shape = chosen if buffer.dim() == 3 else chosen.unsqueeze(-1).expand(*chosen.shape, buffer.shape[3])
            room = buffer.new_zeros(*buffer.shape[:2], slots, *buffer.shape[3:])
            room[:, :, :count] = buffer.gather(2, shape)
            self._buffers[name] = room
        self.count = count
        if moved is not None:
            self.move(moved)

    def _gaps(self, chosen: Tensor) -> Tensor:
        """How many newer entries, padding not counted, go for each chosen entry."""
        gone = self.valid.int()
        gone.scatter_(2, chosen, 0)
        newer = gone.flip(2).cumsum(2).flip(2)
        return newer.gather(2, chosen)

    def move(self, by: Tensor) -> None:
        """Move keys by whole positions, ``by`` (batch, heads, count) or broadcast to it."""
        if self.rotary is None or not self.count:
            return
        by = by.expand(self.index.shape)
        if "turned" in self._buffers:
            self.mark("turned").add_(by.to(torch.int32))
            return
        some = by.ne(0).any(1).any(0).nonzero().flatten()
        if not len(some):
            return
        keys = self._used("keys")
        low, high = int(some[0]), int(some[-1]) + 1
        keys[:, :, low:high] = self.rotary.turn(keys[:, :, low:high], by[:, :, low:high])

    # Rows

    def take_rows(self, rows: Tensor) -> None:
        """Hold these rows of the batch, in this order, some perhaps several times."""
        for name, buffer in self._buffers.items():
            self._buffers[name] = buffer.index_select(0, rows.to(buffer.device))

    def clear(self) -> None:
        """Hold nothing."""
        self.count, self._buffers = 0, {}

    # Coming back

    def state(self) -> dict[str, Tensor]:
        """Every tensor without unused room."""
        return {name: self._used(name) for name in self._buffers}

    def set_state(self, tensors: dict[str, Tensor], device: torch.device) -> None:
        """Take back what `state` gave."""
        self._buffers = {name: tensor.to(device).clone() for name, tensor in tensors.items()}
        self.count = next(iter(tensors.values())).shape[2] if tensors else 0
