"""HiPPO as an operator: from a sequence to the coefficients of its past after every sample, and back."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from remanence.context.layers.hippo_matrices import (
    Discretisation,
    Measure,
    basis,
    discretise,
    discretise_scaled,
    transition,
)
from remanence.errors import UsageError
from remanence.hyperparameters import validated

KEPT = 1024
"""Steps of the scaled measure whose matrices are kept; those of later ones are made anew when they are needed."""


class Projection(nn.Module):
    """The coefficients of all that was read, after every sample.

    Parameters
    ----------
    order:
        N, how many coefficients (1 or more).
    measure:
        ``"legs"``: all of the past counts evenly, and no timescale has to be known. ``"legt"``, ``"fout"``: a window
        of `window` samples does. ``"lagt"``: the past counts ever less, by a factor of e after `window` samples.
    window:
        θ in samples (above 0); `legs` has none.
    discretisation:
        ``"forward"``, ``"backward"``, ``"bilinear"`` or ``"exact"``.
    alpha, beta:
        Shape of the Laguerre measure (α below 1, β above 0).

    Shapes
    ------
    Samples (batch, length, …) give coefficients (batch, length, …, order).

    Raises
    ------
    UsageError
        If a hyperparameter is out of range.

    Example
    -------
    >>> projection = Projection(4, discretisation="exact")
    >>> coefficients = projection(torch.full((1, 5), 3.0))
    >>> projection.past(coefficients[:, -1], torch.tensor([0.0, 0.5, 1.0]))
    tensor([[3., 3., 3.]])
    """

    @validated
    def __init__(
        self,
        order: Annotated[int, Field(ge=1, description="N, coefficients")] = 64,
        measure: Annotated[Measure, Field(description="which past counts")] = "legs",
        window: Annotated[float, Field(gt=0, description="θ in samples, not for legs")] = 100.0,
        discretisation: Annotated[Discretisation, Field(description="how time is cut into samples")] = "bilinear",
        alpha: Annotated[float, Field(gt=-1, lt=1, description="α of the Laguerre measure")] = 0.0,
        beta: Annotated[float, Field(gt=0, description="β of the Laguerre measure")] = 1.0,
    ) -> None:
        super().__init__()
        self.order, self.measure, self.window, self.discretisation = order, measure, window, discretisation
        self.shape = {"alpha": alpha, "beta": beta} if measure == "lagt" else {}
        # Made when samples first ask for them, in their type and where they lie, from matrices in double.
        self._kept: dict[tuple[torch.dtype, torch.device], tuple[Tensor, Tensor]] = {}

    def matrices(self, seen: int, length: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Ā (length, order, order) and B̄ (length, order) of the next samples, once `seen` were read.

        Where they are the same for all samples, length is 1. They have the type and device of `like`.
        """
        where = (like.dtype, like.device)
        if self.measure != "legs":
            if where not in self._kept:
                a, b = transition(self.measure, self.order, **self.shape)
                step = torch.tensor([1 / self.window], dtype=torch.float64)
                a_bar, b_bar = discretise(a, b, step, self.discretisation)
                self._kept[where] = a_bar.to(like), b_bar.to(like)
            return self._kept[where]
        if seen + length > KEPT:
            return self._scaled(seen, length, like)
        if where not in self._kept or seen + length > len(self._kept[where][0]):
            self._kept[where] = self._scaled(0, 1 << (seen + length - 1).bit_length(), like)
        a_bar, b_bar = self._kept[where]
        return a_bar[seen : seen + length], b_bar[seen : seen + length]

    def _scaled(self, seen: int, length: int, like: Tensor) -> tuple[Tensor, Tensor]:
        a, b = transition("legs", self.order)
        at = torch.arange(seen, seen + length, dtype=torch.float64)
        a_bar, b_bar = discretise_scaled(a, b, at.clamp(min=1), self.discretisation)
        if seen == 0:
            # The first sample is all there is: the past is constant, whatever a step from t = 0 would give.
            a_bar[0], b_bar[0] = 0.0, 0.0
            b_bar[0, 0] = 1.0
        return a_bar.to(like), b_bar.to(like)

    def forward(self, samples: Tensor, before: Tensor | None = None, seen: int = 0) -> Tensor:
        """Coefficients after each of ``samples``, from those ``before`` (batch, …, order) once `seen` were read."""
        if samples.dim() < 2 or not samples.shape[1]:
            raise UsageError(
                f"samples {tuple(samples.shape)} were given, expected (batch, length, …), length 1 or more"
            )
        a, b = self.matrices(seen, samples.shape[1], samples)
        now = samples.new_zeros(*samples[:, 0].shape, self.order) if before is None else before
        found = []
        for t in range(samples.shape[1]):
            at = t if len(a) > 1 else 0
            now = now @ a[at].T + samples[:, t].unsqueeze(-1) * b[at]
            found.append(now)
        return torch.stack(found, 1)

    def past(self, coefficients: Tensor, lags: Tensor) -> Tensor:
        """What coefficients (…, order) say of the past at ``lags`` (points,), in units of the window; (…, points)."""
        at = basis(self.measure, self.order, lags, **self.shape)
        return coefficients @ at.T.to(coefficients)

    def extra_repr(self) -> str:
        scale = "" if self.measure == "legs" else f", window={self.window:g}"
        return f"{self.order}, {self.measure!r}{scale}, {self.discretisation!r}"
