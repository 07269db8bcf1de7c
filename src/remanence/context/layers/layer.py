"""What all memory layers have in common: one signature, in a form for many positions and a form for one."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from remanence.context.tree import State, nbytes
from remanence.errors import UsageError


class MemoryLayer(nn.Module):
    """A layer that reads a sequence and carries a state of fixed size from call to call.

    A subclass gives `initial` and `forward`, and where the paper has a form of its own for one position, `step`.
    Reading a sequence at once, in pieces, or one position at a time gives the same outputs and the same state.

    Parameters
    ----------
    width:
        Features of an input and of an output (1 or more).
    """

    runner: ClassVar[str] = "remanence.context.runner:LAYER"
    tasks: ClassVar[frozenset[str]] = frozenset({"answering"})
    """Inside a language model that reads with it, see `remanence.context.recurrent`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        if width < 1:
            raise UsageError(f"{type(self).__name__}: the width is {width}, expected 1 or more")
        self.width = width

    @abstractmethod
    def initial(self, batch: int) -> State:
        """The state before anything was read, for `batch` sequences, on the device of the parameters."""

    @abstractmethod
    def forward(self, x: Tensor, state: State = None) -> tuple[Tensor, State]:
        """Read ``x`` (batch, length, width) from a state on; outputs (batch, length, width) and the state after."""

    if TYPE_CHECKING:

        def __call__(self, x: Tensor, state: State = None) -> tuple[Tensor, State]: ...

    def step(self, x: Tensor, state: State = None) -> tuple[Tensor, State]:
        """Read one position ``x`` (batch, width); its output (batch, width) and the state after."""
        y, state = self.forward(x.unsqueeze(1), state)
        return y.squeeze(1), state

    @property
    def state_bytes(self) -> int:
        """Bytes of the state of one sequence."""
        with torch.no_grad():
            return nbytes(self.initial(1))

    def begin(self, x: Tensor, state: State) -> State:
        """The state to start from, once the input was checked."""
        if x.dim() != 3 or x.shape[2] != self.width:
            raise UsageError(
                f"{type(self).__name__} was given {tuple(x.shape)}, expected (batch, length, {self.width}): "
                "one row of features for each position"
            )
        return self.initial(x.shape[0]) if state is None else state
