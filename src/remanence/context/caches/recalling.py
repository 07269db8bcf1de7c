"""A window in front and a bank behind it: what leaves the window stays held, and queries read a few entries of it.

This is what retrieving policies share. A subclass says which entries of the bank a query recalls.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, cast

import torch
from torch import Tensor

from remanence.context.caches.attention import attention, visible
from remanence.context.caches.bank import Bank, Found, Search, entries_at, hidden
from remanence.context.caches.forward_call import ForwardCall
from remanence.context.caches.layer_cache import SHORTEST, LayerCache
from remanence.context.caches.policy import Policy, Positions


class Recalling(Policy):
    """Sinks, a window of the newest entries, and a bank.

    While everything fits, everything is attended to as ever. When a layer is full, or the text longer than half of
    the model's positions, all but the sinks and the newest `recent` entries go to the bank: their keys lose their
    rotary position, and a query that recalls them sees them all at one distance, `distance` tokens before it. When
    the bank is full its oldest entries are let go.
    """

    sees: ClassVar[frozenset[str]] = frozenset({"queries"})
    entry_stats: ClassVar[tuple[str, ...]] = ("away",)
    """0 for an entry of the window and for padding, and in the bank the length of its key, by which searches divide."""
    positions: Positions = "closed"

    def away(self, held: LayerCache) -> Tensor:
        """(batch, heads, count) bool: the entries of the bank."""
        return held.stat("away") > 0

    def positioned(self, held: LayerCache) -> Tensor:
        return held.valid & ~self.away(held)

    def score(self, held: LayerCache) -> Tensor:
        return held.index.double().masked_fill(~self.away(held), torch.inf)

    @property
    def distance(self) -> int:
        """How far before a query an entry of the bank seems to lie."""
        return self.sinks + self.recent

    def bank(self, held: LayerCache) -> Bank:
        """Where in a layer the bank lies. Looked for after a change only, as looking takes as long as reading it."""
        if "bank" not in held.follows:
            there, front = self.away(held), self.positioned(held)
            places = there.any(1).any(0).nonzero().flatten()
            first, end = (int(places[0]), int(places[-1]) + 1) if len(places) else (0, 0)
            inside = slice(first, end)
            apart = not bool(front[:, :, inside].any())
            if apart and end:  # padding up to the window is not of it
                after = front[:, :, end:].any(1).any(0).nonzero().flatten()
                end = end + int(after[0]) if len(after) else held.count
                inside = slice(first, end)
            held.follows["bank"] = Bank(
                first,
                end,
                whole=bool(there[:, :, inside].all()),
                apart=apart,
                tidy=apart and int(front.sum()) == front[:, :, : held.count - (end - first)].numel(),
                longest=int(front.sum(2).max()),
                count=held.count,
            )
        return cast(Bank, held.follows["bank"])

    # Leaving the window

    def on_forward_end(self, layers: Sequence[LayerCache], base: Tensor, limit: int) -> None:
        for held in layers:
            if not held.empty and (held.count >= held.capacity or self._longest(held) > limit // 2):
                self._send_away(held, base.to(held.index.device))

    def _longest(self, held: LayerCache) -> int:
        """The most entries that a row and head has outside the bank."""
        bank = self.bank(held)
        return bank.longest + held.count - bank.count

    def _send_away(self, held: LayerCache, base: Tensor) -> None:
        front = self.positioned(held)
        rank = front.int().cumsum(2)
        length = rank[:, :, -1:]
        leaving = front & (rank > self.sinks) & (rank <= length - self.recent)
        if not bool(leaving.any()):
            return
        # Positions of the front are those before the next token; once the middle is gone the sinks move up
        position = base.view(-1, 1, 1) - (length - rank + 1)
        gap = leaving.sum(2, keepdim=True)
        held.move(torch.where(leaving, -position, torch.where(front & (rank <= self.sinks), gap, 0)))
        held.stat("away")[leaving] = held.keys[leaving].float().norm(dim=-1).clamp(min=SHORTEST)
        self.sent_away(held, leaving)
        held.follows.clear()

    def sent_away(self, held: LayerCache, leaving: Tensor) -> None:
        """Entries ``leaving`` (batch, heads, count) bool have just come to the bank."""

    # Reading

    def visible(self, held: LayerCache, call: ForwardCall, seen: int) -> Tensor | None:
        bank = self.bank(held)
        if bank.tidy and call.length == 1:
            return None
        return visible(bank.outside(held.index), call, seen)

    def attend(
        self, held: LayerCache, query: Tensor, visible: Tensor | None, scaling: float, call: ForwardCall
    ) -> tuple[Tensor, Tensor | None]:
        bank = self.bank(held)
        if bank.first == bank.end:
            return super().attend(held, query, visible, scaling, call)
        keys, values = held.keys, held.values
        seen = visible
        if not bank.apart:
            window = ~self.away(held).unsqueeze(2)
            seen = window if seen is None else seen & window
        near_keys, near_values = bank.outside(keys), bank.outside(values)
        if not self.recalls(held):
            return attention(query, near_keys, near_values, seen, scaling, weights=False)
        batch, queries, new, width = query.shape
        heads = keys.shape[1]
        rows = (batch, heads, queries // heads, new)
        query = query * scaling
        packed = query.reshape(batch, heads, -1, width)
        near = (packed @ near_keys.transpose(2, 3)).view(*rows, -1)
        asking, lengths = self._asking(held, query, call), bank.of(held.stat("away"))
        search = Search(held, bank, call, asking, bank.of(keys), lengths, scaling)
        found = self.recalled(search)
        # Only what is recalled is gone through: of the keys where nobody looked at all of them, and of the values
        recalled = entries_at(bank.of(values), found.places)
        far = found.scores
        if far is None:
            far = (search.packed @ entries_at(search.keys, found.places).mT).view(*rows, -1)
        shares = self.shares(near, None if seen is None else seen.unsqueeze(2), far, found.there).to(values.dtype)
        if found.places.dim() == 3:
            output = shares.flatten(2, 3) @ torch.cat([near_values, recalled], 2)
        else:
            close, distant = torch.split(shares, [near.shape[-1], far.shape[-1]], -1)
            output = close.flatten(2, 3) @ near_values
            output = output + (distant.unsqueeze(-2) @ recalled).view(output.shape)
        return output.view(batch, queries, new, -1), None

    def _asking(self, held: LayerCache, query: Tensor, call: ForwardCall) -> Tensor:
        """The queries as they would be if they stood `distance` tokens after what is in the bank."""
        if held.rotary is None:
            return query
        if "asking" not in call.shared:
            by = self.distance - call.positions.to(query.device)
            call.shared["asking"] = held.rotary.angles(by.unsqueeze(1))
        cos, sin = (angle.to(query.device) for angle in call.shared["asking"])
        return held.rotary.apply(query, cos, sin)

    def recalls(self, held: LayerCache) -> bool:
        """Whether the queries of a layer read its bank; by default they do."""
        return True

    @abstractmethod
    def recalled(self, search: Search) -> Found:
        """What each query recalls; none of it outside the bank."""

    def shares(self, near: Tensor, seen: Tensor | None, far: Tensor, there: Tensor | None) -> Tensor:
        """What of its attention a query gives to each entry: one softmax over what it sees and what it recalls.

        Parameters
        ----------
        near, far:
            (batch, heads, group, n, …): scores of the window, and of what was found in the bank.
        seen, there:
            What is seen of the one and recalled of the other, broadcast to them; None where all is.

        Returns
        -------
        (batch, heads, group, n, …) in float32: of the window and then of the bank.
        """
        return torch.softmax(torch.cat([hidden(near, seen), hidden(far, there)], -1), -1, dtype=torch.float32)
