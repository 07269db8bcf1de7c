"""Where in a layer lies what has left the window, what queries ask of it, and what they find."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from remanence.context.caches.forward_call import ForwardCall
from remanence.context.caches.layer_cache import LayerCache


@dataclass(frozen=True)
class Bank:
    """Where in a layer the bank lies.

    Parameters
    ----------
    first, end:
        The entries from `first` up to `end`, of all rows and heads, are those among which the bank lies.
    whole:
        Whether in every row and head all of them are of the bank.
    apart:
        Whether none of them is of the window, in any row or head.
    tidy:
        Whether they are apart, and none of the others is padding: these are the window then.
    longest:
        The most entries outside the bank that a row and head had when this was found out.
    count:
        How many entries the layer had then; those that came since are of the window.
    """

    first: int
    end: int
    whole: bool
    apart: bool
    tidy: bool
    longest: int
    count: int

    def of(self, entries: Tensor) -> Tensor:
        """Those among which the bank lies, of a tensor (batch, heads, count, …)."""
        return entries[:, :, self.first : self.end]

    def outside(self, entries: Tensor) -> Tensor:
        """Those among which the window lies; all, where it is not apart."""
        if not self.apart or self.first == self.end:
            return entries
        return torch.cat([entries[:, :, : self.first], entries[:, :, self.end :]], 2)


@dataclass(frozen=True)
class Search:
    """What the queries of a call ask of the bank of a layer; m are the places among which it lies.

    Parameters
    ----------
    held, bank, call:
        The layer with the new entries, where in it the bank lies, and the call.
    query:
        (batch, query heads, n, features), as the bank is asked, times `scaling`.
    keys, lengths:
        (batch, heads, m, features) at these places, and (batch, heads, m) how long they are; 0 outside the bank.
    scaling:
        Of the attention of the model.
    """

    held: LayerCache
    bank: Bank
    call: ForwardCall
    query: Tensor
    keys: Tensor
    lengths: Tensor
    scaling: float

    @property
    def among(self) -> Tensor | None:
        """(batch, heads, 1, 1, m) bool: which places are of the bank; None where all are."""
        return None if self.bank.whole else (self.lengths > 0)[:, :, None, None]

    @property
    def packed(self) -> Tensor:
        """(batch, heads, group · n, features): the queries by the heads of the keys."""
        batch, heads, _, width = self.keys.shape
        return self.query.reshape(batch, heads, -1, width)

    def scores(self) -> Tensor:
        """(batch, heads, group, n, m): products of the queries with all keys."""
        batch, heads, count, _ = self.keys.shape
        return (self.packed @ self.keys.transpose(2, 3)).view(batch, heads, -1, self.query.shape[2], count)


@dataclass(frozen=True)
class Found:
    """What queries recall, of the places among which the bank lies.

    Parameters
    ----------
    places:
        (batch, heads, group, n, k) int64: of each query; or (batch, heads, k): the same for all queries of a head.
    there:
        Bool, broadcast to (batch, heads, group, n, k): which of them a query does recall; None for all.
    scores:
        (batch, heads, group, n, k): the products of the queries with what is at their places; None where they are
        not known, which only the same places for all queries may be.
    """

    places: Tensor
    there: Tensor | None
    scores: Tensor | None = None


def hidden(scores: Tensor, seen: Tensor | None) -> Tensor:
    """The scores, and the lowest number where nothing is seen."""
    return scores if seen is None else torch.where(seen, scores, torch.finfo(scores.dtype).min)


def entries_at(vectors: Tensor, places: Tensor) -> Tensor:
    """Of ``vectors`` (batch, heads, m, features) those at ``places`` (batch, heads, …): (batch, heads, …, features)."""
    batch, heads = places.shape[:2]
    first = torch.arange(batch * heads, device=places.device).view(batch, heads, *([1] * (places.dim() - 2)))
    flat = vectors.flatten(0, 1)
    return flat[first.expand(places.shape), places]


def best(scores: Tensor, among: Tensor | None, k: int, least: Tensor | None = None) -> Found:
    """For each row of ``scores`` (…, m) the k highest among those allowed, None for all.

    With ``least`` (…, 1), only those that are no less.

    >>> best(torch.tensor([3.0, 1.0, 2.0]), torch.tensor([True, True, False]), 1).places.tolist()
    [0]
    """
    allowed = scores if among is None else torch.where(among, scores, -torch.inf)
    top = allowed.topk(min(k, scores.shape[-1]), dim=-1)
    if least is not None:
        return Found(top.indices, top.values >= least, top.values)
    return Found(top.indices, None if among is None else top.values > -torch.inf, top.values)
