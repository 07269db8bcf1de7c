"""The claim of heavy hitters."""

from __future__ import annotations

from remanence.claims.engine.experiment import Experiment
from remanence.claims.measures.caches import EQUAL_PROMPTS, HOW_PROMPTS, REDUCED, measure_prompts

CLAIM = Experiment(
    system="heavy-hitters",
    baseline="sliding-window",
    says="Keeping the entries that drew the most attention besides the newest recalls more than the newest alone.",
    measure=measure_prompts,
    data="planted facts in Tiny Shakespeare",
    metric="recall",
    settings={
        "heavy-hitters": {"positions": "original"},
        "sliding-window": {"positions": "original"},
        "attention-sinks": {"positions": "original"},
    },
    beside=("attention-sinks",),
    how=HOW_PROMPTS,
    equal=EQUAL_PROMPTS,
    reduced=REDUCED.format(instead="planted facts instead of HELM and lm-eval tasks"),
)
