"""Modern Hopfield networks, dense and sparse: an update that pulls a query to the stored patterns it is like.

What is remembered are the patterns themselves, in a state or as parameters. A step costs two products with all
patterns, and one is enough where patterns are far apart; with α-entmax in place of softmax a pattern that is
unlike the query has no share at all, so that a retrieval can be exact.

Source: Ramsauer et al., Hopfield Networks is All You Need, 2020, arXiv:2008.02217 (dense); Hu et al., On Sparse
Modern Hopfield Model, 2023, arXiv:2309.12673 (α = 2); Wu, Hu, Li, Chen, Liu, STanHop, 2023, arXiv:2312.17346.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from remanence.context.layers.entmax import conjugate, entmax
from remanence.errors import UsageError


def retrieve(
    patterns: Tensor,
    queries: Tensor,
    *,
    beta: float,
    alpha: float | Tensor = 1.0,
    steps: int = 1,
    held: Tensor | None = None,
) -> Tensor:
    """Queries after a few updates x ← Ξ entmax(β Ξᵀx).

    Parameters
    ----------
    patterns:
        Ξ, (…, n, width).
    queries:
        x, (…, m, width).
    beta:
        Inverse temperature β (above 0).
    alpha:
        From 1 (softmax: the dense model) to 2 (sparsemax); a tensor may be learned.
    steps:
        Updates (1 or more).
    held:
        (…, m, n) bool, which patterns a query may find; all by default. A query that may find none gives zeros.

    Example
    -------
    >>> patterns = torch.eye(3)
    >>> retrieve(patterns, torch.tensor([[0.9, 0.2, -0.1]]), beta=2.0, alpha=2.0).tolist()
    [[1.0, 0.0, 0.0]]
    """
    for _ in range(steps):
        queries = shares(patterns, queries, beta, alpha, held) @ patterns
    return queries


def energy(patterns: Tensor, queries: Tensor, *, beta: float, alpha: float | Tensor = 1.0) -> Tensor:
    """½ ‖x‖² − Ψ*(β Ξᵀx) / β of queries (…, m, width), (…, m): no update of `retrieve` makes it larger.

    Ψ* is the convex conjugate of the negative entropy that α-entmax maximises; for α = 1 it is log Σ exp, and the
    energy that of the dense model but for a constant.
    """
    return 0.5 * queries.square().sum(-1) - conjugate(beta * queries @ patterns.mT, alpha) / beta


def shares(patterns: Tensor, queries: Tensor, beta: float, alpha: float | Tensor, held: Tensor | None = None) -> Tensor:
    """What share each pattern has in the retrieval of each query, (…, m, n)."""
    scores = beta * queries @ patterns.mT
    if held is None:
        return entmax(scores, alpha)
    none = ~held.any(-1, keepdim=True)
    return entmax(scores.masked_fill(~(held | none), -math.inf), alpha).masked_fill(none, 0.0)


class Hopfield(nn.Module):
    """Generalised sparse Hopfield layer: looks up queries among given patterns, in a space of its own.

    With R and Y the queries and the stored patterns, Q = R W_Q, K = Y W_K and V = K W_V, each head gives
    entmax(β Q Kᵀ) V, and W_O joins the heads; α is learned as 1 + sigmoid(a) or fixed.

    Parameters
    ----------
    width:
        Features of queries, stored patterns and outputs (1 or more, a multiple of `heads`).
    heads:
        Heads (1 or more).
    beta:
        Inverse temperature (above 0); 1/√(width / heads) by default.
    alpha:
        From 1 to 2, or None to learn it, starting at 1.5.
    steps:
        Updates (1 or more); all but the last move the queries among the keys.

    Example
    -------
    >>> layer = Hopfield(8, heads=2)
    >>> tuple(layer(torch.zeros(3, 5, 8), torch.zeros(3, 7, 8)).shape), layer.alpha.item()
    ((3, 5, 8), 1.5)
    """

    def __init__(
        self, width: int, heads: int = 1, beta: float | None = None, alpha: float | None = None, steps: int = 1
    ) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise UsageError(f"a width of {width} cannot be cut into {heads} heads: give a multiple")
        if steps < 1:
            raise UsageError(f"{steps} updates were asked for, expected 1 or more")
        self.heads, self.steps, self.fixed = heads, steps, alpha
        self.beta = 1 / math.sqrt(width / heads) if beta is None else beta
        self.raw = nn.Parameter(torch.zeros(())) if alpha is None else None
        self.queries, self.keys = nn.Linear(width, width), nn.Linear(width, width)
        self.values, self.out = nn.Linear(width, width), nn.Linear(width, width)

    @property
    def alpha(self) -> float | Tensor:
        """α as it is now."""
        return 1 + self.raw.sigmoid() if self.raw is not None else float(self.fixed or 1.0)

    def forward(
        self, queries: Tensor, stored: Tensor, held: Tensor | None = None, labels: Tensor | None = None
    ) -> Tensor:
        """For queries (batch, m, width) what stored patterns (batch, n, width) give, (batch, m, width).

        Values are made of the keys, or of labels (batch, n, width) where there are some; `held` (batch, m, n)
        says which patterns a query may find.
        """
        keys = self.keys(stored)
        values = self._cut(self.values(keys if labels is None else labels))
        keys, state = self._cut(keys), self._cut(self.queries(queries))
        held = None if held is None else held.unsqueeze(-3)
        if self.steps > 1:
            state = retrieve(keys, state, beta=self.beta, alpha=self.alpha, steps=self.steps - 1, held=held)
        found = shares(keys, state, self.beta, self.alpha, held) @ values
        joined: Tensor = self.out(found.transpose(1, 2).flatten(2))
        return joined

    def _cut(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)


class HopfieldPooling(nn.Module):
    """Learned queries that pool a set of patterns: (batch, n, width) becomes (batch, `queries`, width).

    Parameters
    ----------
    hopfield:
        Looks the queries up among what is given.
    width:
        Its width.
    queries:
        How many (1 or more).
    """

    def __init__(self, hopfield: Hopfield, width: int, queries: int = 1) -> None:
        super().__init__()
        self.hopfield = hopfield
        self.queries = nn.Parameter(torch.randn(queries, width) / math.sqrt(width))

    def forward(self, x: Tensor) -> Tensor:
        pooled: Tensor = self.hopfield(self.queries.expand(len(x), -1, -1), x)
        return pooled


class HopfieldLayer(nn.Module):
    """Learned patterns that what is given is looked up among: (batch, m, width) stays (batch, m, width).

    Parameters
    ----------
    hopfield:
        Looks what is given up among the patterns.
    width:
        Its width.
    patterns:
        How many (1 or more).
    """

    def __init__(self, hopfield: Hopfield, width: int, patterns: int) -> None:
        super().__init__()
        self.hopfield = hopfield
        self.patterns = nn.Parameter(torch.randn(patterns, width) / math.sqrt(width))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.hopfield(x, self.patterns.expand(len(x), -1, -1))
        return found
