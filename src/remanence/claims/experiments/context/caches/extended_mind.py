"""The claim of extended mind transformers."""

from __future__ import annotations

from remanence.claims.engine.experiment import Experiment
from remanence.claims.measures.beyond_positions import EQUAL, EQUAL_BUDGET, HOW, LONG_BUDGET, measure
from remanence.claims.measures.caches import REDUCED

CLAIM = Experiment(
    system="extended-mind",
    baseline="attention-sinks",
    says="Attending, in most layers, to the few past entries that are most like each query answers from beyond the "
    "context that a model was trained for, without training.",
    measure=measure,
    data="planted facts in Tiny Shakespeare",
    metric="recall",
    paper_metric="accuracy of answers about edited facts",
    settings={
        "extended-mind": {"budget": EQUAL_BUDGET},
        "extended-mind#last layer": {"budget": EQUAL_BUDGET, "first_layer": 3},
        "extended-mind#more bytes": {"budget": LONG_BUDGET},
        "sirllm": {"budget": EQUAL_BUDGET},
    },
    search={
        "extended-mind": {"recent": [64, 128, 256]},
        "attention-sinks": {"sinks": [1, 4, 16]},
        "sirllm": {"recent_share": [0.25, 0.5]},
    },
    beside=("extended-mind#last layer", "extended-mind#more bytes", "sirllm"),
    how=HOW,
    equal=EQUAL,
    reduced=REDUCED.format(
        instead="planted facts instead of edited facts about Wikipedia and documents read beforehand"
    ),
)
