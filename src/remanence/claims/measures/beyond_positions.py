"""What a cache knows of a text four times as long as a model has positions, where a window alone must forget most of it."""

from __future__ import annotations

from typing import Any

from remanence.claims.engine.experiment import Measured
from remanence.claims.measures.caches import Make, Texts, measured, named

LONG = Texts(length=2048, facts=8, count=3, piece=64, window=512)
"""Texts of which `tiny-lm`, with its 512 positions, can see a quarter at once; far facts are beyond its positions."""

LONG_BUDGET = 2_120_000
"""Bytes of a cache for one text: some 1,000 entries in each layer of `tiny-lm`, half of the text."""

EQUAL_BUDGET = 940_000
"""Bytes of a cache for one text that a window of as many entries as `tiny-lm` can use holds."""

WINDOW = 449
"""Entries of a layer that a window can use: 448 stay after a call, and the next brings 64 more."""


def windowed(**settings: Any) -> Make:
    """Makes caches of attention sinks with the largest window that `tiny-lm` can read, less than the budget allows."""
    from remanence.context import cache

    return lambda model, budget: cache("attention-sinks", model=model, tokens=WINDOW, slack=1, **settings)


def measure_texts(
    side: str, seed: int, held_out: bool, *, texts: Texts = LONG, budget: int = LONG_BUDGET, **settings: Any
) -> Measured:
    """Recall from a seed's texts by a policy of this name, or by attention sinks with the largest window."""
    make = windowed(**settings) if side == "attention-sinks" else named(side, **settings)
    return measured(make, seed, held_out=held_out, texts=texts, budget=budget)


def measure(side: str, seed: int, held_out: bool, **settings: Any) -> Measured:
    """The measurement of an `Experiment` about policies that recall from beyond the window."""
    return measure_texts(side, seed, held_out, **settings)


HOW = (
    "tiny-lm, which has 512 positions, reads texts of 2,048 bytes of held-out Shakespeare with 8 planted facts, 64 tokens "
    "a call, and is then asked for each fact; far facts are those more than 512 bytes before the end; 3 texts for each "
    "seed, others for searching"
)
EQUAL = (
    "940,000 bytes of cache for a text on both sides, which is what the largest window holds that leaves room for a call "
    "among 512 positions: 448 entries a layer; '#more bytes' has 2,120,000, some 1,000 entries"
)
EQUAL_IN_USE = (
    "2,120,000 bytes of cache for a text are allowed on both sides, some 1,000 entries in each layer; attention-sinks "
    "counts positions within the cache and cannot use more than the 448 entries a layer that leave room for a call among "
    "512 positions, so it is given these, its largest legal window"
)
