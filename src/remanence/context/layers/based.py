"""BASED: exact attention over a short window for what is near, linear attention for what is far.

What is remembered are the keys and values of the last positions and a sum of outer products of all before, in
activations. It costs 2 × (window - 1) × width numbers for the window and about feature_dim² / 2 × width for the sum,
however long the text is.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from remanence.context.layers.attention import WindowAttention
from remanence.context.layers.layer import MemoryLayer
from remanence.context.layers.linear_attention import FeatureMap, LinearAttention
from remanence.context.tree import State
from remanence.errors import StateError
from remanence.hyperparameters import validated
from remanence.registry import Paper, system


class Taylor(FeatureMap):
    """Features whose inner product is 1 + x + x²/2 with x = q·k/√d: the exponential to the second order.

    The d² products of two features are symmetric, so each pair is kept once and weighs twice.

    >>> q, k = torch.tensor([1.0, 2.0]), torch.tensor([0.5, -1.0])
    >>> float(Taylor()(q) @ Taylor()(k)) - (1 + -1.5 / 2**0.5 + 1.5**2 / 4) < 1e-6
    True
    """

    def __call__(self, x: Tensor) -> Tensor:
        width = x.shape[-1]
        rows, columns = torch.triu_indices(width, width, device=x.device)
        weight = x.new_ones(len(rows)).masked_fill(rows == columns, math.sqrt(0.5)) / math.sqrt(width)
        pairs = x[..., rows] * x[..., columns] * weight
        return torch.cat([torch.ones_like(x[..., :1]), x / width**0.25, pairs], -1)

    def size(self, width: int) -> int:
        return 1 + width + width * (width + 1) // 2


@system(
    "based",
    paper=Paper(
        "Simple linear attention language models balance the recall-throughput tradeoff",
        "Arora, Eyuboglu, Zhang, Timalsina, Alberti, Zinsley, Zou, Rudra, Ré",
        2024,
        "2402.18668",
        211,
    ),
    place="context",
    baseline="linear-attention",
)
class Based(MemoryLayer):
    """Sliding-window attention, then linear attention with the Taylor features, each with a residual path.

    `alternation` gives the same two as layers of their own, to be alternated with feed-forward layers between.

    Parameters
    ----------
    width:
        Features of input and output (1 or more).
    heads:
        Heads of both (1 or more); the width of a head is even.
    window:
        Positions that exact attention sees (2 or more).
    feature_dim:
        Width d' of a query and of a key of each head of linear attention (1 or more).
    convolution:
        Positions of the short convolutions in front of linear attention (2 or more); 0 for none.

    Shapes
    ------
    ``x`` (batch, length, width); the state is a mapping of the states of ``window`` and ``linear``.

    Raises
    ------
    UsageError
        If the width cannot be shared out among the heads.

    Example
    -------
    >>> layer = Based(8, window=4, feature_dim=2)
    >>> y, state = layer(torch.zeros(1, 10, 8))
    >>> tuple(y.shape), tuple(state["linear"]["memory"].shape)
    ((1, 10, 8), (1, 1, 6, 9))

    References
    ----------
    Arora et al., Simple linear attention language models balance the recall-throughput tradeoff, 2024,
    arXiv:2402.18668.

    Departures
    ----------
    The paper's models also have layers of gated short convolutions; here linear attention may have short convolutions
    in front. Its features
    hold every product of two different entries twice; here once, with weight √2, which gives the same inner products
    from little more than half of the bytes. Windows have rotary positions.
    """

    @validated
    def __init__(
        self,
        width: Annotated[int, Field(ge=1, description="features of input and output")],
        heads: Annotated[int, Field(ge=1, description="heads")] = 1,
        window: Annotated[int, Field(ge=2, description="positions that exact attention sees")] = 64,
        feature_dim: Annotated[int, Field(ge=1, description="width d' of a key of linear attention")] = 16,
        convolution: Annotated[int, Field(ge=0, description="positions of the short convolutions, 0: none")] = 0,
    ) -> None:
        super().__init__(width)
        self.near, self.far = self.alternation(
            width, 2, heads=heads, window=window, feature_dim=feature_dim, convolution=convolution
        )
        self.norm = nn.RMSNorm(width, eps=1e-6)

    @staticmethod
    def alternation(
        width: int, layers: int, *, heads: int = 1, window: int = 64, feature_dim: int = 16, convolution: int = 0
    ) -> list[MemoryLayer]:
        """That many layers for a `SequenceModel`, window and linear attention in turn."""
        return [
            LinearAttention(width, Taylor(), heads=heads, feature_dim=feature_dim, convolution=convolution)
            if place % 2
            else WindowAttention(width, heads=heads, window=window)
            for place in range(layers)
        ]

    def initial(self, batch: int) -> State:
        return {"window": self.near.initial(batch), "linear": self.far.initial(batch)}

    def forward(self, x: Tensor, state: State = None) -> tuple[Tensor, State]:
        state = self.begin(x, state)
        if not isinstance(state, dict):
            raise StateError("the state of BASED is a mapping of window and linear: give the one it returned")
        near, window = self.near(x, state["window"])
        far, linear = self.far(self.norm(x + near), state["linear"])
        return near + far, {"window": window, "linear": linear}
