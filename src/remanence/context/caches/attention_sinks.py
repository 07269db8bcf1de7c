"""Attention sinks: the first tokens and a window of the newest stay, and everything between goes.

What is remembered are keys and values of a few first tokens, on which models rest attention that they have no use
for, and of the last ones. It costs a fixed number of entries in every layer, however long the text.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from remanence.context.caches.policy import Policy, Positions
from remanence.hyperparameters import validated
from remanence.registry import Paper, system


@system(
    "attention-sinks",
    paper=Paper("Efficient Streaming Language Models with Attention Sinks", "Xiao et al.", 2023, "2309.17453"),
    place="context",
    baseline="sliding-window",
)
class AttentionSinks(Policy):
    """StreamingLLM: attention sinks and a rolling window.

    Parameters
    ----------
    sinks:
        First tokens that are never let go (0 or more).
    positions:
        ``"closed"`` counts positions within the cache, as the paper does; ``"original"`` as in the text.

    Example
    -------
    >>> AttentionSinks(sinks=2).smallest()
    4

    References
    ----------
    Xiao et al., Efficient Streaming Language Models with Attention Sinks, 2023, arXiv:2309.17453.

    Departures
    ----------
    Keys are held rotated, and moved when a gap closes, instead of being rotated anew at every step; what attention
    sees is the same. Several entries are let go at once unless ``slack=1``.
    """

    @validated
    def __init__(
        self,
        sinks: Annotated[int, Field(ge=0, description="first tokens that are never let go")] = 4,
        positions: Annotated[Positions, Field(description="how positions are counted")] = "closed",
    ) -> None:
        self.sinks, self.positions = sinks, positions
