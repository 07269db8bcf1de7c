"""The claim of EM-LLM."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from remanence.claims.engine.experiment import Experiment, Measured
from remanence.claims.measures.beyond_positions import EQUAL, EQUAL_BUDGET, HOW, LONG, LONG_BUDGET, measure_texts
from remanence.claims.measures.caches import REDUCED


def measure(side: str, seed: int, held_out: bool, **settings: Any) -> Measured:
    """Events are chosen once for a call, so answers are read as they would be written, a byte in a call."""
    return measure_texts(side, seed, held_out, texts=replace(LONG, apart=True), **settings)


def fixed(largest: int) -> dict[str, Any]:
    """Settings under which an event ends after so many tokens, surprising or not."""
    return {"budget": EQUAL_BUDGET, "gamma": 1e9, "refine": "none", "largest": largest}


CLAIM = Experiment(
    system="em-llm",
    baseline="attention-sinks",
    says="Recalling whole events, cut where the text surprised, and their neighbours answers from far beyond the context "
    "that a model was trained for.",
    measure=measure,
    data="planted facts in Tiny Shakespeare",
    metric="recall",
    paper_metric="scores on LongBench and passkeys",
    settings={
        "em-llm": {"budget": EQUAL_BUDGET},
        "em-llm#segments of 12": fixed(12),
        "em-llm#segments of 24": fixed(24),
        "em-llm#more bytes": {"budget": LONG_BUDGET},
        "sirllm": {"budget": EQUAL_BUDGET},
    },
    search={
        "em-llm": {"gamma": [1.0, 2.0]},
        "attention-sinks": {"sinks": [1, 4]},
        "sirllm": {"recent_share": [0.25, 0.5]},
    },
    beside=("em-llm#segments of 12", "em-llm#segments of 24", "em-llm#more bytes", "sirllm"),
    how=HOW + "; the bytes of an answer are read one in a call, as when they are written",
    equal=EQUAL,
    reduced=REDUCED.format(
        instead="planted facts instead of LongBench and passkeys; that events do better than segments of fixed length is not "
        "judged, but told beside"
    ),
)
