"""Titans: attention for what is near beside a neural memory that is trained while it reads for what is far.

What is remembered are the weights of a small network, changed by the gradient of its surprise at every token, and the
keys and values of a short window, in activations; persistent tokens are learned once. It costs up to three times the
weights of that network (weights, momentum, and the weights that gradients are taken at) and 2 × window × width numbers,
however long the text is.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from remanence.context.layers.attention import WindowAttention, attend
from remanence.context.layers.layer import MemoryLayer
from remanence.context.layers.neural_memory import NeuralMemory
from remanence.context.tree import State
from remanence.errors import StateError, UsageError
from remanence.hyperparameters import validated
from remanence.registry import Paper, system

Variant = Literal["MAC", "MAG", "MAL", "LMM"]


@system(
    "titans",
    paper=Paper("Titans: Learning to Memorize at Test Time", "Behrouz, Zhong, Mirrokni", 2025, "2501.00663", 20),
    place="context",
    baseline="window-and-linear-attention",
    variant="MAC, memory as a context",
)
class Titans(MemoryLayer):
    """A neural memory and attention, put together in one of the paper's ways.

    ``"MAC"``, memory as a context: the text is read in segments of `window` tokens; what the memory recalls for a token
    stands in front of the segment and is attended to; the memory then learns what attention gave, and its answer gates
    it. ``"MAG"``, memory as a gate: sliding-window attention, gated by what the memory answers to the same tokens.
    ``"MAL"``, memory as a layer: sliding-window attention over what the memory answers. ``"LMM"``: the memory alone.

    Parameters
    ----------
    width:
        Features of input and output (1 or more).
    variant:
        Which of the four.
    heads:
        Attention heads (1 or more); the width of a head is even.
    window:
        Positions that attention sees, in MAC the tokens of a segment (2 or more).
    persistent:
        Persistent memory tokens: learned, attended to by all (0 or more).
    chunk:
        Tokens whose gradients are taken at the same weights (1 or more); 16 if None, and in MAC the segment.
    memory_width, memory_layers, largest_step, momentum, decay, convolution:
        As in `NeuralMemory`.

    Shapes
    ------
    ``x`` (batch, length, width); the state is a mapping of the states of ``memory`` and ``attention``, the latter for
    MAC keys and values of the segment so far, ``recalled`` and ``read``, each (2, batch, heads, window, width / heads).

    Raises
    ------
    UsageError
        If the width cannot be shared out among the heads, or MAC is given a chunk that is not its segment.

    Example
    -------
    >>> layer = Titans(8, variant="MAG", window=4, chunk=4)
    >>> y, state = layer(torch.zeros(1, 10, 8))
    >>> tuple(y.shape), sorted(state)
    ((1, 10, 8), ['attention', 'memory'])

    References
    ----------
    Behrouz, Zhong and Mirrokni, Titans: Learning to Memorize at Test Time, 2025, arXiv:2501.00663.

    Departures
    ----------
    Persistent tokens are attended to; the memory does not read them, since its first weights are learned anyway. In MAC
    a token attends to what was recalled for the tokens up to itself, and its answer comes from the memory as it is after
    that token, not after the segment, so that nothing is seen before its time. In MAL attention sees the tokens beside
    the memory's answers, by a residual path. The gate of MAC and MAG is norm(attention) ⊙ 2σ(norm(memory)), then a
    projection; the paper does not name the function. Short convolutions come before the projections, except for what
    MAC recalls. The step θ is bounded, the last layer of the memory starts at zero and the gates with a bias of 1: with
    larger steps the chunked form diverged. Written from the paper's equations; no program of the authors was found.
    """

    @validated
    def __init__(
        self,
        width: Annotated[int, Field(ge=1, description="features of input and output")],
        variant: Annotated[Variant, Field(description="how memory and attention are put together")] = "MAC",
        heads: Annotated[int, Field(ge=1, description="attention heads")] = 1,
        window: Annotated[int, Field(ge=2, description="positions that attention sees")] = 32,
        persistent: Annotated[int, Field(ge=0, description="persistent memory tokens")] = 4,
        memory_width: Annotated[int | None, Field(ge=1, description="width of keys and values")] = None,
        memory_layers: Annotated[int, Field(ge=1, le=4, description="layers of the memory")] = 2,
        chunk: Annotated[int | None, Field(ge=1, description="tokens whose gradients are taken together")] = None,
        largest_step: Annotated[float, Field(gt=0, description="bound of the step θ")] = 0.3,
        momentum: Annotated[bool, Field(description="carry past surprise on")] = True,
        decay: Annotated[bool, Field(description="let the weights decay")] = True,
        convolution: Annotated[int, Field(ge=0, description="positions of the short convolutions, 0: none")] = 4,
    ) -> None:
        super().__init__(width)
        if variant == "MAC" and chunk not in (None, window):
            raise UsageError(f"MAC was given chunks of {chunk} for segments of {window}: leave out the chunk")
        chunk = chunk or (window if variant == "MAC" else 16)
        self.variant, self.window = variant, window
        self.memory = NeuralMemory(
            width, memory_width, memory_layers, chunk, largest_step, momentum, decay, convolution
        )
        if variant != "LMM":
            # MAC takes projections and persistent tokens of it, and attends to segments by itself.
            self.attention = WindowAttention(width, heads, window, persistent=persistent)
            self.norm = nn.RMSNorm(width, eps=1e-6)
        if variant in ("MAC", "MAG"):
            self.memory_norm = nn.RMSNorm(width, eps=1e-6)
            self.out = nn.Linear(width, width, bias=False)

    def initial(self, batch: int) -> State:
        memory = self.memory.initial(batch)
        if self.variant == "LMM":
            return {"memory": memory}
        if self.variant != "MAC":
            return {"memory": memory, "attention": self.attention.initial(batch)}
        heads = self.attention.heads
        empty = self.out.weight.new_zeros(2, batch, heads, self.window, self.width // heads)
        return {"memory": memory, "attention": {"recalled": empty, "read": empty.clone()}}

    def forward(self, x: Tensor, state: State = None) -> tuple[Tensor, State]:
        state = self.begin(x, state)
        if not isinstance(state, dict):
            raise StateError("the state of Titans is a mapping with a memory: give the one that it returned")
        if self.variant == "MAC":
            return self._as_context(x, state)
        recalled, memory = self.memory(x, state["memory"])
        if self.variant == "LMM":
            return recalled, {"memory": memory}
        if self.variant == "MAL":
            near, attention = self.attention(self.norm(x + recalled), state["attention"])
            return recalled + near, {"memory": memory, "attention": attention}
        near, attention = self.attention(x, state["attention"])
        return self._gated(near, recalled), {"memory": memory, "attention": attention}

    def _gated(self, near: Tensor, far: Tensor) -> Tensor:
        gated: Tensor = self.out(self.norm(near) * 2 * self.memory_norm(far).sigmoid())
        return gated

    def _as_context(self, x: Tensor, state: dict[str, Any]) -> tuple[Tensor, State]:
        memory, segment = state["memory"], state["attention"]
        read, at = [], 0
        while at < x.shape[1]:
            # Where a segment begins a chunk does, so the memory knows the place and what it held then.
            position, held = int(memory["position"]), {"weights": memory["start"]}
            piece = x[:, at : at + self.window - position]
            near, segment = self._attend(piece, self.memory.recall(piece, held), segment, position)
            far, memory = self.memory(near, memory)
            read.append(self._gated(near, far))
            at += piece.shape[1]
        return (torch.cat(read, 1) if read else x), {"memory": memory, "attention": segment}

    def _attend(
        self, x: Tensor, recalled: Tensor, segment: dict[str, Any], position: int
    ) -> tuple[Tensor, dict[str, Any]]:
        """Attention of the next tokens of a segment over what was recalled for it and read of it so far."""
        end, after = position + x.shape[1], {}
        _, *far = self.attention.heads_of(recalled)
        q, *near = self.attention.heads_of(x)
        slots = torch.arange(self.window, device=x.device)
        for name, new in (("recalled", far), ("read", near)):
            kept = segment[name]
            after[name] = torch.cat([kept[..., :position, :], torch.stack(new), kept[..., end:, :]], 3)
        keys, values = torch.cat([after["recalled"], after["read"]], 3)
        seen = (slots <= slots[position:end, None]).repeat(1, 2)
        places = torch.cat([slots, slots + self.window])
        at = places[self.window + position : self.window + end]
        read = attend(q, keys, values, seen, (at, places), prefix=self.attention.prefix)
        return self.attention.joined(read), after
