"""The claim of SnapKV."""

from __future__ import annotations

from remanence.claims.engine.experiment import Experiment
from remanence.claims.measures.caches import EQUAL_PROMPTS, HOW_PROMPTS, REDUCED, measure_prompts

CLAIM = Experiment(
    system="snap-kv",
    baseline="sliding-window",
    says="Keeping the entries that the newest queries attend to recalls more than keeping the newest alone.",
    measure=measure_prompts,
    data="planted facts in Tiny Shakespeare",
    metric="recall",
    paper_metric="scores on LongBench and the needle in a haystack",
    settings={
        "snap-kv": {"positions": "original"},
        "attention-sinks": {"positions": "original"},
        "heavy-hitters": {"positions": "original"},
    },
    search={"snap-kv": {"kernel": [5, 7]}, "sliding-window": {"positions": ["closed", "original"]}},
    beside=("attention-sinks", "heavy-hitters"),
    how=HOW_PROMPTS,
    equal=EQUAL_PROMPTS,
    reduced=REDUCED.format(instead="planted facts instead of LongBench"),
)
