"""A window in front and a bank behind it: what leaves the window stays held, and queries read a few entries of it.

This is what retrieving policies share. A subclass says which entries of the bank a query recalls.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from remanence.context.caches.attention import Reading
from remanence.context.caches.held import Held
from remanence.context.caches.policy import Policy, Positions


class Recalling(Policy):
    """Sinks, a window of the newest entries, and a bank.

    While everything fits, everything is attended to as ever. When a layer is full, or the text longer than half of
    the model's positions, all but the sinks and the newest `recent` entries go to the bank: their keys lose their
    rotary position, and a query that recalls them sees them all at one distance, `distance` tokens before it. When
    the bank is full its oldest entries are let go.
    """

    sees: ClassVar[frozenset[str]] = frozenset({"queries"})
    marks: ClassVar[tuple[str, ...]] = ("away",)
    positions: Positions = "closed"

    def away(self, held: Held) -> Tensor:
        """(batch, heads, count) bool: the entries of the bank."""
        return held.mark("away") > 0

    def front(self, held: Held) -> Tensor:
        return held.valid & ~self.away(held)

    def worth(self, held: Held) -> Tensor:
        return held.index.double().masked_fill(~self.away(held), torch.inf)

    @property
    def distance(self) -> int:
        """How far before a query an entry of the bank seems to lie."""
        return self.sinks + self.recent

    # Leaving the window

    def ended(self, layers: Sequence[Held], base: Tensor, limit: int) -> None:
        for held in layers:
            if not held.empty and (held.count >= held.capacity or int(self.front(held).sum(2).max()) > limit // 2):
                self._send_away(held, base.to(held.index.device))

    def _send_away(self, held: Held, base: Tensor) -> None:
        front = self.front(held)
        rank = front.int().cumsum(2)
        length = rank[:, :, -1:]
        leaving = front & (rank > self.sinks) & (rank <= length - self.recent)
        if not bool(leaving.any()):
            return
        # Positions of the front are those before the next token; once the middle is gone the sinks move up
        position = base.view(-1, 1, 1) - (length - rank + 1)
        gap = leaving.sum(2, keepdim=True)
        held.move(torch.where(leaving, -position, torch.where(front & (rank <= self.sinks), gap, 0)))
        held.mark("away")[leaving] = 1.0
        self.sent_away(held, leaving)

    def sent_away(self, held: Held, leaving: Tensor) -> None:
        """Entries ``leaving`` (batch, heads, count) bool have just come to the bank."""

    # Reading

    def attend(
        self, held: Held, query: Tensor, visible: Tensor | None, scaling: float, reading: Reading
    ) -> tuple[Tensor, Tensor | None]:
        away = self.away(held)
        if not bool(away.any()):
            return super().attend(held, query, visible, scaling, reading)
        seen = ~away.unsqueeze(2)
        if visible is not None:
            seen = seen & visible
        if not self.recalls(held):
            return super().attend(held, query, seen, scaling, reading)
        batch, queries, new, width = query.shape
        heads, count = away.shape[1:]
        group = queries // heads
        keys, values = held.keys, held.values
        asking = self._asking(held, query, reading)
        # One product for both, so that the keys are gone through once
        both = torch.cat([one.reshape(batch, heads, group * new, width) for one in (query, asking)], 2)
        near, far = ((both @ keys.transpose(2, 3)) * scaling).chunk(2, 2)
        recalled = self.recalled(held, asking, far.reshape(batch, heads, group, new, count), reading)
        seen = seen.expand(-1, -1, new, -1).repeat(1, 1, group, 1)
        there = (away & held.valid).unsqueeze(2)
        recalled = recalled.reshape(batch, heads, group * new, count) & there
        output, shares = self.combine(near, far, seen, recalled, values)
        return output.view(batch, queries, new, -1), shares.view(batch, queries, new, -1)

    def _asking(self, held: Held, query: Tensor, reading: Reading) -> Tensor:
        """The queries as they would be if they stood `distance` tokens after what is in the bank."""
        if held.rotary is None:
            return query
        by = self.distance - reading.positions.to(query.device)
        return held.rotary.turn(query, by.unsqueeze(1))

    def recalls(self, held: Held) -> bool:
        """Whether the queries of a layer read its bank; by default they do."""
        return True

    @abstractmethod
    def recalled(self, held: Held, query: Tensor, scores: Tensor, reading: Reading) -> Tensor:
        """Which entries each query recalls.

        Parameters
        ----------
        held:
            The layer with the new entries.
        query:
            (batch, query heads, n, features) as the bank is asked.
        scores:
            (batch, heads, group, n, count): their scaled products with the keys.
        reading:
            The call.

        Returns
        -------
        (batch, heads, group, n, count) bool, or broadcast to it; outside the bank it is passed over.
        """

    def combine(
        self, near: Tensor, far: Tensor, seen: Tensor, recalled: Tensor, values: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One softmax over what is seen of the window and what is recalled; output and weights."""
        scores = torch.where(recalled, far, near)
        scores = scores.masked_fill(~(seen | recalled), torch.finfo(scores.dtype).min)
        shares = torch.softmax(scores, -1, dtype=torch.float32).to(values.dtype)
        return shares @ values, shares


def best(scores: Tensor, among: Tensor, k: int) -> Tensor:
    """The k highest of each row ``scores`` (…, count) among those allowed; a mask of the same shape.

    >>> best(torch.tensor([3.0, 1.0, 2.0]), torch.tensor([True, True, False]), 1).tolist()
    [True, False, False]
    """
    allowed = scores.masked_fill(~among, -torch.inf)
    k = min(k, scores.shape[-1])
    top = allowed.topk(k, dim=-1).indices
    return torch.zeros_like(scores, dtype=torch.bool).scatter(-1, top, True) & among
