"""A learnable change of orthonormal basis."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Rotation(nn.Module):
    """x ↦ R x with R = (I + K)⁻¹ (I - K), K = A - Aᵀ, orthogonal whatever A is; the identity at first.

    Inner products, and so lengths and cosines, are those of what went in. This map of Cayley's reaches every
    rotation that turns no direction around, and costs an eighth of the exponential of K.

    Parameters
    ----------
    dimension:
        Of what is turned (1 or more).

    Shapes
    ------
    (n, dimension) to (n, dimension).

    Example
    -------
    >>> turn = Rotation(3)
    >>> _ = nn.init.normal_(turn.generator)
    >>> matrix = turn.matrix()
    >>> torch.allclose(matrix @ matrix.T, torch.eye(3), atol=1e-5)
    True
    """

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.generator = nn.Parameter(torch.zeros(dimension, dimension))

    def matrix(self) -> Tensor:
        """R (dimension, dimension)."""
        whole = torch.eye(len(self.generator), dtype=self.generator.dtype, device=self.generator.device)
        turn = self.generator - self.generator.T
        found: Tensor = torch.linalg.solve(whole + turn, whole - turn)
        return found

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.matrix().T
