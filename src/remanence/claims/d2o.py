"""The claim of D2O."""

from __future__ import annotations

from remanence.claims.caches import EQUAL, HOW, REDUCED, measure
from remanence.claims.experiment import Experiment

CLAIM = Experiment(
    system="d2o",
    baseline="heavy-hitters",
    says="Layer budgets by the density of attention, and merging what is evicted into its like, foretell "
    "long text better than evicting by attention alone.",
    measure=measure,
    data="planted facts in Tiny Shakespeare",
    metric="perplexity",
    better="lower",
    search={
        "d2o": {"recent_share": [0.25, 0.5]},
        "heavy-hitters": {"recent_share": [0.25, 0.5]},
    },
    beside=("sliding-window", "attention-sinks"),
    how=HOW,
    equal=EQUAL,
    reduced=REDUCED.format(instead="perplexity instead of LongBench and the needle in a haystack"),
)
