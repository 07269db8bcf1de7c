"""The claim of DynamicKV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from remanence.claims.engine.experiment import Experiment, Measured
from remanence.claims.measures.caches import HOW_PROMPTS, REDUCED, bounded, named, prompted
from remanence.context.caches.layer_cache import LayerCache
from remanence.context.caches.snap_kv import SnapKV
from remanence.context.caches.split_budget import split_budget

BUDGET = 36_000
"""Bytes for a prompt: some 17 entries in each layer, so few that it matters where they are."""


class Pyramid(SnapKV):
    """Fixed shares that fall from the first layer to the last, as PyramidKV has them."""

    def capacities(self, layers: Sequence[LayerCache], total: int) -> list[int]:
        weights = [2.0 * (len(layers) - k) - 1.0 for k in range(len(layers))]
        return split_budget(weights, total, least=self.smallest())


def measure(side: str, seed: int, held_out: bool, **settings: Any) -> Measured:
    """A pyramid of budgets beside the policies by name."""
    if side != "pyramid":
        return prompted(named(side, **settings), seed, held_out=held_out, budget=BUDGET)
    return prompted(bounded(lambda: Pyramid(**settings)), seed, held_out=held_out, budget=BUDGET)


CLAIM = Experiment(
    system="dynamic-kv",
    baseline="snap-kv",
    says="Giving each layer a share that follows from where attention falls recalls more than equal shares.",
    measure=measure,
    data="planted facts in Tiny Shakespeare",
    metric="recall",
    paper_metric="scores on LongBench and the needle in a haystack",
    settings={
        "dynamic-kv": {"positions": "original", "kernel": 7},
        "snap-kv": {"positions": "original", "kernel": 7},
        "pyramid": {"positions": "original", "kernel": 7},
        "sliding-window": {"positions": "original"},
    },
    search={
        "dynamic-kv": {"window": [1, 2, 4, 8, 16]},
        "snap-kv": {"window": [1, 2, 4, 8, 16]},
    },
    beside=("pyramid", "sliding-window"),
    how=HOW_PROMPTS,
    equal="36,000 bytes of cache for a prompt on both sides, held to after every call; scores are counted; the same "
    "window, kernel and pooling",
    reduced=REDUCED.format(instead="planted facts instead of LongBench and the needle in a haystack"),
)
