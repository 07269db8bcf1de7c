"""Cutting a text into events: where a token surprises, and where the keys fall into two communities."""

from __future__ import annotations

import torch
from torch import Tensor


def surprise(logits: Tensor, tokens: Tensor) -> Tensor:
    """How little each token was expected, -log p, from what was said before it.

    Parameters
    ----------
    logits:
        (batch, n, vocabulary), at the token before each.
    tokens:
        (batch, n) int64.

    Example
    -------
    >>> round(surprise(torch.zeros(1, 1, 4), torch.tensor([[2]])).item(), 4)  # log 4
    1.3863
    """
    return -logits.float().log_softmax(-1).gather(2, tokens.unsqueeze(2)).squeeze(2)


def modularity(adjacency: Tensor, cut: int) -> Tensor:
    """How much better than chance the nodes before `cut` and those from it on hang together.

    Newman's modularity of two communities, ``1/2m Σ_ij (A_ij - k_i k_j / 2m) δ_ij``, with k the degrees and 2m their sum.

    Parameters
    ----------
    adjacency:
        (n, n), symmetric, not negative.
    cut:
        1 to n - 1.

    Example
    -------
    >>> modularity(torch.block_diag(torch.ones(2, 2), torch.ones(2, 2)), 2).item()
    0.5
    """
    degree = adjacency.sum(1)
    total = degree.sum().clamp(min=1e-12)
    inside = adjacency[:cut, :cut].sum() + adjacency[cut:, cut:].sum()
    expected = (degree[:cut].sum() ** 2 + degree[cut:].sum() ** 2) / total
    return (inside - expected) / total


def conductance(adjacency: Tensor, cut: int) -> Tensor:
    """How much of the smaller side's ties lead across the cut, 0 to 1; lower is better.

    >>> conductance(torch.block_diag(torch.ones(2, 2), torch.ones(2, 2)), 2).item()
    0.0
    """
    across = adjacency[:cut, cut:].sum()
    sides = torch.stack([adjacency[:cut].sum(), adjacency[cut:].sum()])
    return across / sides.min().clamp(min=1e-12)


def refined(adjacency: Tensor, measure: str, first: int = 1, end: int | None = None) -> int:
    """The best place to cut a stretch of n nodes in two.

    Parameters
    ----------
    adjacency:
        (n, n) with n at least 2.
    measure:
        ``"modularity"`` (the highest) or ``"conductance"`` (the lowest).
    first, end:
        Places from the one up to the other are looked at, 1 to n - 1 if nothing is said.

    Example
    -------
    >>> refined(torch.block_diag(torch.ones(3, 3), torch.ones(2, 2)), "conductance")
    3
    """
    # All cuts at once: what ties the nodes before each, and what of that leads across
    ties = adjacency.double()
    total = ties.sum()
    before = ties.sum(1).cumsum(0)[:-1]
    across = before - ties.cumsum(0).cumsum(1).diagonal()[:-1]
    after = total - before
    some = slice(first - 1, None if end is None else end - 1)
    if measure == "modularity":
        # Times the square of the total, which may be near zero where products are negative
        return first + int(((total - 2 * across) * total - (before**2 + after**2))[some].argmax())
    return first + int((across / torch.minimum(before, after).clamp(min=1e-12))[some].argmin())
