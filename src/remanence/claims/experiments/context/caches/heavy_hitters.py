"""The claim of heavy hitters."""

from __future__ import annotations

from remanence.claims.engine.experiment import Experiment
from remanence.claims.measures.caches import EQUAL, HOW, REDUCED, measure

CLAIM = Experiment(
    system="heavy-hitters",
    baseline="sliding-window",
    says="Keeping the entries that drew the most attention besides the newest predicts a long text better than the newest alone.",
    measure=measure,
    data="planted facts in Tiny Shakespeare",
    metric="perplexity",
    paper_metric="accuracy on HELM and lm-eval tasks",
    better="lower",
    beside=("attention-sinks",),
    how=HOW,
    equal=EQUAL,
    reduced=REDUCED.format(instead="planted facts instead of HELM and lm-eval tasks"),
)
