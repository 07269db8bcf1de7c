"""What one layer of a model holds of the past: keys, values, and a few numbers for each entry."""

from __future__ import annotations

import torch
from torch import Tensor

from remanence.context.caches.entry_buffers import PAD as PAD
from remanence.context.caches.entry_buffers import SHORTEST as SHORTEST
from remanence.context.caches.entry_buffers import EntryBuffers


class LayerCache(EntryBuffers):
    """The entries of one layer, in order of their tokens.

    Heads of one layer may hold different tokens, but as many of them; where a row or a head has fewer, the rest of
    its entries are padding.

    Parameters
    ----------
    layer, entry_stats, rotary, key_compression:
        As for `EntryBuffers`.
    """

    # Taking in

    def append(self, keys: Tensor, values: Tensor, index: Tensor, *, padded: bool = False) -> None:
        """Put new entries at the end: keys and values (batch, heads, n, features), index (batch, n).

        `padded` says whether some of them are padding.
        """
        new = keys.shape[2]
        if padded:
            self.follows.clear()
        if not self._buffers:
            self._begin(keys, values)
        if self.count + new > self._room:
            # Room grows by halves up to the capacity; what goes beyond it is let go before the next call
            most = self.capacity if self.older or self.key_compression is None else self.whole
            self._resize(max(self.count + new, min(most, self._room + self._room // 2)))
        at = slice(self.count, self.count + new)
        for name, buffer in self._buffers.items():
            if name == "keys" and self.older:
                self._buffers[name] = torch.cat([self._used(name), keys.detach()], 2)
            elif name == "keys":
                buffer[:, :, at] = keys.detach()
            elif name == "values":
                buffer[:, :, at] = values.detach()
            elif name == "index":
                buffer[:, :, at] = index.unsqueeze(1)
        self.count += new

    def truncate(self, count: int) -> None:
        """Drop the newest entries, so that `count` are left."""
        self.follows.clear()
        for name, buffer in self._buffers.items():
            if name not in ("keys", "values", "compressed"):
                buffer[:, :, count : self.count] = 0  # marks of a new entry are 0
        self.count = count

    def drop(self, first: int, end: int) -> int:
        """Turn the entries of the tokens from `first` up to `end` into padding of zeros; how many there were."""
        if self.empty:
            return 0
        self.follows.clear()
        index = self.index
        gone = (index >= first) & (index < end)
        for name in self._buffers:
            used = self._used(name)
            mine = (
                gone[:, :, : self.older]
                if name == "compressed"
                else gone[:, :, -used.shape[2] :]
                if used.shape[2]
                else None
            )
            if name != "index" and mine is not None:
                used[mine] = 0
        index[gone] = PAD
        return int(gone.sum())

    # Letting go

    def select(self, chosen: Tensor, *, close: Tensor | None = None) -> None:
        """Hold only the entries ``chosen`` (batch, heads, m) int64, ascending; the memory of the others is freed.

        With `close` (batch, heads, count) bool, which entries have a place among the positions, gaps are closed:
        each of these moves on by as many positions as newer ones of them went.
        """
        moved = self._gaps(chosen, close) if close is not None and self.rotary is not None else None
        slots = max(chosen.shape[2], min(self.capacity, self._room))
        self.follows.clear()
        stored = self._gathered(self._stored(), chosen)
        stay = {
            name: self._gathered(self._used(name), chosen)
            for name in self._buffers
            if name not in ("keys", "compressed")
        }
        self.count = chosen.shape[2]
        for name, used in stay.items():
            self._put(name, used, slots)
        self._store(stored, slots)
        if moved is not None:
            self.move(moved)

    def _store(self, stored: Tensor, slots: int) -> None:
        """Hold these keys, of all entries and in full width; where some are compressed, all but the newest are."""
        if self.older and self.key_compression is not None:
            self.older = max(0, self.count - self.key_compression.whole)
            self._put("compressed", self.key_compression.compress(self, stored[:, :, : self.older]), slots)
        self._put("keys", stored[:, :, self.older :], slots)

    def compress(self) -> None:
        """Compressed all keys but the newest, once there are as many entries as could be held with whole ones."""
        compression = self.key_compression
        if compression is None or self.empty or self.count - self.older <= compression.whole:
            return
        if self.older:
            more = self.count - self.older - compression.whole
            keys = self._used("keys")
            self._buffers["compressed"][:, :, self.older : self.older + more] = compression.compress(
                self, keys[:, :, :more]
            )
            self._buffers["keys"] = keys[:, :, more:].clone()
            self.older += more
        elif self.count >= self.whole:
            compression.prepare(self)
            whole = self._used("keys")
            self.older = self.count - compression.whole
            self._store(whole, self._room)

    @staticmethod
    def _gaps(chosen: Tensor, placed: Tensor) -> Tensor:
        """How many newer entries of those that are placed go, for each chosen one of them."""
        gone = placed.int().scatter(2, chosen, 0)
        newer = gone.flip(2).cumsum(2).flip(2) * placed
        return newer.gather(2, chosen)

    def move(self, by: Tensor) -> None:
        """Move keys by whole positions, ``by`` (batch, heads, count) or broadcast to it."""
        if self.rotary is None or not self.count:
            return
        by = by.expand(self.index.shape)
        if "turned" in self._buffers:
            self.stat("turned").add_(by.to(torch.int32))
            return
        some = by.ne(0).any(1).any(0).nonzero().flatten()
        if not len(some):
            return
        low, high, older = int(some[0]), int(some[-1]) + 1, self.older
        if low < older and self.key_compression is not None:
            compressed = self._used("compressed")[:, :, low:high]
            wide = self.key_compression.widen(self, compressed, self._buffers["keys"].shape[3])
            turned = self.rotary.turn(wide, by[:, :, low : min(high, older)])
            compressed.copy_(self.key_compression.compress(self, turned))
        if high > older:
            keys = self._used("keys")[:, :, max(0, low - older) : high - older]
            keys.copy_(self.rotary.turn(keys, by[:, :, max(low, older) : high]))

    def replace(self, places: Tensor, keys: Tensor, values: Tensor) -> None:
        """Put other keys, as attention is to see them, and values at places (batch, heads, m) of the layer."""
        wide = places.unsqueeze(-1).expand(*places.shape, keys.shape[3])
        if "turned" in self._buffers:
            self.stat("turned").scatter_(2, places, 0)
        stored = self._stored().scatter(2, wide, keys)
        if self.older and self.key_compression is not None:
            self._used("compressed").copy_(self.key_compression.compress(self, stored[:, :, : self.older]))
        self._used("keys").copy_(stored[:, :, self.older :])
        self.values.scatter_(2, places.unsqueeze(-1).expand(*places.shape, values.shape[3]), values)
