"""The claim of CAMELoT."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from remanence.claims.engine.experiment import Experiment, Measured
from remanence.claims.measures.beyond_positions import LONG
from remanence.claims.measures.caches import BUDGET, REDUCED, Make, measured, named

TEXTS = replace(LONG, window=320)
"""As for the policies that recall from beyond the positions; facts are far beyond the larger window."""

SMALL = 69
"""Entries of a layer in the window of CAMELoT once its bank is full, and room for a new one."""


def small_window(**settings: Any) -> Make:
    """Makes caches of attention sinks with the window that CAMELoT has, and no modes beside."""
    from remanence.context import cache

    return lambda model, budget: cache("attention-sinks", model=model, tokens=SMALL, slack=1, **settings)


def measure(side: str, seed: int, held_out: bool, **settings: Any) -> Measured:
    """The small window alone beside the policies by name, which may all hold as many bytes."""
    make = small_window(**settings) if side == "attention-sinks#small window" else named(side, **settings)
    return measured(make, seed, held_out=held_out, texts=TEXTS, budget=BUDGET)


CLAIM = Experiment(
    system="camelot",
    baseline="attention-sinks",
    says="A small window and a memory of averaged keys and values predict a long text better than a window alone.",
    measure=measure,
    data="planted facts in Tiny Shakespeare",
    metric="perplexity",
    better="lower",
    search={
        "camelot": {"novelty": [0.8, 0.95]},
        "attention-sinks": {"sinks": [1, 4]},
    },
    beside=("attention-sinks#small window",),
    how=(
        "tiny-lm reads texts of 2,048 bytes of held-out Shakespeare with 8 planted facts, 64 tokens a call; perplexity is that "
        "of the bytes outside the facts; recall of the facts is told beside; 3 texts for each seed, others for searching"
    ),
    equal="670,000 bytes of cache for a text on both sides: a window of 64 tokens and some 240 modes in each layer, or a "
    "window of some 320 tokens; beside them that small window alone",
    reduced=REDUCED.format(instead="Shakespeare instead of Arxiv, PG-19 and Wikitext"),
    cause="modes help the small window beside which they stand, but as many bytes of recent tokens help more",
)
