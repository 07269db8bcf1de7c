"""Linear state-space layer: each feature drives a linear system of its own, run as a recurrence or as a convolution.

What is remembered is, for each feature, a state whose matrix comes from HiPPO, so that it begins as a polynomial fit
of the past at the feature's own timescale. The state is 4 × width × order bytes a sequence; a whole sequence is read
as one long convolution, in length × log(length) for each feature and channel.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal, TypeAlias

import torch
from pydantic import Field
from torch import Tensor, nn

from remanence.context.layers.hippo_matrices import discretise, transition
from remanence.context.layers.layer import MemoryLayer
from remanence.context.layers.scan import convolve, krylov
from remanence.context.tree import State
from remanence.errors import StateError
from remanence.hyperparameters import validated
from remanence.registry import Paper, system

Matrix: TypeAlias = Literal["legs", "legt", "lagt", "random"]
Mode: TypeAlias = Literal["convolution", "recurrence"]


class _Slow(nn.Module):
    """A tensor that learns as an offset to where it began, `rate` times as fast as other parameters; fixed at 0."""

    def __init__(self, begin: Tensor, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.register_buffer("begin", begin)
        self.begin: Tensor
        self.offset = nn.Parameter(torch.zeros_like(begin)) if rate else None

    def forward(self) -> Tensor:
        return self.begin if self.offset is None else self.begin + self.rate * self.offset


class StructuredTransition(nn.Module):
    """A = -diag(p) (T⁻¹ + diag(c)) diag(q) and B = p ⊙ b, with T tridiagonal: HiPPO's matrices, and what is near.

    Parameters
    ----------
    order:
        N (1 or more).
    measure:
        ``"legs"``, ``"legt"`` or ``"lagt"``: which of HiPPO's matrices it begins as.
    rate:
        As in `LSSL`.
    """

    def __init__(self, order: int, measure: Literal["legs", "legt", "lagt"], rate: float) -> None:
        super().__init__()
        a, _ = transition(measure, order)
        n = torch.arange(order, dtype=torch.float64)
        p = torch.ones(order, dtype=torch.float64) if measure == "lagt" else (2 * n + 1).sqrt()
        # What the diagonal lacks of a matrix whose inverse is tridiagonal.
        c = {"legs": -n / (2 * n + 1), "legt": 0 * n, "lagt": 0 * n}[measure]
        inverse = torch.linalg.inv(-a / p.outer(p) - torch.diag(c))
        begin = {"p": p, "q": p, "c": c, "b": torch.ones_like(p), "diagonal": inverse.diagonal()}
        if order > 1:
            begin |= {"upper": inverse.diagonal(1), "lower": inverse.diagonal(-1)}
        self.parts = nn.ModuleDict(
            {name: _Slow(part.to(torch.get_default_dtype()), rate) for name, part in begin.items()}
        )

    def forward(self) -> tuple[Tensor, Tensor]:
        part = {name: module() for name, module in self.parts.items()}
        inverse = torch.diag(part["diagonal"])
        if "upper" in part:
            inverse = inverse + torch.diag(part["upper"], 1) + torch.diag(part["lower"], -1)
        middle = torch.linalg.inv(inverse) + torch.diag(part["c"])
        return -part["p"].unsqueeze(1) * middle * part["q"], part["p"] * part["b"]


class RandomTransition(nn.Module):
    """A of independent normal numbers of standard deviation 1/N and B of ones: what HiPPO's matrices are compared to."""

    def __init__(self, order: int, rate: float) -> None:
        super().__init__()
        self.a, self.b = _Slow(torch.randn(order, order) / order, rate), _Slow(torch.ones(order), rate)

    def forward(self) -> tuple[Tensor, Tensor]:
        return self.a(), self.b()


