"""Analytic learning: ridge regression on random features, absorbed batch by batch, exactly.

What is remembered is the inverse of the regularised autocorrelation of the features, the weights, and how
many rows of each class there were; the weights equal what joint training on everything would give, whatever
the order and mix of classes. They cost (buffer² + (buffer + 1) × classes) × 8 bytes beside the random layer,
and an example can be subtracted again exactly.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from remanence.errors import UsageError
from remanence.hyperparameters import validated
from remanence.models.closed_form import ClosedForm
from remanence.registry import Paper, system
from remanence.request import Removal, Request

NOT_LEARNED = "rows were forgotten that were never learned, or twice: forget each learned row once"
SLACK = 1e-3
"""How far rounding may lift the largest eigenvalue of the inverse above 1/γ."""


@system(
    "g-acil",
    paper=Paper(
        "G-ACIL: Analytic Learning for Exemplar-Free Generalized Class Incremental Learning",
        "Zhuang, Chen, Fang, He, Tong, Wei, Zeng, Chen",
        2024,
        "2403.15706",
        272,
    ),
    baseline="er",
    variant="recursive form, float64, no bias; forgets by the downdate of ACU (arXiv:2505.12239)",
)
class GACIL(ClosedForm):
    """Generalised analytic class-incremental learning.

    With the features X (n, buffer) of a batch and its one-hot labels Y (n, classes), zero columns for
    classes not in it, the memory R and the weights W become

        K = (I + X R Xᵀ)⁻¹,   R ← R - R Xᵀ K X R,   W ← W + R Xᵀ (Y - X W),

    which keeps W = (X₁ᵀX₁ + … + γI)⁻¹(X₁ᵀY₁ + …). Forgetting given rows is the same with signs changed.

    Under a budget that chose the width, columns for new classes take the place of random features. With d
    those that go and k those that stay, W_k ← W_k - R_kd R_dd⁻¹ W_d and R_kk ← R_kk - R_kd R_dd⁻¹ R_dk are
    what a learner without the former would hold.

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
        If more rows of a class are to be forgotten than were learned, a class of which not all rows are
        given, or rows without which no learner could hold what is held. That a row was never learned
        shows while there are fewer rows than features; among many more it can pass.
    BudgetError
        If the classes do not fit the budget even with a single random feature.

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
        self.gamma = gamma
        bound = 1 / math.sqrt(inputs)
        projection = torch.empty(inputs, buffer).uniform_(-bound, bound, generator=self.draw("random layer"))
        self.projection = nn.Parameter(projection, requires_grad=False)
        self.register_buffer("inverse", torch.eye(buffer, dtype=torch.float64) / gamma)
        self.register_buffer("weight", torch.zeros(buffer, 0, dtype=torch.float64))
        self.register_buffer("counts", torch.zeros(0, dtype=torch.int64))
        self.inverse: Tensor
        self.weight: Tensor
        self.counts: Tensor

    @property
    def buffer(self) -> int:
        """Width of the random layer as it is now."""
        return len(self.inverse)

    @classmethod
    def sized(cls, inputs: int, settings: dict[str, Any], budget: int | None) -> dict[str, Any]:
        if budget is None or "buffer" in settings:
            return settings
        spare = 10  # classes that shall fit at once; more are made room for as they appear
        return {**settings, "buffer": min(_widest(inputs, spare, budget), 500)}

    def _shrink(self, excess: int) -> None:
        held = sum(values.nbytes for values in (self.inverse, self.weight, self.counts, self.projection))
        width = _widest(self.inputs, len(self.counts), held - excess)
        if width >= self.buffer:
            return
        inner = torch.linalg.cholesky(self.inverse[width:, width:])
        across = self.inverse[:width, width:]
        self.weight = self.weight[:width] - across @ torch.cholesky_solve(self.weight[width:], inner)
        inverse = self.inverse[:width, :width] - across @ torch.cholesky_solve(across.T, inner)
        self.inverse = (inverse + inverse.T) / 2
        self.projection = nn.Parameter(self.projection[:, :width].clone(), requires_grad=False)

    def expand(self, features: Tensor) -> Tensor:
        """The random layer (n, buffer) float64."""
        return torch.relu(features.float() @ self.projection).double()

    def _widen(self, old: int, new: int) -> None:
        self.weight = torch.cat([self.weight, self.weight.new_zeros(self.buffer, new - old)], 1)
        self.counts = torch.cat([self.counts, self.counts.new_zeros(new - old)])

    def _absorb(self, features: Tensor, y: Tensor, ids: Tensor) -> None:
        columns = self.columns(y)
        self.inverse, self.weight = _changed(self.inverse, self.weight, self.expand(features), self.one_hot(y), 1.0)
        self.counts.index_add_(0, columns, torch.ones_like(columns))

    def _scores(self, features: Tensor) -> Tensor:
        return self.expand(features) @ self.weight

    def _forget(self, request: Request) -> tuple[dict[str, Removal], int, str]:
        if request.x is None or request.y is None:
            raise UsageError("g-acil forgets rows that are given again: pass x and y of the examples to forget")
        y = request.y.to(self.device)
        left = self._left(self.columns(y), request.label)
        x, target = self.expand(self.features(request.x.to(self.device))), self.one_hot(y)
        inverse, weight = self.inverse, self.weight
        for first in range(0, len(x), 256):
            inverse, weight = _changed(inverse, weight, x[first : first + 256], target[first : first + 256], -1.0)
        if float(torch.linalg.eigvalsh(inverse)[-1]) * self.gamma > 1 + SLACK:
            raise UsageError(NOT_LEARNED)
        keep = left.nonzero().squeeze(1)
        self.inverse, self.weight, self.counts = inverse, weight[:, keep], left[keep]
        self.classes = [self.classes[place] for place in keep.tolist()]
        return (
            {"weights": "removed", "statistics": "removed"},
            len(x),
            "closed-form downdate; what is left is no smaller than its ridge, as rows that were learned leave it",
        )

    def _left(self, columns: Tensor, label: int | None) -> Tensor:
        """How many rows of each class (classes,) stay when those of these columns go."""
        if bool((columns < 0).any()):
            raise UsageError("an example of a class was to be forgotten that was never learned: give learned rows only")
        left = self.counts - torch.bincount(columns, minlength=len(self.counts))
        if bool((left < 0).any()):
            raise UsageError(NOT_LEARNED)
        if label in self.classes and (more := int(left[self.classes.index(label)])):
            raise UsageError(
                f"class {label} was to be forgotten, and {more} of its rows were not given: pass x and y of all of them"
            )
        return left


def _widest(inputs: int, classes: int, size: int) -> int:
    """The widest random layer (1 or more) that fits so many bytes with what is remembered of so many classes."""
    row = inputs * 4 + classes * 8
    return max(1, int((-row + math.sqrt(row**2 + 32 * max(0, size - 8 * classes))) / 16))


def _changed(inverse: Tensor, weight: Tensor, x: Tensor, target: Tensor, sign: float) -> tuple[Tensor, Tensor]:
    """Inverse and weights with rows added (sign 1) or subtracted (sign -1)."""
    projected = inverse @ x.T
    inner = torch.eye(len(x), dtype=x.dtype, device=x.device) + sign * (x @ projected)
    factor, failed = torch.linalg.cholesky_ex(inner)
    if failed:
        raise UsageError(NOT_LEARNED)
    gain = torch.cholesky_solve(projected.T, factor)
    inverse = inverse - sign * (projected @ gain)
    inverse = (inverse + inverse.T) / 2
    return inverse, weight + sign * (inverse @ (x.T @ (target - x @ weight)))
