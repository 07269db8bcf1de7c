"""The claim of MoM."""

from __future__ import annotations

from functools import partial

from torch import nn

from remanence.claims.engine.experiment import Experiment, Measured
from remanence.claims.measures.recall import accuracy, fit
from remanence.context.layers.mixture_of_memories import MixtureOfMemories
from remanence.models.sequence import SequenceModel
from remanence.streams.recall.mqar import mqar

WIDTH, VOCABULARY, PAIRS, LENGTH, UPDATES, ROWS = 32, 48, 12, 48, 400, 32


def layer(side: str) -> MixtureOfMemories:
    """The mixing layer of one side, of nearly the same bytes of state for both."""
    if side.startswith("mixture-of-memories"):
        return MixtureOfMemories(WIDTH, memories=4, topk=2, key_dim=8, value_dim=8)
    return MixtureOfMemories(WIDTH, memories=1, topk=1, shared=False, key_dim=22, value_dim=22)


def measure(side: str, seed: int, held_out: bool, *, lr: float = 1e-2) -> Measured:
    """Train on fresh sequences and answer others: the share of right values."""
    draw = partial(mqar, pairs=PAIRS, length=LENGTH, vocabulary=VOCABULARY)
    mixers: list[MixtureOfMemories] = []

    def build() -> nn.Module:
        mixers[:] = [layer(side)]
        return SequenceModel(VOCABULARY, WIDTH, mixers)

    model = fit(build, draw, seed=seed, updates=UPDATES, rows=ROWS, lr=lr)
    return Measured(
        {"accuracy": accuracy(model, draw, seed=seed, held_out=held_out)},
        {"state": sum(mixer.state_bytes for mixer in mixers)},
        {"optimizer_steps": UPDATES, "parameters": sum(weight.numel() for weight in model.parameters())},
    )


_GRID = {"lr": [5e-3, 1e-2]}

CLAIM = Experiment(
    system="mixture-of-memories",
    baseline="one-memory",
    says="Four routed memories and a shared one recall more of many pairs than one memory of as many bytes under the "
    "same update rule.",
    measure=measure,
    data=f"mqar, {PAIRS} pairs in {LENGTH} tokens of {VOCABULARY}",
    metric="accuracy",
    search={"mixture-of-memories": _GRID, "one-memory": _GRID},
    how=f"multi-query associative recall, fresh sequences at each of {UPDATES} updates of {ROWS}, 256 others reported; "
    "the gated delta rule on both sides, one mixing layer behind short convolutions of 4; five memories of 8 × 8 "
    "against one of 22 × 22",
    equal="bytes of state, to 1 %, updates, sequences and width; the mixture has more projections",
    reduced="width 32 and one layer on generated pairs, where the paper trains language models of 380 million and 1.3 "
    "billion parameters; without the auxiliary loss",
    cause="Of the layer as it was before its convolutions and decay became those of its authors, with one memory of 18 × 18 "
    "beside it: that memory has room for all 12 pairs, so that there is no interference for several to relieve, and the "
    "mixture is still learning when the updates end. The claim is to be run again.",
)
