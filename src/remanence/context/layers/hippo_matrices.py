"""HiPPO: the bases and matrices of its measures, c'(t) = A c(t) + B f(t), and how they are made discrete.

Every measure weighs the past in its own way, and c holds the coefficients of the past in the basis that is
orthonormal under it. Time is in units of the window θ, or for `legs` of all the time that has passed.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Measure: TypeAlias = Literal["legs", "legt", "lagt", "fout"]
"""Scaled Legendre, translated Legendre, translated Laguerre, truncated Fourier."""
Discretisation: TypeAlias = Literal["forward", "backward", "bilinear", "exact"]
"""Forward Euler, backward Euler, trapezoid, and the solution for an input that stands still between samples."""
_ALPHA = {"forward": 0.0, "backward": 1.0, "bilinear": 0.5}
Array: TypeAlias = NDArray[np.float64]


def transition(measure: Measure, order: int, *, alpha: float = 0.0, beta: float = 1.0) -> tuple[Tensor, Tensor]:
    """The matrices A (order, order) and B (order,) of a measure, float64.

    Parameters
    ----------
    measure:
        Which past counts: all of it evenly (``"legs"``, where the equation is c' = (A c + B f) / t), a window evenly
        (``"legt"`` with polynomials, ``"fout"`` with cosines and sines), or ever less (``"lagt"``).
    order:
        How many coefficients.
    alpha, beta:
        The Laguerre polynomials' α (below 1) and the tilt β (above 0) of ``"lagt"``.

    Example
    -------
    >>> A, B = transition("legs", 3)
    >>> A.diagonal()
    tensor([-1., -2., -3.], dtype=torch.float64)
    """
    # Loaded only where it is needed: every process that lists systems would wait for it
    from scipy import special

    n = np.arange(order, dtype=np.float64)
    row, column = n[:, None], n[None, :]
    root = np.sqrt(2 * n + 1)
    if measure == "legs":
        a, b = -np.where(row > column, np.outer(root, root), np.diag(n + 1)), root
    elif measure == "legt":
        a, b = -np.outer(root, root) * np.where(row < column, (-1.0) ** (column - row), 1.0), root
    elif measure == "lagt":
        scale = np.exp((special.gammaln(n + alpha + 1) - special.gammaln(n + 1)) / 2)
        a = -np.where(row > column, 1.0, (1 + beta) / 2 * (row == column)) / scale[:, None] * scale
        b = math.exp(-special.gammaln(1 - alpha) / 2) * beta ** ((1 - alpha) / 2) * special.binom(n + alpha, n) / scale
    else:
        rise = _fourier(np.zeros(1), order)[0]
        turn = np.zeros((order, order))
        for cosine in range(1, order - 1, 2):
            turn[cosine, cosine + 1] = -math.pi * (cosine + 1)
            turn[cosine + 1, cosine] = math.pi * (cosine + 1)
        a, b = turn - 2 * np.outer(rise, rise), 2 * rise
    return torch.from_numpy(np.ascontiguousarray(a)), torch.from_numpy(np.ascontiguousarray(b))


def basis(measure: Measure, order: int, lags: Tensor, *, alpha: float = 0.0, beta: float = 1.0) -> Tensor:
    """What each coefficient contributes to the past at ``lags`` (points,); (points, order) float64.

    A lag is how long ago, in units of the window, so that 1 is its far end; `lagt` has none. The past is
    ``basis(…) @ c``.
    """
    from scipy import special

    lag = lags.detach().cpu().double().numpy()
    n = np.arange(order)
    if measure in ("legs", "legt"):
        found = np.sqrt(2 * n + 1) * special.eval_legendre(n, 1 - 2 * lag[:, None])
    elif measure == "lagt":
        length = np.exp((special.gammaln(n + alpha + 1) - special.gammaln(n + 1)) / 2)
        weight = math.exp(special.gammaln(1 - alpha) / 2) * beta ** ((alpha - 1) / 2)
        tilt = lag**alpha * np.exp(-(1 - beta) / 2 * lag)
        found = weight * tilt[:, None] * special.eval_genlaguerre(n, alpha, lag[:, None]) / length
    else:
        found = _fourier(lag, order)
    return torch.from_numpy(np.ascontiguousarray(found))


def _fourier(lag: Array, order: int) -> Array:
    """1, then √2 cos and √2 sin of each frequency in turn."""
    turns = math.pi * 2 * ((np.arange(order) + 1) // 2) * lag[:, None]
    found = math.sqrt(2) * np.where(np.arange(order) % 2, np.cos(turns), np.sin(turns))
    found[:, 0] = 1.0
    return found


def discretise(a: Tensor, b: Tensor, step: Tensor, how: Discretisation = "bilinear") -> tuple[Tensor, Tensor]:
    """Matrices Ā, B̄ of c_{k+1} = Ā c_k + B̄ f_k, for steps Δ of any shape: (…, order, order) and (…, order).

    All but ``"exact"`` are the generalised bilinear transform, Ā = (I - αΔA)⁻¹ (I + (1-α)ΔA) and
    B̄ = (I - αΔA)⁻¹ ΔB, with α = 0, 1 and 1/2.

    Example
    -------
    >>> A, B = discretise(torch.tensor([[-1.0]]), torch.tensor([1.0]), torch.tensor(0.5))
    >>> A.item(), B.item()
    (0.6000000238418579, 0.4000000059604645)
    """
    if how == "exact":
        order = len(b)
        whole = torch.zeros(order + 1, order + 1, dtype=a.dtype, device=a.device)
        whole[:order, :order], whole[:order, order] = a, b
        grown = torch.linalg.matrix_exp(step[..., None, None] * whole)
        return grown[..., :order, :order], grown[..., :order, order]
    return generalised_bilinear(a, b, step, step, _ALPHA[how])


def generalised_bilinear(
    a: Tensor, b: Tensor, before: Tensor, after: Tensor, alpha: float = 0.5
) -> tuple[Tensor, Tensor]:
    """As `discretise`, where A counts `before` times at the beginning of a step and `after` times at its end."""
    eye = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    explicit = eye + (1 - alpha) * before[..., None, None] * a
    implicit = eye - alpha * after[..., None, None] * a
    right = torch.cat([explicit, (before[..., None] * b).unsqueeze(-1)], -1)
    solved = torch.linalg.solve(implicit, right)
    return solved[..., :-1], solved[..., -1]


def discretise_scaled(a: Tensor, b: Tensor, seen: Tensor, how: Discretisation = "bilinear") -> tuple[Tensor, Tensor]:
    """Matrices Ā_k, B̄_k of c' = (A c + B f) / t, one step on from t = `seen` samples (1 or more) to one more.

    A counts 1/k at the beginning of the step and 1/(k+1) at its end; ``"exact"`` solves the equation for an input
    that stands still in between, a flow of A over log((k+1)/k).
    """
    seen = seen.to(a.dtype)
    if how == "exact":
        return discretise(a, b, torch.log1p(1 / seen), "exact")
    return generalised_bilinear(a, b, 1 / seen, 1 / (seen + 1), _ALPHA[how])
