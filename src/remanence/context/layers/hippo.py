"""HiPPO: a gated recurrent layer whose memory is the best polynomial fit of all that was written to it.

What is remembered is the history of one or a few numbers a position, as coefficients in a basis that is orthonormal
under a measure of the past; the matrices that update them are fixed. The state is coefficients and hidden units,
4 × (memories × order + hidden) bytes a sequence, and a position costs order² × memories multiplications.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from remanence.context.layers.hippo_matrices import Discretisation, Measure
from remanence.context.layers.hippo_projection import Projection
from remanence.context.layers.layer import MemoryLayer
from remanence.context.tree import State
from remanence.errors import StateError
from remanence.hyperparameters import validated
from remanence.registry import Paper, system


@system(
    "hippo",
    paper=Paper(
        "HiPPO: Recurrent Memory with Optimal Polynomial Projections",
        "Gu, Dao, Ermon, Rudra, Ré",
        2020,
        "2008.07669",
        103,
    ),
    place="context",
    baseline="lstm",
)
class HiPPO(MemoryLayer):
    """A recurrent layer with a HiPPO memory.

    From input x_t and hidden units h_{t-1} comes what is written, f_t = W_f [x_t, h_{t-1}]; the coefficients follow,
    c_t = Ā_t c_{t-1} + B̄_t f_t; and a gate g_t = σ(W_g [x_t, c_t]) renews the hidden units,
    h_t = (1 - g_t) h_{t-1} + g_t tanh(W_h [x_t, c_t]). With the measure ``"legs"`` Ā_t and B̄_t depend on how much
    was read, and a sequence stretched in time leaves the same memory.

    Parameters
    ----------
    width:
        Features of an input and of an output (1 or more).
    order:
        N, coefficients of a memory (1 or more).
    hidden:
        Hidden units (1 or more).
    memories:
        How many numbers of a position are written, each to coefficients of its own (1 or more).
    measure:
        Which past counts: ``"legs"`` all of it evenly, ``"legt"`` a window of `window` positions by polynomials,
        ``"fout"`` one by cosines and sines, ``"lagt"`` the past ever less.
    window:
        θ, the timescale of the last three in positions (above 0).
    discretisation:
        ``"forward"``, ``"backward"``, ``"bilinear"`` or ``"exact"``.

    Shapes
    ------
    (batch, length, width) to the same. The state is a mapping of ``"memory"`` (batch, memories, order), ``"hidden"``
    (batch, hidden), and for `legs` ``"seen"``, how many positions were read, one whole number for all sequences.

    Raises
    ------
    UsageError
        If a hyperparameter is out of range, or an input of another shape.

    Example
    -------
    >>> layer = HiPPO(8, order=16, hidden=8)
    >>> y, state = layer(torch.zeros(2, 5, 8))
    >>> y, state = layer.step(torch.zeros(2, 8), state)
    >>> int(state["seen"])
    6

    References
    ----------
    Gu, Dao, Ermon, Rudra, Ré, HiPPO: Recurrent Memory with Optimal Polynomial Projections, 2020, arXiv:2008.07669.

    Departures
    ----------
    The gate reads the coefficients that the position has just changed, as in the authors' code; the paper's figure
    has those from before. A linear map takes the hidden units to the width of the layer. The Fourier measure is
    written in real cosines and sines, and where the window ends it counts the mean of both sides of the jump, as the
    authors' later code does. Positions are evenly spaced: the paper's variant that reads times is not here. The
    matrices of the first 1,024 positions are kept, order² × 4 bytes each, and later ones made when needed, where the
    authors' code stays with those of the last. A position is one step of a loop: the hidden units decide what is
    written, so that there is no parallel form; without them, `Projection` is the operator alone.
    """

    @validated
    def __init__(
        self,
        width: Annotated[int, Field(ge=1, description="features of input and output")],
        order: Annotated[int, Field(ge=1, description="N, coefficients of a memory")] = 64,
        hidden: Annotated[int, Field(ge=1, description="hidden units")] = 64,
        memories: Annotated[int, Field(ge=1, description="numbers of a position that are written")] = 1,
        measure: Annotated[Measure, Field(description="which past counts")] = "legs",
        window: Annotated[float, Field(gt=0, description="θ in positions, not for legs")] = 100.0,
        discretisation: Annotated[Discretisation, Field(description="how time is cut")] = "bilinear",
    ) -> None:
        super().__init__(width)
        self.order, self.hidden, self.memories = order, hidden, memories
        self.projection = Projection(order, measure, window, discretisation)
        self.written = nn.Linear(width + hidden, memories)
        self.candidate = nn.Linear(width + memories * order, hidden)
        self.gate = nn.Linear(width + memories * order, hidden)
        self.out = nn.Linear(hidden, width)
        for linear in (self.written, self.candidate):
            nn.init.xavier_normal_(linear.weight)

    def initial(self, batch: int) -> State:
        like = self.out.weight
        state: dict[str, State] = {
            "memory": like.new_zeros(batch, self.memories, self.order),
            "hidden": like.new_zeros(batch, self.hidden),
        }
        if self.projection.measure == "legs":
            state["seen"] = torch.zeros((), dtype=torch.int64, device=like.device)
        return state

    def forward(self, x: Tensor, state: State = None) -> tuple[Tensor, State]:
        memory, h, seen = self._read(self.begin(x, state))
        from_x = torch.cat([self.candidate.weight[:, : self.width], self.gate.weight[:, : self.width]])
        from_c = torch.cat([self.candidate.weight[:, self.width :], self.gate.weight[:, self.width :]])
        bias = torch.cat([self.candidate.bias, self.gate.bias])
        seen_by_hidden = nn.functional.linear(x, from_x, bias).unbind(1)
        written = nn.functional.linear(x, self.written.weight[:, : self.width], self.written.bias).unbind(1)
        from_h = self.written.weight[:, self.width :]
        a, b = self.projection.matrices(seen, x.shape[1], memory)
        found = []
        for t, (inner, outer) in enumerate(zip(seen_by_hidden, written, strict=True)):
            at = t if len(a) > 1 else 0
            f = outer + nn.functional.linear(h, from_h)
            memory = memory @ a[at].T + f.unsqueeze(-1) * b[at]
            candidate, gate = (inner + nn.functional.linear(memory.flatten(1), from_c)).chunk(2, 1)
            h = torch.lerp(h, torch.tanh(candidate), torch.sigmoid(gate))
            found.append(h)
        y = self.out(torch.stack(found, 1)) if found else x
        after: dict[str, State] = {"memory": memory, "hidden": h}
        if self.projection.measure == "legs":
            after["seen"] = torch.tensor(seen + x.shape[1], device=x.device)
        return y, after

    def _read(self, state: State) -> tuple[Tensor, Tensor, int]:
        if isinstance(state, dict):
            memory, h, seen = state.get("memory"), state.get("hidden"), state.get("seen")
            known = isinstance(seen, Tensor) or self.projection.measure != "legs"
            if isinstance(memory, Tensor) and isinstance(h, Tensor) and known:
                return memory, h, int(seen) if isinstance(seen, Tensor) else 0
        raise StateError("HiPPO was given a state that is not its own: give the state that it returned, or None")
