"""Fast and forgetful memory: a sum of all inputs in which each fades and turns, at learned rates.

What is remembered is one matrix of complex numbers, a trace for each of a few features and a context for each of a
few frequencies, in which older inputs weigh less and point elsewhere. The state is 8 × memory × context bytes a
sequence; a whole sequence is read by a parallel scan, with 2 × length joins in log(length) rounds.
"""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from remanence.context.layers.layer import MemoryLayer
from remanence.context.layers.scan import scan
from remanence.context.tree import State
from remanence.errors import StateError, UsageError
from remanence.hyperparameters import validated
from remanence.registry import Paper, system

_MARGIN = 0.01
"""By which the authors' program stays below the largest number, twice."""


@system(
    "fast-and-forgetful-memory",
    paper=Paper(
        "Reinforcement Learning with Fast and Forgetful Memory",
        "Morad, Kortvelesy, Liwicki, Prorok",
        2023,
        "2310.04128",
        85,
    ),
    place="context",
    baseline="gru",
)
class FastAndForgetfulMemory(MemoryLayer):
    """A cell that aggregates its inputs with decaying and oscillating weights.

    What is written is x̃ = W₁x ⊙ σ(W₂x). The state S, (memory, context) complex, follows as
    S_t = γ ⊙ S_{t-1} + x̃_t 1ᵀ with γ = exp(-|α|) exp(-iω)ᵀ. What is read is z = W₃ [Re S, Im S], and the output
    LayerNorm(z) ⊙ σ(W₄x) + W₅x ⊙ (1 - σ(W₄x)).

    Parameters
    ----------
    width:
        Features of an input and of an output (1 or more).
    memory:
        m, traces: features that are written, each with a decay α of its own (1 or more).
    context:
        c, frequencies ω by which each trace turns (1 or more).
    max_len:
        Positions over which the fastest trace, as it begins, is still a number in double precision (2 or more): its
        decay is log(1.8e308) / max_len - 0.02, which is 0.67 for the default.
    min_period, max_period:
        The shortest and the longest period of the oscillations at first, in positions (1 or more); after the longest
        the slowest trace has run its course.
    forgotten_at:
        β, the share that is left of the slowest trace after `max_period` positions at first (above 0, below 1).

    Shapes
    ------
    (batch, length, width) to the same. The state is (batch, memory, context, 2), real and imaginary parts.

    Raises
    ------
    UsageError
        If a hyperparameter is out of range, or an input of another shape.

    Example
    -------
    >>> layer = FastAndForgetfulMemory(8, memory=4, context=2)
    >>> y, state = layer(torch.zeros(3, 5, 8))
    >>> tuple(y.shape), tuple(state.shape)
    ((3, 5, 8), (3, 4, 2, 2))

    References
    ----------
    Morad, Kortvelesy, Liwicki, Prorok, Reinforcement Learning with Fast and Forgetful Memory, 2023, arXiv:2310.04128.

    Departures
    ----------
    The paper multiplies a cumulative sum in double precision by negative powers of γ, which overflows unless decays
    and lengths are bounded; here the sum is an associative scan in which only powers below one appear, in the
    precision of the input, at any length and with no bound on α. At first decays and periods are the authors' own:
    `max_len`, which in their program also bounds α and the length read at once, says here where the fast end begins.
    """

    @validated
    def __init__(
        self,
        width: Annotated[int, Field(ge=1, description="features of input and output")],
        memory: Annotated[int, Field(ge=1, description="m, traces")] = 32,
        context: Annotated[int, Field(ge=1, description="c, frequencies of each")] = 4,
        max_len: Annotated[int, Field(ge=2, description="positions that bound the fastest decay at first")] = 1024,
        min_period: Annotated[int, Field(ge=1, description="shortest period at first, in positions")] = 1,
        max_period: Annotated[int, Field(ge=1, description="t_e, longest period at first, in positions")] = 1024,
        forgotten_at: Annotated[float, Field(gt=0, lt=1, description="β, share left after t_e at first")] = 0.01,
    ) -> None:
        super().__init__(width)
        self.memory, self.context = memory, context
        self.pre = nn.Linear(width, 2 * memory + 2 * width)
        self.mix = nn.Linear(2 * memory * context, width)
        if min_period > max_period:
            raise UsageError(
                f"periods from {min_period} to {max_period} positions were given: the shortest comes first"
            )
        fastest = math.log(sys.float_info.max) / max_len - 2 * _MARGIN
        slowest = min(max(1e-6, -math.log(forgotten_at) / max_period), fastest)
        self.alpha = nn.Parameter(torch.linspace(fastest, slowest, memory))
        self.omega = nn.Parameter(2 * math.pi / torch.linspace(min_period, max_period, context))

    def initial(self, batch: int) -> State:
        return self.mix.weight.new_zeros(batch, self.memory, self.context, 2)

    if TYPE_CHECKING:

        def __call__(self, x: Tensor, state: State = None, begins: Tensor | None = None) -> tuple[Tensor, State]: ...

    def forward(self, x: Tensor, state: State = None, begins: Tensor | None = None) -> tuple[Tensor, State]:
        """As in `MemoryLayer`.

        Parameters
        ----------
        x, state:
            (batch, length, width) and the state to read on from.
        begins:
            (batch, length) bool: where an episode begins; nothing from before is left there. None: nowhere.
        """
        before = self.begin(x, state)
        if not isinstance(before, Tensor) or before.shape[1:] != (self.memory, self.context, 2):
            raise StateError(
                "FastAndForgetfulMemory was given a state that is not its own: give the state that it returned, or None"
            )
        if begins is not None and begins.shape != x.shape[:2]:
            raise UsageError(f"begins is {tuple(begins.shape)}, expected {tuple(x.shape[:2])}: one for each position")
        if not x.shape[1]:
            return x, before
        value, through, in_gate, out_gate = self.pre(x).split([self.memory, self.width, self.memory, self.width], -1)
        written = (value * torch.sigmoid(in_gate)).unsqueeze(-1)
        decay = torch.polar(
            torch.exp(-self.alpha.abs()).unsqueeze(-1).expand(-1, self.context), -self.omega.expand(self.memory, -1)
        )
        decay = decay.expand(1, 1, -1, -1)
        if begins is not None:
            decay = decay * ~begins[:, :, None, None]
        states = torch.view_as_real(scan(decay, written, torch.view_as_complex(before.contiguous())))
        out_gate = torch.sigmoid(out_gate)
        read = nn.functional.layer_norm(self.mix(states.flatten(2)), (self.width,))
        return read * out_gate + through * (1 - out_gate), states[:, -1]
