"""Causal softmax attention over a sliding window, or over everything, with rotary positions.

Rotary positions are those of Su et al., RoFormer, 2021, arXiv:2104.09864. Keys are kept as they were before the
rotation and turned anew at each reading: only differences of positions count, so an endless stream loses no precision.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from remanence.context.layers.layer import MemoryLayer
from remanence.context.tree import State
from remanence.errors import StateError, UsageError
from remanence.hyperparameters import validated

PIECE = 256
"""Positions that are read together, so that a long sequence never needs scores of all pairs."""


def rotate(x: Tensor, positions: Tensor, base: float = 10_000.0) -> Tensor:
    """Rotary positions: feature j and feature j + d/2 of ``x`` (…, length, d) turned by position × base^(-2j/d)."""
    half = x.shape[-1] // 2
    angle = positions.to(x.dtype).unsqueeze(-1) * base ** (-torch.arange(half, dtype=x.dtype, device=x.device) / half)
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], -1)


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    seen: Tensor,
    positions: tuple[Tensor, Tensor],
    *,
    base: float = 10_000.0,
    prefix: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Softmax attention of ``q`` (…, queries, d) over ``k`` and ``v`` (…, keys, d) where ``seen`` (queries, keys).

    ``positions`` are those of queries and of keys. Keys and values of a ``prefix`` have none and are always seen.
    """
    scores = rotate(q, positions[0], base) @ rotate(k, positions[1], base).transpose(-1, -2)
    scores = scores.masked_fill(~seen, -torch.inf)
    if prefix is not None:
        scores = torch.cat([q @ prefix[0].transpose(-1, -2), scores], -1)
        v = torch.cat([prefix[1].expand(*v.shape[:-2], *prefix[1].shape[-2:]), v], -2)
    return (scores / math.sqrt(q.shape[-1])).softmax(-1) @ v


class WindowAttention(MemoryLayer):
    """Causal softmax attention that sees the last positions only.

    Parameters
    ----------
    width:
        Features of input and output (1 or more).
    heads:
        Attention heads (1 or more); the width of a head is even.
    window:
        Positions that one sees, itself included (2 or more); None for all, with a state that grows with the text.
    base:
        The base of the rotary frequencies (above 1).
    persistent:
        Learned keys and values that every position sees besides (0 or more).

    Shapes
    ------
    ``x`` (batch, length, width); the state holds keys and values (batch, heads, window - 1, width / heads).

    Raises
    ------
    UsageError
        If the width cannot be shared out among the heads.

    Example
    -------
    >>> layer = WindowAttention(8, heads=2, window=4)
    >>> y, state = layer(torch.zeros(1, 10, 8))
    >>> tuple(y.shape), tuple(state["keys"].shape)
    ((1, 10, 8), (1, 2, 3, 4))
    """

    @validated
    def __init__(
        self,
        width: Annotated[int, Field(ge=1, description="features of input and output")],
        heads: Annotated[int, Field(ge=1, description="attention heads")] = 1,
        window: Annotated[int | None, Field(ge=2, description="positions seen, None for all")] = 64,
        base: Annotated[float, Field(gt=1, description="base of the rotary frequencies")] = 10_000.0,
        persistent: Annotated[int, Field(ge=0, description="learned keys and values that all see")] = 0,
    ) -> None:
        super().__init__(width)
        if width % (2 * heads):
            raise UsageError(
                f"the width {width} was given for {heads} heads, expected a multiple of {2 * heads}: "
                "every head needs an even width"
            )
        self.heads, self.window, self.base = heads, window, base
        self.project = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        kept = torch.randn(2, heads, persistent, width // heads)
        self.persistent = nn.Parameter(kept) if persistent else None

    def initial(self, batch: int) -> State:
        slots = 0 if self.window is None else self.window - 1
        empty = self.out.weight.new_zeros(batch, self.heads, slots, self.width // self.heads)
        held = torch.zeros((), dtype=torch.int64, device=empty.device)
        return {"keys": empty, "values": empty.clone(), "held": held}

    def forward(self, x: Tensor, state: State = None) -> tuple[Tensor, State]:
        state = self.begin(x, state)
        read = []
        if not isinstance(state, dict):
            raise StateError("the state of attention is a mapping of keys, values and held: give the one it returned")
        for at in range(0, max(1, x.shape[1]), PIECE):
            y, state = self._read(x[:, at : at + PIECE], state)
            read.append(y)
        return torch.cat(read, 1), state

    def heads_of(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (batch, heads, length, width / heads)."""
        parts = self.project(x).reshape(*x.shape[:2], 3, self.heads, self.width // self.heads).permute(2, 0, 3, 1, 4)
        return parts[0], parts[1], parts[2]

    def joined(self, read: Tensor) -> Tensor:
        """From what the heads read, the output (batch, length, width)."""
        y: Tensor = self.out(read.transpose(1, 2).flatten(2))
        return y

    @property
    def prefix(self) -> tuple[Tensor, Tensor] | None:
        """Keys and values (heads, persistent, width / heads) that every position sees."""
        return None if self.persistent is None else (self.persistent[0], self.persistent[1])

    def _read(self, x: Tensor, state: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        past, held = state["keys"].shape[2], state["held"]
        q, k, v = self.heads_of(x)
        keys, values = torch.cat([state["keys"], k], 2), torch.cat([state["values"], v], 2)
        at = torch.arange(keys.shape[2], device=x.device)
        gap = at[past:, None] - at
        seen = (gap >= 0) & (at >= past - held)
        if self.window is not None:
            seen = seen & (gap < self.window)
        y = self.joined(attend(q, keys, values, seen, (at[past:], at), base=self.base, prefix=self.prefix))
        held = held + x.shape[1]
        if self.window is not None:
            # Copies: a view would hold on to everything that was read.
            keys, values = keys[:, :, x.shape[1] :].clone(), values[:, :, x.shape[1] :].clone()
            held = held.clamp(max=self.window - 1)
        return y, {"keys": keys, "values": values, "held": held}
