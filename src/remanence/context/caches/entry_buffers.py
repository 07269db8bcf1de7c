"""The tensors of one layer's entries: what is used of them, and the room that is kept for more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from remanence.context.caches.key_compression import KeyCompression
from remanence.context.caches.rotary import Rotary

PAD = -1
"""The index of an entry that stands for padding, or for nothing: no query sees it."""

SHORTEST = 1e-12
"""The length that a key of nothing but zeros counts as having."""


class EntryBuffers:
    """Keys, values, and a few numbers for each entry of a layer, in tensors with room for more entries.

    Parameters
    ----------
    layer:
        Which layer it is, from 0.
    entry_stats:
        Names of the numbers (float32) kept with each entry, 0 for a new one.
    rotary:
        How keys are moved; None where they stay at the positions they came with.
    key_compression:
        How older keys are held in fewer numbers; None where all are held whole.

    Attributes
    ----------
    capacity:
        The most entries it holds between two calls of the model.
    whole:
        The most entries it holds while all of its keys are whole.
    count:
        Entries now.
    besides:
        What a policy holds for the whole layer, by name: tensors whose first dimension is the batch. They are
        counted, saved, reordered and forgotten with the entries.
    follows:
        What a policy found out about the entries, by name: no tensors. It is kept as long as entries that are no
        padding are added at the end, and dropped by every other change.
    """

    def __init__(
        self,
        layer: int,
        entry_stats: Iterable[str] = (),
        rotary: Rotary | None = None,
        key_compression: KeyCompression | None = None,
    ) -> None:
        self.layer, self.rotary, self.key_compression = layer, rotary, key_compression
        self.capacity, self.whole, self.count, self.older = 0, 0, 0, 0
        self.besides: dict[str, Tensor] = {}
        self.follows: dict[str, Any] = {}
        self._names = ("keys", "values", "index", *entry_stats)
        self._buffers: dict[str, Tensor] = {}

    # What it holds

    @property
    def empty(self) -> bool:
        """Whether nothing was ever put in."""
        return not self._buffers

    def _used(self, name: str) -> Tensor:
        buffer = self._buffers[name]
        if name == "compressed":
            return buffer[:, :, : self.older]
        return buffer[:, :, : self.count - self.older if name == "keys" else self.count]

    def _stored(self) -> Tensor:
        """All keys in full width, not yet turned where that is put off."""
        keys = self._used("keys")
        if self.key_compression is None or not self.older:
            return keys
        return torch.cat([self.key_compression.widen(self, self._used("compressed"), keys.shape[3]), keys], 2)

    @property
    def keys(self) -> Tensor:
        """(batch, heads, count, features) as attention is to see them."""
        keys = self._stored()
        if "turned" in self._buffers and self.rotary is not None:
            return self.rotary.turn(keys, self._used("turned"))
        return keys

    @property
    def stored_keys(self) -> Tensor:
        """The keys as they are held, to be changed in place; of rounded dtypes, not yet turned."""
        return self._used("keys")

    @property
    def values(self) -> Tensor:
        """(batch, heads, count, features)."""
        return self._used("values")

    @property
    def index(self) -> Tensor:
        """(batch, heads, count) int32: the number of each entry's token, from 0; `PAD` for padding."""
        return self._used("index")

    def stat(self, name: str) -> Tensor:
        """(batch, heads, count) float32; may be changed in place."""
        return self._used(name)

    @property
    def valid(self) -> Tensor:
        """(batch, heads, count) bool: entries that are no padding."""
        return self.index != PAD

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Every tensor held, with its unused room."""
        yield from self._buffers.items()
        yield from self.besides.items()

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors, unused room counted."""
        return sum(tensor.untyped_storage().nbytes() for _, tensor in self.tensors())

    # Room

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

    @property
    def _room(self) -> int:
        return self._buffers["index"].shape[2]

    def _resize(self, slots: int) -> None:
        for name in self._buffers:
            self._put(name, self._used(name), slots)

    def _put(self, name: str, used: Tensor, slots: int) -> None:
        """Hold this as the tensor of a name, in a layer with room for `slots` entries."""
        if self.older and self.key_compression is not None and name in ("keys", "compressed"):
            slots = used.shape[2] if name == "keys" else max(used.shape[2], slots - self.key_compression.whole)
        room = used.new_zeros(*used.shape[:2], slots, *used.shape[3:])
        room[:, :, : used.shape[2]] = used
        self._buffers[name] = room

    def trim(self, room: int | None = None) -> None:
        """Give back room beyond the capacity, or beyond `room` entries; never that of an entry held."""
        most = max(self.count, self.capacity if room is None else room)
        if not self.empty and self._room > most:
            self._resize(most)

    @staticmethod
    def _gathered(used: Tensor, chosen: Tensor) -> Tensor:
        if used.dim() == 3:
            return used.gather(2, chosen)
        # Whole vectors at a time, which is many times faster than to gather their numbers
        batch, heads, count, width = used.shape
        first = torch.arange(0, batch * heads * count, count, device=chosen.device).view(batch, heads, 1)
        rows = used.reshape(-1, width).index_select(0, (first + chosen).flatten())
        return rows.view(batch, heads, -1, width)

    # Rows

    def reorder(self, rows: Tensor) -> None:
        """Hold these rows of the batch, in this order, some perhaps several times."""
        self.follows.clear()
        for kept in (self._buffers, self.besides):
            for name, tensor in kept.items():
                kept[name] = tensor.index_select(0, rows.to(tensor.device))

    def clear(self) -> None:
        """Hold nothing."""
        self.count, self.older, self._buffers, self.besides, self.follows = 0, 0, {}, {}, {}

    # Coming back

    def state(self) -> dict[str, Tensor]:
        """Every tensor without unused room."""
        return {name: self._used(name) for name in self._buffers} | {
            f"besides.{name}": tensor for name, tensor in self.besides.items()
        }

    def load_state(self, tensors: dict[str, Tensor], device: torch.device) -> None:
        """Take back what `state` gave."""
        here = {name: tensor.to(device).clone() for name, tensor in tensors.items()}
        self.besides = {n.removeprefix("besides."): here.pop(n) for n in list(here) if n.startswith("besides.")}
        self._buffers = here
        self.follows.clear()
        self.count = here["index"].shape[2] if here else 0
        self.older = here["compressed"].shape[2] if "compressed" in here else 0
