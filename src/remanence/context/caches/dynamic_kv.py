"""DynamicKV: layers share one budget by where the newest queries find something to attend to.

What is remembered are keys and values that the last few queries looked at; which layer may hold how many follows from
the best scores of all layers together, anew whenever some must go. It costs a fixed number of entries in all layers
together, one number with each, and attention weights that are really computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from remanence.context.caches.layer_cache import LayerCache
from remanence.context.caches.policy import Positions
from remanence.context.caches.snap_kv import Pooling, SnapKV
from remanence.context.caches.split_budget import split_budget
from remanence.hyperparameters import validated
from remanence.registry import Paper, system


@system(
    "dynamic-kv",
    paper=Paper(
        "DynamicKV: Task-Aware Adaptive KV Cache Compression for Long Context LLMs",
        "Zhou et al.",
        2024,
        "2412.14838",
        306,
    ),
    place="context",
    baseline="snap-kv",
)
class DynamicKV(SnapKV):
    """Entries are scored as in SnapKV; a global top-k of the scores decides each layer's share.

    Of all entries older than the window, in all layers, as many with the highest scores are counted as may be held;
    a layer's share of the budget is its share of these, at most `most` times the mean.

    Parameters
    ----------
    window, kernel, pooling, sinks, positions:
        As for `SnapKV`.
    most:
        The largest share of a layer, as a multiple of the mean one (1 or more).

    Example
    -------
    >>> DynamicKV(window=8).smallest()
    9

    References
    ----------
    Zhou et al., DynamicKV: Task-Aware Adaptive KV Cache Compression for Long Context LLMs, 2024, arXiv:2412.14838.

    Departures
    ----------
    The paper gives out shares once, while the prompt is read, and every few layers anew among the layers so far, which
    bounds the memory on the way; here all layers are weighed at once, after every call in which one of them is full,
    so that shares follow the text and decoding is bounded too. Rows of a batch share one allotment.
    """

    rows_apart: ClassVar[bool] = False

    @validated
    def __init__(
        self,
        window: Annotated[int, Field(ge=1, description="queries of the observation window")] = 8,
        kernel: Annotated[int, Field(ge=1, description="neighbouring entries that are pooled, an odd number")] = 7,
        pooling: Annotated[Pooling, Field(description="how the neighbours' scores are pooled")] = "average",
        most: Annotated[float, Field(ge=1, description="largest share of a layer, in mean shares")] = 10.0,
        sinks: Annotated[int, Field(ge=0, description="first tokens that are never let go")] = 0,
        positions: Annotated[Positions, Field(description="how positions are counted")] = "closed",
    ) -> None:
        SnapKV.__init__(self, window=window, kernel=kernel, pooling=pooling, sinks=sinks, positions=positions)
        self.most = most

    def capacities(self, layers: Sequence[LayerCache], total: int) -> list[int]:
        if not any(held.count >= held.capacity for held in layers):
            return [held.capacity for held in layers]
        # What every layer holds in any case, and one place for the next token
        fixed = self.smallest()
        free = total - fixed * len(layers)
        weights = self.counts(layers, max(1, free))
        most = int(self.most * free / len(layers))
        return [fixed + share for share in split_budget(weights, free, least=0, most=most)]

    def counts(self, layers: Sequence[LayerCache], number: int) -> list[float]:
        """How many of the highest scores of all layers, `number` for each head, are in each of them."""
        scores = [self._older(held).flatten() for held in layers]
        owner = torch.cat([torch.full_like(score, k, dtype=torch.int64) for k, score in enumerate(scores)])
        flat = torch.cat(scores)
        heads = layers[0].index.shape[0] * layers[0].index.shape[1]
        best = flat.topk(min(number * heads, int(flat.isfinite().sum()))).indices
        return torch.bincount(owner[best], minlength=len(layers)).double().tolist()

    def _older(self, held: LayerCache) -> Tensor:
        """Scores of what is neither padding nor within the window."""
        scores, valid = self.score(held), held.valid
        after = valid.int().flip(2).cumsum(2).flip(2)
        return scores.masked_fill(~valid | (after <= self.recent), -torch.inf)
