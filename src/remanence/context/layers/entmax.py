"""α-entmax: from scores to shares that sum to one, dense for α = 1, with more and more exact zeros up to α = 2.

It is the p that makes ⟨p, z⟩ + H_α(p) largest, with the Tsallis entropy H_α(p) = Σ (p − p^α) / (α(α − 1)), and
Shannon's for α = 1. Softmax, 1.5-entmax and sparsemax are exact, by a formula and by sorting; any other α is
found by bisection; gradients, that of α too, are closed forms.

Source: Peters, Niculae, Martins, Sparse Sequence-to-Sequence Models, 2019, arXiv:1905.05702; Correia, Niculae,
Martins, Adaptively Sparse Transformers, 2019, arXiv:1909.00015.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from remanence.errors import UsageError

BISECTIONS = {torch.float64: 60}
"""Halvings of an interval that is at most log n wide: past the precision of a number."""


def entmax(scores: Tensor, alpha: float | Tensor = 1.5) -> Tensor:
    """Shares over the last dimension.

    Parameters
    ----------
    scores:
        (…, n), −∞ where there is nothing to choose; a row needs one finite score.
    alpha:
        From 1 (softmax) to 2 (sparsemax): a number, or a tensor (…, 1) or () that may be learned.

    Raises
    ------
    UsageError
        If alpha, given as a number, is not from 1 to 2.

    Example
    -------
    >>> scores = torch.tensor([1.0, 0.9, -1.0])
    >>> [[round(p, 3) for p in entmax(scores, a).tolist()] for a in (1.0, 1.5, 2.0)]
    [[0.49, 0.444, 0.066], [0.535, 0.465, 0.0], [0.55, 0.45, 0.0]]
    """
    if not isinstance(alpha, Tensor):
        if not 1 <= alpha <= 2:
            raise UsageError(f"alpha is {alpha}, expected 1 (softmax) to 2 (sparsemax)")
        if alpha == 1:
            return scores.softmax(-1)
        exact = {1.5: _sorted_entmax15, 2.0: _sorted_sparsemax}.get(float(alpha))
        return _shares(scores, scores.new_tensor(alpha), exact)
    return _shares(scores, alpha, None)


def conjugate(scores: Tensor, alpha: float | Tensor = 1.5) -> Tensor:
    """Ψ*(z) = ⟨p, z⟩ + H_α(p) at p = entmax(z), over the last dimension: log Σ exp z for α = 1; its gradient is p."""
    if not isinstance(alpha, Tensor) and alpha == 1:
        return scores.logsumexp(-1)
    shares = entmax(scores, alpha)
    kept = shares.where(shares > 0, torch.zeros_like(shares))
    gained = torch.where(shares > 0, shares * scores, torch.zeros_like(shares)).sum(-1)
    order = torch.as_tensor(alpha, dtype=scores.dtype, device=scores.device)
    entropy = (shares - kept.pow(order)).sum(-1) / (order * (order - 1)).squeeze(-1 if order.dim() else ())
    return gained + entropy


def _shares(scores: Tensor, alpha: Tensor, exact: Any) -> Tensor:
    shares: Tensor = _Entmax.apply(scores, alpha, exact)  # type: ignore[no-untyped-call]
    return shares


class _Entmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, alpha: Tensor, exact: Any) -> Tensor:
        shares: Tensor = bisect(scores, alpha) if exact is None else exact(scores)
        ctx.save_for_backward(shares, alpha)
        return shares

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None, None]:
        """Of p = [(α − 1)z − τ]₊^{1/(α−1)}: with s = p^{2−α} where p > 0, dp = s (dz − Σ s dz / Σ s)."""
        shares, alpha = ctx.saved_tensors
        slope = torch.where(shares > 0, shares.pow(2 - alpha), torch.zeros_like(shares))
        total = slope.sum(-1, keepdim=True)
        scaled = slope * gradient
        to_scores = scaled - slope * (scaled.sum(-1, keepdim=True) / total)
        if not ctx.needs_input_grad[1]:
            return to_scores, None, None
        # dp/dα = (p/ε² − p log p/ε) less its share along s, with ε = α − 1. The two terms in 1/ε² are subtracted
        # by hand, through p^{1−ε} = p + ε m, since they cancel as α approaches 1.
        epsilon = (alpha - 1).clamp(min=1e-3)
        logs = torch.where(shares > 0, shares, torch.ones_like(shares)).log()
        change = shares * torch.expm1(-epsilon * logs) / epsilon
        surprise = shares * logs
        steady = shares + epsilon * change
        weight = 1 + epsilon * change.sum(-1, keepdim=True)
        moved = (shares * change.sum(-1, keepdim=True) - change) / weight
        moved = (moved - surprise + steady * surprise.sum(-1, keepdim=True) / weight) / epsilon
        return to_scores, (gradient * moved).sum_to_size(alpha.shape), None


def bisect(scores: Tensor, alpha: Tensor) -> Tensor:
    """Shares for any α from 1 to 2, by halving the interval of the threshold."""
    epsilon = (alpha - 1).clamp(min=1e-5 if scores.dtype == torch.float32 else 1e-8)
    scores = scores - scores.amax(-1, keepdim=True)
    low = torch.zeros_like(scores[..., :1] * epsilon)
    # At the low end the largest share alone is one, at the high end no share is above 1/n.
    width = -torch.expm1(-epsilon * math.log(scores.shape[-1])) / epsilon + low
    for _ in range(BISECTIONS.get(scores.dtype, 30)):
        width = width / 2
        enough = _power(scores - low - width, epsilon).sum(-1, keepdim=True) >= 1
        low = torch.where(enough, low + width, low)
    shares = _power(scores - low, epsilon)
    return shares / shares.sum(-1, keepdim=True)


def _power(x: Tensor, epsilon: Tensor) -> Tensor:
    """[1 + εx]₊^{1/ε}, which is exp x for ε = 0."""
    return ((epsilon * x).clamp(min=-1).log1p() / epsilon).exp()


def _sorted_sparsemax(scores: Tensor) -> Tensor:
    """z less the threshold τ with Σ [z − τ]₊ = 1 (Martins and Astudillo, 2016, arXiv:1602.02068)."""
    scores = scores - scores.amax(-1, keepdim=True)
    ordered = scores.sort(-1, descending=True).values
    counts = torch.arange(1, scores.shape[-1] + 1, dtype=scores.dtype, device=scores.device)
    excess = ordered.cumsum(-1) - 1
    support = (counts * ordered > excess).sum(-1, keepdim=True)
    return (scores - excess.gather(-1, support - 1) / support).clamp(min=0)


def _sorted_entmax15(scores: Tensor) -> Tensor:
    """(z/2 − τ)₊² with the τ for which they sum to one: a quadratic for each possible support."""
    scores = (scores - scores.amax(-1, keepdim=True)) / 2
    ordered = scores.sort(-1, descending=True).values
    counts = torch.arange(1, scores.shape[-1] + 1, dtype=scores.dtype, device=scores.device)
    mean = ordered.cumsum(-1) / counts
    spread = ordered.square().cumsum(-1) - counts * mean.square()
    threshold = mean - ((1 - spread) / counts).clamp(min=0).sqrt()
    support = (threshold <= ordered).sum(-1, keepdim=True)
    shares = (scores - threshold.gather(-1, support - 1)).clamp(min=0).square()
    return shares / shares.sum(-1, keepdim=True)
