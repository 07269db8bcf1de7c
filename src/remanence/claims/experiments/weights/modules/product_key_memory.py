"""The claim of product-key memory."""

from __future__ import annotations

from remanence.claims.engine.experiment import Experiment, Measured
from remanence.claims.measures.associations import dense, measured, with_memory
from remanence.models.sequence import SequenceModel
from remanence.weights.modules.product_key_memory import ProductKeyMemory

WIDTH, FACTS, TIMES = 64, 4096, 12


def build(side: str) -> SequenceModel:
    """Two blocks, and in the second a memory in place of the feed-forward layer; or twice the blocks."""
    model = dense(WIDTH, 4 if side == "dense#deeper" else 2)
    if side == "product-key-memory":
        with_memory(model, 1, ProductKeyMemory(WIDTH, keys=64, heads=4, knn=16, key_width=32))
    return model


def measure(side: str, seed: int, held_out: bool, *, lr: float) -> Measured:
    """The share of facts that a model names after seeing each a few times; values learn at four times the rate."""
    return measured(build, side, seed, held_out, count=FACTS, lr=lr, values=4.0, times=TIMES)


_GRID = {"lr": [0.004, 0.008, 0.016]}

CLAIM = Experiment(
    system="product-key-memory",
    baseline="dense",
    says="A model with a product-key memory in place of a feed-forward layer does better than the same model without, "
    "at no more computation, and better than a model twice as deep.",
    measure=measure,
    data="random facts",
    metric="recalled",
    paper_metric="perplexity",
    search={"product-key-memory": _GRID, "dense": _GRID, "dense#deeper": _GRID},
    controls=("dense#deeper",),
    how="4,096 random facts, two names and one of 256 objects, drawn and ordered for each seed, each seen 12 times in "
    "batches of 256; the share of facts whose object is named after the last; settings chosen on other facts",
    equal="updates and examples; operations a token are at most the baseline's, sorting not counted, and the memory "
    "holds more parameters, as in the paper",
    reduced="two recurrent blocks of width 64 instead of 12 to 24 attention layers, 4,096 slots instead of 262,144, "
    "16 instead of 32 read by a head, facts to be learned by heart instead of the perplexity of 28 billion words",
)
