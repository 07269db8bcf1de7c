"""Short causal convolutions: a position sees itself and the few before it, each feature by itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from remanence.context.layers.layer import MemoryLayer
from remanence.context.tree import State
from remanence.errors import StateError, UsageError


class ShortConvolution(MemoryLayer):
    """A causal depthwise convolution, ``y_t = Σ_j w_j ⊙ x_{t-j}``.

    The state is the last ``size - 1`` inputs, so several convolutions of one input can share one state.

    Parameters
    ----------
    width:
        Features of input and output.
    size:
        Positions that an output sees (2 or more).

    Example
    -------
    >>> layer = ShortConvolution(3, size=2)
    >>> y, state = layer(torch.zeros(1, 5, 3))
    >>> tuple(y.shape), tuple(state.shape)
    ((1, 5, 3), (1, 1, 3))
    """

    def __init__(self, width: int, size: int = 4) -> None:
        super().__init__(width)
        if size < 2:
            raise UsageError(f"a short convolution was given the size {size}, expected 2 or more: leave it out instead")
        self.size = size
        self.weight = nn.Parameter(torch.empty(size, width).uniform_(-(size**-0.5), size**-0.5))

    def initial(self, batch: int) -> Tensor:
        return self.weight.new_zeros(batch, self.size - 1, self.width)

    def forward(self, x: Tensor, state: State = None) -> tuple[Tensor, State]:
        recent = self.begin(x, state)
        if not isinstance(recent, Tensor):
            raise StateError("the state of a short convolution is a tensor: give the one that it returned")
        length = x.shape[1]
        seen = torch.cat([recent, x], 1)
        y = torch.stack([self.weight[j] * seen[:, j : j + length] for j in range(self.size)]).sum(0)
        return y, seen[:, length:].clone()


class Convolved(nn.Module):
    """One input behind several short convolutions that share a state: what queries, keys and values are made of.

    Parameters
    ----------
    width:
        Features of the input.
    size:
        Positions that an output sees (2 or more); 0 gives the input as it is and keeps no state.
    count:
        How many outputs.
    """

    def __init__(self, width: int, size: int, count: int = 3) -> None:
        super().__init__()
        self.count = count
        self.convolutions = nn.ModuleList(ShortConvolution(width, size) for _ in range(count if size else 0))

    def initial(self, batch: int) -> dict[str, State]:
        """The ``recent`` inputs, as a part of a layer's state; nothing without convolutions."""
        first: Any
        for first in self.convolutions:
            return {"recent": first.initial(batch)}
        return {}

    def forward(self, x: Tensor, state: dict[str, State]) -> tuple[list[Tensor], dict[str, State]]:
        """The outputs for ``x`` (batch, length, width), and the recent inputs after it."""
        if not len(self.convolutions):
            return [x] * self.count, {}
        read = [convolution(x, state["recent"]) for convolution in self.convolutions]
        return [y for y, _ in read], {"recent": read[0][1]}
