"""The claim of D2O."""

from __future__ import annotations

from typing import Any

from remanence.claims.engine.experiment import Experiment, Measured
from remanence.claims.measures.caches import HOW, REDUCED, measured, named

BUDGET = 400_000
"""Bytes for a text: so few that the largest layer's share stays within the positions of `tiny-lm`."""


def measure(side: str, seed: int, held_out: bool, **settings: Any) -> Measured:
    """Facts asked for after a long text, and its perplexity."""
    return measured(named(side, **settings), seed, held_out=held_out, budget=BUDGET)


CLAIM = Experiment(
    system="d2o",
    baseline="heavy-hitters",
    says="Layer budgets by the density of attention, and merging what is evicted into its like, predict "
    "long text better than evicting by attention alone.",
    measure=measure,
    data="planted facts in Tiny Shakespeare",
    metric="perplexity",
    paper_metric="scores on LongBench, and perplexity",
    better="lower",
    search={
        "d2o": {"recent_share": [0.25, 0.5]},
        "heavy-hitters": {"recent_share": [0.25, 0.5]},
    },
    beside=("sliding-window", "attention-sinks"),
    how=HOW,
    equal="400,000 bytes of cache for a text on both sides, held to after every call; scores and thresholds are counted",
    reduced=REDUCED.format(instead="perplexity instead of LongBench and the needle in a haystack"),
)
