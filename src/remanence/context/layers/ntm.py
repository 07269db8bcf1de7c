"""Neural Turing machine: a controller that learns where to write vectors and where to find them again.

What is remembered is a memory of vectors, one at each location, which heads read and write by content and by position,
in activations. It costs locations × size numbers, and for each head a weighting of all locations at every position.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import linear, softplus

from remanence.context.layers.addressing import addressed, read, written
from remanence.context.layers.layer import MemoryLayer
from remanence.context.tree import State
from remanence.errors import StateError
from remanence.hyperparameters import validated
from remanence.registry import Paper, system


@system(
    "ntm",
    paper=Paper("Neural Turing Machines", "Graves, Wayne, Danihelka", 2014, "1410.5401", 207),
    place="context",
    baseline="lstm",
)
class NTM(MemoryLayer):
    """A neural Turing machine as a layer.

    At every position the controller reads the input and what the read heads brought last, and emits for each head a
    key k, a key strength β, an interpolation gate g, a shift weighting s and a sharpness γ, and for each write head
    an erase and an add vector. All heads are addressed on the memory as it was; then the read heads read, then the
    write heads write. The output is a linear map of the controller's and of what was read.

    Training wants the gradient clipped (`torch.nn.utils.clip_grad_norm_`, or each entry to ±10 as in the paper).

    Parameters
    ----------
    width:
        Features of input and output (1 or more).
    locations:
        Rows N of the memory (1 or more).
    size:
        Numbers M of a row (1 or more).
    read_heads, write_heads:
        Heads of each kind (1 or more).
    controller:
        ``"lstm"``, or ``"feed-forward"``, which remembers nothing itself.
    units:
        Units of the controller's hidden layer (1 or more).
    reach:
        How far a head can shift at one position (0 or more), with 2 × reach + 1 shares.

    Shapes
    ------
    ``x`` (batch, length, width). The state is a mapping: ``memory`` (batch, locations, size), ``weights`` (batch, read
    heads and then write heads, locations), ``reads`` (batch, read heads, size), ``controller`` two tensors
    (batch, units), or nothing for the feed-forward one.

    Raises
    ------
    UsageError
        If a hyperparameter is out of its range or an input is not (batch, length, width).
    StateError
        If the state is not one of this layer.

    Example
    -------
    >>> layer = NTM(6, locations=16, size=4, units=8)
    >>> y, state = layer(torch.zeros(2, 5, 6))
    >>> tuple(y.shape), tuple(state["memory"].shape)
    ((2, 5, 6), (2, 16, 4))

    References
    ----------
    Graves, Wayne, Danihelka, Neural Turing Machines, 2014, arXiv:1410.5401.
    Collier, Beel, Implementing Neural Turing Machines, 2018, arXiv:1807.08518.

    Departures
    ----------
    The paper leaves open in which order heads read and write within one time step, how parameters are brought into
    their ranges, and what stands in the memory at first. Here reading comes before writing; β is a softplus, g and
    the erase vector sigmoids, s a softmax, γ one more than a softplus; and the memory starts at a small constant, with
    which Collier and Beel found training to converge soonest. First weightings, first reads and the first state of
    the controller are learned.
    """

    @validated
    def __init__(
        self,
        width: Annotated[int, Field(ge=1, description="features of input and output")],
        locations: Annotated[int, Field(ge=1, description="rows of the memory")] = 128,
        size: Annotated[int, Field(ge=1, description="numbers of a row")] = 20,
        read_heads: Annotated[int, Field(ge=1, description="heads that read")] = 1,
        write_heads: Annotated[int, Field(ge=1, description="heads that write")] = 1,
        controller: Annotated[Literal["lstm", "feed-forward"], Field(description="what emits the heads")] = "lstm",
        units: Annotated[int, Field(ge=1, description="units of the controller's hidden layer")] = 100,
        reach: Annotated[int, Field(ge=0, description="largest shift of a head at one position")] = 1,
    ) -> None:
        super().__init__(width)
        self.locations, self.size, self.units, self.reach = locations, size, units, reach
        self.read_heads, self.write_heads, self.controller = read_heads, write_heads, controller
        heads, recurrent = read_heads + write_heads, controller == "lstm"
        gates = 4 * units if recurrent else units
        self.of_input = nn.Linear(width, gates)
        self.of_memory = nn.Linear(read_heads * size + (units if recurrent else 0), gates, bias=False)
        # In this order: β and γ, g and erase, s, keys, add; each block has one squashing.
        self.blocks = [2 * heads, heads + write_heads * size, heads * (2 * reach + 1), heads * size, write_heads * size]
        self.emit = nn.Linear(units, sum(self.blocks))
        self.out = nn.Linear(units + read_heads * size, width)
        self.first_weights = nn.Parameter(torch.randn(heads, locations))
        self.first_reads = nn.Parameter(0.1 * torch.randn(read_heads, size))
        self.first_controller = nn.Parameter(torch.zeros(2 if recurrent else 0, units))

    def initial(self, batch: int) -> State:
        weights = self.first_weights.softmax(-1)
        return {
            "memory": weights.new_full((batch, self.locations, self.size), 1e-6),
            "weights": weights.repeat(batch, 1, 1),
            "reads": self.first_reads.repeat(batch, 1, 1),
            "controller": tuple(first.repeat(batch, 1) for first in self.first_controller),
        }

    def forward(self, x: Tensor, state: State = None) -> tuple[Tensor, State]:
        memory, weights, reads, hidden = self._taken(self.begin(x, state), len(x))
        outputs = []
        of_memory, emit, emit_bias = self.of_memory.weight, self.emit.weight, self.emit.bias
        for entering in self.of_input(x).unbind(1):
            hidden = self._controlled(entering, of_memory, reads, hidden)
            emitted = linear(hidden[0], emit, emit_bias)
            memory, weights, reads = self._turned(emitted, memory, weights)
            outputs.append(torch.cat([hidden[0], reads.flatten(1)], 1))
        last = hidden if self.controller == "lstm" else ()
        y = self.out(torch.stack(outputs, 1)) if outputs else x.new_zeros(x.shape)
        return y, {"memory": memory, "weights": weights, "reads": reads, "controller": last}

    def _controlled(
        self, entering: Tensor, of_memory: Tensor, reads: Tensor, hidden: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        """The controller's output first, and what else it carries on."""
        if self.controller != "lstm":
            return (torch.tanh(torch.addmm(entering, reads.flatten(1), of_memory.t())),)
        before = torch.cat([reads.flatten(1), hidden[0]], 1)
        gates, candidate = torch.split(torch.addmm(entering, before, of_memory.t()), [3 * self.units, self.units], 1)
        insert, forget, show = torch.sigmoid(gates).chunk(3, 1)
        cell = forget * hidden[1] + insert * torch.tanh(candidate)
        return show * torch.tanh(cell), cell

    def _turned(self, emitted: Tensor, memory: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Memory, weightings and reads after the heads did what was emitted."""
        heads = self.read_heads + self.write_heads
        positive, shares, shift, key, add = torch.split(emitted, self.blocks, 1)
        strength, excess = softplus(positive).chunk(2, 1)
        gate, erase = torch.split(torch.sigmoid(shares), [heads, self.blocks[1] - heads], 1)
        weights = addressed(
            memory,
            weights,
            key=key.reshape(-1, heads, self.size),
            strength=strength,
            gate=gate,
            shift=shift.reshape(-1, heads, 2 * self.reach + 1).softmax(-1),
            sharpness=1 + excess,
        )
        reading, writing = torch.split(weights, [self.read_heads, self.write_heads], 1)
        shape = (-1, self.write_heads, self.size)
        reads = read(memory, reading)
        return written(memory, writing, erase.reshape(shape), add.reshape(shape)), weights, reads

    def _taken(self, state: Any, batch: int) -> tuple[Tensor, Tensor, Tensor, tuple[Tensor, ...]]:
        """The parts of a state, once they were found to fit."""
        shapes = {
            "memory": (batch, self.locations, self.size),
            "weights": (batch, self.read_heads + self.write_heads, self.locations),
            "reads": (batch, self.read_heads, self.size),
        }
        for name, shape in shapes.items():
            part = state.get(name) if isinstance(state, dict) else None
            if not isinstance(part, Tensor) or tuple(part.shape) != shape:
                given = f"shape {tuple(part.shape)}" if isinstance(part, Tensor) else "none"
                raise StateError(f"the state's {name} is of {given}, expected {shape}: give a state of this layer")
        hidden = state.get("controller", ())
        if [tuple(part.shape) for part in hidden] != [(batch, self.units)] * len(self.first_controller):
            raise StateError("the state is of another controller: give a state of this layer")
        return state["memory"], state["weights"], state["reads"], tuple(hidden)
