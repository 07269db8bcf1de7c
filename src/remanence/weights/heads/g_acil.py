"""Analytic learning: ridge regression on random features, absorbed batch by batch, exactly.

What is remembered is the inverse of the regularised autocorrelation of the features and the weights;
together they equal what joint training on everything would give, whatever the order and mix of classes.
They cost (buffer² + buffer × classes) × 8 bytes, and an example can be subtracted again exactly.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from remanence.errors import UsageError
from remanence.hyperparameters import validated
from remanence.learner import Removal, Request
from remanence.systems import Paper, system
from remanence.weights.heads.closed_form import ClosedForm


@system(
    "g-acil",
    paper=Paper(
        "G-ACIL: Analytic Learning for Exemplar-Free Generalized Class Incremental Learning",
        "Zhuang, Chen, Fang, He, Tong, Wei, Zeng, Chen",
        2024,
        "2403.15706",
        272,
    ),
    beats="er",
    variant="recursive form, float64, no bias; forgets by the downdate of ACU (arXiv:2505.12239)",
)
class GACIL(ClosedForm):
    """Generalised analytic class-incremental learning.

    With the features X (n, buffer) of a batch and its one-hot labels Y (n, classes), zero columns for
    classes not in it, the memory R and the weights W become

        K = (I + X R Xᵀ)⁻¹,   R ← R - R Xᵀ K X R,   W ← W + R Xᵀ (Y - X W),

    which keeps W = (X₁ᵀX₁ + … + γI)⁻¹(X₁ᵀY₁ + …). Forgetting given rows is the same with signs changed.

    Parameters
    ----------
    inputs, encoder, seed, batch_size:
        As in `ClosedForm`.
    buffer:
        Width of the random layer (1 or more).
    gamma:
        Ridge γ (above 0).

    Raises
    ------
    UsageError
        If a row is forgotten that was never learned, or twice.

    Example
    -------
    >>> import remanence as rm
    >>> stream = rm.streams.split("digits", experiences=5)
    >>> learner = rm.make("g-acil", stream, buffer=300)
    >>> for experience in stream.experiences():
    ...     _ = learner.learn(experience)
    >>> (learner.predict(stream.tests[0].x).labels == stream.tests[0].y).float().mean() > 0.9
    tensor(True)

    References
    ----------
    Zhuang et al., G-ACIL: Analytic Learning for Exemplar-Free Generalized Class Incremental Learning,
    2024, arXiv:2403.15706. Tang et al., ACU: Analytic Continual Unlearning for Efficient and Exact
    Forgetting with Privacy Preservation, 2025, arXiv:2505.12239.

    Departures
    ----------
    The paper puts a pretrained backbone in front; here the encoder is whatever is handed over, and
    the inputs themselves by default.
    """

    @validated
    def __init__(
        self,
        inputs: int,
        encoder: nn.Module | None = None,
        *,
        seed: int = 0,
        batch_size: int = 10,
        buffer: Annotated[int, Field(ge=1, description="width of the random layer")] = 500,
        gamma: Annotated[float, Field(gt=0, description="ridge γ (regularisation)")] = 1.0,
    ) -> None:
        super().__init__(inputs, encoder, seed=seed, batch_size=batch_size)
        self.buffer, self.gamma = buffer, gamma
        bound = 1 / math.sqrt(inputs)
        projection = torch.empty(inputs, buffer).uniform_(-bound, bound, generator=self.draw("random layer"))
        self.projection = nn.Parameter(projection, requires_grad=False)
        self.register_buffer("inverse", torch.eye(buffer, dtype=torch.float64) / gamma)
        self.register_buffer("weight", torch.zeros(buffer, 0, dtype=torch.float64))
        self.inverse: Tensor
        self.weight: Tensor

    @classmethod
    def sized(cls, inputs: int, settings: dict[str, Any], budget: int | None) -> dict[str, Any]:
        if budget is None or "buffer" in settings:
            return settings
        spare = 10  # classes that shall still fit beside the square matrix
        rows = inputs * 4 + spare * 8
        width = int((-rows + math.sqrt(rows**2 + 32 * budget)) / 16)
        return {**settings, "buffer": max(1, min(width, 500))}

    def expand(self, features: Tensor) -> Tensor:
        """The random layer (n, buffer) float64."""
        return torch.relu(features.float() @ self.projection).double()

    def _widen(self, old: int, new: int) -> None:
        self.weight = torch.cat([self.weight, self.weight.new_zeros(self.buffer, new - old)], 1)

    def _absorb(self, features: Tensor, y: Tensor, ids: Tensor) -> None:
        self._change(self.expand(features), self.one_hot(y), 1.0)

    def _change(self, x: Tensor, target: Tensor, sign: float) -> None:
        """Add (sign 1) or subtract (sign -1) rows."""
        projected = self.inverse @ x.T
        inner = torch.eye(len(x), dtype=x.dtype, device=x.device) + sign * (x @ projected)
        factor, failed = torch.linalg.cholesky_ex(inner)
        if failed:
            raise UsageError("rows were forgotten that were never learned, or twice: forget each learned row once")
        gain = torch.cholesky_solve(projected.T, factor)
        inverse = self.inverse - sign * (projected @ gain)
        inverse = (inverse + inverse.T) / 2
        self.weight = self.weight + sign * (inverse @ (x.T @ (target - x @ self.weight)))
        self.inverse = inverse

    def _scores(self, features: Tensor) -> Tensor:
        return self.expand(features) @ self.weight

    def _forget(self, request: Request) -> tuple[dict[str, Removal], int, str]:
        if request.x is None or request.y is None:
            raise UsageError("g-acil forgets rows that are given again: pass x and y of the examples to forget")
        known = set(self.classes)
        for label in request.y.tolist():
            if label not in known:
                raise UsageError(f"an example of class {label} was to be forgotten, which was never learned")
        x = self.expand(self.features(request.x.to(self.device)))
        target = self.one_hot(request.y.to(self.device))
        for first in range(0, len(x), 256):
            self._change(x[first : first + 256], target[first : first + 256], -1.0)
        if request.label is not None and request.label in known:
            column = self.classes.index(request.label)
            keep = [place for place in range(len(self.classes)) if place != column]
            self.weight = self.weight[:, keep]
            self.classes = [self.classes[place] for place in keep]
        return (
            {"weights": "removed", "statistics": "removed"},
            len(x),
            "closed-form downdate; the factor stayed positive definite",
        )
