"""D2O: larger budgets for layers of which few heads are dense, and evicted entries merged into their like.

What is remembered are keys and values of heavy hitters and of the newest tokens; an entry that has to go is added to the
most similar one that stays, if it is similar enough. It costs a fixed number of entries in all layers together, one
number with each, and attention weights that are really computed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from remanence.context.caches.attention_scores import AttentionScores
from remanence.context.caches.layer_cache import LayerCache
from remanence.context.caches.policy import Positions
from remanence.context.caches.split_budget import split_budget
from remanence.hyperparameters import validated
from remanence.registry import Paper, system

if TYPE_CHECKING:
    from remanence.context.caches.supported import Shape


@system(
    "d2o",
    paper=Paper(
        "D2O: Dynamic Discriminative Operations for Efficient Generative Inference of Large Language Models",
        "Wan et al.",
        2024,
        "2406.13035",
        289,
    ),
    place="context",
    baseline="heavy-hitters",
)
class D2O(AttentionScores):
    """Dynamic discriminative operations, between layers and between tokens.

    Between layers: when a layer is full for the first time, the density of each layer is the mean over its heads of
    the variance of the attention that entries were given, scaled among the heads to 0 for the least and 1 for the most
    dense; the layers share the entries as softmax(-density). Between tokens: entries with the
    least attention go. The cosine u of an evicted key with its nearest kept key is compared with a threshold τ, the
    running mean of such similarities; where u ≥ τ, key and value are merged into the nearest entry with weights in
    proportion to exp(u) for the evicted ones and e for the one that stays.

    Parameters
    ----------
    recent_share:
        The share of a layer's entries that are its newest and never let go (0 to 1); the rest are heavy hitters.
    smoothing:
        β: what the newest similarities count for in the threshold (0 to 1).
    sinks:
        First tokens that are never let go (0 or more).
    positions:
        ``"closed"`` counts positions within the cache; ``"original"`` as in the text.

    Shapes
    ------
    Held for each layer besides its entries: the threshold (batch, heads) and the density (batch, 1).

    Example
    -------
    >>> D2O(recent_share=0.25).newest(64)
    16

    References
    ----------
    Wan et al., D2O: Dynamic Discriminative Operations for Efficient Generative Inference of Large Language Models,
    2024, arXiv:2406.13035.

    Departures
    ----------
    Heads are those of the keys, where the authors' program repeats keys for each head of the queries; scaled among one
    or two heads, all layers are equally dense and have the same share. Their program bounds a layer's share by the length of the prompt, and leaves the first
    two layers and the last one whole, which no bounded cache can. Heads keep tokens, thresholds and merges of their own,
    where it merges a token in all heads or none; rows of a batch share one allotment of the layers. Weights of a merge
    are the paper's; the program takes means of products with the cosine. Where several entries go at once the threshold
    moves by their mean similarity.
    """

    rows_apart: ClassVar[bool] = False

    @validated
    def __init__(
        self,
        recent_share: Annotated[
            float, Field(ge=0, le=1, description="share of the entries that are the newest, never let go")
        ] = 0.5,
        smoothing: Annotated[
            float, Field(ge=0, le=1, description="β, what the newest similarities count for in the threshold")
        ] = 0.5,
        sinks: Annotated[int, Field(ge=0, description="first tokens that are never let go")] = 4,
        positions: Annotated[Positions, Field(description="how positions are counted")] = "closed",
    ) -> None:
        self.recent_share, self.smoothing, self.sinks, self.positions = recent_share, smoothing, sinks, positions

    def bytes_besides(self, shape: Shape) -> int:
        return shape.layers * 4 * (shape.heads + 1)

    # Between layers

    def capacities(self, layers: Sequence[LayerCache], total: int) -> list[int]:
        if any("density" not in held.besides for held in layers):
            if not any(held.count >= held.capacity for held in layers):
                return [held.capacity for held in layers]
            for held in layers:
                held.besides["density"] = self.density(held)
            density = torch.stack([held.besides["density"].mean() for held in layers])
            weights = torch.softmax(-density, 0).tolist()
            return split_budget(weights, total, least=self.smallest())
        return [held.capacity for held in layers]

    @staticmethod
    def density(held: LayerCache) -> Tensor:
        """How dense the heads of a layer are on average, (batch, 1), where 0 is its least dense head and 1 its most dense.

        The density of a head is the variance of the attention that its entries were given.
        """
        given, valid = held.stat("attention"), held.valid
        number = valid.sum(2)
        mean = (given * valid).sum(2) / number.clamp(min=1)
        squares = ((given - mean.unsqueeze(2)).square() * valid).sum(2)
        variance = squares / (number - 1).clamp(min=1)
        low, high = variance.amin(1, keepdim=True), variance.amax(1, keepdim=True)
        return ((variance - low) / (high - low + 1e-6)).mean(1, keepdim=True)

    # Between tokens

    def merge(self, held: LayerCache, kept: Tensor, gone: Tensor) -> None:
        valid = held.valid
        k_kept, v_kept = _at(held.keys, kept).float(), _at(held.values, kept).float()
        k_gone, v_gone = _at(held.keys, gone).float(), _at(held.values, gone).float()
        similarity = normalize(k_gone, dim=-1) @ normalize(k_kept, dim=-1).transpose(2, 3)
        similarity = similarity.masked_fill(~valid.gather(2, kept).unsqueeze(2), -torch.inf)
        nearest, place = similarity.max(3)
        going = valid.gather(2, gone) & nearest.isfinite()
        threshold = self._moved(held, nearest, going)
        merged = going & (nearest >= threshold.unsqueeze(2))
        weight = torch.where(merged, nearest.exp(), 0.0)
        sum_of = torch.full(kept.shape, math.e, device=kept.device).scatter_add_(2, place, weight).unsqueeze(-1)
        keys = (math.e * k_kept).scatter_add_(2, _wide(place, k_gone), weight.unsqueeze(-1) * k_gone) / sum_of
        values = (math.e * v_kept).scatter_add_(2, _wide(place, v_gone), weight.unsqueeze(-1) * v_gone) / sum_of
        held.replace(kept, keys.to(held.values.dtype), values.to(held.values.dtype))

    def _moved(self, held: LayerCache, nearest: Tensor, going: Tensor) -> Tensor:
        """The threshold of each row and head, (batch, heads), after these similarities."""
        number = going.sum(2)
        mean = torch.where(going, nearest, 0.0).sum(2) / number.clamp(min=1)
        before = held.besides.get("threshold")
        if before is not None:
            mean = torch.where(number > 0, self.smoothing * mean + (1 - self.smoothing) * before, before)
        held.besides["threshold"] = mean
        return mean


def _wide(places: Tensor, like: Tensor) -> Tensor:
    return places.unsqueeze(-1).expand(*places.shape, like.shape[3])


def _at(entries: Tensor, places: Tensor) -> Tensor:
    return entries.gather(2, _wide(places, entries))
