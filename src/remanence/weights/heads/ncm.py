"""Nearest class mean: one mean of frozen features per class, kept as exact sums.

What is remembered is a sum of features and a count for each class; a question is answered by the class
whose mean lies nearest. It costs (inputs + 1) × 8 bytes a class, and an example can be subtracted again
without a trace.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from remanence.errors import UsageError
from remanence.hyperparameters import validated
from remanence.models.closed_form import ClosedForm
from remanence.registry import Paper, system
from remanence.request import Removal, Request

UNIT = 2.0**24
"""Features are kept as whole multiples of 1/UNIT, the precision of a float32 near 1."""

LARGEST = 2.0**15
"""Features beyond this could overflow the sums of a long stream."""


@system(
    "ncm",
    paper=Paper(
        "A Simple Baseline that Questions the Use of Pretrained-Models in Continual Learning",
        "Janson, Zhang, Aljundi, Elhoseiny",
        2022,
        "2210.04428",
        249,
    ),
    baseline="er",
    variant="on the inputs themselves or a module of your own, each row of features scaled to length one",
)
class NCM(ClosedForm):
    """Nearest class mean on frozen features.

    With z the features of a row, scaled to length one, the memory is s_c = Σ z and n_c over the rows of
    class c, and the answer is the class c that minimises ‖z - s_c / n_c‖².

    Features are rounded to multiples of 2⁻²⁴ and summed as integers. The sums therefore do not depend on
    the order of the rows, and forgetting rows or a whole class leaves, to the bit, what a learner holds
    that never saw them. Up to 2²⁴ rows a class are safe at features of 2¹⁵, and 2³⁹ at length one.

    Parameters
    ----------
    inputs, encoder, seed, batch_size:
        As in `ClosedForm`.
    features:
        ``given``: what the encoder gives (the inputs, without one); ``random``: a random layer with ReLU
        behind it.
    buffer:
        Width of the random layer (1 or more); without effect on ``given`` features.
    normalize:
        Scale each row of features to length one, as in the paper.

    Raises
    ------
    UsageError
        If a feature exceeds 32768 in size, or rows are forgotten that were never learned.

    Example
    -------
    >>> import remanence as rm
    >>> stream = rm.streams.split("digits", experiences=5)
    >>> learner = rm.make("ncm", stream)
    >>> for experience in stream.experiences():
    ...     _ = learner.learn(experience)
    >>> (learner.predict(stream.tests[0].x).labels == stream.tests[0].y).float().mean() > 0.9
    tensor(True)

    References
    ----------
    Janson et al., A Simple Baseline that Questions the Use of Pretrained-Models in Continual Learning,
    2022, arXiv:2210.04428.

    Departures
    ----------
    The paper puts a pretrained vision transformer in front; here the encoder is whatever is handed over,
    and the inputs themselves by default. The paper keeps running means in float32.
    """

    @validated
    def __init__(
        self,
        inputs: int,
        encoder: nn.Module | None = None,
        *,
        seed: int = 0,
        batch_size: int = 10,
        features: Annotated[
            Literal["given", "random"], Field(description="the encoder's, or a random layer's")
        ] = "given",
        buffer: Annotated[int, Field(ge=1, description="width of the random layer")] = 500,
        normalize: Annotated[bool, Field(description="scale each row of features to length one")] = True,
    ) -> None:
        super().__init__(inputs, encoder, seed=seed, batch_size=batch_size)
        self.normalize = normalize
        self.projection: nn.Parameter | None = None
        width = inputs
        if features == "random":
            width = buffer
            drawn = torch.randn(inputs, buffer, generator=self.draw("random layer")) / math.sqrt(inputs)
            self.projection = nn.Parameter(drawn, requires_grad=False)
        self.register_buffer("sums", torch.zeros(0, width, dtype=torch.int64))
        self.register_buffer("counts", torch.zeros(0, dtype=torch.int64))
        self.sums: Tensor
        self.counts: Tensor

    @classmethod
    def sized(cls, inputs: int, settings: dict[str, Any], budget: int | None) -> dict[str, Any]:
        if budget is None or "buffer" in settings or settings.get("features") != "random":
            return settings
        spare = 10  # classes that shall fit
        return {**settings, "buffer": max(1, min(500, (budget - 8 * spare) // (4 * inputs + 8 * spare)))}

    def features(self, x: Tensor) -> Tensor:
        found = super().features(x)
        if self.projection is not None:
            found = torch.relu(found.float() @ self.projection).double()
        if self.normalize:
            found = nn.functional.normalize(found, dim=1)
        return found

    def whole(self, features: Tensor) -> Tensor:
        """Features as multiples of 1/UNIT (n, width) int64."""
        largest = float(features.abs().max()) if len(features) else 0.0
        if not largest <= LARGEST:
            raise UsageError(f"a feature is {largest}, expected at most {LARGEST:.0f} in size: set normalize to true")
        return (features * UNIT).round().long()

    def means(self) -> Tensor:
        """Mean of each class (classes, width) float64."""
        return self.sums.double() / UNIT / self.counts.unsqueeze(1)

    def _widen(self, old: int, new: int) -> None:
        self.sums = torch.cat([self.sums, self.sums.new_zeros(new - old, self.sums.shape[1])])
        self.counts = torch.cat([self.counts, self.counts.new_zeros(new - old)])

    def _absorb(self, features: Tensor, y: Tensor, ids: Tensor) -> None:
        columns = self.columns(y)
        self.sums.index_add_(0, columns, self.whole(features))
        self.counts.index_add_(0, columns, torch.ones_like(columns))

    def _scores(self, features: Tensor) -> Tensor:
        means = self.means()
        return -(features.square().sum(1, keepdim=True) - 2 * features @ means.T + means.square().sum(1))

    def _forget(self, request: Request) -> tuple[dict[str, Removal], int, str]:
        if request.label is None and (request.x is None or request.y is None):
            raise UsageError("ncm keeps no ids: pass the rows to forget again as x and y, or name a label")
        count = 0
        if request.x is not None and request.y is not None:
            count += self._subtract(request.x.to(self.device), request.y.to(self.device))
        if request.label in self.classes:
            count += int(self.counts[self.classes.index(request.label)])
        self._keep([c for c, label in enumerate(self.classes) if label != request.label and self.counts[c] > 0])
        places: dict[str, Removal] = {"statistics": "removed"}
        return places, count, "integer sums: what is left equals, to the bit, never having seen the rows"

    def _subtract(self, x: Tensor, y: Tensor) -> int:
        columns = self.columns(y)
        asked = torch.bincount(columns.clamp(min=0), minlength=len(self.classes))
        if len(columns) and (int(columns.min()) < 0 or bool((asked > self.counts).any())):
            raise UsageError("rows were forgotten that were never learned, or twice: forget each learned row once")
        self.sums.index_add_(0, columns, -self.whole(self.features(x)))
        self.counts -= asked
        return len(y)

    def _keep(self, columns: list[int]) -> None:
        self.sums, self.counts = self.sums[columns], self.counts[columns]
        self.classes = [self.classes[column] for column in columns]
