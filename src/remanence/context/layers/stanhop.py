"""STanHop: external memories of sparse Hopfield retrieval, and the block that looks up over time and over series.

What is remembered are the last inputs, as they came, in slots of the state; writing one lets go of the oldest.
A state costs slots × width numbers, and a position two products with all slots.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import layer_norm, pad

from remanence.context.layers.hopfield import Hopfield, HopfieldLayer, retrieve
from remanence.context.layers.layer import MemoryLayer
from remanence.context.tree import State
from remanence.errors import StateError, UsageError
from remanence.hyperparameters import validated
from remanence.registry import Paper, system

PIECE = 64
"""Positions that are read at once where slots are fewer."""


class PatternMemory(MemoryLayer):
    """Slots for the last inputs, each position being looked up among those before it and then written.

    A subclass says in `lookup` what a position makes of the patterns it may find.

    Parameters
    ----------
    width:
        Features of a pattern (1 or more).
    slots:
        How many patterns are held (1 or more).
    """

    def __init__(self, width: int, slots: int) -> None:
        super().__init__(width)
        self.slots = slots

    @abstractmethod
    def lookup(self, x: Tensor, stored: Tensor, held: Tensor) -> Tensor:
        """Outputs for ``x`` (batch, m, width) from patterns (batch, n, width), in the order they were written.

        `held` (batch, m, n) says which of them each position may find.
        """

    def initial(self, batch: int) -> State:
        """Empty slots: patterns (batch, slots, width), the newest last, and how many are held (batch,)."""
        like = next(self.parameters(), torch.empty(()))
        return {
            "patterns": like.new_zeros(batch, self.slots, self.width),
            "count": torch.zeros(batch, dtype=torch.int64, device=like.device),
        }

    def forward(self, x: Tensor, state: State = None) -> tuple[Tensor, State]:
        """Look every position up among the `slots` before it, and write it."""
        state = self.begin(x, state)
        outputs = []
        # In pieces, since a position is compared with everything in its piece: a long text costs no more for each.
        for piece in torch.split(x, max(self.slots, PIECE), 1):
            patterns, count = self._parts(state)
            stored = torch.cat([patterns, piece], 1)
            place = torch.arange(stored.shape[1], device=x.device)
            end = place[self.slots :].unsqueeze(1)
            held = (place >= end - self.slots) & (place < end) & (place >= self.slots - count.view(-1, 1, 1))
            outputs.append(self.lookup(piece, stored, held))
            state = self._written(stored, count + piece.shape[1])
        return torch.cat(outputs, 1), state

    def read(self, x: Tensor, state: State) -> Tensor:
        """Look positions (batch, length, width) up among what is held, without writing."""
        patterns, count = self._parts(self.begin(x, state))
        held = torch.arange(self.slots, device=x.device) >= self.slots - count.view(-1, 1, 1)
        return self.lookup(x, patterns, held.expand(-1, x.shape[1], -1))

    def write(self, patterns: Tensor, state: State = None) -> State:
        """Append patterns (batch, length, width); the oldest make place."""
        before, count = self._parts(self.begin(patterns, state))
        return self._written(torch.cat([before, patterns], 1), count + patterns.shape[1])

    def _written(self, stored: Tensor, count: Tensor) -> State:
        # A copy, so that the state holds its slots and not all that was read.
        return {"patterns": stored[:, -self.slots :].clone(), "count": count.clamp(max=self.slots)}

    def _parts(self, state: State) -> tuple[Tensor, Tensor]:
        if isinstance(state, dict):
            patterns, count = state.get("patterns"), state.get("count")
            if isinstance(patterns, Tensor) and isinstance(count, Tensor):
                if patterns.shape[1:] == (self.slots, self.width):
                    return patterns, count
                raise StateError(
                    f"the state holds {tuple(patterns.shape[1:])}, expected {self.slots} slots of width {self.width}: "
                    "give the state of a memory of this size"
                )
        raise StateError(f"{type(self).__name__} was given no state of its own: start from initial()")


@system(
    "stanhop",
    paper=Paper(
        "STanHop: Sparse Tandem Hopfield Model for Memory-Enhanced Time Series Prediction",
        "Wu, Hu, Li, Chen, Liu",
        2023,
        "2312.17346",
        94,
    ),
    place="context",
    baseline="modern-hopfield",
    variant="the plug-and-play memory; the tune-and-play memory and the tandem block stand beside it",
)
class StanHop(PatternMemory):
    """Plug-and-play memory: what was stored is looked up by likeness alone, with nothing to train.

    A position x with the patterns Ξ held before it gives LayerNorm(x + Ξ entmax(β Ξᵀx)), and is then written.

    Parameters
    ----------
    width:
        Features of an input and of an output (1 or more).
    slots:
        Patterns held (1 or more).
    beta:
        Inverse temperature β (above 0); 1/√width if left out.
    alpha:
        Sparsity α, 1 (softmax: the modern Hopfield network) to 2 (sparsemax).
    steps:
        Updates of a retrieval (1 or more).
    blend:
        ``"residual"`` as above, or ``"retrieved"`` for what was retrieved alone.

    Shapes
    ------
    ``forward(x, state)`` reads (batch, length, width) and gives as much; the state has patterns
    (batch, slots, width) and their number (batch,).

    Raises
    ------
    UsageError
        If a hyperparameter is out of range or an input has another width.
    StateError
        If a state is of another size.

    Example
    -------
    >>> memory = StanHop(3, slots=4, beta=4.0, alpha=2.0, blend="retrieved")
    >>> state = memory.write(torch.eye(3).unsqueeze(0))
    >>> memory.read(torch.tensor([[[0.2, 0.9, 0.1]]]), state).tolist()
    [[[0.0, 1.0, 0.0]]]

    References
    ----------
    Wu, Hu, Li, Chen, Liu, STanHop: Sparse Tandem Hopfield Model for Memory-Enhanced Time Series Prediction, 2023,
    arXiv:2312.17346. Ramsauer et al., Hopfield Networks is All You Need, 2020, arXiv:2008.02217.

    Departures
    ----------
    The paper stores a set once, chosen by hand; here a stream writes itself and the oldest patterns make place,
    so that the state is bounded. The plug-ins are not in the authors' code, and how their output joins the input
    (a residual sum, normalised) is our choice. Patching, coarse-graining, the encoder and the decoder of the
    whole forecaster are left out: they remember nothing.
    """

    @validated
    def __init__(
        self,
        width: Annotated[int, Field(ge=1, description="features of an input and of an output")],
        slots: Annotated[int, Field(ge=1, description="patterns held")] = 64,
        beta: Annotated[float | None, Field(gt=0, description="inverse temperature β; 1/√width if left out")] = None,
        alpha: Annotated[float, Field(ge=1, le=2, description="sparsity α, 1 (softmax) to 2 (sparsemax)")] = 1.5,
        steps: Annotated[int, Field(ge=1, description="updates of a retrieval")] = 1,
        blend: Annotated[Literal["residual", "retrieved"], Field(description="what is given out")] = "residual",
    ) -> None:
        super().__init__(width, slots)
        self.beta = width**-0.5 if beta is None else beta
        self.alpha, self.steps, self.blend = alpha, steps, blend

    def lookup(self, x: Tensor, stored: Tensor, held: Tensor) -> Tensor:
        """What likeness alone finds."""
        found = retrieve(stored, x, beta=self.beta, alpha=self.alpha, steps=self.steps, held=held)
        return found if self.blend == "retrieved" else layer_norm(x + found, (self.width,))


class TuneMemory(PatternMemory):
    """Tune-and-play memory: a pattern is stored with its label, and the association between them is learned.

    The label of an input is the one after it, so that a position is looked up among the inputs before it and
    gives LayerNorm(x + what followed those), by a generalised sparse Hopfield layer with a learned α.

    Parameters
    ----------
    width:
        Features of an input and of an output (1 or more).
    slots:
        Patterns held (2 or more: a pattern and its label).
    heads:
        Heads of the association (1 or more, a divisor of `width`).
    alpha:
        Sparsity α, 1 to 2, or None to learn it.
    steps:
        Updates of a retrieval (1 or more).

    Example
    -------
    >>> memory = TuneMemory(8, slots=16)
    >>> y, state = memory(torch.zeros(2, 5, 8))
    >>> tuple(y.shape), memory.state_bytes
    ((2, 5, 8), 520)

    Departures
    ----------
    As in `StanHop`. The paper's labels are stretches of the series to be forecast, stored with the stretch
    before; here each position is labelled by its successor.
    """

    @validated
    def __init__(
        self,
        width: Annotated[int, Field(ge=1, description="features of an input and of an output")],
        slots: Annotated[int, Field(ge=2, description="patterns held")] = 64,
        heads: Annotated[int, Field(ge=1, description="heads of the association")] = 1,
        alpha: Annotated[float | None, Field(ge=1, le=2, description="sparsity α; learned if left out")] = None,
        steps: Annotated[int, Field(ge=1, description="updates of a retrieval")] = 1,
    ) -> None:
        super().__init__(width, slots)
        self.hopfield = Hopfield(width, heads, alpha=alpha, steps=steps)
        self.norm = nn.LayerNorm(width)

    def lookup(self, x: Tensor, stored: Tensor, held: Tensor) -> Tensor:
        """What followed the patterns that the association finds."""
        # The newest pattern has no successor yet but the position that asks.
        labels = pad(stored[:, 1:], (0, 0, 0, 1))
        place = torch.arange(stored.shape[1], device=x.device)
        newest = torch.where(held, place, -1).amax(-1, keepdim=True)
        found = self.hopfield(x, stored, held & (place < newest), labels)
        normed: Tensor = self.norm(x + found)
        return normed


class TandemHopfield(nn.Module):
    """STanHop block: a sparse Hopfield lookup over time within each series, then one over the series at each time.

    Over time, x ← LN(x + Hopfield(x, x)); over series, x ← LN(HopfieldLayer(x) + Hopfield(x, x)); after each
    stage x ← LN(x + MLP(x)).

    Parameters
    ----------
    width:
        Features (1 or more, a multiple of `heads`).
    heads:
        Heads of each lookup (1 or more).
    patterns:
        Learned patterns that the series are looked up among (1 or more).
    expansion:
        Hidden width of the feed-forward layers as a multiple of `width`.

    Example
    -------
    >>> tuple(TandemHopfield(8)(torch.zeros(2, 3, 5, 8)).shape)
    (2, 3, 5, 8)
    """

    def __init__(self, width: int, heads: int = 1, patterns: int = 10, expansion: int = 4) -> None:
        super().__init__()
        self.time, self.series = Hopfield(width, heads), Hopfield(width, heads)
        self.prototypes = HopfieldLayer(Hopfield(width, heads), width, patterns)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(4))
        self.feeds = nn.ModuleList(
            nn.Sequential(nn.Linear(width, expansion * width), nn.GELU(), nn.Linear(expansion * width, width))
            for _ in range(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        """From (batch, series, times, width) to as much."""
        if x.dim() != 4:
            raise UsageError(f"the block was given {tuple(x.shape)}, expected (batch, series, times, width)")
        flat = x.flatten(0, 1)
        x = self.norms[0](flat + self.time(flat, flat)).view(x.shape)
        x = self.norms[1](x + self.feeds[0](x)).transpose(1, 2)
        flat = x.flatten(0, 1)
        x = self.norms[2](self.prototypes(flat) + self.series(flat, flat)).view(x.shape)
        return torch.as_tensor(self.norms[3](x + self.feeds[1](x))).transpose(1, 2)
