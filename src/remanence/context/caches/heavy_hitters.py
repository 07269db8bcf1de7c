"""Heavy hitters: the entries that were attended to most, and a window of the newest.

What is remembered are keys and values of the tokens that drew the most attention so far, in every head its own, beside
the last ones. It costs a fixed number of entries in every layer, one number with each, and attention weights that are
really computed.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from remanence.context.caches.attention_scores import AttentionScores
from remanence.context.caches.policy import Positions
from remanence.hyperparameters import validated
from remanence.registry import Paper, system


@system(
    "heavy-hitters",
    paper=Paper(
        "H2O: Heavy-Hitter Oracle for Efficient Generative Inference of Large Language Models",
        "Zhang et al.",
        2023,
        "2306.14048",
    ),
    place="context",
    baseline="sliding-window",
)
class HeavyHitters(AttentionScores):
    """H2O: an entry's score is the attention that all queries so far gave it; the lowest is let go.

    Parameters
    ----------
    recent_share:
        The share of a layer's entries that are its newest and never let go (0 to 1).
    sinks:
        First tokens that are never let go (0 or more).
    positions:
        ``"closed"`` counts positions within the cache; ``"original"`` as in the text.

    Example
    -------
    >>> HeavyHitters(recent_share=0.25).newest(64)
    16

    References
    ----------
    Zhang et al., H2O: Heavy-Hitter Oracle for Efficient Generative Inference of Large Language Models, 2023,
    arXiv:2306.14048.

    Departures
    ----------
    Query heads that share keys share one score, their sum. Several entries are let go at once unless ``slack=1``.
    """

    @validated
    def __init__(
        self,
        recent_share: Annotated[
            float, Field(ge=0, le=1, description="share of the entries that are the newest, never let go")
        ] = 0.5,
        sinks: Annotated[int, Field(ge=0, description="first tokens that are never let go")] = 0,
        positions: Annotated[Positions, Field(description="how positions are counted")] = "closed",
    ) -> None:
        self.recent_share, self.sinks, self.positions = recent_share, sinks, positions
