"""The claim of memorizing transformers."""

from __future__ import annotations

from remanence.claims.engine.experiment import Experiment
from remanence.claims.measures.beyond_positions import EQUAL_IN_USE, HOW, measure
from remanence.claims.measures.caches import REDUCED

CLAIM = Experiment(
    system="memorizing-transformers",
    baseline="attention-sinks",
    says="Looking up past keys and values in one layer makes use of what was defined far before the context.",
    measure=measure,
    data="planted facts in Tiny Shakespeare",
    metric="recall",
    paper_metric="perplexity of books, articles, code and proofs",
    settings={"memorizing-transformers": {"topk": 8, "recent": 192}},
    search={
        "memorizing-transformers": {"layer": [1, 2], "gate": [0.0, 3.0]},
        "attention-sinks": {"sinks": [1, 2, 4, 8]},
    },
    how=HOW,
    equal=EQUAL_IN_USE,
    reduced=REDUCED.format(
        instead="which was not trained with a memory: the gate is one number, searched with the layer, instead of one learned for "
        "each head; planted facts instead of perplexity on books, articles, code and proofs"
    ),
)
