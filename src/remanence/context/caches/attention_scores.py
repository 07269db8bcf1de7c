"""How much attention each entry was given: the score by which many policies choose what to keep.

Each entry carries one number a head: the attention of all queries that saw it, or of about the last few.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from remanence.context.caches.layer_cache import LayerCache
from remanence.context.caches.policy import Policy

if TYPE_CHECKING:
    from remanence.context.caches.forward_call import ForwardCall


class AttentionScores(Policy):
    """A policy that keeps what was attended to; its `score` is the score.

    Attributes
    ----------
    window:
        None to add up the attention of all queries. With a number (1 or more) the score is the mean attention of that
        many last queries: exactly so where a call brings as many, and where it brings fewer by letting the earlier
        mean count for the rest.
    recent_share:
        The share of a layer's entries that are its newest and never let go (0 to 1).
    """

    sees: ClassVar[frozenset[str]] = frozenset({"attention"})
    entry_stats: ClassVar[tuple[str, ...]] = ("attention",)
    window: int | None = None
    recent_share: float = 0.5

    def newest(self, capacity: int) -> int:
        return max(self.recent, min(int(capacity * self.recent_share), capacity - self.sinks))

    def score(self, held: LayerCache) -> Tensor:
        return held.stat("attention")

    def on_attention(self, held: LayerCache, query: Tensor, weights: Tensor | None, call: ForwardCall) -> None:
        if weights is None:
            return
        given, seen = self._given(held, weights, call)
        scores = held.stat("attention")
        if self.window is None:
            scores.add_(given)
        else:
            earlier = (1 - seen / self.window).clamp(min=0).view(-1, 1, 1)
            scores.mul_(earlier).add_(given / self.window)

    def _given(self, held: LayerCache, weights: Tensor, call: ForwardCall) -> tuple[Tensor, Tensor]:
        """The attention of the call's queries, (batch, heads, count), and how many queries gave it, (batch,)."""
        batch, _, new, count = weights.shape
        heads = held.index.shape[1]
        asked = torch.ones(batch, new, device=weights.device)
        if call.valid is not None:
            asked = call.valid.to(asked)
        if self.window is not None:
            # The last queries of each row, padding not counted
            after = asked.flip(1).cumsum(1).flip(1)
            asked = asked * (after <= self.window)
        # A product adds up the heads of a group and the queries in one pass over the weights
        by_head = weights.float().view(batch, heads, -1, count)
        every = asked.repeat(1, by_head.shape[2] // new).view(batch, 1, 1, -1)
        return (every @ by_head).squeeze(2), asked.sum(1)
