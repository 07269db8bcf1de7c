"""Differentiable addressing of an external memory: which of its locations a head reads and writes, and how much.

The steps are those of Graves, Wayne, Danihelka, Neural Turing Machines, 2014, arXiv:1410.5401. A memory M is
(…, locations, size), a weighting w (…, heads, locations); the leading dimensions of all arguments are the same.
"""

from __future__ import annotations

import torch
from torch import Tensor

SMALLEST = 1e-8
"""A norm below it counts as it, so that a row of zeros has a direction, which is like no other."""


def similarity(memory: Tensor, key: Tensor) -> Tensor:
    """Cosine of every ``key`` (…, heads, size) with every row of ``memory``, (…, heads, locations).

    >>> similarity(torch.eye(2), torch.tensor([[3.0, 4.0]])).tolist()
    [[0.6000000238418579, 0.800000011920929]]
    """
    rows = memory / torch.linalg.vector_norm(memory, dim=-1, keepdim=True).clamp_min(SMALLEST)
    directions = key / torch.linalg.vector_norm(key, dim=-1, keepdim=True).clamp_min(SMALLEST)
    return torch.matmul(directions, rows.transpose(-1, -2))


def by_content(memory: Tensor, key: Tensor, strength: Tensor) -> Tensor:
    """The softmax over the locations of strength β (…, heads) times the similarity to ``key`` (…, heads, size)."""
    return (strength.unsqueeze(-1) * similarity(memory, key)).softmax(-1)


def interpolated(weights: Tensor, previous: Tensor, gate: Tensor) -> Tensor:
    """``weights`` where the interpolation gate g (…, heads) is 1, the ``previous`` weighting where it is 0."""
    return torch.lerp(previous, weights, gate.unsqueeze(-1))


def shifted(weights: Tensor, shift: Tensor) -> Tensor:
    """The circular convolution of a weighting with ``shift`` (…, heads, 2 r + 1), the shares of a move by -r … r.

    >>> shifted(torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[0.0, 0.0, 1.0]])).tolist()
    [[0.0, 1.0, 0.0]]
    """
    reach = shift.shape[-1] // 2
    moves = [torch.roll(weights, move, -1) if move else weights for move in range(-reach, reach + 1)]
    return (shift.unsqueeze(-2) @ torch.stack(moves, -2)).squeeze(-2)


def sharpened(weights: Tensor, sharpness: Tensor) -> Tensor:
    """Each weighting to the power of its sharpness γ (…, heads; 1 or more), made to sum to one again."""
    # Relative to the largest, so that a high power leaves something to divide by; the factor cancels.
    powers = (weights / weights.detach().amax(-1, keepdim=True)) ** sharpness.unsqueeze(-1)
    return powers / powers.sum(-1, keepdim=True)


def addressed(
    memory: Tensor,
    previous: Tensor,
    *,
    key: Tensor,
    strength: Tensor,
    gate: Tensor,
    shift: Tensor,
    sharpness: Tensor,
) -> Tensor:
    """The new weighting of each head: by content, interpolated with the previous one, shifted, sharpened."""
    found = interpolated(by_content(memory, key, strength), previous, gate)
    return sharpened(shifted(found, shift), sharpness)


def read(memory: Tensor, weights: Tensor) -> Tensor:
    """What each head reads, (…, heads, size): the sum of the rows by their weights."""
    return weights @ memory


def written(memory: Tensor, weights: Tensor, erase: Tensor, add: Tensor) -> Tensor:
    """The memory after all heads erased, each its share 0 … 1 ``erase`` (…, heads, size), and then all added ``add``.

    >>> written(torch.ones(2, 1), torch.tensor([[0.5, 0.0]]), torch.tensor([[1.0]]), torch.tensor([[4.0]])).tolist()
    [[2.5], [1.0]]
    """
    if weights.shape[-2] == 1:
        kept = 1 - weights.transpose(-1, -2) * erase
    else:
        kept = (1 - weights.unsqueeze(-1) * erase.unsqueeze(-2)).prod(-3)
    return memory * kept + weights.transpose(-1, -2) @ add
