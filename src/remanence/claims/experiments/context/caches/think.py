"""The claim of ThinK."""

from __future__ import annotations

from remanence.claims.engine.experiment import Experiment
from remanence.claims.measures.caches import EQUAL, HOW, REDUCED, measure

CLAIM = Experiment(
    system="think",
    baseline="heavy-hitters",
    says="With the least important channels of older keys removed, as many bytes hold more entries and predict "
    "long text better than the same policy with whole keys.",
    measure=measure,
    data="planted facts in Tiny Shakespeare",
    metric="perplexity",
    paper_metric="scores on LongBench and the needle in a haystack",
    better="lower",
    search={
        "think": {"recent_share": [0.25, 0.5]},
        "heavy-hitters": {"recent_share": [0.25, 0.5]},
    },
    beside=("sliding-window",),
    how=HOW,
    equal=EQUAL,
    reduced=REDUCED.format(instead="perplexity instead of LongBench and the needle in a haystack"),
)
