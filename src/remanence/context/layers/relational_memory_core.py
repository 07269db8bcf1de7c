"""Relational memory core: slots of memory that attend to one another and to each new input.

What is remembered is a small matrix, one row a slot, gated as the cell of an LSTM is, in activations. It costs
slots × heads × head size numbers, and attention of all slots over all slots at every position.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import linear

from remanence.context.layers.layer import MemoryLayer
from remanence.context.tree import State
from remanence.errors import StateError
from remanence.hyperparameters import validated
from remanence.registry import Paper, system


class Attention(nn.Module):
    """One round: multi-head dot product attention, the same network for every row, each with residual and norm.

    Parameters
    ----------
    size:
        Numbers of a row.
    heads:
        Attention heads, which share `size` out among them.
    key_size:
        Width of a query and of a key of each head.
    mlp:
        What is applied to every row after attention.
    """

    def __init__(self, size: int, heads: int, key_size: int, mlp: nn.Module) -> None:
        super().__init__()
        self.heads, self.key_size = heads, key_size
        each = [heads * key_size, heads * key_size, size]
        self.project = nn.Linear(size, sum(each))
        self.project_norm = nn.LayerNorm(sum(each))
        self.attended_norm, self.mlp, self.mlp_norm = nn.LayerNorm(size), mlp, nn.LayerNorm(size)
        self.each = each

    def projected(self, rows: Tensor) -> Tensor:
        """Queries, keys and values of rows (…, size), one after another."""
        normed: Tensor = self.project_norm(self.project(rows))
        return normed

    def forward(self, rows: Tensor, asking: int, known: Tensor | None = None) -> Tensor:
        """The first `asking` of rows (batch, rows, size) after this round; all of them are attended to.

        `known` holds the queries, keys and values of the last rows where they are at hand.
        """
        if known is None:
            projected = self.projected(rows)
        else:
            projected = torch.cat([self.projected(rows[:, : -known.shape[1]]), known], 1)
        parts = torch.split(projected, self.each, 2)
        q, k, v = (part.reshape(*part.shape[:2], self.heads, -1).transpose(1, 2) for part in parts)
        scores = q[:, :, :asking] @ k.transpose(2, 3)
        found = (scores * self.key_size**-0.5).softmax(-1) @ v
        rows = self.attended_norm(rows[:, :asking] + found.transpose(1, 2).flatten(2))
        after: Tensor = self.mlp_norm(rows + self.mlp(rows))
        return after


@system(
    "relational-memory-core",
    paper=Paper(
        "Relational recurrent neural networks",
        "Santoro, Faulkner, Raposo, Rae, Chrzanowski, Weber, Wierstra, Vinyals, Pascanu, Lillicrap",
        2018,
        "1806.01822",
        102,
    ),
    place="context",
    baseline="lstm",
)
class RelationalMemoryCore(MemoryLayer):
    """The relational memory core as a layer.

    At every position the slots M and the input, made as wide as a slot, go through rounds of attention, of which the
    rows of the slots give M̃. Gates decide what of it is taken: M ← i ⊙ tanh(M̃) + f ⊙ M, with i and f from the input
    and tanh(M). The output is a linear map of all slots.

    Parameters
    ----------
    width:
        Features of input and output (1 or more).
    slots:
        Rows of the memory (1 or more).
    heads:
        Attention heads (1 or more).
    head_size:
        Numbers of a slot for each head (1 or more); a slot has heads × head size.
    key_size:
        Width of a query and of a key (1 or more); None for the head size.
    blocks:
        Rounds of attention at every position (1 or more).
    mlp_layers:
        Layers of the network that is applied to every row, which all rounds share (1 or more).
    gates:
        ``"unit"`` for a gate for every number, ``"memory"`` for one for every slot, ``"none"``.
    forget_bias, input_bias:
        What is added to the gates before the sigmoid.

    Shapes
    ------
    ``x`` (batch, length, width); the state is the slots (batch, slots, heads × head size).

    Raises
    ------
    UsageError
        If a hyperparameter is out of its range or an input is not (batch, length, width).
    StateError
        If the state is not one of this layer.

    Example
    -------
    >>> layer = RelationalMemoryCore(6, slots=4, heads=2, head_size=3)
    >>> y, state = layer(torch.zeros(2, 5, 6))
    >>> tuple(y.shape), tuple(state.shape)
    ((2, 5, 6), (2, 4, 6))

    References
    ----------
    Santoro et al., Relational recurrent neural networks, 2018, arXiv:1806.01822.

    Departures
    ----------
    What the paper leaves open is as in the authors' code in Sonnet: layer norm over queries, keys and values together,
    the identity as first memory, tanh before the gates and in the update, gates that see the memory of before. That
    code gives all slots as output; here a linear map brings them to the width. Defaults are those of its example of
    the N-th farthest vector, with fewer heads of fewer numbers.
    """

    @validated
    def __init__(
        self,
        width: Annotated[int, Field(ge=1, description="features of input and output")],
        slots: Annotated[int, Field(ge=1, description="rows of the memory")] = 4,
        heads: Annotated[int, Field(ge=1, description="attention heads")] = 4,
        head_size: Annotated[int, Field(ge=1, description="numbers of a slot for each head")] = 16,
        key_size: Annotated[int | None, Field(ge=1, description="width of a key, None: the head size")] = None,
        blocks: Annotated[int, Field(ge=1, description="rounds of attention at every position")] = 1,
        mlp_layers: Annotated[int, Field(ge=1, description="layers of the network for every row")] = 2,
        gates: Annotated[Literal["unit", "memory", "none"], Field(description="what each gate rules")] = "unit",
        forget_bias: Annotated[float, Field(description="added to the forget gate")] = 1.0,
        input_bias: Annotated[float, Field(description="added to the input gate")] = 0.0,
    ) -> None:
        super().__init__(width)
        self.slots, self.size = slots, heads * head_size
        self.enter = nn.Linear(width, self.size)
        layers = [nn.Linear(self.size, self.size) for _ in range(mlp_layers)]
        mlp = nn.Sequential(layers[0], *(part for layer in layers[1:] for part in (nn.ReLU(), layer)))
        first, *further = [Attention(self.size, heads, key_size or head_size, mlp) for _ in range(blocks)]
        self.first, self.further = first, nn.ModuleList(further)
        self.gate_size = {"unit": self.size, "memory": 1, "none": 0}[gates]
        if self.gate_size:
            self.gate_of_input = nn.Linear(self.size, 2 * self.gate_size)
            self.gate_of_memory = nn.Linear(self.size, 2 * self.gate_size, bias=False)
            with torch.no_grad():
                biases = torch.tensor([input_bias, forget_bias])
                self.gate_of_input.bias.add_(biases.repeat_interleave(self.gate_size))
        self.out = nn.Linear(slots * self.size, width)

    def initial(self, batch: int) -> State:
        weight = self.enter.weight
        return torch.eye(self.slots, self.size, dtype=weight.dtype, device=weight.device).repeat(batch, 1, 1)

    def forward(self, x: Tensor, state: State = None) -> tuple[Tensor, State]:
        memory = self.begin(x, state)
        shape = (len(x), self.slots, self.size)
        if not isinstance(memory, Tensor) or tuple(memory.shape) != shape:
            raise StateError(f"the state is no tensor of shape {shape}: give a state of this layer")
        entering = self.enter(x).unsqueeze(2)
        gating = self.gate_of_input(entering) if self.gate_size else entering
        # The input's queries, keys and values in the first round depend on no state.
        projected = self.first.projected(entering)
        outputs = []
        for row, known, gate in zip(entering.unbind(1), projected.unbind(1), gating.unbind(1), strict=True):
            memory = self._step(memory, row, known, gate)
            outputs.append(memory)
        y = self.out(torch.stack(outputs, 1).flatten(2)) if outputs else x.new_zeros(x.shape)
        return y, memory

    def _step(self, memory: Tensor, row: Tensor, known: Tensor, gate: Tensor) -> Tensor:
        rows: Tensor = torch.cat([memory, row], 1)
        # Only the slots go on after the last round.
        asking = [self.slots + 1] * len(self.further) + [self.slots]
        rows = self.first(rows, asking[0], known)
        for attention, rest in zip(self.further, asking[1:], strict=True):
            rows = attention(rows, rest)
        if not self.gate_size:
            return rows
        gates = torch.sigmoid(gate + linear(torch.tanh(memory), self.gate_of_memory.weight))
        insert, forget = gates.chunk(2, 2)
        return insert * torch.tanh(rows) + forget * memory