@system(
    "lssl",
    paper=Paper(
        "Combining Recurrent, Convolutional, and Continuous-time Models with Linear State-Space Layers",
        "Gu, Johnson, Goel, Saab, Dao, Rudra, Ré",
        2021,
        "2110.13985",
        213,
    ),
    place="context",
    baseline="lstm",
)
class LSSL(MemoryLayer):
    """A linear state-space layer.

    Each feature u drives h' = A h + B u, cut into steps Δ by the bilinear transform, h_t = Ā h_{t-1} + B̄ u_t; A and B
    are shared, Δ is the feature's own. What is read, y_t = C h_t + D u_t in `channels` numbers a feature, goes
    through a GELU and a linear map across features. Reading many positions, y is the convolution of u with the kernel
    (C B̄, C Ā B̄, C Ā² B̄, …).

    Parameters
    ----------
    width:
        H, features of an input and of an output (1 or more).
    order:
        N, numbers in the state of a feature (1 or more).
    channels:
        M, numbers read from each state (1 or more).
    matrix:
        How A begins: ``"legs"``, ``"legt"`` or ``"lagt"`` of HiPPO, or ``"random"``.
    shortest, longest:
        The steps Δ are drawn between these, evenly in their logarithm (above 0).
    rate:
        How fast A, B and Δ learn, as a share of the other parameters' rate (0 to 1); 0 is the paper's LSSL-fixed.
    mode:
        How many positions are read: ``"convolution"`` or ``"recurrence"``. Both give the same.

    Shapes
    ------
    (batch, length, width) to the same. The state is (batch, width, order).

    Raises
    ------
    UsageError
        If a hyperparameter is out of range, or an input of another shape.

    Example
    -------
    >>> layer = LSSL(8, order=16)
    >>> y, state = layer(torch.zeros(3, 5, 8))
    >>> tuple(y.shape), tuple(state.shape)
    ((3, 5, 8), (3, 8, 16))

    References
    ----------
    Gu, Johnson, Goel, Saab, Dao, Rudra, Ré, Combining Recurrent, Convolutional, and Continuous-time Models with
    Linear State-Space Layers, 2021, arXiv:2110.13985.

    Departures
    ----------
    The structured family of matrices is that of the authors' code, whose inverse is tridiagonal up to diagonal
    factors; its inverse is formed, in order³, where the paper counts on an algorithm near order. One such matrix is
    shared by all features. The slower rate of A, B and Δ is a factor before an offset, which has the same effect
    with Adam and needs no group of its own in the optimizer. Dropout and the residual path are left to the model
    around the layer.
    """

    @validated
    def __init__(
        self,
        width: Annotated[int, Field(ge=1, description="H, features of input and output")],
        order: Annotated[int, Field(ge=1, description="N, numbers in the state of a feature")] = 64,
        channels: Annotated[int, Field(ge=1, description="M, numbers read from each state")] = 1,
        matrix: Annotated[Matrix, Field(description="how A begins")] = "legs",
        shortest: Annotated[float, Field(gt=0, description="smallest Δ at first")] = 0.001,
        longest: Annotated[float, Field(gt=0, description="largest Δ at first")] = 0.1,
        rate: Annotated[float, Field(ge=0, le=1, description="how fast A, B, Δ learn, 0: not")] = 0.1,
        mode: Annotated[Mode, Field(description="how many positions are read")] = "convolution",
    ) -> None:
        super().__init__(width)
        self.order, self.channels, self.mode = order, channels, mode
        self.transition: nn.Module = (
            RandomTransition(order, rate) if matrix == "random" else StructuredTransition(order, matrix, rate)
        )
        low, high = math.log(shortest), math.log(longest)
        self.log_step = _Slow(low + (high - low) * torch.rand(width), rate)
        self.C = nn.Parameter(torch.randn(width, channels, order))
        self.D = nn.Parameter(torch.randn(width, channels))
        self.out = nn.Linear(width * channels, width)
        self._kept: tuple[object, Tensor, Tensor] | None = None

    def matrices(self) -> tuple[Tensor, Tensor]:
        """Ā (width, order, order) and B̄ (width, order); kept while nothing learns."""
        parts = [*self.transition.parameters(), *self.transition.buffers()]
        parts += [*self.log_step.parameters(), *self.log_step.buffers()]
        known = [(part.data_ptr(), part._version, part.dtype) for part in parts]
        if not torch.is_grad_enabled() and self._kept is not None and self._kept[0] == known:
            return self._kept[1:]
        continuous: tuple[Tensor, Tensor] = self.transition()
        a, b = discretise(continuous[0], continuous[1], self.log_step().exp())
        if not torch.is_grad_enabled():
            self._kept = (known, a, b)
        return a, b

    def initial(self, batch: int) -> State:
        return self.C.new_zeros(batch, self.width, self.order)

    def forward(self, x: Tensor, state: State = None) -> tuple[Tensor, State]:
        before = self.begin(x, state)
        if not isinstance(before, Tensor) or before.shape[1:] != (self.width, self.order):
            raise StateError("LSSL was given a state that is not its own: give the state that it returned, or None")
        if not x.shape[1]:
            return x, before
        if self.mode == "recurrence" or x.shape[1] == 1:
            read, after = self._recur(x, before)
        else:
            read, after = self._convolve(x, before if state is not None else None)
        return self.out(nn.functional.gelu(read + x.unsqueeze(-1) * self.D).flatten(2)), after

    def _recur(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """C h_t (batch, length, width, channels) and the last h, position by position."""
        a, b = self.matrices()
        found = []
        for u in x.unbind(1):
            h = torch.einsum("hnm,bhm->bhn", a, h) + u.unsqueeze(-1) * b
            found.append(torch.einsum("hcn,bhn->bhc", self.C, h))
        return torch.stack(found, 1), h

    def _convolve(self, x: Tensor, before: Tensor | None) -> tuple[Tensor, Tensor]:
        """The same by a convolution, and what is left of the state from before."""
        a, b = self.matrices()
        length = x.shape[1]
        powers = krylov(a, b, length)
        signal = x.transpose(1, 2)
        read = convolve(self.C @ powers, signal.unsqueeze(2))
        after = torch.einsum("bht,hnt->bhn", signal.flip(2), powers)
        if before is not None:
            # The rows C Ā, C Ā², … are vectors of the transposed matrix; after the last of them comes Āᴸ h itself.
            rows = krylov(a.mT.unsqueeze(1), torch.einsum("hcm,hmn->hcn", self.C, a), length)
            read = read + torch.einsum("hcnt,bhn->bhct", rows, before)
            after = after + torch.einsum("hnm,bhm->bhn", torch.linalg.matrix_power(a, length), before)
        return read.permute(0, 3, 1, 2), after
