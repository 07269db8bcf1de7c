"""The claim of fast and forgetful memory."""

from __future__ import annotations

from remanence.claims.engine.experiment import Experiment, Measured
from remanence.claims.measures.recall import accuracy, fit
from remanence.context.layers.fast_and_forgetful_memory import FastAndForgetfulMemory
from remanence.models.sequence import Recurrent, SequenceModel
from remanence.streams.recall.repeat_previous import repeat_previous
from remanence.streams.recall.sequence_batch import SequenceBatch

WIDTH = 32
NUMBERS = 128
"""Numbers in the state of each side."""


def measure(
    side: str, seed: int, held_out: bool, *, lr: float = 3e-3, context: int = 4, k: int = 16, updates: int = 200
) -> Measured:
    """Train on sequences drawn afresh, and ask about others; more frequencies leave fewer traces in as many bytes."""

    def draw(rows: int, number: int) -> SequenceBatch:
        return repeat_previous(rows, number, k=k, length=4 * k)

    def layer() -> FastAndForgetfulMemory | Recurrent:
        if side.startswith("gru"):
            return Recurrent(WIDTH, "gru", NUMBERS)
        return FastAndForgetfulMemory(WIDTH, memory=NUMBERS // (2 * context), context=context)

    model = fit(lambda: SequenceModel(4, WIDTH, [layer()]), draw, seed=seed, updates=updates, lr=lr)
    right = accuracy(model, draw, seed=seed, held_out=held_out)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Measured({"accuracy": right}, {"state": layer().state_bytes}, {"updates": updates, "parameters": parameters})


_RATES = [1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2]

CLAIM = Experiment(
    system="fast-and-forgetful-memory",
    baseline="gru",
    says="At an equal size of the recurrent state, fast and forgetful memory learns to recall in fewer updates than a GRU.",
    measure=measure,
    data="repeat previous, the item 16 before",
    metric="accuracy",
    paper_metric="reward of agents trained by reinforcement",
    settings={
        "fast-and-forgetful-memory#4": {"k": 4},
        "gru#4": {"k": 4},
    },
    search={
        "fast-and-forgetful-memory": {"lr": [3e-3, 1e-2, 3e-2], "context": [4, 16]},
        "gru": {"lr": _RATES},
    },
    limits={"context": (1, 64)},
    beside=("fast-and-forgetful-memory#4", "gru#4"),
    how="sequences of 64 items of 4 kinds, drawn afresh at every update; from the 17th on each is answered with the "
    "item 16 before; one layer of 32 features between embedding and feed-forward layer; 200 updates of 32 sequences; "
    "accuracy on 256 other sequences; beside: the item 4 before in sequences of 16, at the default learning rate",
    equal="bytes of the state, 512 of each sequence, and updates; the GRU has more parameters",
    reduced="supervised instead of by reinforcement, a state of 128 numbers instead of 256",
)
