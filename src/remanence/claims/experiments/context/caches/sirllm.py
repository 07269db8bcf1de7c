"""The claim of SirLLM."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from remanence.claims.engine.experiment import Experiment, Measured
from remanence.claims.measures.caches import EQUAL, HOW, REDUCED, bounded, measured, named
from remanence.context.caches.forward_call import ForwardCall
from remanence.context.caches.layer_cache import LayerCache
from remanence.context.caches.sirllm import SirLLM
from remanence.randomness import derive, generator


class RandomKeeping(SirLLM):
    """As many entries between sinks and window, drawn at random."""

    sees: ClassVar[frozenset[str]] = frozenset({"logits"})

    def __init__(self, seed: int, **settings: Any) -> None:
        SirLLM.__init__(self, **settings)
        self.draw = generator(seed, "random keeping")

    def _entropies(self, first: LayerCache, tokens: Tensor, logits: Tensor, call: ForwardCall) -> Tensor:
        return torch.rand(tokens.shape, generator=self.draw)


def measure(side: str, seed: int, held_out: bool, **settings: Any) -> Measured:
    """Random keeping beside the policies by name."""
    if side != "random-keeping":
        return measured(named(side, **settings), seed, held_out=held_out)
    return measured(bounded(lambda: RandomKeeping(derive(seed, "keeping"), **settings)), seed, held_out=held_out)


CLAIM = Experiment(
    system="sirllm",
    baseline="attention-sinks",
    says="Keeping the tokens of the highest entropy between sinks and window recalls what lies beyond the window, which "
    "sinks and a window alone do not.",
    measure=measure,
    data="planted facts in Tiny Shakespeare",
    metric="far recall",
    paper_metric="accuracy on dialogues, shopping lists and games",
    search={
        "sirllm": {"recent_share": [0.25, 0.5]},
        "attention-sinks": {"sinks": [1, 4]},
    },
    beside=("random-keeping", "sliding-window"),
    how=HOW,
    equal=EQUAL,
    reduced=REDUCED.format(instead="planted facts instead of dialogues, shopping lists and games"),
)
