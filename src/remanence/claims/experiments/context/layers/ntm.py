"""The claim of the neural Turing machine."""

from __future__ import annotations

import functools

import torch

from remanence.claims.engine.experiment import Experiment, Measured
from remanence.claims.measures.recall import accuracy, fit
from remanence.context.layers.ntm import NTM
from remanence.models.sequence import Recurrent, SequenceModel
from remanence.randomness import generator
from remanence.streams.recall.copying import copying
from remanence.streams.recall.sequence_batch import SequenceBatch

ITEMS, SYMBOLS, WIDTH, UPDATES, ROWS = 8, 8, 12, 600, 32
HIDDEN = {"lstm": 278, "lstm#parameters": 59}
"""The first has as many bytes of state as the machine, the second about as many parameters."""


def draw(rows: int, seed: int, items: int | None = None) -> SequenceBatch:
    """Sequences to be copied, of as many items or of a number that is drawn from those trained on."""
    if items is None:
        items = int(torch.randint(1, ITEMS + 1, (), generator=generator(seed, "items")))
    return copying(rows, seed, items=items, length=2 * items, vocabulary=SYMBOLS + 2)


def build(side: str) -> SequenceModel:
    """One layer with memory between embedding and scores."""
    if side == "ntm":
        return SequenceModel(SYMBOLS + 2, WIDTH, [NTM(WIDTH, 32, 12, units=48)], expansion=0)
    return SequenceModel(SYMBOLS + 2, WIDTH, [Recurrent(WIDTH, hidden=HIDDEN[side])], expansion=0)


def measure(side: str, seed: int, held_out: bool, *, lr: float) -> Measured:
    """The share of symbols rightly copied, from sequences as long as in training and of twice the length."""
    model = fit(functools.partial(build, side), draw, seed=seed, updates=UPDATES, rows=ROWS, lr=lr)
    figures = {
        name: accuracy(model, functools.partial(draw, items=items), seed=seed, held_out=held_out)
        for name, items in (("as trained", ITEMS), ("twice as long", 2 * ITEMS))
    }
    parameters = sum(parameter.numel() for parameter in model.parameters())
    layer = next(part for part in model.modules() if isinstance(part, NTM | Recurrent))
    return Measured(figures, {"state": layer.state_bytes}, {"updates": UPDATES, "parameters": parameters})


_GRID = {"lr": [0.003, 0.01]}

CLAIM = Experiment(
    system="ntm",
    baseline="lstm",
    says="A neural Turing machine learns to copy sequences from fewer examples than an LSTM, and goes on copying "
    "sequences longer than those it was trained on, where the LSTM fails.",
    measure=measure,
    data="copying",
    metric="twice as long",
    settings={"lstm#parameters": {"lr": 0.01}},
    search={"ntm": _GRID, "lstm": _GRID},
    beside=("lstm#parameters",),
    how="sequences of 1 to 8 of 8 symbols, then a delimiter, then the symbols to be named in order, 32 fresh sequences "
    "of one length an update; the share of symbols named on 256 sequences of 8 and of 16, other ones for searching",
    equal="updates and sequences; the LSTM has as many bytes of state and 18 times the parameters; one of as many "
    "parameters is told beside it",
    reduced="8 symbols instead of vectors of 8 bits, up to 8 of them instead of 20, 32 locations of 12 numbers instead "
    "of 128 of 20, a controller of 48 units instead of 100, 600 updates of 32 sequences instead of up to 1,000,000 "
    "sequences, Adam instead of RMSProp",
)
