"""The claim of extended mind transformers."""

from __future__ import annotations

from remanence.claims.engine.experiment import Experiment
from remanence.claims.measures.beyond_positions import EQUAL, HOW, measure
from remanence.claims.measures.caches import REDUCED

CLAIM = Experiment(
    system="extended-mind",
    baseline="attention-sinks",
    says="Attending, in most layers, to the few past entries that are most like each query answers from beyond the "
    "context that a model was trained for, without training.",
    measure=measure,
    data="planted facts in Tiny Shakespeare",
    metric="recall",
    settings={"extended-mind#last layer": {"first_layer": 3}},
    search={
        "extended-mind": {"recent": [64, 384]},
        "attention-sinks": {"sinks": [1, 4]},
    },
    beside=("extended-mind#last layer",),
    how=HOW,
    equal=EQUAL,
    reduced=REDUCED.format(
        instead="planted facts instead of edited facts about Wikipedia and documents read beforehand"
    ),
)
