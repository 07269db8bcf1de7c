"""Causal linear attention: a sum of outer products of keys and values, read by queries.

The recurrent and the parallel form are those of Katharopoulos et al., Transformers are RNNs, 2020, arXiv:2006.16236;
decay of the sum by a gate for each position is that of Yang et al., Gated Linear Attention, 2023, arXiv:2312.06635.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import pad, relu

from remanence.context.layers.convolution import Convolved
from remanence.context.layers.layer import MemoryLayer
from remanence.context.tree import State
from remanence.errors import StateError, UsageError
from remanence.hyperparameters import validated

CHUNK = 64
"""Positions whose pairs are scored together; between chunks the state carries what was read."""


def decays(log_decay: Tensor) -> Tensor:
    """The product of the decays of positions i + 1 to t, (…, t, i), zero where i comes after t."""
    since = log_decay.cumsum(-1)
    length = log_decay.shape[-1]
    later = torch.ones(length, length, dtype=torch.bool, device=log_decay.device).triu(1)
    return (since.unsqueeze(-1) - since.unsqueeze(-2)).masked_fill(later, -torch.inf).exp()


def linear_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    memory: Tensor,
    *,
    log_decay: Tensor | None = None,
    normalised: bool = True,
    chunk: int = CHUNK,
) -> tuple[Tensor, Tensor]:
    """Read and write a sum of outer products, a chunk of positions at a time.

    S_t = a_t S_{t-1} + φ(k_t) v_tᵀ, z_t = a_t z_{t-1} + φ(k_t), y_t = S_tᵀ φ(q_t) / z_tᵀ φ(q_t).

    Parameters
    ----------
    q, k:
        Queries and keys behind the feature map, (…, length, features).
    v:
        Values (…, length, values).
    memory:
        S, and where outputs are normalised z as its last column, (…, features, values + 1).
    log_decay:
        Logarithms of the decays a_t (…, length), at most zero; None for no decay.
    normalised:
        Divide by the sum of the weights.
    chunk:
        Positions taken together.
    """
    if normalised:
        v = pad(v, (0, 1), value=1.0)
    read = []
    for start in range(0, q.shape[-2], chunk):
        here = slice(start, start + chunk)
        queries, keys, values = q[..., here, :], k[..., here, :], v[..., here, :]
        weights = queries @ keys.transpose(-1, -2)
        if log_decay is None:
            read.append(weights.tril() @ values + queries @ memory)
            memory = memory + keys.transpose(-1, -2) @ values
        else:
            since = log_decay[..., here].cumsum(-1).unsqueeze(-1)
            pairs = decays(log_decay[..., here])
            read.append((weights * pairs) @ values + since.exp() * (queries @ memory))
            last = pairs[..., -1, :].unsqueeze(-1)
            memory = since[..., -1:, :].exp() * memory + (last * keys).transpose(-1, -2) @ values
    y = torch.cat(read, -2) if read else v
    return (y[..., :-1] / y[..., -1:].clamp(min=1e-9), memory) if normalised else (y, memory)


class FeatureMap(ABC):
    """From queries or keys (…, d) to features (…, size(d)) whose inner product weighs values."""

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        """The features."""

    @abstractmethod
    def size(self, width: int) -> int:
        """How many there are."""


class EluPlusOne(FeatureMap):
    """elu(x) + 1, the positive features of Katharopoulos et al.

    >>> EluPlusOne()(torch.zeros(2)).tolist()
    [1.0, 1.0]
    """

    def __call__(self, x: Tensor) -> Tensor:
        # The sum would round what is small to nothing, and nothing cannot be divided by.
        return x.clamp(max=0).exp() + relu(x)

    def size(self, width: int) -> int:
        return width


class LinearAttention(MemoryLayer):
    """Linear attention behind a feature map.

    Parameters
    ----------
    width:
        Features of input and output (1 or more).
    feature_map:
        φ, `EluPlusOne` if left out.
    heads:
        Heads (1 or more), a divisor of the width.
    feature_dim:
        Width of a query and of a key of each head in front of the map (1 or more).
    convolution:
        Positions of a short convolution in front of queries, keys and values; 0 for none.

    Shapes
    ------
    ``x`` (batch, length, width); the state holds ``memory`` (batch, heads, features, width / heads + 1), the sum and
    its normaliser, and where there is a convolution its ``recent`` inputs (batch, convolution - 1, width).

    Example
    -------
    >>> layer = LinearAttention(8, heads=2, feature_dim=3)
    >>> y, state = layer(torch.zeros(1, 10, 8))
    >>> tuple(y.shape), tuple(state["memory"].shape)
    ((1, 10, 8), (1, 2, 3, 5))
    """

    @validated
    def __init__(
        self,
        width: Annotated[int, Field(ge=1, description="features of input and output")],
        feature_map: FeatureMap | None = None,
        heads: Annotated[int, Field(ge=1, description="heads")] = 1,
        feature_dim: Annotated[int, Field(ge=1, description="width of a key of a head")] = 16,
        convolution: Annotated[int, Field(ge=0, description="positions of a short convolution, 0: none")] = 0,
    ) -> None:
        super().__init__(width)
        if width % heads:
            raise UsageError(f"the width {width} was given for {heads} heads, expected a multiple of {heads}")
        self.feature_map: FeatureMap = feature_map or EluPlusOne()
        self.heads, self.feature_dim = heads, feature_dim
        self.value_dim = width // heads
        self.queries = nn.Linear(width, heads * feature_dim, bias=False)
        self.keys = nn.Linear(width, heads * feature_dim, bias=False)
        self.values = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.before = Convolved(width, convolution)

    def initial(self, batch: int) -> State:
        rows = self.feature_map.size(self.feature_dim)
        memory = self.out.weight.new_zeros(batch, self.heads, rows, self.value_dim + 1)
        return {"memory": memory, **self.before.initial(batch)}

    def forward(self, x: Tensor, state: State = None) -> tuple[Tensor, State]:
        state = self.begin(x, state)
        if not isinstance(state, dict) or not isinstance(state["memory"], Tensor):
            raise StateError("the state of linear attention is a mapping with a memory: give the one it returned")
        inputs, recent = self.before(x, state)
        q, k, v = (
            projection(given).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for projection, given in zip((self.queries, self.keys, self.values), inputs, strict=True)
        )
        y, memory = linear_attention(self.feature_map(q), self.feature_map(k), v, state["memory"])
        return self.out(y.transpose(1, 2).flatten(2)), {"memory": memory, **recent}
