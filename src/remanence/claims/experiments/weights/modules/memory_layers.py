"""The claim of memory layers at scale."""

from __future__ import annotations

from typing import Any

from remanence.claims.engine.experiment import Experiment, Measured
from remanence.claims.measures.associations import dense, measured, with_memory
from remanence.models.sequence import SequenceModel
from remanence.weights.modules.memory_layers import MemoryLayers
from remanence.weights.modules.product_key_memory import ProductKeyMemory

WIDTH, FACTS, TIMES = 64, 4096, 8
SIZES: dict[str, Any] = {"keys": 64, "heads": 4, "knn": 16, "key_width": 32}


def build(side: str) -> SequenceModel:
    """Three blocks: dense ones, of which Memory+ replaces two by layers with one pool, and a plain memory one."""
    model = dense(WIDTH, 6 if side == "dense#double" else 3)
    if side == "memory-layers":
        for place, layer in enumerate(MemoryLayers.sharing(2, WIDTH, **SIZES), 1):
            with_memory(model, place, layer)
    if side == "product-key-memory":
        with_memory(model, 2, ProductKeyMemory(WIDTH, **SIZES))
    return model


def measure(side: str, seed: int, held_out: bool, *, lr: float) -> Measured:
    """The share of facts that a model names after seeing each a few times; values learn at four times the rate."""
    return measured(build, side, seed, held_out, count=FACTS, lr=lr, values=4.0, times=TIMES)


_GRID = {"lr": [0.004, 0.008, 0.016]}

CLAIM = Experiment(
    system="memory-layers",
    baseline="dense",
    says="Memory layers with a shared pool and gates recall facts better than a dense model of equal computation, and "
    "than one of twice the computation.",
    measure=measure,
    data="random facts",
    metric="recalled",
    paper_metric="accuracy on question answering",
    search=dict.fromkeys(("memory-layers", "dense", "dense#double", "product-key-memory"), _GRID),
    controls=("dense#double",),
    beside=("product-key-memory",),
    how="4,096 random facts, two names and one of 256 objects, drawn and ordered for each seed, each seen 8 times in "
    "batches of 256; the share of facts whose object is named after the last; settings chosen on other facts; the "
    "plain product-key memory beside has a pool of the same size in one layer",
    equal="updates, examples and operations a token, sorting not counted; the memory holds more parameters, as in the paper",
    reduced="three recurrent blocks of width 64 instead of 24 attention layers, two memory layers instead of three, "
    "4,096 slots instead of a million, 16 instead of 32 read by a head, made-up facts instead of question answering",
)
