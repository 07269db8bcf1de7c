"""SnapKV: the entries that the newest queries attend to, and a window of the newest.

What is remembered are keys and values that the last few queries looked at, with their neighbours, in every head its
own. It costs a fixed number of entries in every layer, one number with each, and attention weights that are really
computed.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor
from torch.nn.functional import avg_pool1d, max_pool1d

from remanence.context.caches.attention_scores import AttentionScores
from remanence.context.caches.layer_cache import LayerCache
from remanence.context.caches.policy import Positions
from remanence.errors import UsageError
from remanence.hyperparameters import validated
from remanence.registry import Paper, system

Pooling = Literal["average", "largest"]


@system(
    "snap-kv",
    paper=Paper("SnapKV: LLM Knows What You are Looking for Before Generation", "Li et al.", 2024, "2404.14469"),
    place="context",
    baseline="sliding-window",
)
class SnapKV(AttentionScores):
    """An entry's score is the attention of an observation window of the newest queries, pooled over its neighbours.

    Parameters
    ----------
    window:
        Queries of the observation window, which are also the newest entries that are never let go (1 or more).
    kernel:
        How many neighbouring entries are pooled (odd).
    pooling:
        Whether scores are averaged over the neighbours, or the largest taken.
    sinks:
        First tokens that are never let go (0 or more).
    positions:
        ``"closed"`` counts positions within the cache; ``"original"`` as in the text.

    Raises
    ------
    UsageError
        If the kernel is even.

    Example
    -------
    >>> SnapKV(window=8).smallest()
    9

    References
    ----------
    Li et al., SnapKV: LLM Knows What You are Looking for Before Generation, 2024, arXiv:2404.14469.

    Departures
    ----------
    The paper scores once, at the end of the prompt; here entries are scored whenever some must go, so that decoding is
    bounded too. Where a call brings fewer queries than the window, the mean attention of earlier ones counts for the
    rest. Neighbours are those in the cache, between which others may have gone. Query heads that share keys share one
    score, their sum.
    """

    recent_share = 0.0

    @validated
    def __init__(
        self,
        window: Annotated[int, Field(ge=1, description="queries of the observation window")] = 8,
        kernel: Annotated[int, Field(ge=1, description="neighbouring entries that are pooled, an odd number")] = 5,
        pooling: Annotated[Pooling, Field(description="how the neighbours' scores are pooled")] = "average",
        sinks: Annotated[int, Field(ge=0, description="first tokens that are never let go")] = 0,
        positions: Annotated[Positions, Field(description="how positions are counted")] = "closed",
    ) -> None:
        if kernel % 2 == 0:
            raise UsageError(f"a kernel of {kernel} entries was given, expected an odd number: take {kernel + 1}")
        self.window, self.kernel, self.pooling = window, kernel, pooling
        self.recent, self.sinks, self.positions = window, sinks, positions

    def score(self, held: LayerCache) -> Tensor:
        # What the window gave to itself is not pooled: it would raise the entries that happen to lie beside it
        newest = held.valid.int().flip(2).cumsum(2).flip(2) <= self.recent
        scores, half = held.stat("attention").masked_fill(newest, 0.0), self.kernel // 2
        if self.pooling == "average":
            return avg_pool1d(scores, self.kernel, stride=1, padding=half)
        return max_pool1d(scores, self.kernel, stride=1, padding=half)
