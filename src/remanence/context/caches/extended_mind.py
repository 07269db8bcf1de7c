"""Extended mind: what left the window is a memory of which every query, in most layers, attends to a few entries.

What is remembered are keys and values of past tokens, without their positions, until the bank is full. It costs as many bytes
an entry as any cache, and attention over the window and the few entries that are like the query.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from pydantic import Field

from remanence.context.caches.bank import Found, Search, best
from remanence.context.caches.layer_cache import SHORTEST, LayerCache
from remanence.context.caches.recalling import Recalling
from remanence.hyperparameters import validated
from remanence.registry import Paper, system


@system(
    "extended-mind",
    paper=Paper("Extended Mind Transformers", "Klett and Ahle", 2024, "2406.02332", 323),
    place="context",
    baseline="attention-sinks",
)
class ExtendedMind(Recalling):
    """Extended mind transformers: top-k attention to past keys in most layers, without training.

    Parameters
    ----------
    topk:
        Entries of the bank that a query attends to, in each head (1 or more).
    similarity:
        The smallest cosine of query and key at which an entry is attended to (-1 to 1).
    first_layer:
        The first layer that reads the bank (0 or more): below it, only the window is attended to.
    recent:
        The window (tokens, 1 or more).
    sinks:
        First tokens that are never let go (0 or more).

    Example
    -------
    >>> ExtendedMind(topk=2, recent=8).distance
    12

    References
    ----------
    Klett and Ahle, Extended Mind Transformers, 2024, arXiv:2406.02332.

    Departures
    ----------
    The memory is what the cache itself has read, in a bounded bank, instead of documents read beforehand. Entries
    that are recalled all seem to lie right before the window.
    """

    @validated
    def __init__(
        self,
        topk: Annotated[int, Field(ge=1, description="entries of the bank that a query attends to")] = 10,
        similarity: Annotated[float, Field(ge=-1, le=1, description="smallest cosine of query and key")] = 0.25,
        first_layer: Annotated[int, Field(ge=0, description="the first layer that reads the bank")] = 0,
        recent: Annotated[int, Field(ge=1, description="tokens of the window")] = 64,
        sinks: Annotated[int, Field(ge=0, description="first tokens that are never let go")] = 4,
    ) -> None:
        self.topk, self.similarity, self.first_layer = topk, similarity, first_layer
        self.recent, self.sinks = recent, sinks

    def recalls(self, held: LayerCache) -> bool:
        return held.layer >= self.first_layer

    def recalled(self, search: Search) -> Found:
        scores = search.scores()
        lengths = search.lengths.clamp(min=SHORTEST)[:, :, None, None]
        # The length of a query makes none of its entries more alike than another: it stays in what is compared with
        asked = search.query.norm(dim=-1).view(*scores.shape[:4], 1)
        found = best(scores / lengths, search.among, self.topk, asked * self.similarity)
        return replace(found, scores=scores.gather(-1, found.places))
